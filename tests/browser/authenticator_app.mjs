// A user of whom nothing is required turns an authenticator app on after the advice at the sign-in; the app, then a
// recovery code, sign in.
import assert from "node:assert/strict";
import {
  appOf, askApi, expectHeading, expectNotice, giveCode, givePassword, goOn, lookAt, pathOf, plugIn, press, saveCodes, scan,
  signIn, signOut, story, told, withPassword,
} from "./lib.mjs";

const user = told.user;

await story(async ({ open }) => {
  const page = await open();
  assert.equal(await askApi(withPassword(user, told.password)), 200);
  await signIn(page, user);
  await expectHeading(page, "Protect your sign-in with MFA");
  await lookAt(page);
  await press(page, "Set up MFA");
  await page.getByText("MFA is off").first().waitFor();
  await lookAt(page);

  await press(page, "Activate authenticator app");
  await expectHeading(page, "Save your recovery codes");
  const codes = await saveCodes(page);
  await expectHeading(page, "Set up authenticator app");

  // The code is read from the picture, in the dark too; beside it stands the same secret to be typed.
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await scan(page);
  await page.emulateMedia({ colorScheme: "light" });
  const link = await scan(page);
  assert.equal(dark, link);
  const app = appOf(link);
  assert.equal(app.issuer, "Latchkey");
  assert.equal(app.label, `Latchkey:${user}`);
  await page.getByText("Unable to scan?").click();
  assert.equal((await page.locator("#key").innerText()).replaceAll(" ", ""), app.secret);
  assert.equal(appOf(await page.locator("a[href^='otpauth:']").getAttribute("href")).secret, app.secret);
  await lookAt(page);

  // Not on before the code was right.
  await page.getByLabel("Code from the app").fill("000000");
  await press(page, "Turn on authenticator app");
  await page.getByRole("alert").getByText("The code is not correct").first().waitFor();
  assert.match(await page.title(), /^Error: /);
  await lookAt(page);
  assert.equal(await askApi(withPassword(user, told.password)), 200);
  await page.getByLabel("Code from the app").fill(app.next());
  await press(page, "Turn on authenticator app");
  await expectNotice(page, "Authenticator app is on.");
  await lookAt(page);
  assert.equal(await askApi(withPassword(user, told.password)), 401);

  // The app signs in, with each code once.
  await signOut(page);
  await givePassword(page, user);
  await expectHeading(page, "Confirm it is you");
  await lookAt(page);
  const code = app.next();
  await giveCode(page, `${code.slice(0, 3)} ${code.slice(3)}`);
  await goOn(page);
  await signOut(page);
  await givePassword(page, user);
  await giveCode(page, code);
  await page.getByText("The code is not correct or no longer valid. Enter the code the app shows now.").first().waitFor();

  // A recovery code does as well, in any case and without dashes, once.
  const [first] = codes;
  await press(page, "Use a recovery code");
  await expectHeading(page, "Use a recovery code");
  await lookAt(page);
  await giveCode(page, first.toUpperCase().replaceAll("-", ""));
  await expectNotice(page, "You used a recovery code. 9 are left.");
  await lookAt(page);
  await goOn(page);
  await signOut(page);
  await givePassword(page, user);
  await press(page, "Use a recovery code");
  await giveCode(page, first);
  await page.getByRole("alert").waitFor();
  await giveCode(page, codes[1]);
  await goOn(page);

  // A second method: no recovery codes again, and either of both signs in.
  const key = await plugIn(page, { transport: "internal" });
  await page.goto(told.console + "/profile/mfa");
  await press(page, "Add security key");
  await expectHeading(page, "Set up security key");
  assert.equal(pathOf(page), "/profile/mfa/key");
  await page.getByLabel("Name of the key").fill("This laptop");
  await press(page, "Register security key");
  await expectHeading(page, "MFA is on");
  assert.equal((await key.credentials()).length, 1);
  await page.goto(told.console + "/profile/mfa");
  await page.getByText("MFA is on – 1 app, 1 security key, 8 recovery codes left").waitFor();
  await lookAt(page);
  await signOut(page);
  await givePassword(page, user);
  await expectHeading(page, "Confirm it is you");
  if (!pathOf(page).endsWith("/key")) await press(page, "Use security key");
  await press(page, "Use security key");
  await goOn(page);
});
