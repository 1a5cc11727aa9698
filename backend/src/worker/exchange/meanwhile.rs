//! What a person hears while their answer takes long: that an assistant is being set up, that it waits
//! for its place, that it is still at work. Each once, whatever restarts meanwhile.

use std::{convert::Infallible, time::Duration};

use chrono::TimeDelta;

use super::Exchange;
use crate::{
    copy, outbox,
    turn::{self, Trigger, Turn},
};

/// A first answer that takes longer than this is announced.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(3);
/// Who was let in by a code alone may ask their first question much later.
const NOTICE_HOLDS_FOR: TimeDelta = TimeDelta::minutes(1);

impl Exchange {
    /// Runs `work`; if it is this person's first answer and takes long, says `so` meanwhile.
    pub(super) async fn announced<T>(
        &self,
        turn: &Turn,
        so: &str,
        work: impl Future<Output = T>,
    ) -> T {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(ANNOUNCE_AFTER) => {}
        }
        if let Err(error) = self.announce(turn, so).await {
            tracing::warn!("failed to announce a first answer: {error:#}");
        }
        work.await
    }

    async fn announce(&self, turn: &Turn, so: &str) -> anyhow::Result<()> {
        let mut db = self.db.acquire().await?;
        if turn::has_earlier(&mut *db, turn).await? {
            return Ok(());
        }
        // The notice to new people says, too, that their answer follows.
        let noticed = outbox::queued_at(&mut *db, turn.tenant, outbox::NOTICE).await?;
        if noticed.is_some_and(|at| turn.created_at < at + NOTICE_HOLDS_FOR) {
            return Ok(());
        }
        // The key makes it once in a lifetime, whatever restarts meanwhile.
        self.say(&mut db, turn, "first-contact", so).await?;
        self.wakes.outbox.notify_one();
        Ok(())
    }

    /// Somebody whose assistant must wait for a place hears so, once in a turn.
    pub(super) async fn say_crowded(&self, turn: &Turn) -> anyhow::Result<()> {
        if turn.trigger == Trigger::Heartbeat {
            return Ok(());
        }
        let mut db = self.db.acquire().await?;
        let key = format!("crowded/{}", turn.id);
        self.say(&mut db, turn, &key, copy::CROWDED).await?;
        self.wakes.outbox.notify_one();
        Ok(())
    }

    /// Says once that the turn goes on, when the person has waited for so long without a word from us:
    /// who has just been told why it takes long is not told again at once.
    pub(super) async fn keep_company(&self, turn: &Turn) -> Infallible {
        if turn.trigger != Trigger::Message || self.still_working_after.is_zero() {
            return std::future::pending().await;
        }
        loop {
            let pause = match self.say_still_working(turn).await {
                Ok(Some(pause)) => pause,
                Ok(None) => return std::future::pending().await,
                Err(error) => {
                    tracing::warn!("failed to say that a turn goes on: {error:#}");
                    self.still_working_after
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    /// `None` once it is said; else when to look again.
    async fn say_still_working(&self, turn: &Turn) -> anyhow::Result<Option<Duration>> {
        let mut db = self.db.acquire().await?;
        let said = outbox::last_of_turn(&mut *db, turn.tenant, turn.id).await?;
        let due = said.unwrap_or(turn.created_at) + self.still_working_after;
        let left = (due - self.clock.now()).to_std().unwrap_or_default();
        if !left.is_zero() {
            return Ok(Some(left));
        }
        // It does not work yet, and they know that.
        if self.sandboxes.is_crowded_out(turn.sandbox) {
            return Ok(Some(self.still_working_after));
        }
        let key = format!("still-working/{}", turn.id);
        self.say(&mut db, turn, &key, copy::STILL_WORKING).await?;
        self.wakes.outbox.notify_one();
        Ok(None)
    }
}
