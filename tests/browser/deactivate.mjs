// A user is deactivated: keys, open sessions and the console end at once, and come back with the reactivation.
import assert from "node:assert/strict";
import {
  askApi, expectHeading, go, goOn, logIn, lookAt, openIsProxy, pathOf, press, signIn, story, told, withKey,
} from "./lib.mjs";

const [account, login] = told.user.split("/");

await story(async ({ open }) => {
  const [admin, alex] = [await open(), await open()];
  await signIn(admin, `${account}/admin`);
  await goOn(admin);
  await signIn(alex, told.user);
  await goOn(alex);
  await go(alex, "/profile");
  assert.equal(pathOf(alex), "/profile");
  const session = await openIsProxy();
  assert.equal(await session.ask(`LOGIN ${told.key}`), "100 Login ok");
  assert.equal(await askApi(withKey(told.key)), 200);

  await go(admin, `/account/users/${login}`);
  await lookAt(admin);
  await admin.getByText("More", { exact: true }).click();
  await press(admin, "Deactivate");
  await admin.getByText(`${login} can no longer sign in. All open sessions end and all API keys stop working at once.`).waitFor();
  await lookAt(admin);
  await press(admin, "Cancel");
  assert.equal(await askApi(withKey(told.key)), 200);
  await go(admin, `/account/users/${login}/deactivate`);
  await admin.locator("main button.danger").click();
  await admin.waitForURL((url) => !url.pathname.endsWith("/deactivate"));

  assert.equal(await askApi(withKey(told.key)), 401);
  assert.equal(await logIn(told.key), "400 Login failed");
  await session.ended;
  await go(alex, "/profile");
  await expectHeading(alex, "Sign in");
  await signIn(alex, told.user);
  await alex.getByRole("alert").getByText("Account, user name or password is not correct.").waitFor();
  await lookAt(alex);

  await go(admin, `/account/users/${login}/reactivate`);
  await lookAt(admin);
  await admin.locator("main form button").last().click();
  await admin.waitForURL((url) => !url.pathname.endsWith("/reactivate"));
  assert.equal(await askApi(withKey(told.key)), 200);
  assert.equal(await logIn(told.key), "100 Login ok");
  await signIn(alex, told.user);
  await goOn(alex);
});
