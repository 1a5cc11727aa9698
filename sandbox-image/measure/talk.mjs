// Does what the worker does, from outside the sandbox: connects twice with the tester's device, sends one message,
// waits for the answer, and prints what it saw as one line of JSON.
// usage: node talk.mjs <ws url> <gateway token> <message>
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { Gateway } from "../gateway.mjs";
import { stranger, tester } from "./device.mjs";

const [url, token, message] = process.argv.slice(2);
const sessionKey = "main-1";
const ALL = ["operator.admin", "operator.read", "operator.write"];
const PEOPLE = ["operator.read", "operator.write"];

const dial = (device, scopes, onEvent) => Gateway.connect({ url, token, scopes, prove: device.prove({ token, scopes }), onEvent });

/** Dials until the gateway has started and our device is approved. */
async function dialUntilApproved(scopes, onEvent) {
  for (const deadline = Date.now() + 120_000; ; await sleep(100)) {
    try {
      return await dial(tester, scopes, onEvent);
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
  }
}

const seen = {};
const started = Date.now();
const admin = await dialUntilApproved(ALL);
seen.approvedMs = Date.now() - started;
seen.adminScopes = admin.hello.auth.scopes;

let finish;
const answered = new Promise((resolve) => (finish = resolve));
const people = await dialUntilApproved(PEOPLE, ({ event, payload }) => {
  if (event === "chat" && ["final", "error", "aborted"].includes(payload.state)) finish(payload);
});
seen.peopleScopes = people.hello.auth.scopes;

seen.stranger = await dial(stranger, PEOPLE).then(() => "let in", (error) => error.details?.code ?? error.code);

const sent = Date.now();
await people.call("chat.send", { sessionKey, message, idempotencyKey: randomUUID() });
const last = await Promise.race([answered, sleep(90_000, { state: "no answer in 90 s" }, { ref: false })]);
seen.turnMs = Date.now() - sent;
seen.state = last.state;
seen.answer = last.message?.content?.map((part) => part.text).join("");
const { messages } = await people.call("chat.history", { sessionKey });
seen.rows = messages.length;

console.log(JSON.stringify(seen));
process.exit(0);
