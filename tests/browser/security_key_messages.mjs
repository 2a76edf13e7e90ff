// What is said when a security key is not used: nobody touches it, it is registered already, the name is missing.
import assert from "node:assert/strict";
import {
  expectHeading, go, goOn, lookAt, plugIn, press, saveCodes, signIn, story, told,
} from "./lib.mjs";

await story(async ({ open }) => {
  const page = await open();
  const key = await plugIn(page);
  await signIn(page, told.user);
  await goOn(page);
  await go(page, "/profile/mfa");
  await press(page, "Set up security key");
  await saveCodes(page);

  // Nothing starts by itself, and nothing without a name.
  await press(page, "Register security key");
  assert.equal((await key.credentials()).length, 0);
  await page.getByLabel("Name of the key").fill("Blue key");

  // The request is cancelled, as by the browser's own dialog.
  await page.evaluate(() => {
    const create = navigator.credentials.create.bind(navigator.credentials);
    navigator.credentials.create = () => {
      navigator.credentials.create = create;
      return Promise.reject(new DOMException("", "NotAllowedError"));
    };
  });
  await press(page, "Register security key");
  await page.getByRole("status").getByText("The security key was not used in time, or the request was cancelled.").waitFor();
  await lookAt(page);
  await press(page, "Register security key");
  await expectHeading(page, "MFA is on");

  // The same key again.
  await press(page, "Add a second key");
  await page.getByLabel("Name of the key").fill("The same");
  await press(page, "Register security key");
  await page.getByRole("status").getByText("This security key is already registered for your account.").waitFor();
  assert.equal((await key.credentials()).length, 1);

  // Another one.
  await key.unplug();
  await plugIn(page, { transport: "nfc" });
  await press(page, "Register security key");
  await expectHeading(page, "MFA is on");
  await go(page, "/profile/mfa");
  await page.getByText("MFA is on – 2 security keys, 10 recovery codes left").waitFor();
});
