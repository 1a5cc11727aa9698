//! Table `line`: the WhatsApp business numbers, and what holds one of them up.
//!
//! Tokens of lines that the environment names live in memory only; those that an operator added lie
//! here, sealed (`stored`). [`Lines`] are both. A blocked line sends nothing; its messages stay queued. A
//! removed one keeps its row, for its people stay: nothing is taken from it or sent on it until it is
//! added again. `cursor` is how far one has been polled, `unserved` which groups write to one in vain.
//! Called by `worker/send` and `receipt` (blocking), `route` (signups), at start (seeding) and by
//! `clawkaka line`.

mod admit;
pub mod cursor;
mod delivery;
pub mod group;
mod held;
pub mod policy;
pub mod stored;
pub mod template;
#[cfg(test)]
mod tests;
pub mod unserved;

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use sqlx::PgExecutor;

pub use admit::admit_signup;
pub use delivery::Delivery;
pub use held::{Changes, Lines};
use stored::Stored;
use template::Templates;

use crate::{
    config::Named,
    id::LineId,
    seal::{KEY_ID, Opener},
    whatsapp::{
        client,
        failure::Class,
        provider::{Api, Provider},
    },
};

/// A number we may send from.
pub struct Line {
    pub id: LineId,
    pub api: Api,
    pub phone_number_id: String,
    pub access_token: SecretString,
    pub delivery: Delivery,
    /// How often Kapso is asked, where the environment says so.
    pub poll_every: Option<Duration>,
    /// Those that the environment names for it.
    pub templates: Templates,
}

impl Line {
    /// One that an operator added.
    pub fn open(opener: &Opener, api: &Api, line: &Stored) -> anyhow::Result<Self> {
        let token = line.access_token.as_deref().unwrap_or_default();
        Ok(Self {
            id: line.id,
            api: api.clone(),
            phone_number_id: line.phone_number_id.clone(),
            access_token: String::from_utf8(opener.open(token)?)?.into(),
            delivery: line.delivery,
            poll_every: None,
            templates: Templates::default(),
        })
    }

    /// One that the environment names.
    pub fn of(id: LineId, named: &Named<'_>) -> Self {
        Self {
            id,
            api: named.api.clone(),
            phone_number_id: named.number.to_owned(),
            access_token: named.access_token.clone(),
            delivery: named.delivery,
            poll_every: named.poll_every,
            templates: named.templates.clone(),
        }
    }

    /// As the client wants it.
    pub fn sender(&self) -> client::Line<'_> {
        client::Line {
            api: &self.api,
            phone_number_id: &self.phone_number_id,
            access_token: &self.access_token,
        }
    }
}

/// When a block ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    At(DateTime<Utc>),
    /// An operator or a restart opens it.
    Unblocked,
}

/// What a refusal means for a line and all of its people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    Throttle(Duration),
    /// A person has to look, but it mends itself when they have.
    Operator(Duration),
    /// Nothing will work until the token is changed.
    Token,
}

/// The line of the environment, made or found. The environment wins over what an operator stored.
pub async fn seed(
    db: impl PgExecutor<'_>,
    provider: Provider,
    phone_number_id: &str,
) -> anyhow::Result<LineId> {
    sqlx::query_scalar!(
        r#"insert into line (id, provider, phone_number_id, source, key_id)
           values ($1, $2, $3, 'env', $4)
           on conflict (provider, phone_number_id)
           do update set source = 'env', access_token = null, webhook_secret = null,
                         verification_token = null, removed_at = null
           returning id as "id: LineId""#,
        LineId::new() as LineId,
        provider.as_str(),
        phone_number_id,
        KEY_ID,
    )
    .fetch_one(db)
    .await
    .context("seed the line of the environment")
}

