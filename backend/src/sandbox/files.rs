//! What crosses between us and a sandbox's volume as a file: the agent's agenda out, and in the
//! three files that are put into a sandbox's volume before every start: the gateway's whole
//! configuration, its token for the broker, and the one device it may let in. Ours each time anew,
//! so that an agent that edits its own keeps nothing. Pure; the tokens are derived or made here.
//!
//! The broker's token is new at every start and so has a file of its own, which the configuration
//! only names: OpenClaw goes through all of its migrations whenever its configuration has changed.

use std::io::Read;

use anyhow::Context;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::SigningKey;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::{id::SandboxId, seal::MasterKey};

/// The image's own template, so that the image and we cannot disagree.
const TEMPLATE: &str = include_str!("../../../sandbox-image/openclaw.json");
/// Below the state, see `sandbox-image/openclaw.json`.
pub const WORKSPACE: &str = "workspace";
/// Enough that nobody guesses it.
const TOKEN_BYTES: usize = 32;

/// What the files are made of.
pub struct Secrets<'a> {
    pub gateway_token: &'a SecretString,
    /// Not in the configuration, see the module.
    pub broker_token: &'a SecretString,
    pub broker_url: &'a str,
    pub model: &'a str,
}

/// What we log in to the gateway with. A higher epoch makes older tokens worthless.
pub fn gateway_token(master: &MasterKey, sandbox: SandboxId, epoch: i32) -> SecretString {
    hex::encode(master.derive(&format!("gateway:{sandbox}:{epoch}"))).into()
}

/// What the sandbox calls the broker with; new at every start.
pub fn new_broker_token() -> anyhow::Result<SecretString> {
    let mut bytes = [0; TOKEN_BYTES];
    getrandom::fill(&mut bytes).context("draw a broker token")?;
    Ok(hex::encode(bytes).into())
}

/// What is stored of a broker token.
pub fn broker_token_hash(token: &SecretString) -> [u8; 32] {
    Sha256::digest(token.expose_secret()).into()
}

/// A tar archive of the three files, owned by the sandbox's uid and readable by nobody else.
pub fn archive(
    master: &MasterKey,
    sandbox: SandboxId,
    uid: u32,
    secrets: &Secrets<'_>,
) -> anyhow::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let files = [
        ("openclaw.json", config(secrets)?),
        (
            "broker-token",
            secrets.broker_token.expose_secret().to_owned(),
        ),
        ("device.json", device(master, sandbox)),
    ];
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o600);
        header.set_uid(uid.into());
        header.set_gid(uid.into());
        header.set_size(content.len() as u64);
        archive
            .append_data(&mut header, name, content.as_bytes())
            .context("pack a sandbox's files")?;
    }
    archive.into_inner().context("pack a sandbox's files")
}

/// A tar archive of one file of the agent's own, and of the folder it lies in below the workspace.
pub fn of_one(path: &str, uid: u32, content: &[u8]) -> anyhow::Result<Vec<u8>> {
    let header = |kind, mode, size| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid.into());
        header.set_gid(uid.into());
        header.set_size(size);
        header
    };
    let mut archive = tar::Builder::new(Vec::with_capacity(content.len() + MAX_HEADER_BYTES));
    let path = format!("{WORKSPACE}/{path}");
    if let Some((folder, _)) = path.rsplit_once('/') {
        let mut header = header(tar::EntryType::Directory, 0o700, 0);
        archive
            .append_data(&mut header, folder, [].as_slice())
            .context("pack a folder")?;
    }
    let mut header = header(tar::EntryType::Regular, 0o600, content.len() as u64);
    archive
        .append_data(&mut header, path, content)
        .context("pack a file")?;
    archive.into_inner().context("pack a file")
}

/// What may stand before a file's content in an archive: headers of up to a few long names.
pub const MAX_HEADER_BYTES: usize = 8 << 10;

