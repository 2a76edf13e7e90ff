// An authenticator app: it reads the QR code as a camera would, from a picture, and shows codes (RFC 4226, RFC 6238).
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { jsQR, PNG } from "./packages.mjs";

// What the QR code on the page says, read from a picture of the page.
export async function scan(page) {
  const picture = PNG.sync.read(await page.screenshot({ fullPage: true }));
  const found = jsQR(new Uint8ClampedArray(picture.data), picture.width, picture.height);
  assert.ok(found, "no QR code can be read from the picture of the page");
  return found.data;
}

// The app that was given `link`, an `otpauth:` one.
export function appOf(link) {
  const url = new URL(link);
  assert.equal(url.protocol, "otpauth:");
  assert.equal(url.hostname, "totp");
  const setting = (name, usual) => url.searchParams.get(name) ?? usual;
  assert.equal(setting("algorithm", "SHA1"), "SHA1");
  assert.equal(setting("digits", "6"), "6");
  assert.equal(setting("period", "30"), "30");
  const secret = setting("secret", "");
  return { label: decodeURIComponent(url.pathname.slice(1)), issuer: setting("issuer", ""), secret, ...codes(secret) };
}

// A code is good once, so that a test which needs a second one within the same half minute takes the next.
function codes(secret) {
  const key = fromBase32(secret);
  assert.ok(key.length >= 16, "the secret has fewer than 128 bits");
  const at = (milliseconds) => hotp(key, Math.floor(milliseconds / 30000));
  let last = 0;
  // A code that was not shown before, from half a minute ago at the earliest and ahead at the latest.
  const next = () => {
    const now = Math.floor(Date.now() / 30000);
    last = Math.max(last + 1, now - 1);
    assert.ok(last <= now + 1, "more codes are used than the time has");
    return hotp(key, last);
  };
  return { at, next };
}

function hotp(key, count) {
  const moving = Buffer.alloc(8);
  moving.writeBigUInt64BE(BigInt(count));
  const mac = createHmac("sha1", key).update(moving).digest();
  const offset = mac[19] & 15;
  return String((mac.readUInt32BE(offset) & 0x7fffffff) % 1000000).padStart(6, "0");
}

function fromBase32(text) {
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
  let bits = "";
  for (const letter of text.toUpperCase()) {
    assert.ok(letters.includes(letter), `${letter} is no letter of base32`);
    bits += letters.indexOf(letter).toString(2).padStart(5, "0");
  }
  return Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
}
