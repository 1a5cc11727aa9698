//! Table `line`: the WhatsApp business numbers, and what holds one of them up.
//!
//! Tokens of lines that the environment names live in memory only ([`Lines`]). A blocked line sends
//! nothing; its messages stay queued. Called by `worker/send` and `receipt` (blocking), `route`
//! (signups) and at start (seeding).

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;
use sqlx::PgExecutor;

use crate::{
    id::LineId,
    seal::KEY_ID,
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
}

impl Line {
    /// As the client wants it.
    pub fn sender(&self) -> client::Line<'_> {
        client::Line {
            api: &self.api,
            phone_number_id: &self.phone_number_id,
            access_token: &self.access_token,
        }
    }
}

/// The lines this process holds a token for.
#[derive(Clone, Default)]
pub struct Lines(Arc<HashMap<LineId, Line>>);

impl Lines {
    pub fn of(lines: impl IntoIterator<Item = Line>) -> Self {
        Self(Arc::new(
            lines.into_iter().map(|line| (line.id, line)).collect(),
        ))
    }

    pub fn get(&self, id: LineId) -> Option<&Line> {
        self.0.get(&id)
    }

    pub fn ids(&self) -> Vec<LineId> {
        self.0.keys().copied().collect()
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
           do update set source = 'env', access_token = null, webhook_secret = null
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
           from line where blocked_until > $1"#,
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
           where id = any($1) and coalesce(blocked_until, '-infinity') <= $2"#,
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
           order by provider limit 1"#,
        text,
    )
    .fetch_optional(db)
    .await
    .context("find a line")
}

/// Whether one more new person may come: `burst` at once, then `per_hour` evenly.
///
/// The generic cell rate algorithm: the whole state is the time at which the next signup would be
/// due if they came evenly. One statement, so that concurrent signups cannot pass together.
pub async fn admit_signup(
    db: impl PgExecutor<'_>,
    line: LineId,
    per_hour: i64,
    burst: i64,
    now: DateTime<Utc>,
) -> anyhow::Result<bool> {
    if per_hour < 1 || burst < 1 {
        return Ok(false);
    }
    let every = TimeDelta::microseconds(3_600_000_000 / per_hour);
    // A burst that reaches further back than a year is no limit at all; without the cap it overflows.
    let ahead = (3_600_000_000.0 / per_hour as f64 * (burst - 1) as f64).min(3.2e13) as i64;
    let admitted = sqlx::query!(
        "update line set signup_at = greatest(signup_at, $2) + $3 * interval '1 us'
         where id = $1 and signup_at <= $4",
        line as LineId,
        now,
        every.num_microseconds().unwrap_or(0) as f64,
        now + TimeDelta::microseconds(ahead),
    )
    .execute(db)
    .await
    .context("admit a new person")?;
    Ok(admitted.rows_affected() == 1)
}

#[cfg(test)]
mod tests {
    use sqlx::PgPool;

    use super::*;

    fn noon() -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000, 0).unwrap()
    }

    #[sqlx::test(migrator = "crate::MIGRATOR")]
    async fn seeding_again_finds_the_same_line_and_leaves_its_block(db: PgPool) {
        let line = seed(&db, Provider::Meta, "1").await.unwrap();
        block_until(&db, line, Until::Unblocked, "190", noon())
            .await
            .unwrap();
        assert_eq!(seed(&db, Provider::Meta, "1").await.unwrap(), line);
        assert!(is_blocked(&db, line, noon()).await.unwrap());
        assert_ne!(seed(&db, Provider::Meta, "2").await.unwrap(), line);
    }

    #[sqlx::test(migrator = "crate::MIGRATOR")]
    async fn a_block_ends_by_time_or_by_hand_and_is_news_once(db: PgPool) {
        let line = seed(&db, Provider::Meta, "1").await.unwrap();
        let soon = noon() + TimeDelta::seconds(5);
        assert!(
            block_until(&db, line, Until::At(soon), "130429", noon())
                .await
                .unwrap()
        );
        assert!(
            !block_until(&db, line, Until::At(soon), "130429", noon())
                .await
                .unwrap()
        );
        assert!(is_blocked(&db, line, noon()).await.unwrap());
        assert!(!is_blocked(&db, line, soon).await.unwrap());

        assert!(
            block_until(&db, line, Until::Unblocked, "190", noon())
                .await
                .unwrap()
        );
        assert!(
            !block_until(&db, line, Until::Unblocked, "190", noon())
                .await
                .unwrap()
        );
        assert!(
            !block_until(&db, line, Until::At(soon), "130429", noon())
                .await
                .unwrap()
        );
        assert!(
            is_blocked(&db, line, noon() + TimeDelta::days(999))
                .await
                .unwrap()
        );
        unblock(&db, line).await.unwrap();
        assert!(!is_blocked(&db, line, noon()).await.unwrap());
    }

    #[sqlx::test(migrator = "crate::MIGRATOR")]
    async fn signups_pass_in_a_burst_and_then_one_by_one(db: PgPool) {
        let line = seed(&db, Provider::Meta, "1").await.unwrap();
        let admit = |now| admit_signup(&db, line, 20, 5, now);
        let mut admitted = 0;
        for _ in 0..20 {
            admitted += i32::from(admit(noon()).await.unwrap());
        }
        assert_eq!(admitted, 5);
        assert!(!admit(noon() + TimeDelta::seconds(179)).await.unwrap());
        assert!(admit(noon() + TimeDelta::seconds(180)).await.unwrap());
        assert!(!admit(noon() + TimeDelta::seconds(180)).await.unwrap());
        let later = noon() + TimeDelta::hours(3);
        for _ in 0..5 {
            assert!(admit(later).await.unwrap());
        }
        assert!(
            !admit(later).await.unwrap(),
            "quiet hours do not add up to a bigger burst"
        );
    }

    #[sqlx::test(migrator = "crate::MIGRATOR")]
    async fn a_limit_of_nothing_admits_nobody_and_a_huge_one_everybody(db: PgPool) {
        let line = seed(&db, Provider::Meta, "1").await.unwrap();
        assert!(!admit_signup(&db, line, 0, 5, noon()).await.unwrap());
        assert!(!admit_signup(&db, line, 5, 0, noon()).await.unwrap());
        let most = 1_000_000_000_000;
        assert!(admit_signup(&db, line, most, most, noon()).await.unwrap());
        assert!(admit_signup(&db, line, 1, most, noon()).await.unwrap());
    }

    #[sqlx::test(migrator = "crate::MIGRATOR")]
    async fn signups_that_race_do_not_pass_together(db: PgPool) {
        let line = seed(&db, Provider::Meta, "1").await.unwrap();
        let race = (0..20).map(|_| admit_signup(&db, line, 20, 5, noon()));
        let admitted = futures_util::future::try_join_all(race).await.unwrap();
        assert_eq!(admitted.iter().filter(|admitted| **admitted).count(), 5);
    }
}
