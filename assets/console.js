// The console works without this file, but for security keys: copying, downloads, relative times and WebAuthn.
"use strict";
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const one = (selector) => (selector ? document.querySelector(selector) : null);

  const said = document.createElement("p");
  said.className = "visually-hidden";
  said.setAttribute("role", "status");
  document.body.append(said);

  // The text of a block: one line for each entry of a list.
  const textOf = (block) => {
    const lines = [...block.querySelectorAll("li")].map((line) => line.textContent.trim());
    return lines.length ? lines.join("\n") : block.textContent.trim();
  };

  const answer = (button, text) => {
    const before = button.dataset.text || button.textContent;
    button.dataset.text = before;
    button.textContent = text;
    said.textContent = text;
    setTimeout(() => { button.textContent = before; said.textContent = ""; }, 2500);
  };

  for (const button of all("[data-copy]")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const block = one(button.dataset.copy);
      if (!block) return;
      try {
        await navigator.clipboard.writeText(textOf(block));
        answer(button, "Copied");
      } catch {
        getSelection().selectAllChildren(block);
        answer(button, "Selected: press Ctrl+C");
      }
    });
  }

  for (const button of all("[data-download]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const block = one(button.dataset.source);
      if (!block) return;
      const heading = button.dataset.heading ? button.dataset.heading + "\n\n" : "";
      const link = document.createElement("a");
      link.href = URL.createObjectURL(new Blob([heading, textOf(block), "\n"], { type: "text/plain" }));
      link.download = button.dataset.download;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 10000);
      answer(button, "Downloaded");
    });
  }

  for (const button of all("[data-print]")) {
    button.hidden = false;
    button.addEventListener("click", () => print());
  }

  for (const button of all("[data-show]")) {
    const field = one(button.dataset.show);
    if (!field) continue;
    const show = (shown) => {
      field.type = shown ? "text" : "password";
      button.textContent = shown ? "Hide" : "Show";
      button.setAttribute("aria-label", (shown ? "Hide " : "Show ") + button.dataset.what.toLowerCase());
    };
    button.hidden = false;
    show(false);
    button.addEventListener("click", () => show(field.type === "password"));
    if (field.form) field.form.addEventListener("submit", () => show(false));
  }

  // Relative times; the exact one stays as the element's title.
  const steps = [[60, "second"], [60, "minute"], [24, "hour"], [30, "day"], [12, "month"], [Infinity, "year"]];
  const words = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
  const tell = () => {
    for (const time of all("time[data-relative]")) {
      let away = (Date.parse(time.dateTime) - Date.now()) / 1000;
      if (Number.isNaN(away)) continue;
      if (!time.title) time.title = time.textContent.trim();
      if (Math.abs(away) < 45) { time.textContent = away > 0 ? "in a moment" : "just now"; continue; }
      for (const [size, unit] of steps) {
        if (Math.abs(away) < size) { time.textContent = words.format(Math.round(away), unit); break; }
        away /= size;
      }
    }
  };
  tell();
  setInterval(tell, 60000);

  const target = one(".summary") || one("[data-autofocus]");
  if (target) target.focus();

  // Nothing secret comes back from the browser's memory of pages.
  addEventListener("pagehide", () => {
    for (const secret of all("[data-secret]")) {
      if ("value" in secret && secret.tagName !== "LI") secret.value = "";
      else secret.replaceChildren("Not shown again.");
      secret.removeAttribute("href");
    }
    for (const field of all("input[autocomplete$=password], input[name=credential]")) field.value = "";
  });

  // WebAuthn: bytes travel as base64url inside JSON.
  const toBytes = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const toText = (buffer) => {
    let text = "";
    for (const byte of new Uint8Array(buffer)) text += String.fromCharCode(byte);
    return btoa(text).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  };
  const withBytes = (list) => (list || []).map((entry) => ({ ...entry, id: toBytes(entry.id) }));
  const WRONG_ADDRESS = "This address cannot be used with security keys. Open the console as https://… or http://localhost, or use an authenticator app.";
  const MESSAGES = {
    NotAllowedError: "The security key was not used in time, or the request was cancelled. Try again when you are ready.",
    InvalidStateError: "This security key is already registered for your account.",
    SecurityError: WRONG_ADDRESS,
  };

  const register = async ({ publicKey }) => {
    const made = await navigator.credentials.create({ publicKey: {
      ...publicKey,
      challenge: toBytes(publicKey.challenge),
      user: { ...publicKey.user, id: toBytes(publicKey.user.id) },
      excludeCredentials: withBytes(publicKey.excludeCredentials),
    } });
    return [made, {
      attestationObject: toText(made.response.attestationObject),
      clientDataJSON: toText(made.response.clientDataJSON),
      transports: made.response.getTransports ? made.response.getTransports() : [],
    }];
  };

  const authenticate = async ({ publicKey }) => {
    const used = await navigator.credentials.get({ publicKey: {
      ...publicKey,
      challenge: toBytes(publicKey.challenge),
      allowCredentials: withBytes(publicKey.allowCredentials),
    } });
    const { authenticatorData, clientDataJSON, signature, userHandle } = used.response;
    return [used, {
      authenticatorData: toText(authenticatorData),
      clientDataJSON: toText(clientDataJSON),
      signature: toText(signature),
      userHandle: userHandle && userHandle.byteLength ? toText(userHandle) : null,
    }];
  };

  for (const form of all("form[data-webauthn]")) {
    const status = form.querySelector("[role=status]");
    const say = (text, isBad) => {
      status.textContent = text;
      status.classList.toggle("bad", isBad);
    };
    for (const text of form.querySelectorAll("[data-without-script]")) text.remove();
    if (!window.PublicKeyCredential) { say(WRONG_ADDRESS, true); continue; }
    const button = document.createElement("button");
    button.type = "submit";
    button.className = "button primary";
    button.textContent = form.dataset.button;
    form.querySelector("[data-button-place]").prepend(button);

    form.addEventListener("submit", async (event) => {
      if (form.elements.credential.value) return;
      event.preventDefault();
      if (button.disabled || !form.reportValidity()) return;
      button.disabled = true;
      say("Insert your security key and touch it when it blinks.", false);
      try {
        const run = form.dataset.webauthn === "register" ? register : authenticate;
        const [made, response] = await run(JSON.parse(form.dataset.options));
        form.elements.credential.value = JSON.stringify({
          id: made.id, rawId: toText(made.rawId), type: made.type, response,
          clientExtensionResults: made.getClientExtensionResults(),
        });
        say("Checking…", false);
        form.submit();
      } catch (error) {
        button.disabled = false;
        say(MESSAGES[error.name] || "The security key could not be used. Try again.", true);
      }
    });
  }
})();
