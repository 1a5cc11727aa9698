//! What the tables of upgrades say: what was asked for and what became of it. Reads only.

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::{Run, State};
use crate::id::{SandboxId, UpgradeId};

/// An upgrade as it stands.
#[derive(Clone, Debug)]
pub struct Asked {
    pub id: UpgradeId,
    pub image: String,
    pub reference: String,
    pub canaries: i32,
    pub state: String,
    pub outcome: Option<String>,
    pub requested_at: DateTime<Utc>,
    pub done_at: Option<DateTime<Utc>>,
}

pub async fn asked(db: impl PgExecutor<'_>, id: UpgradeId) -> anyhow::Result<Option<Asked>> {
    sqlx::query_as!(
        Asked,
        r#"select id as "id: UpgradeId", image, reference, canaries, state, outcome, requested_at, done_at
           from upgrade where id = $1"#,
        id as UpgradeId,
    )
    .fetch_optional(db)
    .await
    .context("look what became of an upgrade")
}

/// What has become of its sandboxes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub all: i64,
    pub waiting: i64,
    pub begun: i64,
    pub done: i64,
    pub rolled_back: i64,
    pub skipped: i64,
    pub failed: i64,
    /// Canaries that did not become ready.
    pub bad_canaries: i64,
}

impl Tally {
    pub fn over(&self) -> i64 {
        self.done + self.rolled_back + self.skipped + self.failed
    }

    /// Why nothing more may begin.
    pub fn stops(&self, run: &Run) -> Option<&'static str> {
        if self.bad_canaries > 0 {
            Some("canary")
        } else if self.rolled_back + self.failed >= i64::from(run.max_failures) {
            Some("failures")
        } else if run.stop_asked && self.waiting > 0 {
            Some("asked")
        } else {
            None
        }
    }
}

pub async fn tally(db: impl PgExecutor<'_>, id: UpgradeId) -> anyhow::Result<Tally> {
    sqlx::query_as!(
        Tally,
        r#"select count(*) as "all!",
             count(*) filter (where s.state = 'waiting') as "waiting!",
             count(*) filter (where s.state in ('running', 'replacing', 'rolling_back')) as "begun!",
             count(*) filter (where s.state = 'done') as "done!",
             count(*) filter (where s.state = 'rolled_back') as "rolled_back!",
             count(*) filter (where s.state = 'skipped') as "skipped!",
             count(*) filter (where s.state = 'failed') as "failed!",
             count(*) filter (where s.position < u.canaries
                              and s.state in ('rolled_back', 'failed')) as "bad_canaries!"
           from upgrade u join upgrade_sandbox s on s.upgrade_id = u.id where u.id = $1"#,
        id as UpgradeId,
    )
    .fetch_one(db)
    .await
    .context("count the sandboxes of an upgrade")
}

/// One of its sandboxes.
#[derive(Clone, Debug)]
pub struct One {
    pub sandbox: SandboxId,
    pub state: State,
    pub outcome: Option<String>,
    pub started_at: Option<DateTime<Utc>>,
    pub done_at: Option<DateTime<Utc>>,
}

/// What is being done, what waits for somebody, and what did not end well.
pub async fn notable(db: impl PgExecutor<'_>, id: UpgradeId) -> anyhow::Result<Vec<One>> {
    sqlx::query_as!(
        One,
        r#"select sandbox_id as "sandbox: SandboxId", state as "state: State", outcome, started_at, done_at
           from upgrade_sandbox
           where upgrade_id = $1 and (state not in ('waiting', 'done')
                                      or (state = 'waiting' and outcome is not null))
           order by position limit 200"#,
        id as UpgradeId,
    )
    .fetch_all(db)
    .await
    .context("look which sandboxes of an upgrade are notable")
}

/// Whether a way back failed so often that somebody must look.
pub async fn is_stuck(db: impl PgExecutor<'_>, attempts: i32) -> anyhow::Result<bool> {
    sqlx::query_scalar!(
        r#"select exists (select from upgrade_sandbox where state = 'rolling_back'
                          and attempts >= $1) as "stuck!""#,
        attempts,
    )
    .fetch_one(db)
    .await
    .context("look for a way back that fails")
}

/// Whether the latest upgrade ended before it was through, by itself.
pub async fn last_stopped(db: impl PgExecutor<'_>) -> anyhow::Result<bool> {
    let last = sqlx::query_scalar!(
        r#"select state = 'stopped' and outcome is distinct from 'asked' as "stopped!"
           from upgrade order by id desc limit 1"#
    );
    let last = last.fetch_optional(db).await;
    Ok(last
        .context("look how the last upgrade ended")?
        .unwrap_or_default())
}
