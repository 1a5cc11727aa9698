// Makes the gateway forget the tester's device, as a restored or damaged database would.
// usage: node forget.mjs <ws url> <gateway token>
import { Gateway } from "../gateway.mjs";
import { tester } from "./device.mjs";

const [url, token] = process.argv.slice(2);
const scopes = ["operator.admin"];
const gateway = await Gateway.connect({ url, token, scopes, prove: tester.prove({ token, scopes }) });
await gateway.call("device.pair.remove", { deviceId: tester.deviceId });
process.exit(0);
