//! What an update says, while it is being routed: read again, written anew, or thrown away.

use anyhow::Context;
use sqlx::PgExecutor;

use crate::{
    id::InboxId,
    seal::{KEY_ID, Opener, Sealer},
};

/// Opened.
pub async fn read(
    db: impl PgExecutor<'_>,
    opener: &Opener,
    id: InboxId,
) -> anyhow::Result<Option<Vec<u8>>> {
    let body = sqlx::query_scalar!("select body from inbox where id = $1", id as InboxId)
        .fetch_one(db)
        .await
        .context("read an update again")?;
    body.map(|body| opener.open(&body)).transpose()
}

pub async fn write(
    db: impl PgExecutor<'_>,
    sealer: &Sealer,
    id: InboxId,
    body: &[u8],
) -> anyhow::Result<()> {
    sqlx::query!(
        "update inbox set body = $2, key_id = $3 where id = $1",
        id as InboxId,
        sealer.seal(body),
        KEY_ID,
    )
    .execute(db)
    .await
    .context("write an update anew")?;
    Ok(())
}

pub async fn clear(db: impl PgExecutor<'_>, id: InboxId) -> anyhow::Result<()> {
    sqlx::query!("update inbox set body = null where id = $1", id as InboxId)
        .execute(db)
        .await
        .context("throw an update away")?;
    Ok(())
}
