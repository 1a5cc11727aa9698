//! One turn: wake the person's sandbox, ask its agent once, put what it says into the outbox.
//!
//! May end at any line: the turn is then taken over, and the agent's own transcript tells whether it
//! was asked and what it answered. Answer, cursor and "done" commit together. What is asked, and
//! where, depends on what started the turn: [`message`] or [`heartbeat`].

pub(crate) mod asked;
pub(super) mod compose;
mod enclosed;
mod heartbeat;
mod introduce;
mod meanwhile;
mod message;
mod restored;
pub(super) mod said;
mod stop;
mod template;
mod typing;
mod voice;

pub use typing::Typing;

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use chrono::TimeDelta;
use sqlx::{PgConnection, PgPool};
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use crate::{
    clock::Clock,
    gateway::{
        self, Gateways,
        ask::{Outcome, Question},
        connection::Connection,
    },
    inbox,
    lease::Lease,
    lifecycle::Shutdown,
    line::policy::Policy,
    outbox::{self, Draft},
    sandbox::{self, Endpoint, Sandboxes},
    seal::{MasterKey, Opener, Sealer},
    tenant::{self, address::AddressBook},
    transcribe::Transcriber,
    turn::{self, End, Trigger, Turn},
    wake::Wakes,
    whatsapp::fetch::Fetcher,
};
use asked::Reading;
use said::Moved;

/// So many workers may die over one turn; then it is the turn that kills them.
const MAX_CLAIMS: i32 = 3;
/// The agent is asked at most so often: once, once more after an idle silence, and once in a fresh
/// session.
const MAX_ATTEMPTS: i32 = 3;
/// A net under the gateway's own patience, which is shorter: what does not let us in is broken.
const CONNECT_WITHIN: Duration = Duration::from_secs(270);
/// What a turn gets to reach its sandbox when its deadline is near or over: a boot.
const LAST_LOOK: Duration = Duration::from_secs(60);
/// How often a turn that waits for its sandbox looks whether it waits for a place.
const CROWD_LOOK: Duration = Duration::from_secs(5);
/// After an error of ours or of Postgres, before the turn goes on from its transcript.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// What a turn needs.
pub struct Exchange {
    pub db: PgPool,
    pub clock: Clock,
    pub lease: Lease,
    pub master: Arc<MasterKey>,
    pub opener: Arc<Opener>,
    pub sealer: Arc<Sealer>,
    pub book: AddressBook,
    pub sandboxes: Sandboxes,
    pub gateways: Arc<Gateways>,
    pub typing: Typing,
    pub fetcher: Fetcher,
    pub transcriber: Option<Transcriber>,
    /// [`compose::FILES_AT_ONCE`].
    pub files: Semaphore,
    pub wakes: Wakes,
    pub shutdown: Shutdown,
    /// How long a turn may take in which a person waits for an answer.
    pub turn_deadline: TimeDelta,
    /// How long an idle conversation may leave us without an answer.
    pub idle: Duration,
    /// How long a person waits without a word before they are told that it goes on. Zero: for ever.
    pub still_working_after: Duration,
    pub messages_per_turn: usize,
    /// Bytes of files that one person may send in a day.
    pub media_per_day: i64,
    /// What holds on a line for which nothing else was set.
    pub policy: Policy,
}

/// What a look at the agent led to.
enum Next {
    /// The turn is over, or somebody else's.
    Over,
    /// Ask again, under the turn's new key.
    Again,
    /// Its person wants it to end.
    Stop,
}

/// What a turn leaves behind, all at once.
struct Left<'a> {
    end: End,
    /// What the agent says to the person.
    drafts: Vec<Draft>,
    cursor: Option<Moved>,
    /// What we say ourselves.
    apology: Option<&'a str>,
}

impl Left<'_> {
    fn nothing(end: End) -> Self {
        Self {
            end,
            drafts: Vec::new(),
            cursor: None,
            apology: None,
        }
    }
}

/// The agent, within reach.
struct Reached {
    connection: Connection,
    endpoint: Endpoint,
}

impl Exchange {
    /// How long a turn may take.
    pub fn deadline(&self, trigger: Trigger) -> TimeDelta {
        match trigger {
            Trigger::Message | Trigger::Reminder => self.turn_deadline,
            Trigger::Heartbeat => self.turn_deadline.min(heartbeat::DEADLINE),
        }
    }

