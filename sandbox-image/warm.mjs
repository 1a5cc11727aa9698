// One turn on the gateway being warmed, so that the code of a turn is compiled into the image too.
import { Gateway } from "./gateway.mjs";

let finish;
const finished = new Promise((resolve) => (finish = resolve));
const gateway = await Gateway.connect({
  url: "ws://127.0.0.1:18789",
  token: "warm",
  scopes: ["operator.admin", "operator.read", "operator.write"],
  onEvent: ({ event, payload }) => event === "chat" && payload.state === "final" && finish(),
});
await gateway.call("chat.send", { sessionKey: "main-1", message: "hi", idempotencyKey: "warm" });
await finished;
await gateway.call("chat.history", { sessionKey: "main-1" });
await gateway.call("device.pair.list", {});
process.exit(0);
