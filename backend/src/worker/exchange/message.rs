//! A turn that the person began: what they wrote goes to their agent's main conversation, and
//! whatever happens they hear of it.

use std::time::Duration;

use anyhow::Context;

use super::{Exchange, Left, Next, said::Read};
use crate::{
    copy,
    gateway::ask::{Outcome, Question},
    inbox,
    outbox::{Class, Draft},
    sandbox,
    turn::{self, End, Trigger, Turn},
    whatsapp::event::{self, Content, InboundEvent},
};

/// A first answer that takes longer than this is announced.
const ANNOUNCE_AFTER: Duration = Duration::from_secs(3);

/// What a person's messages say, and the last one's id for the typing indicator.
struct Asked {
    text: String,
    last_wamid: Option<String>,
}

/// What a person hears who waits for an answer in vain.
pub(super) fn apology(turn: &Turn, why: &str) -> Option<&'static str> {
    match (turn.trigger, why) {
        (Trigger::Heartbeat, _) => None,
        (_, "deadline") => Some(copy::TOO_LONG),
        _ => Some(copy::SORRY),
    }
}

impl Exchange {
    /// Asks, and meanwhile shows that we do.
    pub(super) async fn answer(&self, turn: &Turn) -> anyhow::Result<Next> {
        let asked = self.asked(turn).await.context("read a turn's messages")?;
        if asked.text.is_empty() {
            return self.finish(turn, Left::nothing(End::Silent)).await;
        }
        let answering = self.converse(turn, &asked.text);
        tokio::select! {
            next = self.announced(turn, answering) => next,
            never = self.typing.keep(turn.tenant, asked.last_wamid.as_deref()) => match never {},
        }
    }

    /// Several messages are one question, each a paragraph. In front stands what the agent said
    /// unasked since the last one: it was said outside of this conversation.
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
        if !asked.text.is_empty()
            && let Some(unasked) = self.quoted(turn).await?
        {
            asked.text.insert_str(0, &unasked);
        }
        Ok(asked)
    }

    async fn quoted(&self, turn: &Turn) -> anyhow::Result<Option<String>> {
        let since = turn::last_message_before(&self.db, turn).await?;
        let mut said = String::new();
        for text in self.said_unasked(turn, since..turn.created_at).await? {
            for line in text.lines() {
                said.push_str("> ");
                said.push_str(line);
                said.push('\n');
            }
        }
        Ok((!said.is_empty())
            .then(|| format!("(Since my last message you wrote to me, unasked:\n{said})\n\n")))
    }

    async fn converse(&self, turn: &Turn, text: &str) -> anyhow::Result<Next> {
        let deadline = self.ends_at(turn);
        let Some(reached) = self.reach_by(turn, deadline).await? else {
            return self.bury(turn, "sandbox_not_ready").await;
        };
        let (session_no, cursor) = self.session(turn.sandbox, &reached).await?;
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
        let (end, said, new) = match self.ask(turn, &reached, &question).await? {
            Outcome::Answered { said, cursor } => (End::Answered, said, cursor),
            Outcome::Silent { said, cursor } => (End::Silent, said, cursor),
            Outcome::ModelFailed { said, cursor } => (End::Buried("model_failed"), said, cursor),
            Outcome::TimedOut { said, cursor } => (End::Buried("deadline"), said, cursor),
            Outcome::AskAgain => return self.ask_again(turn).await,
            Outcome::Tombstoned => {
                tracing::warn!(
                    session,
                    "the agent gave this session up; a fresh one begins"
                );
                metrics::counter!("clawkaka_sessions_tombstoned_total").increment(1);
                sandbox::row::fresh_session(&self.db, turn.sandbox, session_no).await?;
                return self.ask_again(turn).await;
            }
        };
        let read = Read {
            session_no,
            old: cursor,
            new,
            said,
        };
        let left = Left {
            end,
            drafts: read.drafts(Class::Reply),
            cursor: read.moved(),
            apology: match end {
                End::Buried(why) => apology(turn, why),
                _ => None,
            },
        };
        let next = self.finish(turn, left).await?;
        self.note_agenda(turn, &reached).await;
        Ok(next)
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

    pub(super) async fn say(
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
        self.enqueue(db, turn, &[draft]).await
    }
}
