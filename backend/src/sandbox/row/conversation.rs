//! Which conversation a sandbox is in, how far its transcript has been read, and what its agent was told of its
//! person, in the table.

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

/// What its agent was last told of its person; `None`: nothing, or nobody knows what.
pub async fn told(db: impl PgExecutor<'_>, id: SandboxId) -> anyhow::Result<Option<String>> {
    let told = sqlx::query_scalar!("select told from sandbox where id = $1", id as SandboxId);
    let told = told.fetch_optional(db).await;
    Ok(told.context("read what an agent was told")?.flatten())
}

/// Its agent now knows this.
pub async fn tell(db: impl PgExecutor<'_>, id: SandboxId, told: &str) -> anyhow::Result<()> {
    sqlx::query!(
        "update sandbox set told = $2 where id = $1",
        id as SandboxId,
        told,
    )
    .execute(db)
    .await
    .context("note what an agent was told")?;
    Ok(())
}
