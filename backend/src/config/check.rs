//! One check per form of setting. A bad value is noted and the next one is looked at,
//! so that the operator mends all of them at once.

use std::{net::Ipv4Addr, ops::RangeInclusive, str::FromStr, sync::Arc, time::Duration};

use secrecy::SecretString;
use url::Url;

use super::{Backup, Keys, LogFormat, Raw, Roles};
use crate::{
    backup::store::{Place, S3},
    seal::{MasterKey, OpeningKey, SealingKey},
    transcribe,
};

/// The longest duration a setting may ask for.
const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);

/// With less, what a file system keeps for itself and for an agent that has filled it is most of it.
const MIN_DISK: i64 = 256 << 20;

pub struct Check<'a> {
    problems: &'a mut Vec<String>,
}

impl<'a> Check<'a> {
    pub fn new(problems: &'a mut Vec<String>) -> Self {
        Self { problems }
    }

    pub(super) fn note(&mut self, name: &str, what: impl std::fmt::Display) {
        self.problems.push(format!("{name}: {what}"));
    }

    pub fn roles(&mut self, value: &str) -> Roles {
        let mut roles = Roles {
            web: false,
            worker: false,
            broker: false,
        };
        for role in value.split(',').map(str::trim) {
            match role {
                "web" => roles.web = true,
                "worker" => roles.worker = true,
                "broker" => roles.broker = true,
                _ => self.note("ROLES", "write a list of web, worker, broker"),
            }
        }
        roles
    }

    /// A name that Docker, nftables and file systems all take.
    pub fn name(&mut self, name: &str, value: &str) -> String {
        let fits = (1..=40).contains(&value.len())
            && value.starts_with(|c: char| c.is_ascii_lowercase())
            && value
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        if !fits {
            self.note(
                name,
                "use up to 40 of a-z, 0-9 and -, starting with a letter",
            );
        }
        value.to_owned()
    }

    pub fn text(&mut self, name: &str, value: Option<String>, needed: bool) -> String {
        let value = value.unwrap_or_default();
        if needed && value.trim().is_empty() {
            self.note(name, "is not set");
        }
        value
    }

    pub fn secret(&mut self, name: &str, value: Option<String>, needed: bool) -> SecretString {
        SecretString::from(self.text(name, value, needed))
    }

    pub fn database_url(&mut self, value: Option<String>) -> SecretString {
        let value = self.text("DATABASE_URL", value, true);
        let has_scheme = value.starts_with("postgres://") || value.starts_with("postgresql://");
        let is_address = has_scheme && sqlx::postgres::PgConnectOptions::from_str(&value).is_ok();
        if !value.is_empty() && !is_address {
            // The parser's own error may quote the password.
            self.note(
                "DATABASE_URL",
                "is not a Postgres address: postgres://user:password@host/name",
            );
        }
        SecretString::from(value)
    }

    pub fn keys(
        &mut self,
        roles: Roles,
        master: Option<String>,
        sealing: Option<String>,
        webhooks: Option<String>,
    ) -> Keys {
        let webhooks = self.webhook_key(webhooks);
        if let Some(text) = master.filter(|text| !text.is_empty()) {
            match MasterKey::parse(&SecretString::from(text)) {
                Ok(key) => return Keys::Master(Arc::new(key)),
                Err(error) => self.note("CLAWKAKA_MASTER_KEY", error),
            }
        } else if roles.worker {
            self.note(
                "CLAWKAKA_MASTER_KEY",
                "is not set; make one with: openssl rand -base64 32",
            );
        } else if let Some(text) = sealing.filter(|text| !text.is_empty()) {
            match SealingKey::parse(&text) {
                Ok(sealing) => return Keys::Web { sealing, webhooks },
                Err(error) => self.note("CLAWKAKA_SEALING_KEY", error),
            }
        } else if roles.web {
            self.note(
                "CLAWKAKA_SEALING_KEY",
                "is not set (nor CLAWKAKA_MASTER_KEY)",
            );
        }
        Keys::None
    }

    fn webhook_key(&mut self, text: Option<String>) -> Option<OpeningKey> {
        let text = text.filter(|text| !text.is_empty())?;
        let key = OpeningKey::parse(&SecretString::from(text));
        key.map_err(|error| self.note("CLAWKAKA_WEBHOOK_KEY", error))
            .ok()
    }

