//! From `outbox` to WhatsApp.
//!
//! One message at a time per person, several people at once. A claim is committed before the POST
//! and what became of it after, each in a short transaction: none is open while we wait for
//! WhatsApp. Whatever happens in between, `outbox` knows that it may have been sent.
//! Never logs a text, an address or a whole wamid.

mod nudge;
mod tend;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use chrono::TimeDelta;
use sqlx::{PgConnection, PgPool};
use tokio::{
    sync::{Notify, Semaphore},
    time::Instant,
};
use tracing::Instrument;

use crate::{
    backoff,
    clock::Clock,
    id::{LineId, WorkerId},
    lifecycle::Shutdown,
    line::{self, Lines},
    outbox::{
        Post,
        claim::{self, Next},
        result,
        verdict::{Refusal, Verdict},
    },
    presence::Receipts,
    receipt::{self, Callback},
    seal::{Opener, Sealer},
    tenant::address,
    whatsapp::{
        client::{Accepted, Client, Recipient},
        failure::{self, SendError},
        outgoing::Outgoing,
    },
    worker::{Progress, run_loop},
};

/// POSTs at a time: a number may send 80 messages a second, and an answer takes about 0.4 s.
const AT_ONCE: usize = 32;
/// What one person gets at most, so that an agent gone wild does not cost us the number's good name.
/// It also keeps us within WhatsApp's own limit for a pair (45 at once, then one in 6 s), so there
/// is no other pacing.
const PER_HOUR: i64 = 60;
/// A process that stood still for longer between claim and POST has lost its lease, and somebody
/// else may be sending the message.
const STALE: Duration = Duration::from_secs(5);
/// How often overdue rows are looked for.
const TEND_EVERY: Duration = Duration::from_secs(1);

/// The way out. Its worker's lease must be held.
pub struct Sending {
    pub db: PgPool,
    pub clock: Clock,
    pub opener: Arc<Opener>,
    pub sealer: Arc<Sealer>,
    pub client: Client,
    pub lines: Lines,
    pub worker: WorkerId,
    /// When those of polled lines were asked for.
    pub receipts: Receipts,
    /// How long a receipt may take before an unclear send is repeated.
    pub unknown_wait: Duration,
}

/// A message on its way: claimed, opened, addressed.
struct Letter {
    post: Post,
    line: LineId,
    to: Recipient,
    message: Outgoing,
    claimed: Instant,
}

enum Claimed {
    Nothing,
    /// A row that could not go out now was put aside.
    Aside,
    Letter(Letter),
}

impl Sending {
    /// Does what is overdue, then sends one message and stores what became of it.
    pub async fn step(&self) -> anyhow::Result<Progress> {
        self.tend().await?;
        match self.claim().await? {
            Claimed::Nothing => return Ok(Progress::Idle),
            Claimed::Aside => {}
            Claimed::Letter(letter) => self.send(letter).await,
        }
        Ok(Progress::Worked)
    }

    /// Sends to several people at once until the process stops.
    pub async fn run(self: Arc<Self>, bell: Arc<Notify>, shutdown: Shutdown) {
        let slots = Arc::new(Semaphore::new(AT_ONCE));
        let mut tend_at = Instant::now();
        run_loop("send", bell.clone(), shutdown.clone(), move || {
            let is_due = tend_at <= Instant::now();
            if is_due {
                tend_at = Instant::now() + TEND_EVERY;
            }
            let (sending, slots) = (self.clone(), slots.clone());
            let (bell, shutdown) = (bell.clone(), shutdown.clone());
            async move {
                if is_due {
                    sending.tend().await?;
                }
                sending.start_next(slots, bell, &shutdown).await
            }
        })
        .await;
    }

    /// Starts the next message that may go out, once there is a free slot for it.
    async fn start_next(
        self: Arc<Self>,
        slots: Arc<Semaphore>,
        bell: Arc<Notify>,
        shutdown: &Shutdown,
    ) -> anyhow::Result<Progress> {
        let slot = tokio::select! {
            slot = slots.acquire_owned() => slot.context("wait for a free slot")?,
            () = shutdown.stopping() => return Ok(Progress::Idle),
        };
        match self.claim().await? {
            Claimed::Nothing => return Ok(Progress::Idle),
            Claimed::Aside => {}
            Claimed::Letter(letter) => {
                shutdown.spawn(async move {
                    self.send(letter).await;
                    drop(slot);
                    // The person's next message may be due.
                    bell.notify_one();
                });
            }
        }
        Ok(Progress::Worked)
    }

