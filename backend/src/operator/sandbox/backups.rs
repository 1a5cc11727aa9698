//! `clawkaka sandbox backup|snapshots|restore`: the files of one person's agent.

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use crate::operator::{
    actor::Actor,
    answer::{Answer, Refusal, stamp, table, when},
    backup::{
        follow::{self, size},
        place,
    },
    confirm::confirm,
    event::{self, Event},
    settings::{Settings, WHERE_FROM},
};
use crate::{
    backup::{
        row::{self, Kind, Wish},
        store::{self, Object, Store},
    },
    id::{BackupId, SandboxId},
    sandbox::{row as sandbox, row::saved},
};

#[derive(Subcommand)]
pub enum Command {
    /// Backs up the files of one sandbox, between two turns.
    Backup(Change),
    /// Lists what was backed up of a sandbox.
    Snapshots(Look),
    /// Puts the files of a sandbox back; what it has now is backed up first.
    Restore(Restore),
}

#[derive(Args)]
#[command(after_help = WHERE_FROM)]
pub struct Change {
    /// The sandbox, as `clawkaka tenant show` names it.
    #[arg(value_name = "ID")]
    id: Uuid,
    /// Only asks; the worker does it meanwhile.
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    actor: Actor,
    /// One JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
#[command(after_help = WHERE_FROM)]
pub struct Look {
    /// The sandbox, as `clawkaka tenant show` names it.
    #[arg(value_name = "ID")]
    id: Uuid,
    /// One JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "The agent forgets what it learned since; messages that were answered stay answered.

Example:
  clawkaka sandbox restore 0198c0de-… --snapshot sandbox/0198c0de-…/20261121T030000000Z"))]
pub struct Restore {
    /// Which snapshot, as `clawkaka sandbox snapshots` names it; the newest unless said.
    #[arg(long, value_name = "NAME")]
    snapshot: Option<String>,
    /// Does not ask.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    change: Change,
}

impl Command {
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Backup(options) => options.json,
            Self::Snapshots(options) => options.json,
            Self::Restore(options) => options.change.json,
        }
    }
}

pub async fn run(
    command: Command,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    match command {
        Command::Backup(options) => backup(options, problems, now).await,
        Command::Snapshots(options) => snapshots(options, problems, now).await,
        Command::Restore(options) => restore(options, problems, now).await,
    }
}

fn unknown(id: SandboxId) -> Refusal {
    Refusal {
        code: "no-such-sandbox",
        what: format!("There is no sandbox with the id {id}."),
        todo: "`clawkaka tenant show` names a person's sandbox.",
    }
}

async fn known(db: &PgPool, id: SandboxId) -> anyhow::Result<()> {
    Ok(saved::of(db, id)
        .await?
        .map(|_| ())
        .ok_or_else(|| unknown(id))?)
}

async fn backup(
    mut options: Change,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    place(&options.settings, problems.clone())?;
    let db = options.settings.database(problems).await?;
    let id = SandboxId(options.id);
    known(&db, id).await?;
    let asked = ask(&db, &[wish(Kind::Sandbox, id, None)], options.actor, now).await?;
    answer(&db, &asked, options.no_wait, options.json).await
}

async fn snapshots(
    options: Look,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let store = Store::open(&place(&options.settings, problems)?.to)?;
    let found = store.list(&store::snapshots(SandboxId(options.id))).await?;
    let rows: Vec<_> = found
        .iter()
        .map(|one| vec![one.name.clone(), when(one.at, now), size(one.bytes as i64)])
        .collect();
    let text = match rows.is_empty() {
        true => "It was never backed up.".to_owned(),
        false => table(&["SNAPSHOT", "TAKEN", "SIZE"], &rows),
    };
    let list = found
        .iter()
        .map(|one| json!({ "name": one.name, "taken_at": stamp(one.at), "bytes": one.bytes }));
    Ok(Answer::new(
        text,
        json!({ "snapshots": list.collect::<Vec<_>>() }),
    ))
}

async fn restore(
    options: Restore,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let mut change = options.change;
    let store = Store::open(&place(&change.settings, problems.clone())?.to)?;
    let db = change.settings.database(problems).await?;
    let id = SandboxId(change.id);
    known(&db, id).await?;
    let found = store.list(&store::snapshots(id)).await?;
    let chosen = choose(found, options.snapshot.as_deref())?;
    if !options.yes {
        let question = format!(
            "The agent of sandbox {id} forgets everything since {}. What it has now is backed up first.",
            when(chosen.at, now)
        );
        confirm(&question, "yes")?;
    }
    // In this order: one sandbox's wishes are done one after the other.
    let wishes = [
        wish(Kind::Sandbox, id, None),
        wish(Kind::Restore, id, Some(chosen.name)),
    ];
    let asked = ask(&db, &wishes, change.actor, now).await?;
    answer(&db, &asked, change.no_wait, change.json).await
}

fn choose(found: Vec<Object>, name: Option<&str>) -> Result<Object, Refusal> {
    let mut found = found.into_iter();
    let chosen = match name {
        Some(name) => found.find(|one| one.name == name),
        None => found.next(),
    };
    chosen.ok_or(Refusal {
        code: "no-such-snapshot",
        what: "There is no such snapshot.".to_owned(),
        todo: "`clawkaka sandbox snapshots` lists those there are.",
    })
}

fn wish(kind: Kind, sandbox: SandboxId, object: Option<String>) -> Wish {
    Wish {
        kind,
        parent: None,
        sandbox: Some(sandbox),
        object,
        actor: None,
    }
}

async fn ask(
    db: &PgPool,
    wishes: &[Wish],
    actor: Actor,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<BackupId>> {
    let actor = actor.name();
    let mut asked = Vec::new();
    let mut tx = db.begin().await.context("ask for a backup")?;
    for wish in wishes {
        let wish = Wish {
            actor: Some(actor.clone()),
            ..wish.clone()
        };
        let id = row::ask(&mut *tx, &wish, now).await?;
        let tenant = match wish.sandbox {
            Some(sandbox) => sandbox::tenant_of(&mut *tx, sandbox).await?,
            None => None,
        };
        let event = Event {
            actor: &actor,
            tenant,
            kind: match wish.kind {
                Kind::Restore => "sandbox_restore",
                _ => "sandbox_backup",
            },
            detail: json!({ "backup": id.0, "sandbox": wish.sandbox.map(|id| id.0), "object": wish.object }),
        };
        event::record(&mut *tx, event, now).await?;
        asked.push(id);
    }
    tx.commit().await.context("ask for a backup")?;
    Ok(asked)
}

async fn answer(
    db: &PgPool,
    asked: &[BackupId],
    no_wait: bool,
    as_json: bool,
) -> anyhow::Result<Answer> {
    if no_wait {
        let ids: Vec<_> = asked.iter().map(|id| id.0).collect();
        return Ok(Answer::new(
            "Asked for; the worker does it.".to_owned(),
            json!({ "ids": ids }),
        ));
    }
    let (mut lines, mut all, mut good) = (Vec::new(), Vec::new(), true);
    for id in asked {
        let followed = follow::follow(db, *id, as_json).await?;
        let followed = followed.context("follow a backup: its row is gone")?;
        good &= followed.good();
        lines.push(followed.line());
        all.push(followed.json());
    }
    Ok(Answer {
        good,
        ..Answer::new(lines.join("\n"), json!({ "done": all }))
    })
}
