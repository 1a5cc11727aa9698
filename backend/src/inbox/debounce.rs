//! Quick messages in a row are one question: what waits for a turn waits a moment for the next one.
//!
//! Counted from when the webhooks came, so that nothing of ours adds to it. All of a person's messages
//! that wait come due together.

use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::id::TenantId;

/// The longest that a message waits, however many follow: somebody who never stops is answered, too.
pub const LONGEST: Duration = Duration::from_secs(10);

/// What waits for a person waits until `pause` after the latest of it.
pub async fn put_off(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    pause: Duration,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update inbox
         set run_after = least(seen.latest + $2 * interval '1 s', seen.first + $3 * interval '1 s')
         from (select min(received_at) as first, max(received_at) as latest from inbox
               where tenant_id = $1 and kind = 'message' and turn_id is null and done_at is null)
              as seen
         where tenant_id = $1 and kind = 'message' and turn_id is null and done_at is null",
        tenant as TenantId,
        pause.as_secs_f64(),
        LONGEST.as_secs_f64(),
    )
    .execute(db)
    .await
    .context("have messages wait for the next one")?;
    Ok(())
}

/// When the next message comes due that waits for another.
pub async fn next_due(
    db: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> anyhow::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "select min(run_after) from inbox
         where done_at is null and tenant_id is not null and turn_id is null and run_after > $1",
        now,
    )
    .fetch_one(db)
    .await
    .context("look when a message comes due")
}
