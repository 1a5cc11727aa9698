//! Which conversation a sandbox is in, and how far its transcript has been read, in the table.

use anyhow::Context;
use sqlx::PgExecutor;

use crate::id::SandboxId;

/// The conversation's number and how far its transcript has been read.
pub async fn session(
    db: impl PgExecutor<'_>,
    id: SandboxId,
) -> anyhow::Result<(i32, Option<String>)> {
    let row = sqlx::query!("select session_no, cursor from sandbox where id = $1", id.0)
        .fetch_one(db)
        .await
        .context("read a sandbox's session")?;
    Ok((row.session_no, row.cursor))
}

/// Moves the cursor from `old` to `new`. False when somebody else has moved it, or a fresh
/// conversation has begun: then what was read is not to be stored.
pub async fn set_cursor(
    db: impl PgExecutor<'_>,
    id: SandboxId,
    session_no: i32,
    old: Option<&str>,
    new: &str,
) -> anyhow::Result<bool> {
    let done = sqlx::query!(
        "update sandbox set cursor = $4
         where id = $1 and session_no = $2 and cursor is not distinct from $3",
        id.0,
        session_no,
        old,
        new
    )
    .execute(db)
    .await
    .context("move a cursor")?;
    Ok(done.rows_affected() == 1)
}

/// Begins the next conversation. False when it has begun already.
pub async fn fresh_session(
    db: impl PgExecutor<'_>,
    id: SandboxId,
    from_no: i32,
) -> anyhow::Result<bool> {
    let done = sqlx::query!(
        "update sandbox set session_no = session_no + 1, cursor = null
         where id = $1 and session_no = $2",
        id.0,
        from_no
    )
    .execute(db)
    .await
    .context("begin a fresh session")?;
    Ok(done.rows_affected() == 1)
}
