// Every page of the console, looked at in light and dark, wide and small: as an administrator sees them, a user without
// permissions, and somebody who has not signed in. Pages of a set-up are looked at by the stories of the set-up.
import assert from "node:assert/strict";
import { appOf, expectHeading, go, goOn, lookAt, press, saveCodes, scan, signIn, signOut, story, told } from "./lib.mjs";

const ALEX = "/account/users/alex";
// Addresses that an administrator opens, with what is at each.
const OF_AN_ADMINISTRATOR = [
  ["/account/users", "Users"],
  ["/account/users?filter=mfa-off", "Users"],
  ["/account/users?search=nobody-is-called-so", "Users"],
  ["/account/users/new", "New user"],
  [ALEX, "Alex <script>"],
  [`${ALEX}/edit`, ""],
  [`${ALEX}/deactivate`, "Deactivate"],
  [`${ALEX}/delete`, "Delete"],
  ["/account/users/gone/allow-password", "password"],
  [`${ALEX}/mfa`, "MFA"],
  [`${ALEX}/mfa/reset`, "MFA"],
  [`${ALEX}/ip-whitelist`, "IP whitelist"],
  [`${ALEX}/quotas`, "Quotas"],
  [`${ALEX}/api-keys`, "API keys"],
  [`${ALEX}/api-keys/${told.key}/delete`, "Delete"],
  [`${ALEX}/api-keys/${told.key}/replace`, "Replace"],
  [`${ALEX}/api-keys/${told.key}/usage`, ""],
  ["/account/ip-whitelist", "IP whitelist"],
  ["/account/users/gone", ""],
  ["/account/users/gone/reactivate", "Reactivate"],
  [`/account/users/${told.longest}`, ""],
  ["/account/users/admin", ""],
  ["/account/activity", "Activity"],
  ["/account/activity?user=nobody", "Activity"],
  ["/account/usage", "Usage"],
  ["/account/quotas", "Quotas"],
  ["/connect", "Connect"],
  ["/api-reference", "Management API"],
  ["/profile", "Profile"],
  ["/profile/password", "Change password"],
  ["/profile/sessions", "Sessions"],
  ["/profile/quotas", "Quotas"],
  ["/profile/api-keys", "API keys"],
  ["/profile/mfa", "Multi-factor authentication"],
  ["/confirm", "Confirm it is you"],
];

async function lookAtAll(page, addresses) {
  for (const [path, title] of addresses) {
    assert.equal(await go(page, path), 200, path);
    assert.ok((await page.locator("h1").innerText()).includes(title), `${path}: ${await page.locator("h1").innerText()}`);
    await lookAt(page);
  }
}

// Nobody has signed in.
async function lookOutside(page) {
  for (const path of ["/sign-in", "/sign-in?reason=over", "/nowhere"]) {
    assert.equal(await go(page, path), 200, path);
    await lookAt(page);
  }
  assert.equal(await go(page, "/welcome/no-such-link"), 404);
  await lookAt(page);
}

// A form that comes back, a one-time link, and the page that it opens.
async function lookAtANewUser(page, visitor) {
  await go(page, "/account/users/new");
  await press(page, "Create user");
  await page.getByRole("alert").waitFor();
  await lookAt(page);
  await page.getByLabel("Login name").fill("kim");
  await press(page, "Create user");
  await page.getByText("This is the only time the link is shown.").waitFor();
  await lookAt(page);
  await visitor.goto(await page.locator("#secret").innerText());
  await lookAt(visitor);
  page.once("dialog", (dialog) => dialog.accept());
  await page.reload();
  await lookAt(page);
}

// The pages of MFA that is on.
async function lookAtMfa(page) {
  await go(page, "/profile/mfa");
  await press(page, "Activate authenticator app");
  await expectHeading(page, "Save your recovery codes");
  await page.getByRole("button", { name: "Next" }).click();
  await page.getByRole("alert").waitFor();
  await lookAt(page);
  await saveCodes(page);
  const app = appOf(await scan(page));
  await page.getByLabel("Code from the app").fill(app.next());
  await press(page, "Turn on authenticator app");
  await expectHeading(page, "MFA is on");
  await go(page, "/profile/mfa");
  const [rename, remove] = await page.locator(".actions-cell a").evaluateAll((links) => links.map((link) => link.pathname));
  for (const path of [rename, remove, "/profile/mfa/recovery-codes/replace", "/account/users"]) {
    await go(page, path);
    await lookAt(page);
  }
  await go(page, "/profile/mfa/recovery-codes/replace");
  await press(page, "Replace recovery codes");
  await expectHeading(page, "Save your recovery codes");
  await lookAt(page);
}

await story(async ({ open }) => {
  const [page, visitor, alex] = [await open(), await open(), await open()];
  await lookOutside(visitor);
  await signIn(page, "acme/admin");
  await goOn(page);
  await lookAtAll(page, OF_AN_ADMINISTRATOR);
  assert.equal(await go(page, "/account/nothing"), 404);
  await lookAt(page);
  await lookAtANewUser(page, visitor);
  await lookAtMfa(page);
  await signOut(page);
  await lookAt(page);

  // What a user without permissions sees of the own account, and what is refused.
  await signIn(alex, "acme/alex");
  await goOn(alex);
  await lookAtAll(alex, [[ALEX, "Alex <script>"], ["/profile", "Profile"], ["/connect", "Connect"]]);
  for (const path of ["/account/users", "/account/activity", "/profile/api-keys"]) {
    assert.equal(await go(alex, path), 403, path);
    await lookAt(alex);
  }
});
