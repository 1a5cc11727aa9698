//! The signup limit of a line: its whole state is one moment in its row.

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgExecutor;

use crate::id::LineId;

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
