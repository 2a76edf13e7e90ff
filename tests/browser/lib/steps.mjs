// What people do on many pages: sign in and out, go on, save codes.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { told } from "./story.mjs";

// The button or the link that looks like one.
export async function press(page, name) {
  const button = page.getByRole("button", { name, exact: true });
  await button.or(page.getByRole("link", { name, exact: true })).first().click();
}

export const heading = (page) => page.locator("h1").innerText();

export const pathOf = (page) => new URL(page.url()).pathname;

export async function expectHeading(page, text) {
  await page.getByRole("heading", { level: 1, name: text }).waitFor();
}

export async function expectNotice(page, text) {
  await page.locator(".notice", { hasText: text }).first().waitFor();
}

// Goes to an address of the console; answers the status.
export async function go(page, path) {
  const answer = await page.goto(told.console + path);
  return answer.status();
}

// The first step: account, user name, password.
export async function givePassword(page, user, password = told.password) {
  const [account, login] = user.split("/");
  await page.getByLabel("Account", { exact: true }).fill(account);
  await page.getByLabel("User name", { exact: true }).fill(login);
  await page.getByLabel("Password", { exact: true }).fill(password);
  await press(page, "Sign in");
}

export async function signIn(page, user, password) {
  await go(page, "/sign-in");
  await givePassword(page, user, password);
}

export async function giveCode(page, code) {
  await page.getByLabel(/^(Code from the app|Recovery code)$/).fill(code);
  await press(page, "Sign in");
}

// The cookie that names the session.
export async function sessionCookie(page) {
  const cookies = await page.context().cookies();
  return cookies.find((cookie) => cookie.name.endsWith("session"));
}

// Reads what happened since the last sign-in, where anything did, and goes on to what is advised.
export async function readEvents(page) {
  await page.waitForURL("**/signed-in*");
  if (await heading(page) !== "Since your last sign-in") return;
  await press(page, "Go on");
  await page.waitForFunction(() => document.querySelector("h1")?.innerText !== "Since your last sign-in");
}

// What is told between signing in and the page that was asked for: read and gone on from.
export async function goOn(page) {
  await page.waitForURL((url) => !url.pathname.startsWith("/sign-in"));
  while (pathOf(page) === "/signed-in") {
    const said = await heading(page);
    await press(page, /^(Not now|I have read this|Go on|Continue)$/);
    await page.waitForFunction((said) => document.querySelector("h1")?.innerText !== said, said);
  }
}

export async function signOut(page) {
  await press(page, "Sign out");
  await expectHeading(page, "Sign in");
  assert.equal(await sessionCookie(page), undefined, "the session's cookie is left after signing out");
}

// The recovery codes on the page, after they were saved by each way that the page offers.
export async function saveCodes(page) {
  const codes = await page.locator("#codes li").allInnerTexts();
  assert.equal(codes.length, 10);
  const download = page.waitForEvent("download");
  await press(page, "Download");
  const saved = readFileSync(await (await download).path(), "utf8");
  for (const code of codes) assert.ok(saved.includes(code), "a code is missing in the file");
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]);
  await page.getByRole("button", { name: "Copy" }).click();
  await page.getByText("Copied").first().waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), codes.join("\n"));
  await page.getByLabel("I have saved these codes").check();
  await press(page, "Next");
  return codes;
}

// Back, by whatever way the browser does it: a page that comes from its memory is not loaded again.
export async function goBack(page) {
  const shown = page.waitForEvent("framenavigated");
  await page.evaluate(() => { setTimeout(() => history.back()); });
  await shown;
  await page.waitForFunction(() => document.readyState === "complete");
}
