// Prints one of the files a sandbox needs in /state, as a test would have it.
// usage: node files.mjs device.json   or   node files.mjs openclaw.json <gateway token> <broker url>
import { readFileSync } from "node:fs";
import { tester } from "./device.mjs";

const [file, GATEWAY_TOKEN, BROKER_URL] = process.argv.slice(2);
if (file === "device.json") {
  console.log(JSON.stringify({ deviceId: tester.deviceId, publicKey: tester.publicKey }));
} else {
  let config = readFileSync(new URL("../openclaw.json", import.meta.url), "utf8");
  for (const [name, value] of Object.entries({ GATEWAY_TOKEN, BROKER_URL, MODEL: "scripted" })) {
    config = config.replaceAll(`{{${name}}}`, value);
  }
  JSON.parse(config); // a template that is not JSON must fail here, not in the sandbox
  console.log(config);
}
