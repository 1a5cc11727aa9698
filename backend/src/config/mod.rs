//! Settings, checked once at start. Only this folder reads the environment.

mod check;
pub mod env;

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use secrecy::SecretString;
use url::Url;

use crate::{
    backup::store,
    seal::{MasterKey, SealingKey},
    whatsapp::provider::{Api, Provider},
};
use check::Check;
pub use env::Raw;

/// Until then WhatsApp may refuse a message that it took, and it is sent again.
const MIN_RETENTION: Duration = Duration::from_secs(24 * 3600);

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
    pub sandbox: Sandbox,
    pub limits: Limits,
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
    /// web: can seal, not read.
    Sealing(SealingKey),
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

/// The line of Meta's that the environment names. Which parts are set depends on the roles; without
/// such a line all are empty.
#[derive(Clone)]
pub struct WhatsApp {
    pub app_secret: SecretString,
    pub verification_token: SecretString,
    pub access_token: SecretString,
    pub phone_number_id: String,
    /// Empty where the token itself tells it.
    pub business_account_id: String,
    pub api: Api,
}

/// The line of Kapso's that the environment names, or nothing but empty words.
#[derive(Clone)]
pub struct Kapso {
    pub webhook_secret: SecretString,
    pub api_key: SecretString,
    pub phone_number_id: String,
    pub api: Api,
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
    pub messages_per_turn: i64,
    pub unasked_per_day: i64,
}

#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Zero: agents are never asked whether a person needs something.
    pub heartbeat_every: Duration,
    /// Of new people.
    pub time_zone: chrono_tz::Tz,
    /// Without a message a sandbox sleeps lightly, and then deeply.
    pub sandbox_pause_after: Duration,
    pub sandbox_stop_after: Duration,
    pub turn_deadline: Duration,
    pub turn_idle: Duration,
    pub send_unknown_wait: Duration,
    /// How long what was said is kept once it is done with.
    pub retention: Duration,
}

impl Config {
    /// Checks every setting; the error names every bad one and says what to do.
    pub fn check(raw: Raw, mut problems: Vec<String>) -> anyhow::Result<Self> {
        let roles = Check::new(&mut problems).roles(&raw.roles);
        Self::check_for(roles, raw, problems)
    }

    /// For commands that look at tables and Docker: they play no role, so that no secret is needed.
    pub fn without_roles(raw: Raw, problems: Vec<String>) -> anyhow::Result<Self> {
        let none = Roles {
            web: false,
            worker: false,
            broker: false,
        };
        Self::check_for(none, raw, problems)
    }

