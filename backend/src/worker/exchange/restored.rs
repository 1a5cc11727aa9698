//! A conversation whose files were put back holds what was answered long ago, and none of it may be
//! sent again: what the outbox knows of it may be less than what is in there. So before the first
//! question it is read to its end, and the cursor begins behind that.

use anyhow::Context;

use super::{Exchange, Reached};
use crate::{gateway::end, id::SandboxId, sandbox::row::saved};

impl Exchange {
    /// The conversation's number and how far it has been read.
    pub(super) async fn session(
        &self,
        sandbox: SandboxId,
        reached: &Reached,
    ) -> anyhow::Result<(i32, Option<String>)> {
        let (session_no, cursor) =
            crate::sandbox::row::conversation::session(&self.db, sandbox).await?;
        if !saved::is_restored(&self.db, sandbox).await? {
            return Ok((session_no, cursor));
        }
        let session = format!("main-{session_no}");
        let read = end::end(&reached.connection, &session).await;
        let cursor = read.context("read past a restored conversation")?;
        saved::read_past(&self.db, sandbox, session_no, cursor.as_deref()).await?;
        tracing::info!(sandbox.id = %sandbox, session, "a restored conversation goes on");
        Ok((session_no, cursor))
    }
}
