//! `clawkaka tenant list|show|suspend|resume|set-role|allow|disallow|allowed|export|erase`: the people, by
//! id.
//!
//! A suspended person is refused silently: what they write is stored and goes no further, what
//! waited for a turn is refused too, answers that are queued wait as long as any other message, and
//! the sandbox is stopped with its memory kept. A turn that runs then loses its sandbox and is given
//! up at its deadline.

pub mod allow;
mod erase;
mod export;
mod look;
mod role;
mod show;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::{Args, Subcommand};
use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    actor::Actor,
    answer::{Answer, Refusal, ago, stamp, table},
    event::{self, Event},
    settings::{Settings, WHERE_FROM},
};
use crate::{
    id::{SandboxId, TenantId},
    inbox,
    sandbox::row::{self, Intent},
    tenant::{self, Status},
};
use look::Listed;

#[derive(Subcommand)]
pub enum Command {
    /// Everybody, whoever wrote last first.
    List(List),
    /// One person: status, counts, sandbox, tokens, what was done about them.
    Show(show::Options),
    /// Refuses a person silently and stops their sandbox; nothing is deleted.
    Suspend(Change),
    /// Lets a suspended person in again.
    Resume(Change),
    /// Gives a person a role, of which their agent is told.
    SetRole(role::Options),
    /// Lets an address in, however its line takes new people.
    Allow(allow::Allow),
    /// Takes an address off that list.
    Disallow(allow::Options),
    /// Who is on that list.
    Allowed(allow::List),
    /// Writes everything we hold of a person into a folder or an archive, to be read by them.
    Export(export::Options),
    /// Forgets a person for good: rows, agent, files, snapshots.
    Erase(erase::Options),
}

#[derive(Args)]
#[command(after_help = format!("{}\n\n{WHERE_FROM}", "Example:
  clawkaka tenant list --json | jq -r '.tenants[] | select(.status == \"suspended\") | .id'"))]
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
  clawkaka tenant suspend 0198c0de-… --why 'asked to be left alone'"))]
pub struct Change {
    /// As `clawkaka tenant list` shows it.
    #[arg(value_name = "ID")]
    id: Uuid,
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
            Self::List(options) => options.json,
            Self::Show(options) => options.json,
            Self::Suspend(options) | Self::Resume(options) => options.json,
            Self::SetRole(options) => options.json,
            Self::Allow(allow) => allow.options.json,
            Self::Disallow(options) => options.json,
            Self::Allowed(options) => options.json,
            Self::Export(options) => options.json,
            Self::Erase(options) => options.json,
        }
    }
}

pub async fn run(
    command: Command,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    match command {
        Command::List(options) => list(options, problems, now).await,
        Command::Show(options) => show::show(options, problems, now).await,
        Command::Suspend(options) => suspend(options, problems, now).await,
        Command::Resume(options) => resume(options, problems, now).await,
        Command::SetRole(options) => role::run(options, problems, now).await,
        Command::Allow(allow) => allow::allow(allow, problems, now).await,
        Command::Disallow(options) => allow::disallow(options, problems, now).await,
        Command::Allowed(options) => allow::list(options, problems, now).await,
        Command::Export(options) => export::run(options, problems, now).await,
        Command::Erase(options) => erase::run(options, problems, now).await,
    }
}

pub fn unknown(id: TenantId) -> Refusal {
    Refusal {
        code: "no-such-tenant",
        what: format!("There is no person with the id {id}."),
        todo: "`clawkaka tenant list` shows all.",
    }
}

async fn list(
    mut options: List,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let db = options.settings.database(problems).await?;
    let all = look::list(&db, i64::from(options.limit), now).await?;
    let rows: Vec<_> = all.iter().map(|one| cells(one, now)).collect();
    let heads = [
        "ID",
        "STATUS",
        "ROLE",
        "LINE",
        "ZONE",
        "QUIET",
        "LAST IN",
        "OPEN",
        "SANDBOX",
        "TOKENS 24H",
    ];
    let text = match all.is_empty() {
        true => "Nobody has written yet.".to_owned(),
        false => table(&heads, &rows),
    };
    let tenants: Vec<_> = all.iter().map(Listed::json).collect();
    Ok(Answer::new(text, json!({ "tenants": tenants })))
}

