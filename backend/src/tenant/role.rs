//! What the operator calls a person's rights, and whether their agent knows.

use anyhow::Context;
use sqlx::PgExecutor;

use crate::id::{LineId, TenantId};

/// What an agent is told of its person.
pub struct Introduction {
    pub line: LineId,
    /// Sealed.
    pub name: Option<Vec<u8>>,
    /// `None`: the default of the line.
    pub role: Option<String>,
    pub time_zone: String,
    /// The agent was told another.
    pub role_is_new: bool,
}

pub async fn introduction(db: impl PgExecutor<'_>, id: TenantId) -> anyhow::Result<Introduction> {
    sqlx::query_as!(
        Introduction,
        r#"select line_id as "line: LineId", name, role, time_zone, role_is_new
           from tenant where id = $1"#,
        id as TenantId,
    )
    .fetch_one(db)
    .await
    .context("read who a person is")
}

/// Their agent has been told of this role. Not if it has become another one meanwhile.
pub async fn told(db: impl PgExecutor<'_>, id: TenantId, role: Option<&str>) -> anyhow::Result<()> {
    sqlx::query!(
        "update tenant set role_is_new = false
         where id = $1 and role_is_new and role is not distinct from $2",
        id as TenantId,
        role,
    )
    .execute(db)
    .await
    .context("note that an agent knows its person's role")?;
    Ok(())
}

/// Gives a person a role; `None`: the default. False if they have it.
pub async fn set(
    db: impl PgExecutor<'_>,
    id: TenantId,
    role: Option<&str>,
) -> anyhow::Result<bool> {
    let set = sqlx::query!(
        "update tenant set role = $2, role_is_new = true
         where id = $1 and status <> 'erased' and role is distinct from $2",
        id as TenantId,
        role,
    )
    .execute(db)
    .await
    .context("give a person a role")?;
    Ok(set.rows_affected() == 1)
}

/// The default of a line has changed, and so has the role of everybody there who has no other.
pub async fn default_is_new(db: impl PgExecutor<'_>, line: LineId) -> anyhow::Result<u64> {
    let changed = sqlx::query!(
        "update tenant set role_is_new = true
         where line_id = $1 and role is null and status <> 'erased'",
        line as LineId,
    )
    .execute(db)
    .await
    .context("note that people's role has changed")?;
    Ok(changed.rows_affected())
}
