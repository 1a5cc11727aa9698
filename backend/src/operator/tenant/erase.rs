//! `clawkaka tenant erase`: forgets a person, all but what their agent's calls cost, as nobody's. The
//! tables in one transaction; snapshots, container and volume by the worker, which is waited for.

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;
use uuid::Uuid;

use super::{look, unknown};
use crate::{
    backup::{erase, tombstone},
    config,
    id::TenantId,
    operator::{
        actor::Actor,
        answer::Answer,
        backup::follow,
        confirm::confirm,
        event::{self, Event},
        settings::{Settings, WHERE_FROM},
    },
};

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Gone are: messages, answers, reminders, addresses, name, the agent with its files, and the snapshots of
these. Backups of all tables keep them, sealed, until BACKUP_KEEP newer ones are there; restoring one
erases the person again. Whoever was erased may write again, as somebody new.

Examples:
  clawkaka tenant erase 0198c0de-… --dry-run
  clawkaka tenant erase 0198c0de-… --yes"))]
pub struct Options {
    /// As `clawkaka tenant list` shows it.
    #[arg(value_name = "ID")]
    id: Uuid,
    /// Only says what there is.
    #[arg(long)]
    dry_run: bool,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
    /// Does not wait for the worker to remove the snapshots.
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

pub async fn run(
    mut options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let backups = config::backup(&options.settings.0, problems.clone())?;
    let db = options.settings.database(problems).await?;
    let id = TenantId(options.id);
    let person = look::one(&db, id, now).await?.ok_or_else(|| unknown(id))?;
    if !options.dry_run && !options.yes && person.status != "erased" {
        let question =
            format!("{id} and everything they wrote, were sent and asked for is deleted for good.");
        confirm(&question, "yes")?;
    }
    let actor = options.actor.name();
    let mut tx = db.begin().await.context("begin an erasure")?;
    let mut erased = erase::erase(&mut tx, id, Some(&actor), now).await?;
    let json = json!({
        "tenant": id.0,
        "erased": !options.dry_run,
        "changed": erased.is_new,
        "messages": erased.messages,
        "answers": erased.answers,
        "reminders": erased.reminders,
        "turns": erased.turns,
        "receipts": erased.receipts,
        "addresses": erased.addresses,
        "sandboxes": erased.sandboxes.iter().map(|id| id.0).collect::<Vec<_>>(),
    });
    let what = format!(
        "{} messages, {} answers, {} reminders, {} addresses, {} sandboxes",
        erased.messages,
        erased.answers,
        erased.reminders,
        erased.addresses,
        erased.sandboxes.len()
    );
    if options.dry_run {
        tx.rollback().await.context("end a rehearsal")?;
        return Ok(Answer::new(
            format!("Would be deleted of {id}: {what}."),
            json,
        ));
    }
    if erased.is_new {
        let detail = json!({ "sandboxes": json["sandboxes"] });
        let event = Event {
            actor: &actor,
            tenant: Some(id),
            kind: "erase",
            detail,
        };
        event::record(&mut *tx, event, now).await?;
    }
    tx.commit().await.context("commit an erasure")?;
    let mut text = match erased.is_new {
        true => format!("{id} is erased: {what}."),
        false => format!("{id} was erased already."),
    };
    if options.no_wait || backups.is_none() {
        erased.wishes.clear();
    }
    let mut good = true;
    for wish in erased.wishes {
        let followed = follow::follow(&db, wish, options.json).await?;
        good &= followed.is_none_or(|followed| followed.good());
    }
    match (backups.is_some(), tombstone::unstored(&db).await?) {
        (true, 0) if good => {
            text.push_str("\nTheir snapshots are deleted; backups of before erase them again.")
        }
        (true, _) => text.push_str(
            "\nThe worker deletes their snapshots when it runs; until then do not restore.",
        ),
        (false, _) => {}
    }
    Ok(Answer {
        good,
        ..Answer::new(text, json)
    })
}
