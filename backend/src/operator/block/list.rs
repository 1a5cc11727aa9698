//! `clawkaka block list`: who is blocked, here and at WhatsApp.

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use crate::{
    app,
    operator::{
        actor::Actor,
        answer::{Answer, ago, stamp, table},
        reveal::Reveal,
        settings::{Settings, WHERE_FROM},
    },
    tenant::blocked::{self, Listed},
};

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Example:
  clawkaka block list --reveal"))]
pub struct Options {
    /// Shows the addresses on this terminal, and puts that on record.
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    actor: Actor,
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
    let config = options.settings.config(problems)?;
    let db = app::connect(&config.database_url).await?;
    let all = blocked::list(&db).await?;
    let addresses = match options.reveal {
        true => {
            let reveal = Reveal {
                db: &db,
                keys: &config.keys,
                actor: options.actor,
                list: "blocked",
            };
            let sealed = all.iter().map(|one| one.address.as_deref());
            reveal.all(sealed, now).await?
        }
        false => vec![None; all.len()],
    };
    let both = all.iter().zip(&addresses);
    let rows = both.clone().map(|(one, address)| {
        vec![
            one.phone_number_id.clone(),
            address.clone().unwrap_or(one.kind.clone()),
            one.tenant.map_or("-".to_owned(), |id| id.to_string()),
            format!("{} by {}", ago(one.blocked_at, now), one.actor),
            state(one).to_owned(),
            one.reason.clone().unwrap_or("-".to_owned()),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let heads = ["LINE", "ADDRESS", "PERSON", "SINCE", "WHERE", "WHY"];
    let text = match all.is_empty() {
        true => "Nobody is blocked.".to_owned(),
        false => table(&heads, &rows),
    };
    let json = both.map(|(one, address)| {
        json!({ "line": one.line.0, "kind": one.kind, "address": address,
                "tenant": one.tenant.map(|id| id.0), "since": stamp(one.blocked_at),
                "actor": one.actor, "why": one.reason, "state": state(one),
                "synced_at": one.synced_at.map(stamp) })
    });
    let json: Vec<_> = json.collect();
    Ok(Answer::new(text, json!({ "blocked": json })))
}

fn state(one: &Listed) -> &'static str {
    match (one.lifted_at.is_some(), one.synced_at.is_some()) {
        (false, false) => "here",
        (false, true) => "here and at WhatsApp",
        (true, true) => "at WhatsApp only, until the next sync",
        (true, false) => "nowhere any more",
    }
}
