//! What arrives together is stored together.
//!
//! A commit waits for the disk, and the disk takes a hundred rows as readily as one. Webhooks that
//! come while a batch is being stored are the next batch; when none is under way, nobody waits for
//! company. Each request is answered after the commit of its own rows, and one that Postgres will
//! not take fails alone.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use sqlx::PgPool;
use tokio::sync::{Mutex, Notify, mpsc, oneshot};

use crate::{
    clock::Clock,
    inbox::{self, Sealed},
};

/// Batches under way at once: while one waits for the disk, the next is gathered and sent.
const LANES: usize = 2;
/// Requests that wait to be stored; more wait outside.
const WAITING: usize = 1_024;
/// Of one batch: one statement, well below what Postgres takes.
const MAX_REQUESTS: usize = 256;
const MAX_BYTES: usize = 8 << 20;

/// What one webhook brought, and who waits for it to be stored.
struct Brought {
    updates: Vec<Sealed>,
    answer: oneshot::Sender<anyhow::Result<()>>,
}

/// The way into the inbox. Once all clones are dropped, the lanes end.
#[derive(Clone)]
pub struct Batches(mpsc::Sender<Brought>);

impl Batches {
    /// Returns when these updates are stored for good.
    pub async fn store(&self, updates: Vec<Sealed>) -> anyhow::Result<()> {
        let (answer, stored) = oneshot::channel();
        let handed_over = self.0.send(Brought { updates, answer }).await;
        handed_over.ok().context("nobody stores webhooks")?;
        stored.await.context("whoever stored it is gone")?
    }
}

/// Stores batches.
#[derive(Clone)]
pub struct Lanes {
    db: PgPool,
    clock: Clock,
    /// Rung after each commit; passed on to the workers, many as one.
    stored: Arc<Notify>,
    queue: Arc<Mutex<mpsc::Receiver<Brought>>>,
}

/// The way in, and what has to run behind it.
pub fn batches(db: PgPool, clock: Clock, stored: Arc<Notify>) -> (Batches, Lanes) {
    let (sender, queue) = mpsc::channel(WAITING);
    let lanes = Lanes {
        db,
        clock,
        stored,
        queue: Arc::new(Mutex::new(queue)),
    };
    (Batches(sender), lanes)
}

impl Lanes {
    /// Until every [`Batches`] is dropped: a stop loses nobody who was let in.
    pub async fn run(self) {
        let lanes = (0..LANES).map(|_| self.clone().lane());
        futures_util::future::join_all(lanes).await;
    }

    async fn lane(self) {
        loop {
            let mut gathered = Vec::new();
            // Whoever holds the lock waits for the first, and lets go before it stores.
            let mut queue = self.queue.lock().await;
            let came = queue.recv_many(&mut gathered, MAX_REQUESTS).await;
            drop(queue);
            if came == 0 {
                return;
            }
            for batch in by_size(gathered) {
                self.store(batch).await;
            }
        }
    }

    async fn store(&self, batch: Vec<Brought>) {
        let (updates, answers): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|one| (one.updates, one.answer))
            .unzip();
        let whole: Vec<_> = updates.iter().flatten().collect();
        match self.accept(&whole).await {
            Ok(()) => answers.into_iter().for_each(|answer| tell(answer, Ok(()))),
            // Nothing of it was stored, and one of them may be why.
            Err(error) if answers.len() > 1 && is_about_the_rows(&error) => {
                metrics::counter!("clawkaka_webhook_batches_split_total").increment(1);
                for (updates, answer) in updates.iter().zip(answers) {
                    tell(
                        answer,
                        self.accept(&updates.iter().collect::<Vec<_>>()).await,
                    );
                }
            }
            Err(error) => {
                let why = format!("{error:#}");
                for answer in answers {
                    tell(answer, Err(anyhow!("{why}")));
                }
            }
        }
    }

    async fn accept(&self, updates: &[&Sealed]) -> anyhow::Result<()> {
        let stored = inbox::accept(&self.db, updates, self.clock.now()).await?;
        if stored > 0 {
            self.stored.notify_one();
        }
        metrics::counter!("clawkaka_webhook_updates_total").increment(updates.len() as u64);
        metrics::counter!("clawkaka_webhook_stored_total").increment(stored);
        Ok(())
    }
}

/// Nobody may be left to be told: who hangs up is stored all the same.
fn tell(answer: oneshot::Sender<anyhow::Result<()>>, result: anyhow::Result<()>) {
    let _ = answer.send(result);
}

/// Cuts where a batch would grow too large. A single request may be as large as it is.
fn by_size(gathered: Vec<Brought>) -> Vec<Vec<Brought>> {
    let mut batches: Vec<Vec<Brought>> = Vec::new();
    let mut size = MAX_BYTES;
    for one in gathered {
        let bytes: usize = one.updates.iter().map(Sealed::bytes).sum();
        size += bytes;
        match batches.last_mut() {
            Some(last) if size <= MAX_BYTES => last.push(one),
            _ => {
                batches.push(vec![one]);
                size = bytes;
            }
        }
    }
    batches
}

/// Postgres answered, and said no: to a row it cannot take, or to two batches that met crosswise.
fn is_about_the_rows(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(sqlx::Error::Database(_)))
}