fn cells(one: &Listed, now: DateTime<Utc>) -> Vec<String> {
    let status = match one.frozen {
        true => format!("{}, frozen", one.status),
        false => one.status.clone(),
    };
    let sandbox = match (one.slot, &one.intent) {
        (Some(slot), Some(intent)) if one.failures > 0 => {
            format!("{slot} {intent}, {} failed starts", one.failures)
        }
        (Some(slot), Some(intent)) => format!("{slot} {intent}"),
        _ => "-".to_owned(),
    };
    vec![
        one.id.to_string(),
        status,
        one.role.clone().unwrap_or("-".to_owned()),
        one.phone_number_id.clone(),
        one.time_zone.clone(),
        one.quiet(),
        one.last_inbound_at
            .map_or("-".to_owned(), |at| ago(at, now)),
        format!("{} in, {} out", one.waiting + one.in_turn, one.queued),
        sandbox,
        one.tokens_day.to_string(),
    ]
}

/// What became of somebody's, once they are suspended.
#[derive(Default)]
pub struct ShutOut {
    refused: u64,
    sandbox: Option<SandboxId>,
}

/// Suspends somebody with what waits of them. `None`: there is nothing to suspend.
pub async fn shut_out(
    db: &mut PgConnection,
    id: TenantId,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<ShutOut>> {
    if !tenant::suspend(&mut *db, id).await? {
        return Ok(None);
    }
    let refused = inbox::leave::end_waiting(&mut *db, id, "refused", now).await?;
    let sandbox = row::set_intent(&mut *db, id, Intent::Stopped).await?;
    Ok(Some(ShutOut { refused, sandbox }))
}

async fn suspend(
    mut options: Change,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let db = options.settings.database(problems).await?;
    let id = TenantId(options.id);
    let mut tx = db.begin().await.context("begin a suspension")?;
    let known = tenant::find(&mut *tx, id).await?;
    let known = known.ok_or_else(|| unknown(id))?;
    let out = shut_out(&mut tx, id, now).await?;
    let is_new = out.is_some();
    if !is_new && known.status != Status::Suspended {
        return Err(Refusal {
            code: "cannot-suspend",
            what: format!("{id} has left or was erased."),
            todo: "There is nothing to suspend.",
        }
        .into());
    }
    let ShutOut { refused, sandbox } = out.unwrap_or_default();
    if is_new {
        let detail = json!({ "why": options.why, "refused_messages": refused,
                             "sandbox": sandbox.map(|id| id.0) });
        record(&mut tx, options.actor, id, "suspend", detail, now).await?;
    }
    tx.commit().await.context("commit a suspension")?;
    let text = match is_new {
        true => format!(
            "{id} is suspended: {refused} waiting messages refused{}.\n\
             What they write is stored and goes no further; queued answers wait.\n\
             Undo: clawkaka tenant resume {id}",
            sandbox.map_or("", |_| ", the sandbox stops")
        ),
        false => format!("{id} was suspended already."),
    };
    let json = json!({ "tenant": id.0, "status": "suspended", "changed": is_new,
                       "refused_messages": refused, "sandbox": sandbox.map(|id| id.0) });
    Ok(Answer::new(text, json))
}

async fn resume(
    mut options: Change,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let db = options.settings.database(problems).await?;
    let id = TenantId(options.id);
    let mut tx = db.begin().await.context("begin a resumption")?;
    let known = tenant::find(&mut *tx, id).await?;
    let known = known.ok_or_else(|| unknown(id))?;
    let is_new = tenant::resume(&mut *tx, id).await?;
    if !is_new && known.status != Status::Active {
        return Err(Refusal {
            code: "not-suspended",
            what: format!("{id} is not suspended."),
            todo: "`clawkaka tenant show` says how they stand with us.",
        }
        .into());
    }
    if is_new {
        row::set_intent(&mut *tx, id, Intent::Auto).await?;
        let detail = json!({ "why": options.why });
        record(&mut tx, options.actor, id, "resume", detail, now).await?;
    }
    tx.commit().await.context("commit a resumption")?;
    let text = match is_new {
        true => format!("{id} is active again; their sandbox starts with their next message."),
        false => format!("{id} was active already."),
    };
    let json = json!({ "tenant": id.0, "status": "active", "changed": is_new });
    Ok(Answer::new(text, json))
}

async fn record(
    db: &mut PgConnection,
    actor: Actor,
    tenant: TenantId,
    kind: &'static str,
    detail: serde_json::Value,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let event = Event {
        actor: &actor.name(),
        tenant: Some(tenant),
        kind,
        detail,
    };
    event::record(db, event, now).await
}

fn stamped(at: Option<DateTime<Utc>>) -> Option<String> {
    at.map(stamp)
}
