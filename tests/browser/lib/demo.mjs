// A `latchkey demo` of one's own, in a folder that is empty.
import { spawn } from "node:child_process";
import { once } from "node:events";

export async function startDemo(binary, folder, portBase) {
  const demo = spawn(binary, ["demo", "--json", "--data-dir", folder, "--port-base", String(portBase)], {
    stdio: ["ignore", "pipe", "ignore"], env: { ...process.env, LATCHKEY_LOG: "error" },
  });
  const stop = async () => {
    demo.kill("SIGTERM");
    await once(demo, "exit");
  };
  // Whatever becomes of the story, the demo ends with it.
  process.once("exit", () => demo.kill("SIGKILL"));
  let printed = "";
  demo.stdout.setEncoding("utf8");
  for await (const part of demo.stdout.iterator({ destroyOnReturn: false })) {
    printed += part;
    if (printed.includes("\n")) return { ...JSON.parse(printed), stop };
  }
  throw new Error("the demo ended without printing what it is");
}
