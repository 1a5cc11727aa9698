//! What the operator calls a person's rights, and what else their agent is told.

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
}

pub async fn introduction(db: impl PgExecutor<'_>, id: TenantId) -> anyhow::Result<Introduction> {
    sqlx::query_as!(
        Introduction,
        r#"select line_id as "line: LineId", name, role, time_zone
           from tenant where id = $1"#,
        id as TenantId,
    )
    .fetch_one(db)
    .await
    .context("read who a person is")
}

/// Gives a person a role; `None`: the default. False if they have it.
pub async fn set(
    db: impl PgExecutor<'_>,
    id: TenantId,
    role: Option<&str>,
) -> anyhow::Result<bool> {
    let set = sqlx::query!(
        "update tenant set role = $2
         where id = $1 and status <> 'erased' and role is distinct from $2",
        id as TenantId,
        role,
    )
    .execute(db)
    .await
    .context("give a person a role")?;
    Ok(set.rows_affected() == 1)
}