    fn check_for(roles: Roles, raw: Raw, mut problems: Vec<String>) -> anyhow::Result<Self> {
        let mut check = Check::new(&mut problems);
        let port = check.number("PORT", &raw.port, 1..=65_000);
        let backup = roles.worker.then(|| check.backup(&raw)).flatten();
        // Who sets one of a provider's settings wants its line; who sets none at all, Meta's.
        let wanted = |settings: &[&Option<String>]| {
            let mut texts = settings.iter().filter_map(|setting| setting.as_deref());
            texts.any(|text| !text.is_empty())
        };
        let kapso = wanted(&[
            &raw.kapso_phone_number_id,
            &raw.kapso_webhook_secret,
            &raw.kapso_api_key,
        ]);
        let meta = !kapso
            || wanted(&[
                &raw.whatsapp_sender_phone_number_id,
                &raw.whatsapp_app_secret,
                &raw.whatsapp_access_token,
            ]);
        let config = Self {
            backup,
            roles,
            deployment: check.name("CLAWKAKA_DEPLOYMENT", &raw.deployment),
            database_url: check.database_url(raw.database_url),
            keys: check.keys(roles, raw.master_key, raw.sealing_key),
            ports: Ports {
                web: port as u16,
                worker_health: check.port("WORKER_HEALTH_PORT", raw.worker_health_port, port + 1),
                metrics: check.port("METRICS_PORT", raw.metrics_port, port + 2),
                metrics_address: check.address("METRICS_ADDRESS", &raw.metrics_address),
                broker: check.port("BROKER_PORT", raw.broker_port, port + 4),
            },
            log_format: check.log_format(&raw.log_format),
            whatsapp: WhatsApp {
                app_secret: check.secret(
                    "WHATSAPP_APP_SECRET",
                    raw.whatsapp_app_secret,
                    meta && roles.web,
                ),
                verification_token: check.secret(
                    "WHATSAPP_VERIFICATION_TOKEN",
                    raw.whatsapp_verification_token,
                    meta && roles.web,
                ),
                access_token: check.secret(
                    "WHATSAPP_ACCESS_TOKEN",
                    raw.whatsapp_access_token,
                    meta && roles.worker,
                ),
                phone_number_id: check.text(
                    "WHATSAPP_SENDER_PHONE_NUMBER_ID",
                    raw.whatsapp_sender_phone_number_id,
                    meta && (roles.web || roles.worker),
                ),
                business_account_id: raw.whatsapp_business_account_id.unwrap_or_default(),
                api: Api {
                    provider: Provider::Meta,
                    base_url: check.url("WHATSAPP_API_BASE_URL", &raw.whatsapp_api_base_url),
                    version: raw.whatsapp_api_version.clone(),
                },
            },
            kapso: Kapso {
                webhook_secret: check.secret(
                    "KAPSO_WEBHOOK_SECRET",
                    raw.kapso_webhook_secret,
                    kapso && roles.web,
                ),
                api_key: check.secret("KAPSO_API_KEY", raw.kapso_api_key, kapso && roles.worker),
                phone_number_id: check.text(
                    "KAPSO_PHONE_NUMBER_ID",
                    raw.kapso_phone_number_id,
                    kapso && (roles.web || roles.worker),
                ),
                api: Api {
                    provider: Provider::Kapso,
                    base_url: check.url("KAPSO_API_BASE_URL", &raw.kapso_api_base_url),
                    version: raw.whatsapp_api_version,
                },
            },
            llm: Llm {
                base_url: check.url("LLM_BASE_URL", &raw.llm_base_url),
                api_key: check.secret("LLM_API_KEY", raw.llm_api_key, roles.broker),
                model: check.text("LLM_MODEL", raw.llm_model, roles.worker || roles.broker),
                tokens_per_tenant_day: check
                    .count("LLM_TOKENS_PER_TENANT_DAY", &raw.llm_tokens_per_tenant_day),
                tokens_per_day: check.count("LLM_TOKENS_PER_DAY", &raw.llm_tokens_per_day),
                calls_per_turn: check.count("LLM_CALLS_PER_TURN", &raw.llm_calls_per_turn),
            },
            sandbox: Sandbox {
                image: check.text("SANDBOX_IMAGE", raw.sandbox_image, roles.worker),
                memory: check.bytes("SANDBOX_MEMORY", &raw.sandbox_memory),
                cpus: check.cpus("SANDBOX_CPUS", &raw.sandbox_cpus),
                disk: check.disk("SANDBOX_DISK", &raw.sandbox_disk),
                disk_folder: check.folder("SANDBOX_DISK_FOLDER", &raw.sandbox_disk_folder),
                runtime: raw.sandbox_runtime.filter(|name| !name.is_empty()),
                subnet: check.subnet("SANDBOX_SUBNET", &raw.sandbox_subnet),
                uid_base: check.number(
                    "SANDBOX_UID_BASE",
                    &raw.sandbox_uid_base,
                    10_000..=2_000_000_000,
                ) as u32,
                capacity: raw
                    .sandbox_capacity
                    .filter(|text| !text.is_empty())
                    .map(|text| check.number("SANDBOX_CAPACITY", &text, 1..=10_000) as usize),
                pool_size: check.number("SANDBOX_POOL_SIZE", &raw.sandbox_pool_size, 0..=1_000)
                    as usize,
                docker_host: raw.docker_host,
            },
            limits: Limits {
                signups_per_hour: check
                    .count("LIMIT_SIGNUPS_PER_HOUR", &raw.limit_signups_per_hour),
                signup_burst: check.count("LIMIT_SIGNUP_BURST", &raw.limit_signup_burst),
                tenants: check.count("LIMIT_TENANTS", &raw.limit_tenants),
                inbound_per_minute: check
                    .count("LIMIT_INBOUND_PER_MINUTE", &raw.limit_inbound_per_minute),
                inbound_per_day: check.count("LIMIT_INBOUND_PER_DAY", &raw.limit_inbound_per_day),
                waiting: check.count("LIMIT_WAITING", &raw.limit_waiting),
                messages_per_turn: check
                    .count("LIMIT_MESSAGES_PER_TURN", &raw.limit_messages_per_turn),
                unasked_per_day: check.count("LIMIT_UNASKED_PER_DAY", &raw.limit_unasked_per_day),
            },
            timing: Timing {
                heartbeat_every: check.interval("HEARTBEAT_EVERY", &raw.heartbeat_every),
                time_zone: check.time_zone("TIME_ZONE", &raw.time_zone),
                sandbox_pause_after: check
                    .duration("SANDBOX_PAUSE_AFTER", &raw.sandbox_pause_after),
                sandbox_stop_after: check.duration("SANDBOX_STOP_AFTER", &raw.sandbox_stop_after),
                turn_deadline: check.duration("TURN_DEADLINE", &raw.turn_deadline),
                turn_idle: check.duration("TURN_IDLE", &raw.turn_idle),
                send_unknown_wait: check.duration("SEND_UNKNOWN_WAIT", &raw.send_unknown_wait),
                retention: check.duration_from("RETENTION", &raw.retention, MIN_RETENTION),
            },
        };
        BadSettings::none(problems)?;
        Ok(config)
    }
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
    let keys = Check::new(&mut problems).keys(roles, raw.master_key, None);
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

impl Config {
    /// The lines that the environment names.
    pub fn lines(&self) -> impl Iterator<Item = (&Api, &str, &SecretString)> {
        let (meta, kapso) = (&self.whatsapp, &self.kapso);
        [
            (&meta.api, meta.phone_number_id.as_str(), &meta.access_token),
            (&kapso.api, kapso.phone_number_id.as_str(), &kapso.api_key),
        ]
        .into_iter()
        .filter(|(_, number, _)| !number.is_empty())
    }

    pub fn has_line(&self, provider: Provider) -> bool {
        self.lines().any(|(api, ..)| api.provider == provider)
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
