// Approves the platform's device, and only that one, from inside the sandbox.
//
// The worker talks to this gateway with an Ed25519 device it derived; the gateway does not know it yet. Over loopback,
// holding the gateway's token, a client may approve pairing requests. So: wait for a request of exactly the device
// in device.json, approve it, leave once the gateway lists it with every scope the worker needs. The pairing lives
// in OpenClaw's own database, so on later starts there is usually nothing to do.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Gateway } from "./gateway.mjs";

const NEEDED = ["operator.read", "operator.write", "operator.admin"];
const GIVE_UP_AFTER_MS = 15 * 60_000; // a sandbox waiting for its first person is dialled by the worker long before
const RETRY_MS = 100;

const state = process.env.CLAWKAKA_STATE ?? "/state";
const { deviceId } = JSON.parse(readFileSync(`${state}/device.json`, "utf8"));
const { port, auth } = JSON.parse(readFileSync(process.env.OPENCLAW_CONFIG_PATH, "utf8")).gateway;

const isOurs = (request) => request.deviceId === deviceId;
const asksOnlyWhatWeNeed = (request) => (request.scopes ?? []).every((scope) => NEEDED.includes(scope));

/** One look at the gateway's list: approve what is ours; true once the device holds every scope. */
async function approvePending(gateway) {
  const before = await gateway.call("device.pair.list", {});
  for (const request of before.pending.filter(isOurs).filter(asksOnlyWhatWeNeed)) {
    await gateway.call("device.pair.approve", { requestId: request.requestId }).catch((error) => {
      console.error(`approve: request not approved: ${error.message}`); // replaced by a newer request: the next look sees that
    });
  }
  const { paired } = before.pending.some(isOurs) ? await gateway.call("device.pair.list", {}) : before;
  const scopes = paired.find(isOurs)?.approvedScopes ?? paired.find(isOurs)?.scopes ?? [];
  return NEEDED.every((scope) => scopes.includes(scope));
}

/** Stays connected until the device is approved; throws when the socket ends first. */
async function watch() {
  let wake, lost;
  const closed = new Promise((_, reject) => (lost = () => reject(new Error("socket closed"))));
  closed.catch(() => {});
  const gateway = await Gateway.connect({
    url: `ws://127.0.0.1:${port}`,
    token: auth.token,
    scopes: ["operator.admin", "operator.pairing"],
    onEvent: ({ event }) => event === "device.pair.requested" && wake?.(),
    onClose: lost,
  });
  for (;;) {
    const requested = new Promise((resolve) => (wake = resolve)); // armed before looking, so no request is missed
    if (await approvePending(gateway)) return gateway.close();
    await Promise.race([requested, closed]);
  }
}

const deadline = setTimeout_(GIVE_UP_AFTER_MS);
for (;;) {
  try {
    await watch();
    process.exit(0);
  } catch {
    await sleep(RETRY_MS); // the gateway is still starting
  }
}

function setTimeout_(ms) {
  return setTimeout(() => {
    console.error("approve: our device was not seen in time; the next start tries again");
    process.exit(1);
  }, ms).unref();
}
