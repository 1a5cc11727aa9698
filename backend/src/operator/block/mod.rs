//! `clawkaka block add|remove|list|sync`: people from whom nothing is taken. They are told nothing, and whoever
//! is here already is suspended with it.

mod list;
mod sync;
mod whom;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    actor::Actor,
    answer::Answer,
    event::{self, Event},
    settings::{Settings, WHERE_FROM},
    tenant::shut_out,
};
use crate::tenant::blocked::{self, Wanted};
use whom::Whom;

#[derive(Subcommand)]
pub enum Command {
    /// Takes nothing more from an address, or from a person with all of theirs.
    Add(Options),
    /// Takes their messages again.
    Remove(Options),
    /// Who is blocked, and whether WhatsApp blocks them, too.
    List(list::Options),
    /// Brings the list to WhatsApp's own, and says what became of each.
    Sync(sync::Options),
}

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Their messages are stored and go no further; who writes learns nothing of it. `clawkaka block sync` has WhatsApp
keep them away from us altogether, if they wrote within the last 24 hours.

Examples:
  clawkaka block add +4366012345678 --why 'threats'
  clawkaka block add 0198c0de-…
  clawkaka block remove +4366012345678"))]
pub struct Options {
    /// A tenant's id, a phone number with its country's code, or WhatsApp's user id.
    #[arg(value_name = "WHO")]
    who: String,
    /// On which number, where there are several: its id, or the provider's.
    #[arg(long, value_name = "LINE")]
    line: Option<String>,
    /// A reason, for the record; no names, no content.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    actor: Actor,
    /// One JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

impl Command {
    pub fn wants_json(&self) -> bool {
        match self {
            Self::Add(options) | Self::Remove(options) => options.json,
            Self::List(options) => options.json,
            Self::Sync(options) => options.json,
        }
    }
}

pub async fn run(
    command: Command,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    match command {
        Command::Add(options) => add(options, problems, now).await,
        Command::Remove(options) => remove(options, problems, now).await,
        Command::List(options) => list::run(options, problems, now).await,
        Command::Sync(options) => sync::run(options, problems, now).await,
    }
}

async fn add(
    options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let (why, actor) = (options.why, options.actor.name());
    let (db, whom) = whom::find(options.settings, problems, &options.who, options.line).await?;
    let Whom {
        line,
        tenant,
        entries,
    } = whom;
    let mut tx = db.begin().await.context("begin to block somebody")?;
    let wanted = Wanted {
        line,
        entries: &entries,
        actor: &actor,
        reason: why.as_deref(),
    };
    let new = blocked::put(&mut tx, &wanted, now).await?;
    let suspended = match tenant {
        Some(id) => shut_out(&mut tx, id, now).await?.is_some(),
        None => false,
    };
    let changed = new > 0 || suspended;
    if changed {
        let event = Event {
            actor: &actor,
            tenant,
            kind: "block",
            detail: json!({ "line": line.0, "addresses": entries.len(), "why": why,
                            "suspended": suspended }),
        };
        event::record(&mut *tx, event, now).await?;
    }
    tx.commit().await.context("commit a block")?;
    let mut text = match changed {
        true => "They are blocked: what they write goes no further.".to_owned(),
        false => "They were blocked already.".to_owned(),
    };
    if suspended {
        text.push_str("\nThey were here; they are suspended, and hear nothing more.");
    }
    text.push_str(
        "\nHave WhatsApp block them, too: clawkaka block sync\nUndo: clawkaka block remove",
    );
    let json = json!({ "line": line.0, "tenant": tenant.map(|id| id.0), "blocked": true,
                       "changed": changed, "addresses": entries.len(), "suspended": suspended });
    Ok(Answer::new(text, json))
}

async fn remove(
    options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let (why, actor) = (options.why, options.actor.name());
    let (db, whom) = whom::find(options.settings, problems, &options.who, options.line).await?;
    let mut tx = db.begin().await.context("begin to lift a block")?;
    let lifted = blocked::lift(&mut tx, whom.line, &whom.entries, now).await?;
    if lifted > 0 {
        let event = Event {
            actor: &actor,
            tenant: whom.tenant,
            kind: "unblock",
            detail: json!({ "line": whom.line.0, "addresses": lifted, "why": why }),
        };
        event::record(&mut *tx, event, now).await?;
    }
    tx.commit().await.context("commit that a block is lifted")?;
    let mut text = match lifted {
        0 => "They were not blocked.".to_owned(),
        _ => "They are not blocked any more here. If WhatsApp blocks them, take them off its list: clawkaka block sync"
            .to_owned(),
    };
    if let Some(id) = whom.tenant {
        text.push_str(&format!(
            "\nIf they are suspended: clawkaka tenant resume {id}"
        ));
    }
    let json = json!({ "line": whom.line.0, "tenant": whom.tenant.map(|id| id.0), "blocked": false,
                       "changed": lifted > 0, "addresses": lifted });
    Ok(Answer::new(text, json))
}
