// An API key is shown in one answer, and by nothing afterwards: not by Back, a reload, a new tab or a double click.
import assert from "node:assert/strict";
import {
  askApi, expectHeading, focused, goBack, goOn, logIn, lookAt, pathOf, press, signIn, story, told, withKey, withPassword,
} from "./lib.mjs";

const { user } = told;
const list = told.path;

// Everything that the window shows or holds: address and title, the page with its forms, what is stored.
const everything = (page) => page.evaluate(() => {
  // A page of the browser itself, such as the one that asks before a form is sent again, has no storage.
  const stored = location.protocol.startsWith("http") ? [{ ...localStorage }, { ...sessionStorage }] : [];
  const fields = [...document.querySelectorAll("input, textarea")].map((field) => field.value);
  return JSON.stringify([location.href, document.title, document.documentElement.outerHTML, fields, stored]);
});

const rows = (page) => page.locator("table.keys tbody tr");

await story(async ({ open }) => {
  const page = await open();
  await signIn(page, user);
  await goOn(page);
  await page.goto(told.console + list);
  await page.getByText("No API keys yet").waitFor();
  await page.getByText("Once this user has an API key, password authentication to the API stops.").waitFor();
  await lookAt(page);
  assert.equal(await askApi(withPassword(user, told.password)), 200);

  // What is missing is said, and nothing typed is lost.
  await press(page, "Create API key");
  await page.getByRole("alert").getByText("Choose API, IsProxy or both").waitFor();
  assert.match(await page.title(), /^Error: /);
  assert.match(await focused(page), /^There is a problem/);
  await lookAt(page);
  await page.getByLabel("Description").fill("Billing <script>server</script>");
  await press(page, "Create API key");
  await page.getByRole("alert").waitFor();
  assert.equal(await page.getByLabel("Description").inputValue(), "Billing <script>server</script>");
  await page.getByLabel("API", { exact: true }).check();
  await page.getByLabel("I understand: password access to the API ends now").check();
  await press(page, "Create API key");

  // The only time.
  await expectHeading(page, "Save your new key now");
  assert.equal(await focused(page), "Save your new key now");
  await page.getByText("This is the only time the key is shown.").waitFor();
  await lookAt(page);
  const key = await page.locator("#secret").innerText();
  assert.match(key, /^lk1_[\w-]{40}$/);
  const [address, title] = JSON.parse(await everything(page));
  assert.ok(!address.includes(key) && !title.includes(key));
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await press(page, "Copy");
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), key);
  assert.equal(await askApi(withKey(key)), 200);
  assert.equal(await logIn(key), "400 Login failed");
  assert.equal(await askApi(withPassword(user, told.password)), 401);

  const isGone = async (window, how) => {
    const shown = await everything(window);
    assert.ok(!shown.includes(key) && !shown.includes(key.slice(4, 30)), `the key is shown ${how}`);
  };
  // A reload sends the form again: no second key, and no second display.
  page.once("dialog", (dialog) => dialog.accept());
  await page.reload();
  await expectHeading(page, "This key was already shown");
  await isGone(page, "by a reload");
  await lookAt(page);
  await press(page, "Back to the API keys");
  assert.equal(await rows(page).count(), 1);
  await isGone(page, "in the list");
  const shownEnd = await rows(page).locator("code").innerText();
  assert.equal(shownEnd, `…${key.slice(-4)}`);

  // A second one: on to the list, then Back.
  await page.getByLabel("Description").fill("Shop");
  await page.getByLabel("API", { exact: true }).check();
  await page.getByLabel("IsProxy", { exact: true }).check();
  await press(page, "Create API key");
  await expectHeading(page, "Save your new key now");
  const second = await page.locator("#secret").innerText();
  await press(page, "I have saved the key");
  await page.getByText("Just created").waitFor();
  assert.equal(await rows(page).count(), 2);
  await lookAt(page);
  await goBack(page);
  const back = await everything(page);
  assert.ok(!back.includes(second) && !back.includes(second.slice(4, 30)), "the key is shown by Back");
  // The browser asks before it sends the form again; who agrees is told.
  await page.reload();
  await expectHeading(page, "This key was already shown");
  const tab = await page.context().newPage();
  await tab.goto(told.console + list);
  assert.equal(await rows(tab).count(), 2);
  await isGone(tab, "in a new tab");
  assert.ok(!(await everything(tab)).includes(second));
  assert.equal(pathOf(tab), list);
  assert.equal(await askApi(withKey(second)), 200);
  assert.equal(await logIn(second), "100 Login ok");
});
