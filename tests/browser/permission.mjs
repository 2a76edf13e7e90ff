// MANAGE_API_KEY is given and taken by an administrator; the user's very next page shows it.
import assert from "node:assert/strict";
import { go, goOn, lookAt, press, signIn, story, told } from "./lib.mjs";

const OWN_KEYS = "/profile/api-keys";
const [account] = told.user.split("/");

await story(async ({ open }) => {
  const [admin, alex] = [await open(), await open()];
  await signIn(admin, `${account}/admin`);
  await goOn(admin);
  await signIn(alex, told.user);
  await goOn(alex);

  const expectRefusal = async () => {
    assert.equal(await go(alex, OWN_KEYS), 403);
    await alex.getByText(`You need the permission MANAGE_API_KEY. An administrator of ${account} can give it to you.`).waitFor();
    await go(alex, "/profile");
    assert.equal(await alex.locator(`a[href="${OWN_KEYS}"]`).count(), 0);
  };
  const change = async (tick) => {
    await go(admin, `/account/users/${told.user.split("/")[1]}/edit`);
    await admin.getByLabel("MANAGE_API_KEY").setChecked(tick);
    await press(admin, "Save changes");
    await admin.waitForURL((url) => !url.pathname.endsWith("/edit"));
  };
  await expectRefusal();
  await lookAt(alex);
  await change(true);
  assert.equal(await go(alex, OWN_KEYS), 200);
  await alex.getByRole("button", { name: "Create API key" }).waitFor();
  await go(alex, "/profile");
  assert.notEqual(await alex.locator(`a[href="${OWN_KEYS}"]`).count(), 0);
  await change(false);
  await expectRefusal();
});
