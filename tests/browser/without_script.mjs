// With the script switched off: signing in, an API key made and deleted, an authenticator app turned on; the pages of a
// security key say that it needs the script.
import assert from "node:assert/strict";
import {
  appOf, askApi, expectHeading, expectNotice, go, goOn, press, scan, signIn, story, told, withKey,
} from "./lib.mjs";

await story(async ({ open }) => {
  const page = await open({ javaScriptEnabled: false });
  await signIn(page, told.user);
  await expectHeading(page, "Protect your sign-in with MFA");
  await press(page, "Not now");

  await go(page, told.path);
  await page.getByLabel("Description").fill("Shop");
  await page.getByLabel("API", { exact: true }).check();
  await page.getByLabel("I understand: password access to the API ends now").check();
  await press(page, "Create API key");
  await expectHeading(page, "Save your new key now");
  const key = await page.locator("#secret").innerText();
  assert.equal(await page.getByRole("button", { name: "Copy" }).count(), 0, "a button that does nothing is shown");
  assert.equal(await askApi(withKey(key)), 200);
  await press(page, "I have saved the key");
  await page.getByRole("link", { name: "Delete" }).click();
  await press(page, "I understand, delete this API key");
  await expectNotice(page, "API key “Shop” was deleted.");
  assert.equal(await askApi(withKey(key)), 401);

  await go(page, "/profile/mfa");
  await press(page, "Set up security key");
  await page.getByLabel("I have saved these codes").check();
  await press(page, "Next");
  await page.getByText("Security keys need JavaScript, which is switched off in this browser.").waitFor();
  assert.equal(await page.getByRole("button", { name: "Register security key" }).count(), 0);
  await go(page, "/profile/mfa/app");
  const app = appOf(await scan(page));
  await page.getByLabel("Code from the app").fill(app.next());
  await press(page, "Turn on authenticator app");
  await expectNotice(page, "Authenticator app is on.");
});
