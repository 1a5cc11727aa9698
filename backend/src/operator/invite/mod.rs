//! `clawkaka invite create|list|revoke`: codes that let new people in where a line takes nobody without.

mod create;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde_json::json;
use uuid::Uuid;

use super::{
    actor::Actor,
    answer::{Answer, Refusal, ago, stamp, table},
    event::{self, Event},
    settings::{Settings, WHERE_FROM},
};
use crate::{
    id::InviteId,
    tenant::invite::{self, Listed},
};

#[derive(Subcommand)]
pub enum Command {
    /// Makes a code, and a link that has it already typed.
    Create(create::Options),
    /// All invitations, the latest first; what their codes are nobody can tell any more.
    List(List),
    /// From now on an invitation lets nobody in. Who came with it stays.
    Revoke(Revoke),
}

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Example:
  clawkaka invite list --json | jq '[.invites[] | select(.state == \"open\")] | length'"))]
pub struct List {
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 200)]
    limit: u32,
    /// One JSON document.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Example:
  clawkaka invite revoke 0198c0de-…"))]
pub struct Revoke {
    /// As `clawkaka invite list` shows it.
    #[arg(value_name = "ID")]
    id: Uuid,
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
            Self::Create(options) => options.json,
            Self::List(options) => options.json,
            Self::Revoke(options) => options.json,
        }
    }
}

pub async fn run(
    command: Command,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    match command {
        Command::Create(options) => create::run(options, problems, now).await,
        Command::List(options) => list(options, problems, now).await,
        Command::Revoke(options) => revoke(options, problems, now).await,
    }
}

async fn list(
    mut options: List,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let db = options.settings.database(problems).await?;
    let all = invite::list(&db, i64::from(options.limit)).await?;
    let rows: Vec<_> = all.iter().map(|one| cells(one, now)).collect();
    let heads = ["ID", "LINE", "USED", "STATE", "ENDS", "ROLE"];
    let text = match all.is_empty() {
        true => "There is no invitation yet.".to_owned(),
        false => table(&heads, &rows),
    };
    let invites = all.iter().map(|one| {
        json!({
            "id": one.id.0,
            "phone_number_id": one.phone_number_id,
            "uses": one.uses,
            "uses_left": one.uses_left,
            "state": state(one, now),
            "valid_until": stamp(one.valid_until),
            "role": one.role,
        })
    });
    let invites: Vec<_> = invites.collect();
    Ok(Answer::new(text, json!({ "invites": invites })))
}

fn state(one: &Listed, now: DateTime<Utc>) -> &'static str {
    match one {
        _ if one.revoked_at.is_some() => "revoked",
        _ if one.uses_left == 0 => "used",
        _ if one.valid_until <= now => "over",
        _ => "open",
    }
}

fn cells(one: &Listed, now: DateTime<Utc>) -> Vec<String> {
    vec![
        one.id.to_string(),
        one.phone_number_id.clone().unwrap_or("all".to_owned()),
        format!("{} of {}", one.uses - one.uses_left, one.uses),
        state(one, now).to_owned(),
        ago(one.valid_until, now),
        one.role.clone().unwrap_or("-".to_owned()),
    ]
}

async fn revoke(
    mut options: Revoke,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let db = options.settings.database(problems).await?;
    let id = InviteId(options.id);
    let mut tx = db.begin().await.context("begin to revoke an invitation")?;
    let is_new = invite::revoke(&mut *tx, id, now).await?;
    let is_new = is_new.ok_or_else(|| Refusal {
        code: "no-such-invitation",
        what: format!("There is no invitation {id}."),
        todo: "`clawkaka invite list` shows all.",
    })?;
    if is_new {
        let event = Event {
            actor: &options.actor.name(),
            tenant: None,
            kind: "invite_revoke",
            detail: json!({ "invite": id.0 }),
        };
        event::record(&mut *tx, event, now).await?;
    }
    tx.commit().await.context("commit a revocation")?;
    let text = match is_new {
        true => format!("{id} lets nobody in any more. Who came with it stays."),
        false => format!("{id} was revoked already."),
    };
    let json = json!({ "invite": id.0, "revoked": true, "changed": is_new });
    Ok(Answer::new(text, json))
}
