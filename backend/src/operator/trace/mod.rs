//! `clawkaka trace`: where a message is, from its arrival to the receipts of its answer.
//!
//! [`look`] reads the tables, [`explain`] says in one sentence what is waited for. Takes any id that
//! a log, WhatsApp or another command shows: of a message in or out, an inbox row, a turn, an outbox
//! row. Shows no content, and of a WhatsApp id only its end, for it begins with a phone number.

mod explain;
mod finished;
mod look;
mod write;

use chrono::{DateTime, Utc};
use clap::Args;

use super::{
    answer::{Answer, Refusal},
    settings::{Settings, WHERE_FROM},
};

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Examples:
  clawkaka trace wamid.HBgLMTY1MDU1…=       as a person or Meta names a message, in or out
  clawkaka trace 0198c0de-…  --json         an inbox, turn or outbox id, as logs name them"))]
pub struct Options {
    /// A WhatsApp message id, or the id of an inbox row, a turn or an outbox row.
    #[arg(value_name = "MESSAGE ID")]
    id: String,
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
    let db = options.settings.database(problems).await?;
    trace(&db, &options.id, now).await
}

/// Everything there is to tell.
pub async fn trace(db: &sqlx::PgPool, id: &str, now: DateTime<Utc>) -> anyhow::Result<Answer> {
    let Some(seen) = look::look(db, id.trim()).await? else {
        return Err(Refusal {
            code: "no-such-message",
            what: "No message, turn or answer has this id.".to_owned(),
            todo: "If a person sees one grey tick, WhatsApp has not reached our webhook: run `clawkaka doctor`.",
        }
        .into());
    };
    let explanation = explain::explain(&seen, now);
    Ok(Answer::new(
        write::text(&seen, &explanation, now),
        write::json(&seen, &explanation),
    ))
}
