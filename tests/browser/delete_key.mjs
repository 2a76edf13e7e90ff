// An API key is deleted while a client uses it: after the words of the button, and not before, the client is out.
import assert from "node:assert/strict";
import {
  askApi, expectHeading, expectNotice, focused, go, goOn, logIn, lookAt, openIsProxy, press, signIn, story, told, withKey,
} from "./lib.mjs";

const { user, path: list, doomed, other } = told;

await story(async ({ open }) => {
  const page = await open();
  await signIn(page, user);
  await goOn(page);

  const session = await openIsProxy();
  assert.equal(await session.ask(`LOGIN ${doomed}`), "100 Login ok");
  assert.equal(await session.ask("IS example.com"), "example.com available");
  assert.equal(await askApi(withKey(doomed)), 200);

  await go(page, list);
  const row = page.getByRole("row", { name: /Billing server/ });
  await lookAt(page);
  await row.getByRole("link", { name: "Delete" }).click();
  await expectHeading(page, "Delete “Billing server”?");
  assert.equal(await focused(page), "Delete “Billing server”?");
  await page.getByText("Any application that still uses this key loses access at once. This cannot be undone.").waitFor();
  await lookAt(page);
  await press(page, "Cancel");
  await row.waitFor();
  assert.equal(await askApi(withKey(doomed)), 200);

  await row.getByRole("link", { name: "Delete" }).click();
  await press(page, "I understand, delete this API key");
  await expectNotice(page, "API key “Billing server” was deleted.");
  assert.match(await focused(page), /API key “Billing server” was deleted/);
  await lookAt(page);
  assert.equal(await row.count(), 0);
  assert.equal(await askApi(withKey(doomed)), 401);
  assert.equal(await logIn(doomed), "400 Login failed");
  await session.ended;

  assert.equal(await askApi(withKey(other)), 200);
  assert.equal(await logIn(other), "100 Login ok");
});
