//! `clawkaka backup`: asks the worker to back up everything that changed, and shows what there is.

pub mod follow;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use super::{
    actor::Actor,
    answer::{Answer, Refusal},
    event::{self, Event},
    settings::{Settings, WHERE_FROM},
};
use crate::{
    backup::row::{self, Kind, Wish},
    config,
};

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Sandboxes in use are waited for; people come first.

Examples:
  clawkaka backup
  clawkaka backup --no-wait --json | jq -r .id"))]
pub struct Options {
    /// Only asks; the worker does it meanwhile.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    actor: Actor,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: Settings,
}

/// Without a place nothing is backed up.
pub fn place(settings: &Settings, problems: Vec<String>) -> anyhow::Result<config::Backup> {
    let place = config::backup(&settings.0, problems)?;
    Ok(place.ok_or(Refusal {
        code: "no-backups",
        what: "There is no place for backups: BACKUP_TO is not set.".to_owned(),
        todo: "Set it to a folder or to s3://bucket/prefix, for `serve` as well, and restart that.",
    })?)
}

pub async fn run(
    mut options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    place(&options.settings, problems.clone())?;
    let db = options.settings.database(problems).await?;
    let actor = options.actor.name();
    let mut tx = db.begin().await.context("ask for a backup")?;
    row::lock(&mut tx).await?;
    let (id, is_new) = match row::open_all(&mut *tx).await? {
        Some(open) => (open, false),
        None => {
            let wish = Wish {
                kind: Kind::All,
                parent: None,
                sandbox: None,
                object: None,
                actor: Some(actor.clone()),
            };
            let id = row::ask(&mut *tx, &wish, now).await?;
            let event = Event {
                actor: &actor,
                tenant: None,
                kind: "backup",
                detail: json!({ "backup": id.0 }),
            };
            event::record(&mut *tx, event, now).await?;
            (id, true)
        }
    };
    tx.commit().await.context("ask for a backup")?;
    if options.no_wait {
        let text = match is_new {
            true => format!("Asked for; the worker does it ({id})."),
            false => format!("One is under way already ({id})."),
        };
        return Ok(Answer::new(text, json!({ "id": id.0, "asked": is_new })));
    }
    let followed = follow::follow(&db, id, options.json).await?;
    let followed = followed.context("follow a backup: its row is gone")?;
    Ok(Answer {
        good: followed.good(),
        ..Answer::new(followed.line(), followed.json())
    })
}