/// The content of a tar archive's first entry, if that is a plain file; of a longer one the
/// beginning. The archive may be cut off, and a sandbox chose what is in it.
pub fn first_file(archive: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut archive = tar::Archive::new(archive);
    let entry = archive.entries().ok()?.next()?.ok()?;
    if !entry.header().entry_type().is_file() {
        return None;
    }
    let mut content = Vec::new();
    // Cut off or not: what could be read is what there is.
    let _ = entry.take(limit as u64).read_to_end(&mut content);
    Some(content)
}

fn config(secrets: &Secrets<'_>) -> anyhow::Result<String> {
    let values = [
        ("{{GATEWAY_TOKEN}}", secrets.gateway_token.expose_secret()),
        ("{{BROKER_URL}}", secrets.broker_url),
        ("{{MODEL}}", secrets.model),
    ];
    let mut text = TEMPLATE.to_owned();
    for (placeholder, value) in values {
        // Inside the template's quotes: escaped as JSON does, without quotes of its own.
        let quoted = serde_json::to_string(value).context("write a gateway's configuration")?;
        text = text.replace(placeholder, &quoted[1..quoted.len() - 1]);
    }
    Ok(text)
}

fn device(master: &MasterKey, sandbox: SandboxId) -> String {
    let key = SigningKey::from_bytes(&master.derive(&format!("device:{sandbox}")));
    let public = key.verifying_key().to_bytes();
    json!({
        "deviceId": hex::encode(Sha256::digest(public)),
        "publicKey": URL_SAFE_NO_PAD.encode(public),
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_plain_file_is_read_up_to_the_limit_and_nothing_else_is() {
        let packed = |kind, content: &[u8]| {
            let mut archive = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            archive
                .append_data(&mut header, "AGENDA.md", content)
                .unwrap();
            archive.into_inner().unwrap()
        };
        let file = packed(tar::EntryType::Regular, &[b'x'; 5_000]);
        assert_eq!(first_file(&file, 9_000).unwrap().len(), 5_000);
        assert_eq!(first_file(&file, 100).unwrap(), [b'x'; 100]);
        assert!(first_file(&file[..2_000], 9_000).unwrap().len() <= 2_000);
        assert_eq!(first_file(&packed(tar::EntryType::Symlink, b""), 100), None);
        assert_eq!(first_file(b"no archive at all", 100), None);
        assert_eq!(first_file(b"", 100), None);
    }

    #[test]
    fn the_files_are_complete_and_belong_to_the_sandbox_alone() {
        let master = MasterKey::parse(&STANDARD.encode([7; 32]).into()).unwrap();
        let id = SandboxId(uuid::Uuid::from_u128(7));
        let token = gateway_token(&master, id, 1);
        let broker_token = new_broker_token().unwrap();
        let secrets = Secrets {
            gateway_token: &token,
            broker_token: &broker_token,
            broker_url: "http://10.77.0.1:3005",
            model: "a \"quoted\" model",
        };
        let bytes = archive(&master, id, 200_001, &secrets).unwrap();
        let mut files = Vec::new();
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            assert_eq!(entry.header().uid().unwrap(), 200_001);
            assert_eq!(entry.header().mode().unwrap(), 0o600);
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            assert!(!text.contains("{{"), "a placeholder was left: {text}");
            files.push(text);
        }
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        let config = json(&files[0]);
        assert_eq!(config["gateway"]["auth"]["token"], token.expose_secret());
        let model = &config["models"]["providers"]["clawkaka"]["models"][0]["id"];
        assert_eq!(model, "a \"quoted\" model");
        assert_eq!(files[1], broker_token.expose_secret());
        assert_eq!(json(&files[2])["deviceId"].as_str().unwrap().len(), 64);
        assert_ne!(
            token.expose_secret(),
            gateway_token(&master, id, 2).expose_secret()
        );
    }

    #[test]
    fn the_configuration_is_the_same_at_every_start() {
        let master = MasterKey::parse(&STANDARD.encode([7; 32]).into()).unwrap();
        let configured = || {
            config(&Secrets {
                gateway_token: &gateway_token(&master, SandboxId(uuid::Uuid::nil()), 1),
                broker_token: &new_broker_token().unwrap(),
                broker_url: "http://10.77.0.1:3005",
                model: "a model",
            })
        };
        assert_eq!(configured().unwrap(), configured().unwrap());
    }
}
