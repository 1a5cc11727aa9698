//! `clawkaka doctor`: looks for everything that can be wrong, at the same time, each within a bound.
//!
//! One check per code. Codes and results are stable; sentences are for people. A check that depends
//! on something that is not there is skipped, so that one fault is reported once. Only what the
//! roles of this process need is looked at (ROLES). Nothing is changed, but that ports of the bridge
//! which are not isolated yet are, and that one harmless signed webhook is stored.

mod backup;
mod clock;
mod disks;
mod docker;
pub mod facts;
mod finding;
mod graph;
mod kapso;
mod machine;
mod model;
pub mod number;
mod open;
mod tables;
mod templates;
#[cfg(test)]
mod tests;
mod voice;
mod walls;
mod web;
mod work;

use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use serde_json::json;

use super::{
    answer::{Answer, Refusal, table},
    settings::{Settings, WHERE_FROM},
};
use crate::{
    config::{BadSettings, Config},
    line::Delivery,
    whatsapp::provider::Provider,
};
use facts::Facts;
use finding::{Check, check, check_within};
pub use finding::{Finding, Verdict, fail, ok, warn};
use number::Number;

/// The walls' probe starts two containers.
const PROBE_WITHIN: Duration = Duration::from_secs(120);
/// A store may be far away, and a whole backup of the tables is read.
const STORE_WITHIN: Duration = Duration::from_secs(90);
/// A service that is busy is asked three times; one on a slow machine takes its time even for silence.
const VOICE_WITHIN: Duration = Duration::from_secs(60);

const EXAMPLES: &str = "Examples:
  clawkaka doctor
  clawkaka doctor --json | jq -r '.checks[] | select(.result == \"fail\") | .code'
  clawkaka doctor --probe        also tries the walls from inside, with two containers

Results: ok; warn (works, but do something soon); fail (exit code 1); skip (could not be looked at,
because of something else that is reported).";

#[derive(Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{WHERE_FROM}"))]
pub struct Options {
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    /// Only these checks, by their codes: `--only walls,image`.
    #[arg(long, value_name = "CODES", value_delimiter = ',')]
    only: Vec<String>,
    /// Tries the walls from inside, with two containers of our own. Else the worker's word counts.
    #[arg(long)]
    probe: bool,
    /// Free space that must be left where Docker's data is, in GB.
    #[arg(long, value_name = "GB", default_value_t = MIN_DISK_GB)]
    min_disk: u64,
    /// Free inodes that must be left there.
    #[arg(long, value_name = "N", default_value_t = MIN_INODES)]
    min_inodes: u64,
    /// Days before a token's end from which on it fails; four times as many warn.
    #[arg(long, value_name = "DAYS", default_value_t = MIN_TOKEN_DAYS)]
    min_token_days: u32,
    #[command(flatten)]
    settings: Settings,
}

const MIN_DISK_GB: u64 = 5;
const MIN_INODES: u64 = 100_000;
const MIN_TOKEN_DAYS: u32 = 7;

/// From where on something is too little.
pub struct Limits {
    pub disk_bytes: u64,
    pub inodes: u64,
    pub token_days: i64,
    pub probe: bool,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            disk_bytes: MIN_DISK_GB << 30,
            inodes: MIN_INODES,
            token_days: i64::from(MIN_TOKEN_DAYS),
            probe: false,
        }
    }
}

pub async fn run(options: Options, problems: Vec<String>) -> anyhow::Result<Answer> {
    let limits = Limits {
        disk_bytes: options.min_disk.saturating_mul(1 << 30),
        inodes: options.min_inodes,
        token_days: i64::from(options.min_token_days),
        probe: options.probe,
    };
    let findings = match Config::check(*options.settings.0, problems) {
        Ok(config) => {
            let mut facts = Facts::new(config, limits)?;
            facts.numbers = Number::all(&facts).await?;
            let findings = examine(&facts, &options.only).await;
            if findings.is_empty() {
                return Err(unknown_codes(&options.only).into());
            }
            findings
        }
        Err(error) => match error.downcast::<BadSettings>() {
            Ok(BadSettings(problems)) => vec![bad(&problems)],
            Err(error) => return Err(error),
        },
    };
    Ok(report(&findings))
}

fn unknown_codes(only: &[String]) -> Refusal {
    Refusal {
        code: "no-such-check",
        what: format!("This process needs no check named {}.", only.join(", ")),
        todo: "`clawkaka doctor` shows all; ROLES says which are needed.",
    }
}

/// Nothing else can be looked at before the settings are right.
fn bad(problems: &[String]) -> Finding {
    let todo = "Mend them and run this again: all else needs them. `clawkaka serve --help` is their manual.";
    fail(format!("Settings are bad: {}.", problems.join("; ")), todo).of("settings")
}

