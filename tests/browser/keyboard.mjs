// Everything by keyboard: the skip link first, the ring of the focus always seen, a form filled in and sent, the error
// summary in the focus with links to the fields.
import assert from "node:assert/strict";
import { focused, go, goOn, story, told } from "./lib.mjs";

// How the element with the focus is marked.
const ring = (page) => page.evaluate(() => {
  const { outlineStyle, outlineWidth } = getComputedStyle(document.activeElement);
  return { name: document.activeElement.outerHTML.slice(0, 80), outlineStyle, width: parseFloat(outlineWidth) };
});

async function tabTo(page, found) {
  for (let presses = 0; presses < 60; presses += 1) {
    await page.keyboard.press("Tab");
    const { name, outlineStyle, width } = await ring(page);
    assert.ok(outlineStyle !== "none" && width >= 2, `no ring around ${name}`);
    if (await page.evaluate(found)) return;
  }
  assert.fail(`Tab never comes to ${found}`);
}

await story(async ({ open }) => {
  const page = await open();
  await go(page, "/sign-in");
  await page.keyboard.press("Tab");
  assert.equal(await focused(page), "Skip to the content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => location.hash), "#main");

  const [account, login] = told.user.split("/");
  await tabTo(page, () => document.activeElement.id === "account");
  await page.keyboard.type(account);
  await page.keyboard.press("Tab");
  await page.keyboard.type(login);
  await page.keyboard.press("Tab");
  await page.keyboard.type("not the password");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
  assert.match(await focused(page), /^There is a problem/);
  await tabTo(page, () => document.activeElement.closest(".summary a") !== null);
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "account");
  assert.equal(await page.getByLabel("User name").inputValue(), login);
  assert.equal(await page.getByLabel("Password", { exact: true }).inputValue(), "");
  await tabTo(page, () => document.activeElement.id === "password");
  await page.keyboard.type(told.password);
  await page.keyboard.press("Enter");
  await goOn(page);

  // Through the whole of a page with a menu, a table and a form, and on to its button.
  await go(page, told.path);
  await tabTo(page, () => document.activeElement.textContent === "Create API key");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").waitFor();
});
