//! People who had all of theirs deleted: erased once our last message to them is out.
//!
//! Without their address that could not be sent any more, so it comes first; but WhatsApp being away
//! is no reason to keep a person. The same erasure as an operator's (`clawkaka tenant erase`): the
//! tables here and at once, container, volume and snapshots by the stations that own them.

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde_json::json;
use sqlx::PgPool;

use super::Progress;
use crate::{
    backup::erase,
    clock::Clock,
    lease::Lease,
    operator::event::{self, Event},
    outbox,
    tenant::leave::{Leaver, leavers},
    turn,
};

/// Looked at in one step.
const BATCH: i64 = 64;
/// Who is on record for it.
const ACTOR: &str = "the person";

/// What erasing needs. The worker's lease must be held.
pub struct Leaving {
    pub db: PgPool,
    pub clock: Clock,
    pub lease: Lease,
}

impl Leaving {
    /// Erases those who can go.
    pub async fn step(&self) -> anyhow::Result<Progress> {
        if !self.lease.is_held() {
            return Ok(Progress::Idle);
        }
        let now = self.clock.now();
        for leaver in leavers(&self.db, BATCH).await? {
            if now >= leaver.by || self.is_done_with(leaver).await? {
                self.erase(leaver, now).await.context("erase a person")?;
            }
        }
        Ok(Progress::Idle)
    }

    /// Our last message is out, and their agent has been stopped.
    async fn is_done_with(&self, leaver: Leaver) -> anyhow::Result<bool> {
        Ok(!outbox::leave::is_open(&self.db, leaver.id).await?
            && !turn::is_active(&self.db, leaver.id).await?)
    }

    async fn erase(&self, leaver: Leaver, now: DateTime<Utc>) -> anyhow::Result<()> {
        let mut tx = self.db.begin().await?;
        let erased = erase::erase(&mut tx, leaver.id, None, now).await?;
        let sandboxes: Vec<_> = erased.sandboxes.iter().map(|id| id.0).collect();
        let event = Event {
            actor: ACTOR,
            tenant: Some(leaver.id),
            kind: "erase",
            detail: json!({ "sandboxes": sandboxes }),
        };
        event::record(&mut *tx, event, now).await?;
        tx.commit().await?;
        tracing::info!(tenant.id = %leaver.id, messages = erased.messages, answers = erased.answers,
            "a person had all of theirs deleted");
        Ok(())
    }
}
