// How every page must look: no fault that axe finds, in light and dark, wide and small; nothing wider than the window.
import assert from "node:assert/strict";
import { axeSource } from "./packages.mjs";
import { SMALL, WIDE } from "./browser.mjs";

// The narrowest window that everything must fit (WCAG 2.2, 1.4.10).
const NARROWEST = { width: 320, height: 800 };
// The spacing of text that somebody may choose (WCAG 2.2, 1.4.12).
const SPACING = "* { line-height: 1.5 !important; letter-spacing: 0.12em !important; word-spacing: 0.16em !important; } p { margin-bottom: 2em !important; }";

// Each colour and each width; at full length every pair of them, as each look takes a second.
const WINDOWS = process.env.LATCHKEY_TEST_LENGTH === "full"
  ? [["light", WIDE], ["light", SMALL], ["dark", WIDE], ["dark", SMALL]]
  : [["light", WIDE], ["dark", SMALL]];

export async function lookAt(page) {
  const where = `${new URL(page.url()).pathname} (${await page.title()})`;
  assert.match(await page.title(), / – Latchkey$/, where);
  assert.equal(await page.locator("h1").count(), 1, `headings of the first level at ${where}`);
  assert.equal(await page.locator("html").getAttribute("lang"), "en", where);
  for (const [colorScheme, size] of WINDOWS) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(size);
    await findNothing(page, `${where}, ${colorScheme}, ${size.width} wide`);
  }
  await page.setViewportSize(NARROWEST);
  await fits(page, where);
  await page.evaluate((spacing) => {
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(spacing);
    document.adoptedStyleSheets = [sheet];
  }, SPACING);
  await fits(page, `${where}, with wide spacing,`);
  await page.evaluate(() => { document.adoptedStyleSheets = []; });
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize(WIDE);
}

// Nothing is wider than the window, and no text is cut off.
async function fits(page, where) {
  const excess = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(excess <= 0, `${where} is ${excess} pixels wider than a window of ${NARROWEST.width}`);
  const cut = await page.evaluate(() => [...document.querySelectorAll("main *:not(input), header *, nav *")].filter((element) => {
    const { overflowX, overflowY, position } = getComputedStyle(element);
    const isCut = (overflow, inner, outer) => /hidden|clip/.test(overflow) && inner > outer + 1;
    return position !== "absolute" && (isCut(overflowX, element.scrollWidth, element.clientWidth) ||
      isCut(overflowY, element.scrollHeight, element.clientHeight));
  }).map((element) => element.outerHTML.slice(0, 120)));
  assert.deepEqual(cut, [], `${where} cuts text off`);
}

async function findNothing(page, where) {
  await page.evaluate(`window.axe || (() => { ${axeSource} })()`);
  const violations = await page.evaluate(async () => {
    const found = await window.axe.run(document, {
      resultTypes: ["violations"],
      // Off by default; 2.5.8 of WCAG 2.2.
      rules: { "target-size": { enabled: true } },
    });
    return found.violations.map(({ id, help, nodes }) => ({
      id, help, nodes: nodes.slice(0, 3).map((node) => `${node.target.join(" ")}: ${node.failureSummary}`),
    }));
  });
  assert.deepEqual(violations, [], `axe finds faults at ${where}`);
}

// The element that has the focus, as text.
export const focused = (page) => page.evaluate(() => document.activeElement.innerText.trim());
