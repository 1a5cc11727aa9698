//! `clawkaka restore`: a whole deployment from its backups, into an empty database, while nothing
//! serves it. The worker puts the sandboxes' files back when it starts.

use std::sync::Arc;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use super::{
    actor::Actor,
    answer::{Answer, Refusal, stamp, when},
    backup::place,
    confirm::confirm,
    event::{self, Event},
    settings::{Settings, WHERE_FROM},
};
use crate::{
    MIGRATOR,
    backup::{
        database,
        seal::BackupKey,
        store::Store,
        whole::{self, Open},
    },
    config::{self, Raw},
    seal::MasterKey,
};

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "The database must be empty, nothing may serve it, and CLAWKAKA_MASTER_KEY must be the one of the
deployment that made the backup. What was open when the backup was made counts as answered: the deployment
ran on after it, and nobody is to be answered twice. People who were erased since are erased again.

Examples:
  clawkaka restore
  clawkaka restore --before 2026-11-20T12:00:00Z
  clawkaka restore --planned     after a move: there stop web, then clawkaka backup, then stop the rest"))]
pub struct Options {
    /// The newest backup of before then, instead of the newest.
    #[arg(long, value_name = "TIME")]
    before: Option<DateTime<Utc>>,
    /// Nothing ran after the backup was made: what was open then is answered now.
    #[arg(long)]
    planned: bool,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    actor: Actor,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: Settings,
}

pub fn key(settings: &mut Settings, problems: Vec<String>) -> anyhow::Result<Arc<MasterKey>> {
    let raw = Raw {
        master_key: settings.0.master_key.take(),
        ..Raw::default()
    };
    Ok(config::master_key(raw, problems)?)
}

pub async fn run(
    mut options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let store = Store::open(&place(&options.settings, problems.clone())?.to)?;
    let key = BackupKey::new(&*key(&mut options.settings, problems.clone())?);
    let db = options.settings.database(problems).await?;
    let chosen = whole::choose(&store, options.before).await?;
    let chosen = chosen.ok_or(Refusal {
        code: "no-backup",
        what: "There is no backup of the tables there.".to_owned(),
        todo: "Look where BACKUP_TO points, and at --before.",
    })?;
    // Opened before anything is asked, so that a wrong key is said first.
    database::manifest(&store, &key, &chosen.name).await?;
    if let Some(why) = whole::obstacle(&db).await? {
        return Err(Refusal {
            code: "not-now",
            what: format!("{why} A restore fills an empty database that nothing serves."),
            todo: "Stop `clawkaka serve`, or restore into a new database.",
        }
        .into());
    }
    if !options.yes {
        let question = format!("Everything comes back as of {}.", when(chosen.at, now));
        confirm(&question, "yes")?;
    }
    let open = match options.planned {
        true => Open::GoesOn,
        false => Open::WasDone,
    };
    let restored = whole::bring_back(&db, &MIGRATOR, &store, &key, &chosen.name, open, now).await?;
    let actor = options.actor.name();
    let event = Event {
        actor: &actor,
        tenant: None,
        kind: "restore",
        detail: json!({ "object": chosen.name, "planned": options.planned }),
    };
    event::record(&db, event, now)
        .await
        .context("record a restore")?;
    let text = format!(
        "Restored as of {}: {} people, {} sandboxes; {} open things settled, {} erased again.\n\
         Now start `clawkaka serve`: it puts the sandboxes' files back, first of those who write.",
        when(restored.manifest.taken_at, now),
        restored.people,
        restored.sandboxes,
        restored.settled,
        restored.erased_again
    );
    let json = json!({
        "object": chosen.name,
        "taken_at": stamp(restored.manifest.taken_at),
        "people": restored.people,
        "sandboxes": restored.sandboxes,
        "settled": restored.settled,
        "erased_again": restored.erased_again,
    });
    Ok(Answer::new(text, json))
}
