//! Settings, checked once at start. Only this folder reads the environment.

mod assemble;
mod check;
pub mod env;
mod line;
mod policy;
mod timing;

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use secrecy::SecretString;
use url::Url;

use crate::{
    backup::store,
    line::policy::Policy,
    seal::{MasterKey, OpeningKey, SealingKey},
    transcribe,
};
use check::Check;
pub use env::Raw;
pub use line::{Kapso, Named, POLL_AT_LEAST_EVERY, POLL_BESIDE_A_WEBHOOK_EVERY, WhatsApp};
pub use timing::Timing;

/// Everything a process needs to know, validated for the roles it plays.
pub struct Config {
    pub roles: Roles,
    pub deployment: String,
    pub database_url: SecretString,
    pub keys: Keys,
    pub ports: Ports,
    pub log_format: LogFormat,
    pub whatsapp: WhatsApp,
    pub kapso: Kapso,
    pub llm: Llm,
    /// What puts voice messages into words.
    pub transcription: Option<transcribe::Service>,
    pub sandbox: Sandbox,
    pub limits: Limits,
    /// Of lines for which nothing else was set.
    pub policy: Policy,
    pub timing: Timing,
    /// None: nothing is backed up.
    pub backup: Option<Backup>,
}

/// Backups: where to, how often, how many.
#[derive(Clone, Debug)]
pub struct Backup {
    pub to: store::Place,
    /// Zero: only when somebody asks.
    pub every: Duration,
    pub keep: usize,
}

/// What this process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    pub web: bool,
    pub worker: bool,
    pub broker: bool,
}

/// What this process can open.
pub enum Keys {
    /// worker: everything derives from it.
    Master(Arc<MasterKey>),
    /// web: can seal, not read. With the other key it opens the secrets of webhooks of lines that were
    /// added by command; without it there are none for it.
    Web {
        sealing: SealingKey,
        webhooks: Option<OpeningKey>,
    },
    /// broker: seals nothing and reads nothing.
    None,
}

#[derive(Clone, Copy, Debug)]
pub struct Ports {
    pub web: u16,
    pub worker_health: u16,
    pub metrics: u16,
    pub metrics_address: Ipv4Addr,
    pub broker: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Human,
    Json,
}

#[derive(Clone)]
pub struct Llm {
    pub base_url: Url,
    pub api_key: SecretString,
    pub model: String,
    /// Tokens per tenant in 24 hours.
    pub tokens_per_tenant_day: i64,
    /// Tokens in all in 24 hours.
    pub tokens_per_day: i64,
    /// Model calls within one turn.
    pub calls_per_turn: i64,
}

#[derive(Clone, Debug)]
pub struct Sandbox {
    pub image: String,
    /// Bytes.
    pub memory: i64,
    pub cpus: f64,
    /// Bytes; `None`: without a limit.
    pub disk: Option<i64>,
    pub disk_folder: String,
    pub runtime: Option<String>,
    /// First address of the /16; the bridge has the one after it.
    pub subnet: Ipv4Addr,
    pub uid_base: u32,
    /// How many may be awake at a time; `None`: as many as the machine's memory holds.
    pub capacity: Option<usize>,
    /// How many of those wait for somebody new.
    pub pool_size: usize,
    pub docker_host: String,
}

#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub signups_per_hour: i64,
    pub signup_burst: i64,
    pub tenants: i64,
    pub inbound_per_minute: i64,
    pub inbound_per_day: i64,
    pub waiting: i64,
    /// Bytes.
    pub media_per_day: i64,
    pub messages_per_turn: i64,
    pub unasked_per_day: i64,
}

/// What the operator has to mend, all of it.
#[derive(Debug, thiserror::Error)]
#[error("settings to mend before it can start (see `clawkaka serve --help`):\n  {}", .0.join("\n  "))]
pub struct BadSettings(pub Vec<String>);

impl BadSettings {
    fn none(problems: Vec<String>) -> Result<(), Self> {
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Self(problems))
        }
    }
}

/// The one setting that `clawkaka migrate` needs.
pub fn database_url(raw: Raw, mut problems: Vec<String>) -> Result<SecretString, BadSettings> {
    let url = Check::new(&mut problems).database_url(raw.database_url);
    BadSettings::none(problems)?;
    Ok(url)
}

/// The one setting that `clawkaka keys` needs.
pub fn master_key(raw: Raw, mut problems: Vec<String>) -> Result<Arc<MasterKey>, BadSettings> {
    let roles = Roles {
        web: false,
        worker: true,
        broker: false,
    };
    let keys = Check::new(&mut problems).keys(roles, raw.master_key, None, None);
    BadSettings::none(problems)?;
    match keys {
        Keys::Master(key) => Ok(key),
        _ => unreachable!("a missing key is a problem noted above"),
    }
}

/// What commands need that ask for backups or look at them.
pub fn backup(raw: &Raw, mut problems: Vec<String>) -> Result<Option<Backup>, BadSettings> {
    let backup = Check::new(&mut problems).backup(raw);
    BadSettings::none(problems)?;
    Ok(backup)
}

impl Keys {
    /// What opens the secrets of webhooks, where this process may.
    pub fn webhook_key(&self) -> Option<OpeningKey> {
        match self {
            Self::Master(master) => Some(master.webhook_key()),
            Self::Web { webhooks, .. } => webhooks.clone(),
            Self::None => None,
        }
    }
}

impl Sandbox {
    /// The bridge's own address, where the broker listens.
    pub fn bridge_address(&self) -> Ipv4Addr {
        let [a, b, ..] = self.subnet.octets();
        Ipv4Addr::new(a, b, 0, 1)
    }
}

#[cfg(test)]
mod tests;