    async fn claim(&self) -> anyhow::Result<Claimed> {
        let now = self.clock.now();
        let claimed = Instant::now();
        let lines = line::list_open(&self.db, &self.lines.ids(), now).await?;
        if lines.is_empty() {
            return Ok(Claimed::Nothing);
        }
        let mut tx = self.db.begin().await?;
        let Some(next) = claim::next(&mut *tx, self.worker, &lines, now).await? else {
            return Ok(Claimed::Nothing);
        };
        let post = next.post;
        if let Some(until) = claim::over_limit(&mut *tx, post.tenant, PER_HOUR, now).await? {
            claim::postpone(&mut *tx, post, until, "over_limit").await?;
            tx.commit().await?;
            metrics::counter!("clawkaka_send_over_limit_total").increment(1);
            tracing::warn!(tenant.id = %post.tenant, "over the hourly limit; the message waits");
            return Ok(Claimed::Aside);
        }
        match self.address(&mut tx, next).await {
            Ok(Some((line, to, message))) => {
                claim::start(&mut *tx, self.worker, post, now).await?;
                tx.commit().await.context("commit a claim")?;
                Ok(Claimed::Letter(Letter {
                    post,
                    line,
                    to,
                    message,
                    claimed,
                }))
            }
            Ok(None) => {
                claim::discard(&mut *tx, post, "no_address", now).await?;
                tx.commit().await?;
                count("no_address");
                tracing::warn!(tenant.id = %post.tenant, message.id = %post.id,
                    "dropped a message to a person without an address");
                Ok(Claimed::Aside)
            }
            Err(error) => {
                // One row that cannot be read must not stop the others.
                drop(tx);
                let delay = backoff::UNREADABLE.after(post.attempt, post.id.0);
                let until = now + TimeDelta::from_std(delay)?;
                claim::postpone(&self.db, post, until, "unreadable").await?;
                tracing::error!(tenant.id = %post.tenant, message.id = %post.id,
                    "failed to prepare a message: {error:#}");
                Ok(Claimed::Aside)
            }
        }
    }

    async fn address(
        &self,
        db: &mut PgConnection,
        next: Next,
    ) -> anyhow::Result<Option<(LineId, Recipient, Outgoing)>> {
        let body = next.body.context("read a body that was cleared")?;
        let message = body.open(&self.opener)?;
        let found = address::recipient(db, &self.opener, next.post.tenant).await?;
        Ok(found.map(|(line, to)| (line, to, message)))
    }

    async fn send(&self, letter: Letter) {
        let post = letter.post;
        let span = tracing::info_span!("send", tenant.id = %post.tenant, message.id = %post.id, post.attempt);
        async {
            let answer = self.post(&letter).await;
            // What WhatsApp said is worth some patience: without it the person waits for a receipt.
            for pause in backoff::STORE {
                match self.store(&letter, &answer).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!("failed to {error:#}; trying again"),
                }
                tokio::time::sleep(pause).await;
            }
            if let Err(error) = self.store(&letter, &answer).await {
                tracing::error!("failed to {error:#}; a receipt has to settle it");
            }
        }
        .instrument(span)
        .await;
    }

    async fn post(&self, letter: &Letter) -> Result<Accepted, Refusal> {
        let Letter {
            post, to, message, ..
        } = letter;
        let Some(line) = self.lines.get(letter.line) else {
            // Its line was taken from us between two looks; nothing was sent.
            return Err(Refusal::not_sent());
        };
        if letter.claimed.elapsed() > STALE {
            return Err(Refusal::not_sent());
        }
        let line = line.sender();
        let callback = Callback {
            id: post.id,
            attempt: post.attempt,
        }
        .to_string();
        let begun = Instant::now();
        let answer = self.client.send(line, to, message, &callback).await;
        let outcome = answer.as_ref().map_or("refused", |_| "accepted");
        metrics::histogram!("clawkaka_send_seconds", "outcome" => outcome).record(begun.elapsed());
        answer.map_err(|error| report(&error))
    }

    async fn store(
        &self,
        letter: &Letter,
        answer: &Result<Accepted, Refusal>,
    ) -> anyhow::Result<()> {
        let (post, now) = (letter.post, self.clock.now());
        // On its own and first: `route` may hold the line while it waits for this row.
        if let Err(refusal) = answer
            && let Some(pause) = refusal.decide(post.id, post.attempt).line
        {
            line::stop(&self.db, letter.line, pause, &refusal.reason(), now).await?;
        }
        let mut tx = self
            .db
            .begin()
            .await
            .context("store what became of a message")?;
        let outcome = match answer {
            Ok(taken) => {
                receipt::accepted(&mut tx, letter.line, post, &taken.wamid, now).await?;
                "accepted"
            }
            Err(refusal) => {
                let decision = refusal.decide(post.id, post.attempt);
                let reason = refusal.reason();
                let ours =
                    result::finish(&mut tx, self.worker, post, decision.row, &reason, now).await?;
                match decision.row {
                    _ if !ours => "settled_by_receipt",
                    Verdict::Retry(_) => "retry",
                    Verdict::Unknown => "unknown",
                    Verdict::Hold => "held",
                    Verdict::Fail if decision.alert => {
                        tracing::error!(code = reason, "a message cannot be sent");
                        "failed"
                    }
                    Verdict::Fail => "failed",
                }
            }
        };
        tx.commit()
            .await
            .context("commit what became of a message")?;
        count(outcome);
        Ok(())
    }
}

/// The one place that logs why a POST failed: class, code and Meta's trace id.
fn report(error: &SendError) -> Refusal {
    tracing::warn!("{error}");
    failure::count("answer", error.class, error.code);
    error.into()
}

fn count(outcome: &'static str) {
    metrics::counter!("clawkaka_sends_total", "outcome" => outcome).increment(1);
}