/// Stops a line; a longer block stays. True if the reason is news, so that it is reported once.
pub async fn block_until(
    db: impl PgExecutor<'_>,
    line: LineId,
    until: Until,
    reason: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    let at = match until {
        Until::At(at) => Some(at),
        Until::Unblocked => None,
    };
    let news = sqlx::query_scalar!(
        r#"with before as (
               select id, coalesce(blocked_until, '-infinity') as until, blocked_reason as reason
               from line where id = $1 for update
           )
           update line set
               blocked_until = greatest(before.until, coalesce($2::timestamptz, 'infinity')),
               blocked_reason = case when coalesce($2::timestamptz, 'infinity') >= before.until
                                     then $3 else before.reason end
           from before where line.id = before.id
           returning (before.until <= $4 or line.blocked_reason is distinct from before.reason)
               as "news!""#,
        line as LineId,
        at,
        reason,
        now,
    )
    .fetch_optional(db)
    .await
    .context("block a line")?;
    Ok(news.unwrap_or(false))
}

/// Blocks a line as a refusal asks for, and says so once.
pub async fn stop(
    db: impl PgExecutor<'_>,
    line: LineId,
    pause: Pause,
    reason: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    let (Pause::Throttle(span) | Pause::Operator(span)) = pause else {
        if block_until(db, line, Until::Unblocked, reason, now).await? {
            metrics::counter!("clawkaka_line_blocked_total", "why" => "token").increment(1);
            tracing::error!(line.id = %line, code = reason,
                "the access token was refused; messages wait until it is changed");
        }
        return Ok(());
    };
    let until = now + TimeDelta::from_std(span).unwrap_or(TimeDelta::hours(1));
    let news = block_until(db, line, Until::At(until), reason, now).await?;
    match pause {
        Pause::Operator(_) if news => {
            metrics::counter!("clawkaka_line_blocked_total", "why" => "operator").increment(1);
            tracing::error!(line.id = %line, code = reason,
                "WhatsApp refuses this line until its account is mended; messages wait");
        }
        _ if news => {
            metrics::counter!("clawkaka_line_blocked_total", "why" => "throttled").increment(1);
            tracing::warn!(line.id = %line, code = reason, "too many messages; the line waits");
        }
        _ => {}
    }
    Ok(())
}

/// Opens a line at once, whatever blocked it.
pub async fn unblock(db: impl PgExecutor<'_>, line: LineId) -> anyhow::Result<()> {
    sqlx::query!(
        "update line set blocked_until = null, blocked_reason = null where id = $1",
        line as LineId,
    )
    .execute(db)
    .await
    .context("unblock a line")?;
    Ok(())
}

/// Why each blocked line is blocked, for the figures.
pub async fn blocked(
    db: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<&'static str>> {
    let blocked = sqlx::query!(
        r#"select blocked_until = 'infinity' as "for_good!", blocked_reason
           from line where blocked_until > $1 and removed_at is null"#,
        now,
    )
    .fetch_all(db)
    .await
    .context("look which lines are blocked")?;
    let why = blocked.into_iter().map(|line| {
        let code = line.blocked_reason.and_then(|code| code.parse().ok());
        match code.and_then(Class::of_code) {
            _ if line.for_good => "token",
            Some(Class::Operator) => "operator",
            _ => "throttled",
        }
    });
    Ok(why.collect())
}

/// Which of these lines may send now.
pub async fn list_open(
    db: impl PgExecutor<'_>,
    lines: &[LineId],
    now: DateTime<Utc>,
) -> anyhow::Result<Vec<LineId>> {
    sqlx::query_scalar!(
        r#"select id as "id: LineId" from line
           where id = any($1) and coalesce(blocked_until, '-infinity') <= $2
             and removed_at is null"#,
        lines as &[LineId],
        now,
    )
    .fetch_all(db)
    .await
    .context("look which lines are open")
}

pub async fn is_blocked(
    db: impl PgExecutor<'_>,
    line: LineId,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    Ok(list_open(db, &[line], now).await?.is_empty())
}

/// A line by its id, or by the provider's id of its number.
pub async fn find(db: impl PgExecutor<'_>, text: &str) -> anyhow::Result<Option<LineId>> {
    sqlx::query_scalar!(
        r#"select id as "id: LineId" from line where id::text = $1 or phone_number_id = $1
           order by removed_at nulls first, provider limit 1"#,
        text,
    )
    .fetch_optional(db)
    .await
    .context("find a line")
}
