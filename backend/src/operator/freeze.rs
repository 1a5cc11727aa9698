//! `clawkaka freeze` and `unfreeze`: stop what goes out, and let it go again.
//!
//! A running worker notices within a second, at its next look. What was on its way at the moment of
//! the freeze still arrives; the answer says how much that was.

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use serde_json::{Value, json};
use sqlx::{PgConnection, PgExecutor};
use uuid::Uuid;

use super::{
    actor::Actor,
    answer::{Answer, ago, stamp},
    event::{self, Event},
    settings::{Settings, WHERE_FROM},
};
use crate::{
    freeze::{self, Freeze, Scope},
    id::{LineId, TenantId},
    line, outbox, tenant,
};

const EXAMPLES: &str = "Examples:
  clawkaka freeze --why 'the agents answer nonsense'   the whole deployment
  clawkaka freeze --line 106540352242922               everybody on one number
  clawkaka freeze --tenant 0198c0de-…                  one person
  clawkaka unfreeze                                    what `freeze` alone has frozen

Webhooks are stored and routed while it is frozen; no message is sent, no turn is opened, nobody is
shown that we are typing. Turns that run end, and their answers wait. No message expires meanwhile:
after the thaw, answers within WhatsApp's 24 hours go out, later ones when the person writes again.";

#[derive(Args)]
#[command(after_help = format!("{EXAMPLES}\n\n{WHERE_FROM}"))]
pub struct Options {
    /// Only this number: its id, or WhatsApp's phone number id.
    #[arg(long, value_name = "LINE", conflicts_with = "tenant")]
    line: Option<String>,
    /// Only this person.
    #[arg(long, value_name = "ID")]
    tenant: Option<Uuid>,
    /// A reason, for the record; no names, no content.
    #[arg(long, value_name = "TEXT")]
    why: Option<String>,
    #[command(flatten)]
    actor: Actor,
    /// One JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    settings: Settings,
}

/// What is under way in a scope.
struct Traffic {
    running: i64,
    waiting: i64,
    queued: i64,
    late: i64,
    sending: i64,
}

pub async fn freeze(
    mut options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let db = options.settings.database(problems).await?;
    let mut tx = db.begin().await.context("begin a freeze")?;
    let scope = scope(&mut tx, &options).await?;
    let actor = options.actor.name();
    let why = options.why.as_deref();
    let is_new = freeze::set(&mut *tx, scope, &actor, why, now).await?;
    if is_new {
        let detail = detail(scope, why);
        record(&mut tx, &actor, scope, "freeze", detail, now).await?;
    }
    tx.commit().await.context("commit a freeze")?;
    let traffic = traffic(&db, scope, now).await?;
    let text = format!(
        "{} {} frozen: messages are taken in, nothing goes out.\n\
         {} turns still run, {} messages wait for one, {} answers wait to be sent, {} are on their way.\n\
         Undo: clawkaka unfreeze{}",
        capital(&name(scope)),
        if is_new { "is now" } else { "was already" },
        traffic.running,
        traffic.waiting,
        traffic.queued,
        traffic.sending,
        again(scope),
    );
    let mut json = json!({ "frozen": true, "changed": is_new });
    add(&mut json, scope, &traffic, &freeze::list(&db).await?);
    Ok(Answer::new(text, json))
}

pub async fn unfreeze(
    mut options: Options,
    problems: Vec<String>,
    now: DateTime<Utc>,
) -> anyhow::Result<Answer> {
    let db = options.settings.database(problems).await?;
    let mut tx = db.begin().await.context("begin a thaw")?;
    let scope = scope(&mut tx, &options).await?;
    let actor = options.actor.name();
    let since = freeze::lift(&mut *tx, scope).await?;
    if let Some(since) = since {
        outbox::overdue::hold_anew(&mut *tx, now).await?;
        let mut detail = detail(scope, options.why.as_deref());
        detail["since"] = json!(stamp(since));
        record(&mut tx, &actor, scope, "unfreeze", detail, now).await?;
    }
    tx.commit().await.context("commit a thaw")?;
    let traffic = traffic(&db, scope, now).await?;
    let left = freeze::list(&db).await?;
    let mut text = match since {
        Some(since) => format!("{} was frozen {}.", capital(&name(scope)), ago(since, now)),
        None => format!("{} was not frozen.", capital(&name(scope))),
    };
    text.push_str(&format!(
        "\n{} messages wait for a turn, {} answers go out now.\n",
        traffic.waiting, traffic.queued
    ));
    if traffic.late > 0 {
        text.push_str(&format!(
            "{} answers came too late for WhatsApp's 24 hours: they wait until the person writes.\n",
            traffic.late
        ));
    }
    for other in &left {
        text.push_str(&format!(
            "Still frozen: {} since {}, by {}.\n",
            name(other.scope),
            ago(other.since, now),
            other.actor
        ));
    }
    let mut json = json!({ "frozen": false, "changed": since.is_some() });
    add(&mut json, scope, &traffic, &left);
    Ok(Answer::new(text, json))
}

