// Approves the platform's device, and only that one, from inside the sandbox.
//
// The worker talks to this gateway with an Ed25519 device it derived; the gateway does not know it yet. Over loopback,
// holding the gateway's token, a client may approve pairing requests. So: wait for a request of exactly the device
// in device.json, approve it, and leave once the gateway lists that device with every scope the worker needs.
// The pairing lives in OpenClaw's own database, so on later starts there is usually nothing to do.
import { copyFileSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Gateway } from "./gateway.mjs";

const NEEDED = ["operator.read", "operator.write", "operator.admin"];
const RETRY_MS = 100;
const GIVE_UP_MS = 15 * 60_000; // the worker dials within seconds; the next start tries again

const [deviceFile, marker] = process.argv.slice(2);
const { deviceId } = JSON.parse(readFileSync(deviceFile, "utf8"));
const { port, auth } = JSON.parse(readFileSync(process.env.OPENCLAW_CONFIG_PATH, "utf8")).gateway;

const isOurs = (device) => device.deviceId === deviceId;
const asksForNoMore = (request) => request.role === "operator" && request.scopes.every((scope) => NEEDED.includes(scope));

/** Approves what our device asks for now; true once it holds every scope. */
async function settle(gateway) {
  const { pending } = await gateway.call("device.pair.list", {});
  for (const { requestId } of pending.filter(isOurs).filter(asksForNoMore)) {
    // A request the worker has since renewed is gone: its successor has an event of its own.
    await gateway.call("device.pair.approve", { requestId }).catch((error) => console.error(`approve: ${error.message}`));
  }
  const { paired } = await gateway.call("device.pair.list", {});
  const held = paired.find(isOurs)?.scopes ?? [];
  return NEEDED.every((scope) => held.includes(scope));
}

/** Stays connected until the device holds every scope; throws when the socket ends first. */
async function watch() {
  let wake, lost;
  const closed = new Promise((_, reject) => (lost = () => reject(new Error("socket closed"))));
  closed.catch(() => {}); // it is awaited below, but may close earlier
  const gateway = await Gateway.connect({
    url: `ws://127.0.0.1:${port}`,
    token: auth.token,
    scopes: ["operator.admin", "operator.pairing"],
    onEvent: ({ event }) => event === "device.pair.requested" && wake?.(),
    onClose: lost,
  });
  for (;;) {
    const requested = new Promise((resolve) => (wake = resolve)); // armed before looking, so that no request is missed
    if (await settle(gateway)) return;
    await Promise.race([requested, closed]);
  }
}

setTimeout(() => {
  console.error("approve: the platform's device did not come; the next start tries again");
  process.exit(1);
}, GIVE_UP_MS).unref();

for (;;) {
  try {
    await watch();
    break;
  } catch {
    await sleep(RETRY_MS); // the gateway is still starting
  }
}
copyFileSync(deviceFile, marker);
process.exit(0);
