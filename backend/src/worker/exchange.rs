//! One turn: wake the person's sandbox, ask its agent once, put what it says into the outbox.
//!
//! May end at any line: the turn is then taken over, and the agent's own transcript tells whether it
//! was asked and what it answered. Answer, cursor and "done" commit together.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use chrono::TimeDelta;
use sqlx::PgPool;
use tokio::time::{Instant, timeout_at};

use super::{
    said::{Read, drafts},
    typing::Typing,
};
use crate::{
    clock::Clock,
    copy,
    gateway::{
        self, Gateways,
        ask::{Outcome, Question},
        connection::Connection,
    },
    inbox,
    lease::Lease,
    lifecycle::Shutdown,
    outbox::{self, Class, Draft},
    sandbox::{self, Endpoint, Sandboxes},
    seal::{Opener, Sealer},
    turn::{self, End, Turn},
    wake::Wakes,
    whatsapp::event::{self, Content, InboundEvent},
};

/// A first answer that takes longer than this is announced.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(3);
/// So many workers may die over one turn; then it is the turn that kills them.
const MAX_CLAIMS: i32 = 3;
/// The agent is asked at most so often: once, once more after an idle silence, and once in a fresh
/// session.
const MAX_ATTEMPTS: i32 = 3;
/// A net under the gateway's own patience, which is shorter: what does not let us in is broken.
const CONNECT_WITHIN: Duration = Duration::from_secs(150);
/// What a turn gets to reach its sandbox when its deadline is near or over: a boot.
const LAST_LOOK: Duration = Duration::from_secs(60);
/// After an error of ours or of Postgres, before the turn goes on from its transcript.
const AFTER_ERROR: Duration = Duration::from_secs(1);

/// What a turn needs.
pub struct Exchange {
    pub db: PgPool,
    pub clock: Clock,
    pub lease: Lease,
    pub opener: Arc<Opener>,
    pub sealer: Arc<Sealer>,
    pub sandboxes: Sandboxes,
    pub gateways: Gateways,
    pub typing: Typing,
    pub wakes: Wakes,
    pub shutdown: Shutdown,
    /// How long a turn may take.
    pub deadline: TimeDelta,
    /// How long an idle conversation may leave us without an answer.
    pub idle: Duration,
    pub messages_per_turn: usize,
}

/// What a look at the agent led to.
enum Next {
    /// The turn is over, or somebody else's.
    Over,
    /// Ask again, under the turn's new key.
    Again,
}

/// What a person's messages say, and the last one's id for the typing indicator.
struct Asked {
    text: String,
    last_wamid: Option<String>,
}