async fn examine(facts: &Facts, only: &[String]) -> Vec<Finding> {
    let roles = facts.config.roles;
    let mut checks: Vec<Check<'_>> = vec![
        check("settings", async { Ok(ok("All settings are good.")) }),
        check("postgres", tables::postgres(facts)),
        check("migrations", tables::migrations(facts)),
        check("clock", clock::clock(facts)),
        check("frozen", work::frozen(facts)),
    ];
    if roles.worker {
        checks.extend([
            check("docker", docker::docker(facts)),
            check("docker-version", docker::version(facts)),
            check("live-restore", docker::live_restore(facts)),
            check("runtime", docker::runtime(facts)),
            check("image", docker::image(facts)),
            check("sandboxes-older-image", docker::older(facts)),
            check("subnet", machine::subnet(facts)),
            check("network", walls::network(facts)),
            check("walls", walls::walls(facts)),
            check("bridge-netfilter", walls::bridge_netfilter(facts)),
            check_within(PROBE_WITHIN, "walls-probe", walls::probe(facts)),
            check("disk", machine::disk(facts)),
            check("disk-wall", disks::wall(facts)),
            check("disks-full", disks::full(facts)),
            check("inodes", machine::inodes(facts)),
            check("memory", machine::memory(facts)),
            check("keys", tables::keys(facts)),
            check_within(VOICE_WITHIN, "voice", voice::voice(facts)),
            check_within(STORE_WITHIN, "backup-store", backup::store(facts)),
            check("backup-age", backup::age(facts)),
            check_within(STORE_WITHIN, "backup-key", backup::key(facts)),
            check("lease", work::lease(facts)),
            check("queue", work::queue(facts)),
            check("turns", work::turns(facts)),
            check("sandboxes", work::sandboxes(facts)),
        ]);
    }
    if roles.web {
        checks.push(check("web", web::web(facts)));
        checks.push(check("web-key", web::key(facts)));
    }
    let mut numbers = facts.numbers.iter().map(Number::provider);
    if roles.worker && numbers.any(|provider| provider == Provider::Meta) {
        checks.push(check("graph", graph::graph(facts)));
    }
    checks.extend(facts.numbers.iter().flat_map(|number| of(facts, number)));
    if roles.broker {
        checks.extend([
            check("broker", web::broker(facts)),
            check("model", model::model(facts)),
        ]);
    }
    checks.retain(|check| only.is_empty() || only.iter().any(|code| code == check.code));
    join_all(checks.into_iter().map(|check| check.look)).await
}

/// What is looked at of one line.
fn of<'a>(facts: &'a Facts, number: &'a Number) -> Vec<Check<'a>> {
    let mut checks = match number.provider() {
        Provider::Meta => of_meta(facts, number),
        Provider::Kapso => of_kapso(facts, number),
    };
    if facts.config.roles.worker {
        checks.push(check("templates", templates::templates(facts, number)));
        checks.push(check("line", open::line(facts, number)));
    }
    let about = checks.into_iter().map(|check| check.about(number));
    about.collect()
}

fn of_meta<'a>(facts: &'a Facts, number: &'a Number) -> Vec<Check<'a>> {
    let roles = facts.config.roles;
    let mut checks = Vec::new();
    if roles.worker {
        checks.extend([
            check("token", graph::token(facts, number)),
            check("token-expiry", graph::token_expiry(facts, number)),
            check("number", graph::number(facts, number)),
            check("webhook-subscription", graph::subscription(facts, number)),
        ]);
        if number.knows_webhook_secret() {
            checks.push(check("app-secret", graph::app_secret(facts, number)));
        }
    }
    if roles.web {
        checks.extend([
            check("webhook-verification", web::verification(facts, number)),
            check("webhook-signature", web::signature(facts, number)),
        ]);
    }
    checks
}

fn of_kapso<'a>(facts: &'a Facts, number: &'a Number) -> Vec<Check<'a>> {
    let roles = facts.config.roles;
    let mut checks = Vec::new();
    if roles.worker {
        checks.extend([
            check("kapso", kapso::number(number)),
            check("kapso-polling", kapso::polling(facts, number)),
        ]);
    }
    if roles.web && number.delivery == Delivery::Webhook {
        checks.push(check("kapso-signature", web::signature(facts, number)));
    }
    checks
}

/// Everything there is to say of one line. `to_be_added`: only whether it can be.
pub async fn of_line(facts: &Facts, number: &Number, to_be_added: bool) -> Vec<Finding> {
    let mut checks = of(facts, number);
    if number.provider() == Provider::Meta && facts.config.roles.worker {
        checks.insert(0, check("graph", graph::graph(facts)));
    }
    // It is not stored yet, so that nobody asks for it and it has no templates; and may have been blocked
    // for what it had before.
    checks.retain(|check| {
        !to_be_added || !["line", "kapso-polling", "templates"].contains(&check.code)
    });
    join_all(checks.into_iter().map(|check| check.look)).await
}

pub fn report(findings: &[Finding]) -> Answer {
    let rows: Vec<_> = findings
        .iter()
        .flat_map(|finding| {
            let result = match finding.result {
                Verdict::Ok => "ok",
                Verdict::Warn => "WARN",
                Verdict::Fail => "FAIL",
                Verdict::Skip => "skip",
            };
            let first = [result, finding.code, &finding.what]
                .map(str::to_owned)
                .to_vec();
            let todo = finding.todo.as_ref();
            let second = todo.map(|todo| vec![String::new(), String::new(), format!("→ {todo}")]);
            std::iter::once(first).chain(second)
        })
        .collect();
    let count = |verdict| findings.iter().filter(|one| one.result == verdict).count();
    let (warnings, failures) = (count(Verdict::Warn), count(Verdict::Fail));
    let skipped = count(Verdict::Skip);
    let summary = format!(
        "{} checks: {failures} fail, {warnings} warn, {skipped} skipped.",
        findings.len()
    );
    Answer {
        text: format!("{}\n{summary}", table(&["RESULT", "CHECK", "WHAT"], &rows)),
        json: json!({ "ok": failures == 0, "failures": failures, "warnings": warnings,
                      "skipped": skipped, "checks": findings }),
        good: failures == 0,
    }
}
