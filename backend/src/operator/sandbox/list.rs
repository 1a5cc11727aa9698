//! `clawkaka sandbox list`: every sandbox, a line each.

use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use super::{
    engine::{Seen, State},
    look::{self, Listed},
    upgrade::short,
};
use crate::{
    app,
    operator::{
        answer::{Answer, ago, table},
        settings::{self, Settings, WHERE_FROM},
    },
};

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "States: running, paused (in RAM, costs no CPU), stopped (no container; what it remembers is in its
volume), new (never started), missing (its volume is lost), gone (removed for good), unknown (Docker
is not reached); created, exited, changing and dead last for moments.

Example:
  clawkaka sandbox list --json | jq -r '.sandboxes[] | select(.state == \"running\") | .id'"))]
pub struct Options {
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 200)]
    limit: u32,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: Settings,
}

pub async fn list(
    options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let config = options.settings.config(problems)?;
    let db = app::connect(&config.database_url).await?;
    let all = look::list(&db, i64::from(options.limit)).await?;
    let in_all = look::count(&db).await?;
    let seen = match settings::docker(&config).await {
        Ok(docker) => Seen::ask(&docker, &config.sandbox.image)
            .await
            .map_err(|error| format!("{error:#}")),
        Err(refusal) => Err(refusal.what),
    };
    let (seen, trouble) = match seen {
        Ok(seen) => (Some(seen), None),
        Err(trouble) => (None, Some(trouble)),
    };
    let seen = seen.as_ref();
    let rows: Vec<_> = all.iter().map(|one| cells(one, seen, now)).collect();
    let heads = [
        "ID", "TENANT", "SLOT", "STATE", "INTENT", "AWAKE", "ACTIVE", "FAILED", "CONV", "IMAGE",
    ];
    let mut text = match all.is_empty() {
        true => "There are no sandboxes yet.\n".to_owned(),
        false => table(&heads, &rows),
    };
    if (all.len() as i64) < in_all {
        text.push_str(&format!("{} of {in_all}; --limit shows more.\n", all.len()));
    }
    if let Some(trouble) = &trouble {
        text.push_str(&format!("States are unknown: {trouble}\n"));
    }
    let sandboxes: Vec<_> = all
        .iter()
        .map(|one| one.json(State::of(one, seen), seen))
        .collect();
    let json = json!({ "sandboxes": sandboxes, "in_all": in_all, "docker_trouble": trouble });
    Ok(Answer::new(text, json))
}

fn cells(one: &Listed, seen: Option<&Seen>, now: DateTime<Utc>) -> Vec<String> {
    let since = |at: Option<DateTime<Utc>>| at.map_or("-".to_owned(), |at| ago(at, now));
    vec![
        one.id.to_string(),
        one.whose(),
        one.slot.to_string(),
        State::of(one, seen).word().to_owned(),
        one.intent.clone(),
        since(seen.and_then(|seen| seen.awake_since(one.id))),
        since(one.last_active_at),
        one.failures.to_string(),
        one.session_no.to_string(),
        match (&one.image, seen.and_then(|seen| seen.is_current(one))) {
            (None, _) => "-".to_owned(),
            (Some(image), Some(false)) => format!("{} (older)", short(image)),
            (Some(image), _) => short(image),
        },
    ]
}
