// Asks a running sandbox's gateway what it is told to ask, past the platform, as the device that the platform is to it.
// The first line of standard input says where and as whom: {url, token, master, sandbox, session}. Each further line is
// a message; for each it prints when it was sent and when the answer was final, in milliseconds since the epoch.
// usage: node direct.mjs
import { hkdfSync, randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { Gateway } from "../gateway.mjs";
import { device } from "./device.mjs";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { url, token, master, sandbox, session } = JSON.parse((await lines.next()).value);
// As backend/src/gateway/device.rs derives it.
const seed = hkdfSync("sha256", Buffer.from(master, "base64"), "clawkaka", `device:${sandbox}`, 32);
const scopes = ["operator.read", "operator.write"];
const now = () => performance.timeOrigin + performance.now();

let ended = () => {};
const onEvent = ({ event, payload }) => {
  if (event === "chat" && ["final", "error", "aborted"].includes(payload.state)) ended(payload);
};
const prove = device(Buffer.from(seed)).prove({ token, scopes });
const gateway = await Gateway.connect({ url, token, scopes, prove, onEvent });
console.log(JSON.stringify({ connected: true }));

for await (const message of lines) {
  const key = randomUUID();
  const answered = new Promise((resolve) => {
    ended = (payload) => payload.runId === key && resolve(payload);
  });
  const sent = now();
  await gateway.call("chat.send", { sessionKey: session, message, idempotencyKey: key });
  const { state } = await answered;
  console.log(JSON.stringify({ sent, final: now(), state }));
}
process.exit(0);
