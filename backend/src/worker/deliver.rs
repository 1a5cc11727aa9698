//! From a person's waiting messages to the answer in the outbox. **Start reading here.**
//!
//! `step` takes over the turns of a dead worker and opens new ones; each turn then runs as a task
//! of its own ([`super::exchange`]), so that one person's minutes hold up nobody else.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, MutexGuard},
};

use anyhow::Context;
use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

use super::{Progress, exchange::Exchange};
use crate::{
    id::{TenantId, TurnId},
    inbox, lease, sandbox,
    turn::{self, Turn},
};

/// Turns under way in one worker. Far above what a machine's memory lets run at once; it bounds
/// what a flood can make us hold.
const MAX_TURNS: usize = 512;

/// Opens turns and runs them.
pub struct Delivery {
    pub exchange: Arc<Exchange>,
    places: Arc<Semaphore>,
    running: Running,
}

/// The turns that have a task here. One of ours without a task has lost it to a panic.
type Running = Arc<Mutex<HashSet<TurnId>>>;

/// Strikes a turn off the list, however its task ends.
struct Listed {
    turn: TurnId,
    running: Running,
}

impl Drop for Listed {
    fn drop(&mut self) {
        lock(&self.running).remove(&self.turn);
    }
}

fn lock(running: &Running) -> MutexGuard<'_, HashSet<TurnId>> {
    running
        .lock()
        .expect("nothing panics while it holds the list")
}

impl Delivery {
    pub fn new(exchange: Arc<Exchange>) -> Self {
        Self {
            exchange,
            places: Arc::new(Semaphore::new(MAX_TURNS)),
            running: Running::default(),
        }
    }

    /// Starts the turns that can start now.
    pub async fn step(&self) -> anyhow::Result<Progress> {
        let exchange = &self.exchange;
        if !exchange.lease.is_held() {
            return Ok(Progress::Idle);
        }
        let now = exchange.clock.now();
        let live = lease::live(&exchange.db)
            .await
            .context("list the live workers")?;
        let running: Vec<_> = lock(&self.running).iter().copied().collect();
        let adopted = turn::adopt(&exchange.db, exchange.lease.id, &live, &running).await?;
        let mut progress = Progress::Idle;
        for turn in adopted {
            tracing::info!(tenant.id = %turn.tenant, turn.id = %turn.id, "took over a turn");
            self.run(turn, self.place().await);
            progress = Progress::Worked;
        }
        let busy = turn::busy_tenants(&exchange.db)
            .await
            .context("list the active turns")?;
        let free = self.places.available_permits() as i64;
        for tenant in inbox::waiting_tenants(&exchange.db, &busy, now, free).await? {
            if let Some(turn) = self.open(tenant, now).await.context("open a turn")? {
                self.run(turn, self.place().await);
                progress = Progress::Worked;
            }
        }
        if progress == Progress::Idle
            && let Some(due) = inbox::debounce::next_due(&exchange.db, now).await?
        {
            return Ok(Progress::IdleFor((due - now).to_std()?));
        }
        Ok(progress)
    }

    /// Everything of a kind that waits for a person becomes one turn.
    async fn open(&self, tenant: TenantId, now: DateTime<Utc>) -> anyhow::Result<Option<Turn>> {
        let exchange = &self.exchange;
        let mut tx = exchange.db.begin().await?;
        let Some(trigger) = inbox::what_waits(&mut *tx, tenant, now).await? else {
            return Ok(None);
        };
        let sandbox = sandbox::row::assign(&mut tx, tenant, now)
            .await
            .context("assign a sandbox")?;
        let (worker, deadline) = (exchange.lease.id, exchange.deadline(trigger));
        let opened = turn::open(&mut *tx, worker, tenant, sandbox, trigger, deadline, now).await?;
        let Some(turn) = opened else { return Ok(None) };
        if !inbox::take(&mut tx, tenant, turn.id, trigger, now).await? {
            return Ok(None);
        }
        tx.commit().await?;
        Ok(Some(turn))
    }

    fn run(&self, turn: Turn, place: OwnedSemaphorePermit) {
        let exchange = self.exchange.clone();
        lock(&self.running).insert(turn.id);
        let listed = Listed {
            turn: turn.id,
            running: self.running.clone(),
        };
        let span = tracing::info_span!("turn", tenant.id = %turn.tenant, turn.id = %turn.id);
        self.exchange.shutdown.spawn(
            async move {
                let wakes = exchange.wakes.clone();
                exchange.run(turn).await;
                drop((listed, place));
                // What the person wrote meanwhile is next.
                wakes.turns.notify_one();
            }
            .instrument(span),
        );
    }

    async fn place(&self) -> OwnedSemaphorePermit {
        self.places
            .clone()
            .acquire_owned()
            .await
            .expect("the semaphore is never closed")
    }
}