    /// Runs a turn to its end, or gives it back when the process stops.
    pub async fn run(&self, mut turn: Turn) {
        let worked = async {
            let mut stops = false;
            loop {
                let looked = match (self.lease.is_held(), stops) {
                    // Postgres is away: either it comes back or the process stops.
                    (false, _) => Err(anyhow::anyhow!(
                        "go on with a turn without the worker's lease"
                    )),
                    (true, true) => self.stop(&turn).await,
                    (true, false) => tokio::select! {
                        looked = self.look(&turn) => looked,
                        () = self.stop_asked(&turn) => Ok(Next::Stop),
                    },
                };
                match looked {
                    Ok(Next::Over) => return,
                    Ok(Next::Again) => turn.attempt += 1,
                    Ok(Next::Stop) => stops = true,
                    Err(error) => {
                        tracing::warn!("failed to {error:#}");
                        tokio::time::sleep(AFTER_ERROR).await;
                    }
                }
            }
        };
        tokio::select! {
            () = worked => {}
            () = self.shutdown.stopping() => {
                if let Err(error) = turn::give_back(&self.db, self.lease.id, &turn).await {
                    tracing::warn!("failed to give a turn back: {error:#}");
                }
            }
        }
    }

    async fn look(&self, turn: &Turn) -> anyhow::Result<Next> {
        if turn.claims > MAX_CLAIMS {
            return self.bury(turn, "kills_workers").await;
        }
        if turn.attempt > MAX_ATTEMPTS {
            return self.bury(turn, "no_answer").await;
        }
        // Boxed: a whole conversation is large for a task's stack.
        match turn.trigger {
            Trigger::Message | Trigger::Reminder => Box::pin(self.answer(turn)).await,
            Trigger::Heartbeat => Box::pin(self.look_around(turn)).await,
        }
    }

    /// When the turn is to end. Also past it there is one look: the answer may have come while we
    /// were away.
    async fn ends_at(&self, turn: &Turn) -> anyhow::Result<Instant> {
        let (now, mut end) = (self.clock.now(), turn.deadline_at);
        if end <= now {
            // It may have been put off since we took the turn.
            end = turn::deadline::of(&self.db, turn).await?;
        }
        Ok(Instant::now() + (end - now).to_std().unwrap_or_default())
    }

    /// The agent, however long it takes to wake it, and until when it may work. `None` past the
    /// deadline. Waiting for a place among those who are awake costs the turn nothing.
    async fn reach_by(&self, turn: &Turn) -> anyhow::Result<Option<(Reached, Instant)>> {
        let mut deadline = self.ends_at(turn).await?;
        let reach = self.reach(turn);
        tokio::pin!(reach);
        loop {
            let give_up_at = deadline.max(Instant::now() + LAST_LOOK);
            let look_at = give_up_at.min(Instant::now() + CROWD_LOOK);
            if let Ok(reached) = timeout_at(look_at, &mut reach).await {
                return Ok(Some((reached?, deadline)));
            }
            if self.sandboxes.is_crowded_out(turn.sandbox) {
                let until = self.clock.now() + self.deadline(turn.trigger);
                turn::deadline::put_off(&self.db, self.lease.id, turn, until).await?;
                deadline = Instant::now() + self.deadline(turn.trigger).to_std()?;
                self.say_crowded(turn).await?;
            } else if Instant::now() >= give_up_at {
                return Ok(None);
            }
        }
    }

    async fn reach(&self, turn: &Turn) -> anyhow::Result<Reached> {
        loop {
            let endpoint = self
                .sandboxes
                .endpoint(turn.sandbox)
                .await
                .context("wake a sandbox")?;
            let connecting = self.gateways.connection(&endpoint);
            let connected = tokio::select! {
                connected = tokio::time::timeout(CONNECT_WITHIN, connecting) => connected,
                () = self.sandboxes.lost(&endpoint) => continue,
            };
            match connected {
                Ok(Ok(connection)) => {
                    self.sandboxes.ready(&endpoint).await?;
                    return Ok(Reached {
                        connection,
                        endpoint,
                    });
                }
                Ok(Err(error)) => tracing::warn!("failed to reach the gateway: {error:#}"),
                Err(_) => tracing::warn!("the gateway did not let us in"),
            }
            self.sandboxes
                .broken(&endpoint, "its gateway did not let us in")
                .await?;
        }
    }

