//! What waits for people whom an operator has shut out, one by one or with their number.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use crate::id::{LineId, TenantId};

/// Finishes what waits for the people of a line that has just been removed.
pub async fn refuse_waiting_on(
    db: impl PgExecutor<'_>,
    line: LineId,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let refused = sqlx::query!(
        "update inbox set done_at = $2, outcome = 'refused'
         from tenant where tenant.id = inbox.tenant_id and tenant.line_id = $1
           and inbox.turn_id is null and inbox.done_at is null",
        line as LineId,
        now,
    )
    .execute(db)
    .await?;
    Ok(refused.rows_affected())
}

/// Finishes what waits for a person who has just been suspended, as what they write from now on.
pub async fn refuse_waiting(
    db: impl PgExecutor<'_>,
    tenant: TenantId,
    now: DateTime<Utc>,
) -> anyhow::Result<u64> {
    let refused = sqlx::query!(
        "update inbox set done_at = $2, outcome = 'refused'
         where tenant_id = $1 and turn_id is null and done_at is null",
        tenant as TenantId,
        now,
    )
    .execute(db)
    .await?;
    Ok(refused.rows_affected())
}