    pub fn number(&mut self, name: &str, value: &str, range: RangeInclusive<i64>) -> i64 {
        match value.parse() {
            Ok(number) if range.contains(&number) => number,
            _ => {
                let (from, to) = (range.start(), range.end());
                self.note(
                    name,
                    format_args!("must be a whole number from {from} to {to}"),
                );
                *range.start()
            }
        }
    }

    pub fn count(&mut self, name: &str, value: &str) -> i64 {
        self.number(name, value, 0..=1_000_000_000_000)
    }

    pub fn port(&mut self, name: &str, value: Option<String>, default: i64) -> u16 {
        let value = value.unwrap_or_else(|| default.to_string());
        self.number(name, &value, 1..=65_535) as u16
    }

    pub fn cpus(&mut self, name: &str, value: &str) -> f64 {
        match value.parse() {
            Ok(cpus) if (0.1..=1024.0).contains(&cpus) => cpus,
            _ => {
                self.note(name, "must be a number of CPUs, for example 1 or 0.5");
                1.0
            }
        }
    }

    pub fn duration_from(&mut self, name: &str, value: &str, least: Duration) -> Duration {
        match humantime::parse_duration(value) {
            Ok(duration) if (least..=MAX_DURATION).contains(&duration) => duration,
            _ => {
                let from = humantime::format_duration(least);
                self.note(
                    name,
                    format_args!("must be a duration from {from} to a year, for example 7d"),
                );
                least
            }
        }
    }

    /// `hint`: an example, or why there are bounds.
    pub fn duration_within(
        &mut self,
        name: &str,
        value: &str,
        range: RangeInclusive<Duration>,
        hint: &str,
    ) -> Duration {
        match humantime::parse_duration(value) {
            Ok(duration) if range.contains(&duration) => duration,
            _ => {
                let [from, to] = [*range.start(), *range.end()].map(humantime::format_duration);
                self.note(
                    name,
                    format_args!("must be a duration from {from} to {to}, {hint}"),
                );
                *range.start()
            }
        }
    }

    /// Sizes as Docker writes them: `512m`, `2g`.
    pub fn bytes(&mut self, name: &str, value: &str) -> i64 {
        let (digits, factor) = match value.strip_suffix(['k', 'm', 'g']) {
            Some(digits) if value.ends_with('k') => (digits, 1 << 10),
            Some(digits) if value.ends_with('m') => (digits, 1 << 20),
            Some(digits) => (digits, 1 << 30),
            None => (value, 1),
        };
        match digits
            .parse::<i64>()
            .ok()
            .and_then(|n| n.checked_mul(factor))
        {
            Some(bytes) if bytes > 0 => bytes,
            _ => {
                self.note(name, "must be a size, for example 512m or 2g");
                1
            }
        }
    }

    /// A sandbox's disk: a size in which OpenClaw fits, or none at all.
    pub fn disk(&mut self, name: &str, value: &str) -> Option<i64> {
        if value == "unlimited" {
            return None;
        }
        let bytes = self.bytes(name, value);
        if (2..MIN_DISK).contains(&bytes) {
            self.note(name, "must be 256m or more, or unlimited");
        }
        Some(bytes)
    }

