// What a story is told by the test that starts it, and how it ends: with the secrets that it saw, one a line, or with
// what went wrong and where.
//
// The test gives JSON in LATCHKEY_STORY: addresses, the command line of the installation, and what it has made there.
import { execFileSync } from "node:child_process";
import { startBrowser } from "./browser.mjs";

export const told = JSON.parse(process.env.LATCHKEY_STORY || "{}");

// Tells a story: `tell` gets a browser with which it opens windows. Whatever a page complained about fails it, too.
export async function story(tell) {
  const browser = await startBrowser();
  let failure;
  try {
    await tell(browser);
  } catch (error) {
    failure = error;
  }
  const faults = browser.faults.map((fault) => "The browser complained: " + fault);
  if (failure) console.error(failure.stack, "\n", await browser.describePages());
  if (faults.length) console.error(faults.join("\n"));
  for (const seen of await browser.seenSecrets()) console.log(JSON.stringify(seen));
  await browser.close();
  process.exit(failure || faults.length ? 1 : 0);
}

// Runs `latchkey ARGUMENTS` for the installation, with text on its stdin; answers its stdout.
export function cli(args, input = "") {
  const options = { input, encoding: "utf8", stdio: ["pipe", "pipe", "pipe"] };
  return execFileSync(told.binary, [...args, "--config", told.config], options);
}
