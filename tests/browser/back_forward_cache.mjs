// The control of every test that goes Back: this browser does bring a page back from its memory, `no-store` or not, and
// an answer that sets the cookie anew is what ends that.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { goBack, story } from "./lib.mjs";

const COOKIE = "session=same; HttpOnly; SameSite=Lax; Path=/";

function answer(request, response) {
  response.setHeader("Content-Type", "text/html");
  response.setHeader("Cache-Control", "no-store");
  // As at the console every page does.
  if (request.url !== "/without") response.setHeader("Set-Cookie", COOKIE);
  response.end(`<link rel=icon href="data:,"><title>Page</title><script>
    addEventListener("pageshow", (event) => { document.title = event.persisted ? "from memory" : "loaded"; });
  </script><p>${request.url}</p>`);
}

await story(async ({ open }) => {
  const server = createServer(answer).listen(0, "127.0.0.1");
  await new Promise((resolve) => { server.once("listening", resolve); });
  const at = `http://127.0.0.1:${server.address().port}`;
  for (const [next, expected] of [["/without", "from memory"], ["/with", "loaded"]]) {
    const page = await open();
    await page.goto(at + "/secret");
    await page.goto(at + next);
    await goBack(page);
    await page.waitForFunction(() => document.title !== "Page");
    assert.equal(await page.title(), expected, `Back from ${next}`);
  }
  server.close();
});
