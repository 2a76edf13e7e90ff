// A client of the gateway's two doors, as customers have them.
import { connect } from "node:net";
import { told } from "./story.mjs";

export const withKey = (key) => `ApiKey ${key}`;
export const withPassword = (user, password) => `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;

// The status that the API answers a request with.
export async function askApi(authorization) {
  const answer = await fetch(`${told.api}/v2/domains/example.com/check`, { headers: { authorization } });
  await answer.arrayBuffer();
  return answer.status;
}

// A session at IsProxy: `ask` sends a line and answers the next one; `ended` is kept once the server has closed it.
export async function openIsProxy() {
  const [host, port] = told.isproxy.split(":");
  const socket = connect({ host, port: Number(port) });
  socket.setEncoding("utf8");
  let text = "";
  let wake = () => {};
  const ended = new Promise((resolve) => { socket.on("close", () => { wake(); resolve(); }); });
  socket.on("error", () => {});
  socket.on("data", (part) => { text += part; wake(); });
  const readLine = async () => {
    while (!text.includes("\n") && !socket.closed) await new Promise((resolve) => { wake = resolve; });
    const [line] = text.split("\n");
    text = text.slice(line.length + 1);
    return line.trimEnd();
  };
  const ask = (line) => {
    socket.write(line + "\r\n");
    return readLine();
  };
  return { ask, ended, close: () => socket.destroy() };
}

// What a `LOGIN` line is answered with.
export async function logIn(credential) {
  const session = await openIsProxy();
  const line = await session.ask(`LOGIN ${credential}`);
  session.close();
  return line;
}
