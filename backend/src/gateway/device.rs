//! The device we are to a sandbox's gateway: an Ed25519 key derived from the master key, never stored.
//!
//! OpenClaw gives a client from another network no scopes at all unless it proves a device that
//! was approved inside. The sandbox gets only [`Device::public_file`]; its start-up approves
//! exactly that device and no other.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer, SigningKey};
use sha2::{Digest, Sha256};

use crate::{id::SandboxId, seal::MasterKey};

/// What OpenClaw calls a backend that is not one of its own apps.
pub const CLIENT_ID: &str = "gateway-client";
pub const CLIENT_MODE: &str = "backend";
pub const ROLE: &str = "operator";
pub const PLATFORM: &str = "linux";

/// One sandbox's device.
pub struct Device {
    key: SigningKey,
    /// Hex SHA-256 of the raw public key.
    pub id: String,
    /// The raw public key in base64url.
    pub public_key: String,
}

impl Device {
    pub fn of(master: &MasterKey, sandbox: SandboxId) -> Self {
        let key = SigningKey::from_bytes(&master.derive(&format!("device:{sandbox}")));
        let public = key.verifying_key().to_bytes();
        Self {
            key,
            id: hex::encode(Sha256::digest(public)),
            public_key: URL_SAFE_NO_PAD.encode(public),
        }
    }

    /// What the sandbox reads as `device.json`.
    pub fn public_file(&self) -> String {
        serde_json::json!({ "deviceId": self.id, "publicKey": self.public_key }).to_string()
    }

    /// The answer to a challenge; `signed_at` is the challenge's own time, so our clocks may differ.
    pub fn sign(&self, token: &str, scopes: &[&str], nonce: &str, signed_at: u64) -> String {
        let payload = payload(&self.id, token, scopes, nonce, signed_at);
        URL_SAFE_NO_PAD.encode(self.key.sign(payload.as_bytes()).to_bytes())
    }
}

/// Version 3 of OpenClaw's signature payload; the last field, the device family, stays empty.
fn payload(id: &str, token: &str, scopes: &[&str], nonce: &str, signed_at: u64) -> String {
    let scopes = scopes.join(",");
    format!(
        "v3|{id}|{CLIENT_ID}|{CLIENT_MODE}|{ROLE}|{scopes}|{signed_at}|{token}|{nonce}|{PLATFORM}|"
    )
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    fn device(sandbox: u128) -> Device {
        let zeros = SecretString::from("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
        let master = MasterKey::parse(&zeros).unwrap();
        Device::of(&master, SandboxId(uuid::Uuid::from_u128(sandbox)))
    }

    #[test]
    fn a_sandbox_has_one_device_for_ever_and_no_two_share_one() {
        assert_eq!(device(1).public_file(), device(1).public_file());
        assert_ne!(device(1).id, device(2).id);
        assert_eq!(device(1).id.len(), 64);
    }

    #[test]
    fn the_signature_covers_the_fields_in_openclaws_order() {
        assert_eq!(
            payload("ID", "TOKEN", &["a", "b"], "NONCE", 17),
            "v3|ID|gateway-client|backend|operator|a,b|17|TOKEN|NONCE|linux|"
        );
        let device = device(1);
        let signature = URL_SAFE_NO_PAD
            .decode(device.sign("TOKEN", &["a"], "NONCE", 17))
            .unwrap();
        let signature = ed25519_dalek::Signature::from_slice(&signature).unwrap();
        let signed = payload(&device.id, "TOKEN", &["a"], "NONCE", 17);
        let key = device.key.verifying_key();
        assert!(key.verify_strict(signed.as_bytes(), &signature).is_ok());
    }
}