impl Exchange {
    /// Runs a turn to its end, or gives it back when the process stops.
    pub async fn run(&self, mut turn: Turn) {
        let worked = async {
            loop {
                let looked = match self.lease.is_held() {
                    // Boxed: a whole conversation is large for a task's stack.
                    true => Box::pin(self.look(&turn)).await,
                    // Postgres is away: either it comes back or the process stops.
                    false => Err(anyhow::anyhow!(
                        "go on with a turn without the worker's lease"
                    )),
                };
                match looked {
                    Ok(Next::Over) => return,
                    Ok(Next::Again) => turn.attempt += 1,
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
            return self.bury(turn, "kills_workers", copy::SORRY).await;
        }
        if turn.attempt > MAX_ATTEMPTS {
            return self.bury(turn, "no_answer", copy::SORRY).await;
        }
        let asked = self.asked(turn).await.context("read a turn's messages")?;
        if asked.text.is_empty() {
            return self.finish(turn, End::Silent, Read::nothing(), None).await;
        }
        // Also past the deadline: the answer may have come while we were away.
        let left = (turn.deadline_at - self.clock.now())
            .to_std()
            .unwrap_or_default();
        let answering = self.answer(turn, &asked.text, Instant::now() + left);
        tokio::select! {
            next = self.announced(turn, answering) => next,
            never = self.typing.keep(turn.tenant, asked.last_wamid.as_deref()) => match never {},
        }
    }

    /// Several messages are one question, each a paragraph.
    async fn asked(&self, turn: &Turn) -> anyhow::Result<Asked> {
        let mut asked = Asked {
            text: String::new(),
            last_wamid: None,
        };
        for body in inbox::of_turn(&self.db, turn.tenant, turn.id).await? {
            let body = self.opener.open(&body)?;
            let InboundEvent::Message(message) = event::parse("message", &body) else {
                continue;
            };
            let Content::Text(text) = message.content else {
                continue;
            };
            if !asked.text.is_empty() {
                asked.text.push_str("\n\n");
            }
            asked.text.push_str(&text);
            asked.last_wamid = Some(message.id);
        }
        Ok(asked)
    }

    async fn answer(&self, turn: &Turn, text: &str, deadline: Instant) -> anyhow::Result<Next> {
        let give_up_at = deadline.max(Instant::now() + LAST_LOOK);
        let Ok(reached) = timeout_at(give_up_at, self.reach(turn)).await else {
            return self.bury(turn, "sandbox_not_ready", copy::SORRY).await;
        };
        let (connection, endpoint) = reached?;
        let (session_no, cursor) = sandbox::row::session(&self.db, turn.sandbox).await?;
        let session = format!("main-{session_no}");
        let question = Question {
            session: &session,
            cursor: cursor.as_deref(),
            turn: turn.id,
            attempt: turn.attempt,
            text,
            deadline,
            idle: self.idle,
        };
        let submitted = async || {
            let now = self.clock.now();
            if let Err(error) = turn::submitted(&self.db, turn, &session, now).await {
                // Only a note for the operator; the transcript is what counts.
                tracing::warn!("failed to note that the agent was asked: {error:#}");
            }
        };
        let asking = gateway::ask::ask(&connection, &question, submitted);
        let read = |said, new_cursor| Read {
            session_no,
            old: cursor.clone(),
            new: new_cursor,
            said,
        };
        let outcome = tokio::select! {
            outcome = asking => outcome.context("ask the agent")?,
            () = self.sandboxes.lost(&endpoint) => {
                self.gateways.lost(turn.sandbox);
                anyhow::bail!("ask the agent: its container is gone");
            }
        };
        match outcome {
            Outcome::Answered { said, cursor } => {
                self.finish(turn, End::Answered, read(said, cursor), None)
                    .await
            }
            Outcome::Silent { said, cursor } => {
                self.finish(turn, End::Silent, read(said, cursor), None)
                    .await
            }
            Outcome::ModelFailed { said, cursor } => {
                self.finish(
                    turn,
                    End::Buried("model_failed"),
                    read(said, cursor),
                    Some(copy::SORRY),
                )
                .await
            }
            Outcome::TimedOut { said, cursor } => {
                self.finish(
                    turn,
                    End::Buried("deadline"),
                    read(said, cursor),
                    Some(copy::TOO_LONG),
                )
                .await
            }
            Outcome::AskAgain => self.ask_again(turn).await,
            Outcome::Tombstoned => {
                tracing::warn!(
                    session,
                    "the agent gave this session up; a fresh one begins"
                );
                metrics::counter!("clawkaka_sessions_tombstoned_total").increment(1);
                sandbox::row::fresh_session(&self.db, turn.sandbox, session_no).await?;
                self.ask_again(turn).await
            }
        }
    }

    /// A connection to the person's agent, however long it takes to wake it.
    async fn reach(&self, turn: &Turn) -> anyhow::Result<(Connection, Endpoint)> {
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
                    return Ok((connection, endpoint));
                }
                Ok(Err(error)) => tracing::warn!("failed to reach the gateway: {error:#}"),
                Err(_) => tracing::warn!("the gateway did not let us in"),
            }
            self.sandboxes
                .broken(&endpoint, "its gateway did not let us in")
                .await?;
        }
    }

    /// Runs `work`; if it is this person's first answer and takes long, says so meanwhile.
    async fn announced<T>(&self, turn: &Turn, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => return done,
            () = tokio::time::sleep(ANNOUNCE_AFTER) => {}
        }
        if let Err(error) = self.announce(turn).await {
            tracing::warn!("failed to announce a first answer: {error:#}");
        }
        work.await
    }

    async fn announce(&self, turn: &Turn) -> anyhow::Result<()> {
        let mut db = self.db.acquire().await?;
        if turn::has_earlier(&mut *db, turn).await? {
            return Ok(());
        }
        // The key makes it once in a lifetime, whatever restarts meanwhile.
        self.say(&mut db, turn, "first-contact", copy::SETTING_UP)
            .await?;
        self.wakes.outbox.notify_one();
        Ok(())
    }

    async fn ask_again(&self, turn: &Turn) -> anyhow::Result<Next> {
        metrics::counter!("clawkaka_asked_again_total").increment(1);
        let is_ours = turn::ask_again(&self.db, self.lease.id, turn).await?;
        Ok(if is_ours { Next::Again } else { Next::Over })
    }

    async fn bury(&self, turn: &Turn, why: &'static str, apology: &str) -> anyhow::Result<Next> {
        self.finish(turn, End::Buried(why), Read::nothing(), Some(apology))
            .await
    }

    /// Outbox rows, the turn's end and the cursor, together or not at all.
    async fn finish(
        &self,
        turn: &Turn,
        end: End,
        read: Read,
        apology: Option<&str>,
    ) -> anyhow::Result<Next> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await.context("begin the end of a turn")?;
        if !turn::finish(&mut tx, self.lease.id, turn, end, now).await? {
            tracing::warn!("the turn is no longer ours");
            return Ok(Next::Over);
        }
        // After a reset of the cursor the transcript repeats what was sent before.
        let mut drafts = outbox::without_known(&mut *tx, turn.tenant, drafts(&read)).await?;
        if drafts.len() > self.messages_per_turn {
            let over = drafts.len() - self.messages_per_turn;
            metrics::counter!("clawkaka_messages_cut_total").increment(over as u64);
            drafts.truncate(self.messages_per_turn);
        }
        outbox::enqueue(
            &mut tx,
            &self.sealer,
            turn.tenant,
            Some(turn.id),
            &drafts,
            now,
        )
        .await?;
        if let Some(apology) = apology {
            self.say(&mut tx, turn, &format!("apology/{}", turn.id), apology)
                .await?;
        }
        if let Some(new) = &read.new {
            let old = read.old.as_deref();
            sandbox::row::set_cursor(&mut *tx, turn.sandbox, read.session_no, old, new).await?;
        }
        sandbox::row::touch(&mut *tx, turn.sandbox, now).await?;
        inbox::finish_turn(&mut tx, turn.tenant, turn.id, end.outcome(), now).await?;
        tx.commit().await.context("commit the end of a turn")?;
        self.wakes.outbox.notify_one();
        metrics::counter!("clawkaka_turns_total", "outcome" => end.outcome()).increment(1);
        tracing::info!(
            outcome = end.outcome(),
            messages = drafts.len(),
            "turn ended"
        );
        Ok(Next::Over)
    }

    async fn say(
        &self,
        db: &mut sqlx::PgConnection,
        turn: &Turn,
        key: &str,
        text: &str,
    ) -> anyhow::Result<()> {
        let draft = Draft {
            key: key.to_owned(),
            class: Class::Ours,
            text: text.to_owned(),
        };
        let now = self.clock.now();
        outbox::enqueue(db, &self.sealer, turn.tenant, Some(turn.id), &[draft], now).await?;
        Ok(())
    }
}
