//! The warm pool: sandboxes that nobody owns yet, booted and asleep, so that a new person need not
//! wait for a boot.
//!
//! Claimed by one statement, together with the person's first turn. Filled in the background, one
//! at a time, only while there is a free place that nobody waits for; the first to make room. A
//! member that was stopped for that boots again later on its own volume.

use anyhow::Context;

use super::{Sandboxes, act::Task, look::Look, row};

impl Sandboxes {
    /// Makes a row if the pool lacks one, and gives up what it has too many of and what runs another
    /// image than new sandboxes are to run.
    pub(super) async fn stock_pool(
        &self,
        look: &Look,
        image: Option<&String>,
        room: bool,
    ) -> anyhow::Result<()> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let (members, older): (Vec<_>, Vec<_>) = look
            .rows
            .values()
            .filter(|row| row.is_in_pool())
            .partition(|row| image.is_none() || row.image.is_none() || row.image.as_ref() == image);
        let members = members.len();
        if !older.is_empty() {
            let older: Vec<_> = older.into_iter().map(|row| row.id).collect();
            row::pool::give_up(&parts.pool, &older).await?;
            self.wake();
        }
        if members < parts.pool_size && room {
            let mut conn = parts.pool.acquire().await?;
            row::make(&mut conn, None, now).await?;
            self.wake();
        }
        if members > parts.pool_size {
            row::pool::give_up_newest(&parts.pool, members - parts.pool_size).await?;
        }
        Ok(())
    }

    /// Waits until the gateway of a member lets us in, and notes that it may be given away.
    pub(super) async fn meet(&self, task: &Task) -> anyhow::Result<()> {
        let parts = &self.0.parts;
        let (endpoint, _) = self.behind(task).context("find the sandbox to meet")?;
        if let Err(error) = parts.gateway.meet(&endpoint).await {
            self.broken(&endpoint, "its gateway did not let us in")
                .await?;
            return Err(error);
        }
        self.ready(&endpoint).await?;
        row::pool::met(&parts.pool, task.sandbox, parts.clock.now()).await
    }
}
