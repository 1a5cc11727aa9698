//! `clawkaka line remove`: from now on nothing is taken from a number and nothing sent on it.

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;

use super::{db, facts, find, refuse_named};
use crate::{
    inbox,
    line::{Delivery, stored},
    operator::{
        actor::Actor,
        answer::Answer,
        confirm::confirm,
        event::{self, Event},
        settings::{Settings, WHERE_FROM},
    },
    outbox,
};

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Nobody is deleted: people, their agents and what these know stay, and are there again once the line
is added again. Messages that wait for a turn are refused; answers that wait are not sent. Its token is
deleted at once, what verifies its webhooks after 8 days: what still comes is answered, kept as of an
unknown line, and wakes nobody.

Example:
  clawkaka line remove 123456789012345"))]
pub struct Options {
    /// Its id, or the provider's phone number id.
    #[arg(value_name = "LINE")]
    line: String,
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

pub async fn run(
    options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let facts = facts(options.settings, problems, false)?;
    let db = db(&facts).await?;
    let line = find(db, &options.line).await?;
    let number = &line.phone_number_id;
    refuse_named(&facts.config, line.provider, number)?;
    let queued = outbox::look::open_on(db, line.id).await?;
    let people = line.people;
    if line.removed_at.is_none() && !options.yes {
        let question = format!(
            "{people} people write to {number}. They stay, with their agents, but hear nothing more on it;\n\
             {queued} answers that wait are not sent, and messages that wait for a turn are refused."
        );
        confirm(&question, number)?;
    }
    let mut tx = db.begin().await.context("begin to remove a line")?;
    stored::change(&mut tx).await?;
    let is_new = stored::remove(&mut *tx, line.id, now).await?;
    let mut refused = 0;
    if is_new {
        refused = inbox::leave::refuse_waiting_on(&mut *tx, line.id, now).await?;
        let event = Event {
            actor: &options.actor.name(),
            tenant: None,
            kind: "line_remove",
            detail: json!({ "line": line.id.0, "people": people, "refused_messages": refused }),
        };
        event::record(&mut *tx, event, now).await?;
    }
    tx.commit().await.context("commit that a line is removed")?;
    let how = match line.delivery {
        Delivery::Poll => " --delivery poll",
        Delivery::Webhook => "",
    };
    let text = match is_new {
        true => format!(
            "Line {number} is removed: {people} people wrote to it, and stay. {refused} waiting messages are\n\
             refused, {queued} answers are not sent. Delete its webhook in the dashboard, too.\n\
             Undo: clawkaka line add --provider {} --phone-number-id {number}{how}",
            line.provider.as_str()
        ),
        false => format!("Line {number} was removed already."),
    };
    let json = json!({ "line": line.id.0, "phone_number_id": number, "removed": true,
                       "changed": is_new, "people": people, "refused_messages": refused,
                       "queued_answers": queued });
    Ok(Answer::new(text, json))
}
