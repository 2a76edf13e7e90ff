// A user of whom MFA is required: nothing but the set-up until it is done, then everything; a security key from its
// registration to the sign-in with it.
import assert from "node:assert/strict";
import {
  askApi, expectHeading, expectNotice, givePassword, go, goOn, heading, logIn, lookAt, pathOf, plugIn, press, saveCodes,
  sessionCookie, signIn, signOut, story, told, withPassword,
} from "./lib.mjs";

const user = told.user;

await story(async ({ open }) => {
  const page = await open();
  const key = await plugIn(page);
  await signIn(page, user);
  await expectHeading(page, "Multi-factor authentication");
  await expectNotice(page, "Your administrator requires MFA. Set it up to use the console; the menu works again right after.");
  await lookAt(page);

  // Every entry of the menu, and every address, leads back here.
  for (const entry of await page.locator("nav.menu a").allInnerTexts()) {
    await page.locator("nav.menu").getByRole("link", { name: entry, exact: true }).click();
    await expectHeading(page, "Multi-factor authentication");
  }
  for (const path of ["/", "/connect", "/profile", `/account/users/${user.split("/")[1]}`, "/account/users", "/nowhere"]) {
    await go(page, path);
    assert.equal(pathOf(page), "/profile/mfa", path);
  }

  // Recovery codes come before the first method, and are the same when the page is loaded again.
  await press(page, "Set up security key");
  await expectHeading(page, "Save your recovery codes");
  await lookAt(page);
  const shown = await page.locator("#codes li").allInnerTexts();
  await page.reload();
  assert.deepEqual(await page.locator("#codes li").allInnerTexts(), shown);
  assert.deepEqual(await saveCodes(page), shown);

  // The name first, then the key; nobody touches it, then somebody does.
  await expectHeading(page, "Set up security key");
  await lookAt(page);
  await page.getByLabel("Name of the key").fill("Blue key");
  await press(page, "Register security key");
  await expectHeading(page, "MFA is on");
  await expectNotice(page, "Security key “Blue key” is on.");
  await lookAt(page);
  assert.equal((await key.credentials()).length, 1);

  // The menu works again.
  await page.locator("nav.menu").getByRole("link", { name: "Connect" }).click();
  await page.waitForURL("**/connect");
  assert.notEqual(await heading(page), "Multi-factor authentication");
  await go(page, "/profile/mfa");
  await page.getByText("MFA is on – 1 security key, 10 recovery codes left").waitFor();

  // Passwords are off at both doors.
  assert.equal(await askApi(withPassword(user, told.password)), 401);
  assert.equal(await logIn(`${user} ${told.password}`), "400 Login failed");

  // The password alone opens nothing.
  await signOut(page);
  await givePassword(page, user);
  await expectHeading(page, "Confirm it is you");
  await lookAt(page);
  const half = await sessionCookie(page);
  await go(page, "/connect");
  assert.equal(pathOf(page).startsWith("/sign-in/verify"), true, pathOf(page));

  // The key opens everything, with another session than the password's.
  await press(page, "Use security key");
  await goOn(page);
  await go(page, "/connect");
  assert.equal(pathOf(page), "/connect");
  assert.notEqual((await sessionCookie(page)).value, half.value);
});