    /// Puts a question to the agent and waits for what comes of it.
    async fn ask(
        &self,
        turn: &Turn,
        reached: &Reached,
        question: &Question<'_>,
    ) -> anyhow::Result<Outcome> {
        let submitted = async || {
            let now = self.clock.now();
            if let Err(error) = turn::submitted(&self.db, turn, question.session, now).await {
                // Only a note for the operator; the transcript is what counts.
                tracing::warn!("failed to note that the agent was asked: {error:#}");
            }
        };
        tokio::select! {
            outcome = gateway::ask::ask(&reached.connection, question, submitted) => {
                outcome.context("ask the agent")
            }
            () = self.sandboxes.lost(&reached.endpoint) => {
                self.gateways.lost(turn.sandbox);
                anyhow::bail!("ask the agent: its container is gone");
            }
        }
    }

    async fn ask_again(&self, turn: &Turn) -> anyhow::Result<Next> {
        metrics::counter!("clawkaka_asked_again_total").increment(1);
        let is_ours = turn::ask_again(&self.db, self.lease.id, turn).await?;
        Ok(if is_ours { Next::Again } else { Next::Over })
    }

    async fn bury(&self, turn: &Turn, why: &'static str) -> anyhow::Result<Next> {
        let apology = self.apology(turn, why).await;
        let end = End::Buried(why);
        self.finish(
            turn,
            Left {
                apology,
                ..Left::nothing(end)
            },
        )
        .await
    }

    /// Outbox rows, the turn's end and the cursor, together or not at all.
    async fn finish(&self, turn: &Turn, left: Left<'_>) -> anyhow::Result<Next> {
        let (now, end) = (self.clock.now(), left.end);
        let mut tx = self.db.begin().await.context("begin the end of a turn")?;
        if !turn::finish(&mut tx, self.lease.id, turn, end, now).await? {
            if turn::stop::asked(&mut *tx, turn).await?.is_some() {
                return Ok(Next::Stop);
            }
            tracing::warn!("the turn is no longer ours");
            return Ok(Next::Over);
        }
        self.enqueue(&mut tx, turn, &left.drafts).await?;
        if let Some(apology) = left.apology {
            self.say(&mut tx, turn, &format!("apology/{}", turn.id), apology)
                .await?;
        }
        if let Some(moved) = &left.cursor {
            moved.store(&mut tx, turn.sandbox).await?;
        }
        // Heartbeats are no activity: they must not keep a sandbox awake.
        if turn.trigger != Trigger::Heartbeat {
            sandbox::row::touch(&mut *tx, turn.sandbox, now).await?;
        }
        inbox::finish_turn(&mut tx, turn.tenant, turn.id, end.outcome(), now).await?;
        tx.commit().await.context("commit the end of a turn")?;
        self.wakes.outbox.notify_one();
        metrics::counter!("clawkaka_turns_total", "outcome" => end.outcome()).increment(1);
        tracing::info!(
            outcome = end.outcome(),
            messages = left.drafts.len(),
            "turn ended"
        );
        Ok(Next::Over)
    }

    fn reading(&self) -> Reading<'_> {
        Reading {
            db: &self.db,
            opener: &self.opener,
            book: &self.book,
        }
    }

    async fn enqueue(
        &self,
        db: &mut PgConnection,
        turn: &Turn,
        drafts: &[Draft],
    ) -> anyhow::Result<()> {
        let now = self.clock.now();
        outbox::enqueue(db, &self.sealer, turn.tenant, Some(turn.id), drafts, now).await?;
        Ok(())
    }

    /// Looks whether the agent has anything to look after from now on. Not worth a turn's failure:
    /// the next turn looks again.
    async fn note_agenda(&self, turn: &Turn, reached: &Reached) -> String {
        let read = async {
            let agenda = self.sandboxes.agenda(&reached.endpoint).await?;
            tenant::set_agenda(&self.db, turn.tenant, !agenda.is_empty()).await?;
            anyhow::Ok(agenda)
        };
        read.await.unwrap_or_else(|error| {
            tracing::warn!("failed to read an agenda: {error:#}");
            String::new()
        })
    }
}