async fn scope(db: &mut PgConnection, options: &Options) -> anyhow::Result<Scope> {
    if let Some(text) = &options.line {
        let line = line::find(&mut *db, text).await?;
        let line = line.ok_or_else(|| super::line::unknown(text))?;
        return Ok(Scope::Line(line));
    }
    let Some(id) = options.tenant.map(TenantId) else {
        return Ok(Scope::Everything);
    };
    match tenant::find(&mut *db, id).await? {
        Some(_) => Ok(Scope::Tenant(id)),
        None => Err(super::tenant::unknown(id).into()),
    }
}

fn detail(scope: Scope, why: Option<&str>) -> Value {
    json!({ "scope": word(scope), "line": scope.line().map(|line| line.0), "why": why })
}

async fn record(
    db: &mut PgConnection,
    actor: &str,
    scope: Scope,
    kind: &'static str,
    detail: Value,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let event = Event {
        actor,
        tenant: scope.tenant(),
        kind,
        detail,
    };
    event::record(db, event, now).await
}

async fn traffic(
    db: impl PgExecutor<'_>,
    scope: Scope,
    now: DateTime<Utc>,
) -> anyhow::Result<Traffic> {
    sqlx::query_as!(
        Traffic,
        r#"with people as (
               select id from tenant
               where ($1::uuid is null or line_id = $1) and ($2::uuid is null or id = $2)
           ), unsent as (
               select state, expires_at <= $3 as late from outbox join people on people.id = tenant_id
               where state in ('queued', 'sending')
           )
           select
             (select count(*) from turn join people on people.id = tenant_id
              where state = 'active') as "running!",
             (select count(*) from inbox join people on people.id = tenant_id
              where done_at is null and turn_id is null) as "waiting!",
             (select count(*) from unsent where state = 'queued' and not late) as "queued!",
             (select count(*) from unsent where state = 'queued' and late) as "late!",
             (select count(*) from unsent where state = 'sending') as "sending!""#,
        scope.line() as Option<LineId>,
        scope.tenant() as Option<TenantId>,
        now,
    )
    .fetch_one(db)
    .await
    .context("count what is under way")
}

fn add(json: &mut Value, scope: Scope, traffic: &Traffic, all: &[Freeze]) {
    json["scope"] = json!(word(scope));
    json["line"] = json!(scope.line().map(|line| line.0));
    json["tenant"] = json!(scope.tenant().map(|tenant| tenant.0));
    json["running_turns"] = json!(traffic.running);
    json["waiting_messages"] = json!(traffic.waiting);
    json["queued_answers"] = json!(traffic.queued);
    json["late_answers"] = json!(traffic.late);
    json["sending"] = json!(traffic.sending);
    json["all_freezes"] = all
        .iter()
        .map(|one| {
            json!({ "scope": word(one.scope), "line": one.scope.line().map(|line| line.0),
                    "tenant": one.scope.tenant().map(|tenant| tenant.0),
                    "since": stamp(one.since), "actor": one.actor, "why": one.why })
        })
        .collect();
}

fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::Everything => "deployment",
        Scope::Line(_) => "line",
        Scope::Tenant(_) => "tenant",
    }
}

/// As `doctor` and `trace` name it, too.
pub fn name(scope: Scope) -> String {
    match scope {
        Scope::Everything => "the whole deployment".to_owned(),
        Scope::Line(line) => format!("line {line}"),
        Scope::Tenant(tenant) => format!("tenant {tenant}"),
    }
}

/// The options that say the same scope again.
pub fn again(scope: Scope) -> String {
    match scope {
        Scope::Everything => String::new(),
        Scope::Line(line) => format!(" --line {line}"),
        Scope::Tenant(tenant) => format!(" --tenant {tenant}"),
    }
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}
