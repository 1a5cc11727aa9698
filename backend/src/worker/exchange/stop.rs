//! A turn that its person has stopped: the agent is told to end, and nothing of it is sent.
//!
//! The person has heard so already; what is left is to leave the conversation in order for their
//! next message. The mark is in the turn's row, so that a turn that was taken over ends the same way.

use std::time::Duration;

use anyhow::Context;

use super::{Exchange, LAST_LOOK, Left, MAX_CLAIMS, Next, Reached, compose::Towards, said::Read};
use crate::{
    gateway,
    outbox::Class,
    turn::{self, End, Trigger, Turn, stop::Asked},
};

/// How long a ring that got lost delays the end of a turn.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Exchange {
    /// Resolves once the person has asked that the turn ends.
    pub(super) async fn stop_asked(&self, turn: &Turn) {
        loop {
            let rung = self.wakes.stops.notified();
            tokio::pin!(rung);
            // Before the look, so that a ring in between is not missed.
            rung.as_mut().enable();
            match turn::stop::asked(&self.db, turn).await {
                Ok(Some(_)) => return,
                Ok(None) => {}
                Err(error) => tracing::warn!("failed to look whether a turn is to end: {error:#}"),
            }
            tokio::select! {
                () = rung => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Ends it.
    pub(super) async fn stop(&self, turn: &Turn) -> anyhow::Result<Next> {
        let Some(asked) = turn::stop::asked(&self.db, turn).await? else {
            return Ok(Next::Over);
        };
        // The look that was broken off may just have raised it.
        let turn = &Turn {
            attempt: asked.attempt,
            ..turn.clone()
        };
        let left = match turn.claims > MAX_CLAIMS {
            true => None,
            false => self.hush(turn, asked).await?,
        };
        let left = left.unwrap_or_else(|| Left::nothing(End::Stopped));
        self.finish(turn, left).await
    }

    /// Stops the agent. `None` where it was never asked, or what it says is no longer read.
    async fn hush(&self, turn: &Turn, asked: Asked) -> anyhow::Result<Option<Left<'_>>> {
        if asked.session.is_none() && !self.sandboxes.is_awake(turn.sandbox) {
            return Ok(None);
        }
        let Ok(reached) = tokio::time::timeout(LAST_LOOK, self.reach(turn)).await else {
            tracing::warn!("a stopped turn's sandbox is out of reach");
            return Ok(None);
        };
        let reached = reached?;
        match turn.trigger {
            Trigger::Heartbeat => {
                self.close(&reached, &format!("heartbeat-{}", turn.id))
                    .await;
                Ok(None)
            }
            Trigger::Message | Trigger::Reminder => self.hush_talk(turn, asked, &reached).await,
        }
    }

    async fn hush_talk(
        &self,
        turn: &Turn,
        asked: Asked,
        reached: &Reached,
    ) -> anyhow::Result<Option<Left<'_>>> {
        let (session_no, old) = self.session(turn.sandbox, reached).await?;
        let current = format!("main-{session_no}");
        let session = asked.session.unwrap_or_else(|| current.clone());
        let cursor = old.as_deref().filter(|_| session == current);
        let stopped = gateway::stop::stop(&reached.connection, &session, cursor, turn.id);
        let (said, new) = tokio::select! {
            stopped = stopped => stopped.context("stop an agent")?,
            () = self.sandboxes.lost(&reached.endpoint) => {
                self.gateways.lost(turn.sandbox);
                anyhow::bail!("stop an agent: its container is gone");
            }
        };
        // A fresh conversation has begun meanwhile, and nobody reads the one before.
        if session != current {
            return Ok(None);
        }
        let read = Read {
            session_no,
            old,
            new,
            said,
        };
        let towards = Towards {
            tenant: turn.tenant,
            endpoint: &reached.endpoint,
            answers: None,
        };
        Ok(Some(Left {
            drafts: self.compose(&towards, read.wanted(Class::Reply)).await?,
            cursor: read.moved(),
            ..Left::nothing(End::Stopped)
        }))
    }
}
