// From a fresh `latchkey demo` to the API called with a key of one's own, and MFA on: in at most 12 pages, and nothing is
// typed that was not shown or asked for by what was on the screen before.
import assert from "node:assert/strict";
import { appOf, expectHeading, lookAt, press, readEvents, saveCodes, scan, story, told } from "./lib.mjs";
import { startDemo } from "./lib/demo.mjs";

const PAGES = 12;

await story(async ({ open }) => {
  const demo = await startDemo(told.binary, told.folder, 0);
  const page = await open();
  const pages = [];
  page.on("response", (answer) => {
    const isPage = answer.request().isNavigationRequest() && answer.status() !== 303;
    if (isPage) pages.push(`${answer.status()} ${new URL(answer.url()).pathname}`);
  });

  // What the demo printed.
  await page.goto(demo.console);
  const [account, user] = demo.user.split("/");
  await page.getByLabel("Account", { exact: true }).fill(account);
  await page.getByLabel("User name").fill(user);
  await page.getByLabel("Password", { exact: true }).fill(demo.password);
  await press(page, "Sign in");

  // What the pages lead to.
  await readEvents(page);
  await press(page, "Set up MFA");
  await press(page, "Activate authenticator app");
  await expectHeading(page, "Save your recovery codes");
  await saveCodes(page);
  const app = appOf(await scan(page));
  await page.getByLabel("Code from the app").fill(app.next());
  await press(page, "Turn on authenticator app");
  await expectHeading(page, "MFA is on");
  await press(page, "To API keys");
  await page.getByLabel("Description").fill("My own");
  await page.getByLabel("API", { exact: true }).check();
  await press(page, "Create API key");
  await expectHeading(page, "Save your new key now");
  const key = await page.locator("#secret").innerText();
  const answer = await fetch(`${demo.api}/v2/domains/example.com/check`, { headers: { authorization: `ApiKey ${key}` } });
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), { available: true });
  console.error(pages.join("\n"));
  assert.ok(pages.length <= PAGES, `${pages.length} pages were opened:\n${pages.join("\n")}`);
  await lookAt(page);
  await demo.stop();
});
