//! Table `presence`: since when a `web` process has been alive without a gap.
//!
//! Renewed by `web`, read by `worker/send`: that no receipt came proves nothing about a time in which
//! nobody could have received one. Postgres' own clock, for the two may run on different machines.
//!
//! Of lines that are polled nothing is brought, whoever is alive. [`Asked`] is when their receipts were
//! asked for, of which messages. It stands in memory only: `worker/poll` and `worker/send` are in one
//! process, and one that has just begun has not asked yet.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool};

use crate::{id::LineId, lifecycle::Shutdown};

const RENEW_EVERY: Duration = Duration::from_secs(2);
/// Two renewals may fail; the third makes a gap.
const VALID: Duration = Duration::from_secs(6);

/// A time without a gap, as far as it is proven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    pub since: DateTime<Utc>,
    /// The last renewal: what is only promised does not count.
    pub until: DateTime<Utc>,
}

/// All that was known, at a time, of messages that were sent between two others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asked {
    pub at: DateTime<Utc>,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

/// What was asked last, by line. Clones are the same.
#[derive(Clone, Default)]
pub struct Receipts(Arc<Mutex<HashMap<LineId, Asked>>>);

impl Receipts {
    /// What came of it is stored.
    pub fn note(&self, line: LineId, asked: Asked) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(line, asked);
    }

    pub fn asked(&self, line: LineId) -> Option<Asked> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&line).copied()
    }
}

/// Says that a `web` process is alive. Any number of them share the row.
pub async fn renew(db: impl PgExecutor<'_>) -> anyhow::Result<()> {
    sqlx::query!(
        "insert into presence (role, since, until)
         values ('web', now(), now() + $1 * interval '1 s')
         on conflict (role) do update set
             since = case when presence.until < now() then now() else presence.since end,
             until = greatest(presence.until, excluded.until)",
        VALID.as_secs_f64(),
    )
    .execute(db)
    .await
    .context("renew the presence of web")?;
    Ok(())
}

/// Renews for as long as webhooks are taken.
pub async fn keep(db: PgPool, shutdown: Shutdown) {
    loop {
        if let Err(error) = renew(&db).await {
            tracing::warn!("failed to {error:#}");
        }
        tokio::select! {
            () = tokio::time::sleep(RENEW_EVERY) => {}
            () = shutdown.stopping() => return,
        }
    }
}

/// Whether some `web` process is alive, or was within the last seconds.
pub async fn is_live(db: impl PgExecutor<'_>) -> anyhow::Result<bool> {
    let live = sqlx::query_scalar!(
        r#"select exists (select from presence where role = 'web' and until > now()) as "live!""#
    );
    live.fetch_one(db).await.context("read the presence of web")
}

/// The latest stretch; `None` before the first `web` process.
pub async fn stretch(db: impl PgExecutor<'_>) -> anyhow::Result<Option<Stretch>> {
    sqlx::query_as!(
        Stretch,
        r#"select since, until - $1 * interval '1 s' as "until!" from presence where role = 'web'"#,
        VALID.as_secs_f64(),
    )
    .fetch_optional(db)
    .await
    .context("read the presence of web")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if the last `seconds` had not been seen by anybody.
    async fn pass(db: &PgPool, seconds: f64) {
        sqlx::query!(
            "update presence set since = since - $1 * interval '1 s',
                                 until = until - $1 * interval '1 s'",
            seconds
        )
        .execute(db)
        .await
        .unwrap();
    }

    #[sqlx::test(migrator = "crate::MIGRATOR")]
    async fn a_stretch_grows_through_two_missed_renewals_and_starts_anew_after_three(db: PgPool) {
        assert_eq!(stretch(&db).await.unwrap(), None);
        renew(&db).await.unwrap();
        let born = stretch(&db).await.unwrap().unwrap();
        assert_eq!(
            born.since, born.until,
            "nothing is proven but the moment itself"
        );

        pass(&db, 5.0).await;
        renew(&db).await.unwrap();
        let grown = stretch(&db).await.unwrap().unwrap();
        assert!(grown.until - grown.since >= chrono::TimeDelta::seconds(5));

        pass(&db, 6.5).await;
        renew(&db).await.unwrap();
        let anew = stretch(&db).await.unwrap().unwrap();
        assert_eq!(anew.since, anew.until);
        assert!(anew.since > grown.until);
    }
}