    /// A folder that Docker can hand into a container.
    pub fn folder(&mut self, name: &str, value: &str) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
        if !value.starts_with('/') || value.ends_with('/') || !value.chars().all(plain) {
            self.note(
                name,
                "must be a whole path of letters, digits and ._-, without / at its end",
            );
        }
        value.to_owned()
    }

    pub fn duration(&mut self, name: &str, value: &str) -> Duration {
        match humantime::parse_duration(value) {
            Ok(duration) if duration <= MAX_DURATION => duration,
            _ => {
                self.note(
                    name,
                    "must be a duration of up to a year, for example 90s, 30m or 7d",
                );
                Duration::ZERO
            }
        }
    }

    /// How often something is done: never for `0s`, else at most once a second.
    pub fn interval(&mut self, name: &str, value: &str) -> Duration {
        let interval = self.duration(name, value);
        if !interval.is_zero() && interval < Duration::from_secs(1) {
            self.note(name, "must be 1s or longer, or 0s to turn it off");
        }
        interval
    }

    pub fn time_zone(&mut self, name: &str, value: &str) -> chrono_tz::Tz {
        value.parse().unwrap_or_else(|_| {
            self.note(name, "must be a time zone, for example Europe/Vienna");
            chrono_tz::Tz::UTC
        })
    }

    /// Wanted by whoever gives its address.
    pub fn transcription(
        &mut self,
        base_url: Option<String>,
        api: &str,
        key: Option<String>,
        model: String,
        language: String,
    ) -> Option<transcribe::Service> {
        let base_url = base_url.filter(|text| !text.is_empty())?;
        let base_url = self.url("TRANSCRIPTION_BASE_URL", &base_url);
        let Some(way) = transcribe::Way::parse(api) else {
            self.note(
                "TRANSCRIPTION_API",
                "must be openai, deepgram or whisper.cpp",
            );
            return None;
        };
        Some(transcribe::Service {
            way,
            base_url,
            key: key.unwrap_or_default().into(),
            model,
            language,
        })
    }

    pub fn url(&mut self, name: &str, value: &str) -> Url {
        match Url::parse(value) {
            Ok(url) if matches!(url.scheme(), "http" | "https") => url,
            _ => {
                self.note(name, "must be an http:// or https:// address");
                Url::parse("http://invalid.invalid").expect("this is an address")
            }
        }
    }

    pub fn subnet(&mut self, name: &str, value: &str) -> Ipv4Addr {
        let parsed = value
            .strip_suffix("/16")
            .and_then(|address| address.parse::<Ipv4Addr>().ok());
        match parsed {
            Some(address) if address.is_private() && address.octets()[2..] == [0, 0] => address,
            _ => {
                self.note(name, "must be a private /16, for example 10.77.0.0/16");
                Ipv4Addr::new(10, 77, 0, 0)
            }
        }
    }

    pub fn address(&mut self, name: &str, value: &str) -> Ipv4Addr {
        value.parse().unwrap_or_else(|_| {
            self.note(name, "must be an IPv4 address, for example 127.0.0.1");
            Ipv4Addr::LOCALHOST
        })
    }

    /// None: not set, or bad and noted.
    pub fn backup(&mut self, raw: &Raw) -> Option<Backup> {
        let every = self.interval("BACKUP_EVERY", &raw.backup_every);
        let keep = self.number("BACKUP_KEEP", &raw.backup_keep, 1..=10_000) as usize;
        let to = raw
            .backup_to
            .as_deref()
            .filter(|to| !to.trim().is_empty())?;
        let to = match to.strip_prefix("s3://") {
            Some(bucket) => Place::S3(self.s3(bucket, raw)),
            None if to.starts_with('/') => Place::Folder(to.into()),
            None => {
                self.note(
                    "BACKUP_TO",
                    "write a folder from / on, or s3://bucket/prefix",
                );
                return None;
            }
        };
        Some(Backup { to, every, keep })
    }

    fn s3(&mut self, place: &str, raw: &Raw) -> S3 {
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if bucket.is_empty() {
            self.note("BACKUP_TO", "names no bucket: s3://bucket/prefix");
        }
        let endpoint = raw
            .aws_endpoint_url
            .as_deref()
            .filter(|url| !url.is_empty());
        // An empty file of a secret is none.
        let set = |value: &Option<String>| value.clone().unwrap_or_default();
        let secret = |value: &Option<String>| SecretString::from(set(value));
        if set(&raw.aws_access_key_id).is_empty() != set(&raw.aws_secret_access_key).is_empty() {
            self.note(
                "AWS_SECRET_ACCESS_KEY",
                "belongs to AWS_ACCESS_KEY_ID: set both or none",
            );
        }
        S3 {
            bucket: bucket.to_owned(),
            prefix: prefix.trim_matches('/').to_owned(),
            endpoint: endpoint.map(|url| self.url("AWS_ENDPOINT_URL", url)),
            region: raw.aws_region.clone(),
            access_key_id: secret(&raw.aws_access_key_id),
            secret_access_key: secret(&raw.aws_secret_access_key),
            session_token: secret(&raw.aws_session_token),
        }
    }

    pub fn log_format(&mut self, value: &str) -> LogFormat {
        match value {
            "human" => LogFormat::Human,
            "json" => LogFormat::Json,
            _ => {
                self.note("LOG_FORMAT", "must be human or json");
                LogFormat::Human
            }
        }
    }
}
