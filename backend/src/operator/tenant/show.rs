//! `clawkaka tenant show`: one person. With `--reveal` and the master key also who they are, which
//! is put on record.

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::json;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    look::{self, History, Listed},
    record, stamped, unknown,
};
use crate::{
    config,
    id::TenantId,
    operator::{
        actor::Actor,
        answer::{Answer, pairs, when},
        event::{self, Done},
        settings::{Settings, WHERE_FROM},
    },
    seal::Opener,
    tenant::address,
    whatsapp::client::Recipient,
};

/// How many of an operator's actions are shown.
const RECENT: i64 = 5;

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Examples:
  clawkaka tenant show 0198c0de-…
  clawkaka tenant show 0198c0de-… --reveal    also name and number; needs CLAWKAKA_MASTER_KEY"))]
pub struct Options {
    /// As `clawkaka tenant list` shows it.
    #[arg(value_name = "ID")]
    id: Uuid,
    /// Shows name and number on this terminal, and puts that on record.
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

/// Who a person is.
struct Revealed {
    name: Option<String>,
    address: Option<String>,
}

pub async fn show(
    mut options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let opener = match options.reveal {
        true => {
            let raw = config::Raw {
                master_key: options.settings.0.master_key.take(),
                ..config::Raw::default()
            };
            Some(Opener::new(&*config::master_key(raw, problems.clone())?))
        }
        false => None,
    };
    let db = options.settings.database(problems).await?;
    let id = TenantId(options.id);
    let person = look::one(&db, id, now).await?.ok_or_else(|| unknown(id))?;
    let history = look::history(&db, id, now).await?;
    let revealed = match opener {
        Some(opener) => Some(reveal(&db, &opener, id, options.actor, now).await?),
        None => None,
    };
    let done = event::about(&db, id, RECENT).await?;
    let mut json = person.json();
    let seen = json!({
        "messages": history.messages,
        "messages_24h": history.messages_day,
        "turns": history.turns,
        "turns_buried": history.buried,
        "last_turn_at": stamped(history.last_turn_at),
        "running_turn": history.running_turn,
        "answers_sent": history.sent,
        "answers_held": history.held,
        "answers_failed": history.failed,
        "session_no": history.session_no,
        "sandbox_retry_at": stamped(history.retry_at),
    });
    json["history"] = seen;
    json["events"] = done
        .iter()
        .map(|done| json!({ "at": stamped(Some(done.at)), "actor": done.actor, "kind": done.kind }))
        .collect();
    if let Some(revealed) = &revealed {
        json["revealed"] = json!({ "name": revealed.name, "address": revealed.address });
    }
    let text = text(&person, &history, &done, revealed.as_ref(), now);
    Ok(Answer::new(text, json))
}

fn text(
    person: &Listed,
    history: &History,
    done: &[Done],
    revealed: Option<&Revealed>,
    now: DateTime<Utc>,
) -> String {
    let frozen = if person.frozen { ", frozen" } else { "" };
    let sandbox = person.sandbox.map(|id| {
        let slot = person.slot.unwrap_or_default();
        let intent = person.intent.as_deref().unwrap_or_default();
        let session = history.session_no.unwrap_or_default();
        format!("{id}, slot {slot}, {intent}, conversation {session}")
    });
    let failing = (person.failures > 0).then(|| match history.retry_at {
        Some(at) => format!(
            "{} in a row, tried again {}",
            person.failures,
            when(at, now)
        ),
        None => format!("{} in a row", person.failures),
    });
    let mut text = pairs(&[
        ("id", Some(person.id.to_string())),
        ("name", revealed.and_then(|who| who.name.clone())),
        ("address", revealed.and_then(|who| who.address.clone())),
        ("status", Some(format!("{}{frozen}", person.status))),
        ("role", person.role.clone()),
        (
            "line",
            Some(format!("{} ({})", person.phone_number_id, person.line)),
        ),
        ("zone", Some(person.time_zone.clone())),
        ("quiet hours", Some(person.quiet())),
        ("first contact", Some(when(person.created_at, now))),
        (
            "last message",
            person.last_inbound_at.map(|at| when(at, now)),
        ),
        (
            "messages",
            Some(format!(
                "{} in all, {} in 24 h, {} wait for a turn",
                history.messages, history.messages_day, person.waiting
            )),
        ),
        (
            "turns",
            Some(format!(
                "{} in all, {} given up",
                history.turns, history.buried
            )),
        ),
        (
            "running turn",
            history.running_turn.map(|id| id.to_string()),
        ),
        (
            "answers",
            Some(format!(
                "{} sent, {} not yet, {} of these until the person writes, {} failed",
                history.sent, person.queued, history.held, history.failed
            )),
        ),
        (
            "sandbox",
            Some(sandbox.unwrap_or_else(|| "none yet".to_owned())),
        ),
        ("failed starts", failing),
        ("tokens, 24 h", Some(person.tokens_day.to_string())),
        ("speech, 24 h", Some(format!("{} s", person.seconds_day))),
    ]);
    for one in done {
        text.push_str(&format!(
            "{} by {}, {}\n",
            one.kind,
            one.actor,
            when(one.at, now)
        ));
    }
    text
}

async fn reveal(
    db: &PgPool,
    opener: &Opener,
    id: TenantId,
    actor: Actor,
    now: DateTime<Utc>,
) -> anyhow::Result<Revealed> {
    let mut tx = db.begin().await.context("begin to reveal a person")?;
    let name = match crate::tenant::name(&mut *tx, id).await? {
        Some(sealed) => Some(String::from_utf8_lossy(&opener.open(&sealed)?).into_owned()),
        None => None,
    };
    let address = address::recipient(&mut tx, opener, id).await?;
    let address = address.map(|(_, recipient)| match recipient {
        Recipient::Phone(digits) => format!("+{digits}"),
        Recipient::UserId(id) => id,
        Recipient::Group(id) => format!("group {id}"),
    });
    record(&mut tx, actor, id, "reveal", json!({}), now).await?;
    // Nobody is revealed without it being on record.
    tx.commit()
        .await
        .context("commit that a person was revealed")?;
    Ok(Revealed { name, address })
}
