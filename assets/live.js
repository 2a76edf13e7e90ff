// Puts the parts of the live page in place as the gateway tells them. Without it the page is read again by itself.
"use strict";
(() => {
  const connection = document.getElementById("connection");
  const say = (text) => { if (connection.textContent !== text) connection.textContent = text; };
  const shown = new Map();
  const source = new EventSource("/live/events");

  source.addEventListener("message", (event) => {
    for (const [id, html] of Object.entries(JSON.parse(event.data))) {
      const part = document.getElementById(id);
      if (!part || shown.get(id) === html) continue;
      shown.set(id, html);
      part.innerHTML = html;
    }
    say("Live: every sample is shown as it is taken.");
  });

  source.addEventListener("error", () => {
    say(source.readyState === EventSource.CLOSED
      ? "Not live: the gateway takes no further listener now. Read the page again later."
      : "Not live: the connection broke. Trying again.");
  });
})();
