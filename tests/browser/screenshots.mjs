// Makes the pictures of the console in docs/images, from a demo with some life in it:
//
//   node tests/browser/screenshots.mjs target/release/latchkey
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { appOf, expectHeading, press, readEvents, scan, SMALL, startBrowser } from "./lib.mjs";
import { startDemo } from "./lib/demo.mjs";

const [binary = "target/release/latchkey", portBase = "9200"] = process.argv.slice(2);
const images = new URL("../../docs/images/", import.meta.url).pathname;

// Users and keys of a small account; the doors have been used.
async function fill(demo) {
  const cli = (args, input = "") => execFileSync(binary, [...args, "--config", demo.config], { input, encoding: "utf8", stdio: ["pipe", "pipe", "ignore"] });
  const people = [
    ["alex", "Alex Winter", ["--permission", "MANAGE_API_KEY"]],
    ["kim", "Kim Sommer", ["--permission", "MANAGE_USER", "--permission", "VIEW_AUDIT"]],
    ["nightly", "Nightly import", ["--access", "api"]],
    ["robin", "Robin Lenz", ["--force-mfa"]],
  ];
  for (const [login, name, more] of people) {
    cli(["user", "create", `demo/${login}`, "--name", name, "--password-file", "-", ...more], "correct-horse-battery-staple");
  }
  const keys = [["alex", "Billing server", "api"], ["alex", "Availability search", "isproxy"], ["alex", "Shop", "api,isproxy"], ["nightly", "Import job", "api"]];
  for (const [login, description, scope] of keys) {
    const key = cli(["key", "create", `demo/${login}`, "--description", description, "--scope", scope, "--yes"]).trim();
    if (!scope.includes("api")) continue;
    for (let count = 0; count < 5; count += 1) {
      await fetch(`${demo.api}/v2/domains/example.com/check`, { headers: { authorization: `ApiKey ${key}` } });
    }
  }
}

const folder = mkdtempSync(join(tmpdir(), "latchkey-pictures-"));
mkdirSync(images, { recursive: true });
const demo = await startDemo(binary, join(folder, "demo"), Number(portBase));
const browser = await startBrowser();
try {
  await fill(demo);
  const page = await browser.open({ viewport: { width: 1280, height: 800 } });
  const shoot = (name) => page.screenshot({ path: join(images, `${name}.png`), animations: "disabled" });
  const go = (path) => page.goto(demo.console + path);

  await go("/sign-in");
  await shoot("sign-in");
  const [account, user] = demo.user.split("/");
  await page.getByLabel("Account", { exact: true }).fill(account);
  await page.getByLabel("User name").fill(user);
  await page.getByLabel("Password", { exact: true }).fill(demo.password);
  await press(page, "Sign in");
  await readEvents(page);
  await press(page, "Set up MFA");
  await shoot("mfa");
  await press(page, "Activate authenticator app");
  await page.getByLabel("I have saved these codes").check();
  await press(page, "Next");
  const app = appOf(await scan(page));
  await shoot("mfa-app");
  await page.getByLabel("Code from the app").fill(app.next());
  await press(page, "Turn on authenticator app");
  await expectHeading(page, "MFA is on");

  await go("/account/users");
  await shoot("users");
  await go("/account/users/alex");
  await shoot("user");
  await page.emulateMedia({ colorScheme: "dark" });
  await shoot("user-dark");
  await page.emulateMedia({ colorScheme: "light" });
  await go("/account/users/alex/api-keys");
  await shoot("api-keys");
  await page.setViewportSize(SMALL);
  await shoot("api-keys-small");
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.getByLabel("Description").fill("Reporting");
  await page.getByLabel("API", { exact: true }).check();
  await press(page, "Create API key");
  await expectHeading(page, "Save your new key now");
  await shoot("api-key-created");
} finally {
  await browser.close();
  await demo.stop();
  rmSync(folder, { recursive: true });
}
