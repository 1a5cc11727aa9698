//! Until when a turn may take, and more time for one that could not begin.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::Turn;
use crate::id::{TenantId, TurnId, WorkerId};

/// Gives a turn more time: it could not begin yet.
pub async fn put_off(
    db: impl PgExecutor<'_>,
    worker: WorkerId,
    turn: &Turn,
    until: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update turn set deadline_at = $4
         where id = $1 and tenant_id = $2 and worker_id = $3 and state = 'active'",
        turn.id as TurnId,
        turn.tenant as TenantId,
        worker as WorkerId,
        until,
    )
    .execute(db)
    .await?;
    Ok(())
}

/// When a turn is to end by now.
pub async fn of(db: impl PgExecutor<'_>, turn: &Turn) -> anyhow::Result<DateTime<Utc>> {
    let deadline = sqlx::query_scalar!(
        "select deadline_at from turn where id = $1 and tenant_id = $2",
        turn.id as TurnId,
        turn.tenant as TenantId,
    )
    .fetch_one(db)
    .await?;
    Ok(deadline)
}
