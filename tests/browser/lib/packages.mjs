// The packages of package.json, which `tests/all` installs outside the sources.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";

const folder = process.env.LATCHKEY_TEST_NODE || new URL("../../../target/test-node", import.meta.url).pathname;
const require = createRequire(folder + "/package.json");

export const { chromium } = require("playwright-core");
export const jsQR = require("jsqr");
export const { PNG } = require("pngjs");
export const axeSource = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
