// Chromium, and windows that note whatever a page complains about: errors of scripts, breaches of the content security
// policy, missing assets.
import { chromium } from "./packages.mjs";

const SWITCHES = [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
  "--disable-component-update", "--disable-sync",
];
// Playwright switches the cache off that lets Back show a page as it was left. People have it on.
const NOT_SWITCHED_OFF = ["--disable-back-forward-cache"];

export const WIDE = { width: 1280, height: 900 };
export const SMALL = { width: 390, height: 844 };

export async function startBrowser() {
  const chrome = await chromium.launch({
    executablePath: process.env.LATCHKEY_TEST_CHROMIUM || "/usr/bin/chromium",
    args: SWITCHES,
    ignoreDefaultArgs: NOT_SWITCHED_OFF,
  });
  const faults = [];
  const secrets = new Map();
  const pages = [];

  // A window of somebody who was never here: no cookies, nothing stored.
  const open = async (options = {}) => {
    const context = await chrome.newContext({
      viewport: WIDE, colorScheme: "light", reducedMotion: "reduce", acceptDownloads: true, timezoneId: "UTC", ...options,
    });
    context.setDefaultTimeout(15000);
    await context.exposeBinding("noteFault", (_, fault) => { faults.push(fault); });
    await context.exposeBinding("noteSecret", (_, kind, text) => { secrets.set(text, kind); });
    await context.addInitScript(() => {
      addEventListener("DOMContentLoaded", () => {
        for (const part of document.querySelectorAll("#secret, #codes li, #key")) {
          window.noteSecret(part.closest("[id]").id, part.textContent.trim());
        }
      });
      addEventListener("securitypolicyviolation", (breach) => {
        window.noteFault(`${location.pathname} breaks ${breach.violatedDirective} with ${breach.blockedURI}`);
      });
    });
    context.on("page", (page) => {
      pages.push(page);
      page.on("pageerror", (error) => faults.push(`${page.url()}: ${error}`));
      page.on("console", (message) => {
        if (message.type() === "error" && !isRefusalOfAPage(message)) faults.push(`${page.url()}: ${message.text()}`);
      });
    });
    return context.newPage();
  };

  const describePages = async () => {
    const texts = [];
    for (const page of pages.filter((page) => !page.isClosed())) {
      const text = await page.locator("body").innerText({ timeout: 2000 }).catch(() => "(no text)");
      texts.push(`--- ${page.url()} ---\n${text}`);
    }
    return texts.join("\n");
  };

  // What the windows were shown once, with where it stood, and the cookies that they hold.
  const seenSecrets = async () => {
    for (const context of chrome.contexts()) {
      for (const cookie of await context.cookies()) secrets.set(cookie.value, "cookie");
    }
    return [...secrets].map(([text, kind]) => [kind, text]);
  };

  return { open, faults, describePages, seenSecrets, close: () => chrome.close() };
}

// A form that comes back with errors, or a page that is refused, is answered with 4xx; the stories look at those. And
// Back to the answer to a form is a page that the browser does not have.
function isRefusalOfAPage(message) {
  const isOfAPage = !message.location().url.includes("/assets/");
  return isOfAPage && /the server responded with a status of 4\d\d|net::ERR_CACHE_MISS/.test(message.text());
}
