// The device a tester connects with: an Ed25519 key from a fixed seed, and the proof `connect` asks for.
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";

const base64url = (bytes) => Buffer.from(bytes).toString("base64url");

/** A device made from 32 seed bytes, in the shape of /state/device.json plus `prove`. */
export function device(seed) {
  const pkcs8 = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  const key = createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" });
  const raw = createPublicKey(key).export({ format: "der", type: "spki" }).subarray(-32);
  const deviceId = createHash("sha256").update(raw).digest("hex");
  const publicKey = base64url(raw);

  const prove = ({ token, scopes }) => ({ nonce, ts }) => {
    const payload = ["v3", deviceId, "gateway-client", "backend", "operator", scopes.join(","), ts, token, nonce, "linux", ""];
    return { id: deviceId, publicKey, nonce, signedAt: ts, signature: base64url(sign(null, Buffer.from(payload.join("|")), key)) };
  };
  return { deviceId, publicKey, prove };
}

/** The device the sandbox is told to let in, and one it was never told about. */
export const tester = device(Buffer.alloc(32, 7));
export const stranger = device(Buffer.alloc(32, 8));
