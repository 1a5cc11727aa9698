//! `clawkaka line list`: all numbers that there are or were.

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};

use super::{db, facts, show};
use crate::{
    config::Config,
    line::{
        Delivery,
        policy::{self, Signup},
        stored::{self, Listed},
    },
    operator::{
        answer::{Answer, ago, stamp, table},
        settings::{Settings, WHERE_FROM},
    },
};

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Example:
  clawkaka line list --json | jq -r '.lines[] | select(.blocked_until != null) | .phone_number_id'"))]
pub struct Options {
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: Settings,
}

pub async fn run(
    options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let facts = facts(options.settings, problems, false)?;
    let all = stored::list(db(&facts).await?).await?;
    let (db, environment) = (db(&facts).await?, &facts.config.policy);
    let (mut rows, mut lines) = (Vec::new(), Vec::new());
    for one in &all {
        let own = policy::own(db, one.id).await?;
        let signup = own.signup.unwrap_or(environment.signup);
        rows.push(cells(one, &facts.config, signup, now));
        let mut line = json(one, &facts.config, now);
        line["policy"] = show::policy_json(environment, &show::templates(&facts.config, one), &own);
        lines.push(line);
    }
    let heads = [
        "NUMBER", "PROVIDER", "FROM", "PEOPLE", "SIGNUP", "STATE", "MESSAGES", "ID",
    ];
    let text = match all.is_empty() {
        true => "There is no line yet: the first start stores that of the environment.".to_owned(),
        false => table(&heads, &rows),
    };
    Ok(Answer::new(text, json!({ "lines": lines })))
}

/// Where its secrets are.
pub fn source(one: &Listed, config: &Config) -> &'static str {
    match one.removed_at {
        Some(_) => "removed",
        None if config.names(one.provider, &one.phone_number_id) => "environment",
        None if one.is_named => "an earlier environment",
        None => "command",
    }
}

fn blocked(one: &Listed, now: DateTime<Utc>) -> Option<(DateTime<Utc>, &str)> {
    let until = one.blocked_until.filter(|until| *until > now)?;
    Some((until, one.blocked_reason.as_deref().unwrap_or("?")))
}

/// Whether it is open, and if not, why and for how long.
pub fn state(one: &Listed, now: DateTime<Utc>) -> String {
    match (one.removed_at, blocked(one, now)) {
        (Some(at), _) => format!("removed {}", ago(at, now)),
        (_, Some((until, code))) if until.timestamp() > FOR_GOOD => {
            format!("blocked (code {code})")
        }
        (_, Some((until, code))) => format!("blocked (code {code}), opens {}", ago(until, now)),
        _ => "open".to_owned(),
    }
}

fn cells(one: &Listed, config: &Config, signup: Signup, now: DateTime<Utc>) -> Vec<String> {
    vec![
        one.phone_number_id.clone(),
        one.provider.as_str().to_owned(),
        source(one, config).to_owned(),
        one.people.to_string(),
        signup.as_str().to_owned(),
        state(one, now),
        messages(one, config, now),
        one.id.to_string(),
    ]
}

/// The environment's word holds for its line.
fn delivery(one: &Listed, config: &Config) -> Delivery {
    let mut named = config.lines();
    let named =
        named.find(|line| (line.api.provider, line.number) == (one.provider, &one.phone_number_id));
    named.map_or(one.delivery, |line| line.delivery)
}

fn messages(one: &Listed, config: &Config, now: DateTime<Utc>) -> String {
    let polled = one
        .polled_at
        .map(|at| format!("asked for {}", ago(at, now)));
    match (delivery(one, config), polled) {
        (Delivery::Poll, polled) => polled.unwrap_or_else(|| "not asked for yet".to_owned()),
        (Delivery::Webhook, None) => one.provider.webhook_path().to_owned(),
        (Delivery::Webhook, Some(polled)) => format!("{}, {polled}", one.provider.webhook_path()),
    }
}

/// The year 9000: until somebody opens it.
const FOR_GOOD: i64 = 221_845_392_000;

pub fn json(one: &Listed, config: &Config, now: DateTime<Utc>) -> Value {
    let (blocked, delivery) = (blocked(one, now), delivery(one, config));
    json!({
        "id": one.id.0,
        "provider": one.provider.as_str(),
        "phone_number_id": one.phone_number_id,
        "source": source(one, config),
        "people": one.people,
        "blocked_until": blocked.map(|(until, _)| stamp(until)),
        "blocked_reason": blocked.map(|(_, code)| code),
        "removed_at": one.removed_at.map(stamp),
        "messages": {
            "by": delivery.as_str(),
            "path": (delivery == Delivery::Webhook).then_some(one.provider.webhook_path()),
            "polled_at": one.polled_at.map(stamp),
        },
    })
}
