//! A turn that the person began: what they wrote goes to their agent's main conversation, and
//! whatever happens they hear of it.

use anyhow::Context;

use super::{Exchange, Left, Next, Reached, asked::Asked, compose::Towards, said::Read};
use crate::{
    copy,
    gateway::ask::{Outcome, Question},
    outbox::{Class, Draft},
    sandbox,
    turn::{End, Trigger, Turn},
};

fn apology(turn: &Turn, why: &str) -> Option<&'static str> {
    match (turn.trigger, why) {
        (Trigger::Heartbeat, _) => None,
        (_, "deadline") => Some(copy::TOO_LONG),
        (_, "disk_full") => Some(copy::DISK_FULL),
        _ => Some(copy::SORRY),
    }
}

impl Exchange {
    /// Asks, and meanwhile shows that we do.
    pub(super) async fn answer(&self, turn: &Turn) -> anyhow::Result<Next> {
        let asked = self.reading().asked(turn).await;
        let mut asked = asked.context("read a turn's messages")?;
        let last_wamid = asked.last_wamid.clone();
        if asked.told.is_empty() {
            return self.finish(turn, Left::nothing(End::Silent)).await;
        }
        let setting_up = match asked.is_in_group() {
            true => copy::SETTING_UP_FOR_A_GROUP,
            false => copy::SETTING_UP,
        };
        let answering = self.converse(turn, &mut asked);
        tokio::select! {
            next = self.announced(turn, setting_up, answering) => next,
            never = self.typing.keep(turn.tenant, last_wamid.as_deref()) => match never {},
            never = self.keep_company(turn) => match never {},
        }
    }

    async fn converse(&self, turn: &Turn, asked: &mut Asked) -> anyhow::Result<Next> {
        let Some((reached, deadline)) = self.reach_by(turn).await? else {
            return self.bury(turn, "sandbox_not_ready").await;
        };
        self.introduce(turn, &reached).await;
        let attachments = self.bring(turn, &reached, asked).await?;
        let text = asked.text();
        if text.is_empty() {
            return self.finish(turn, Left::nothing(End::Silent)).await;
        }
        let (session_no, cursor) = self.session(turn.sandbox, &reached).await?;
        let session = format!("main-{session_no}");
        let question = Question {
            session: &session,
            cursor: cursor.as_deref(),
            turn: turn.id,
            attempt: turn.attempt,
            text: &text,
            attachments: &attachments,
            deadline,
            idle: self.idle,
        };
        let answered = tokio::select! {
            answered = self.ask(turn, &reached, &question) => answered?,
            // It cannot even write down that it failed, and has to be started again, which sets
            // some space free. Not asked again: it would most likely fill that, too.
            () = self.sandboxes.out_of_space(&reached.endpoint) => {
                self.sandboxes.broken(&reached.endpoint, "its disk is full").await?;
                return self.bury(turn, "disk_full").await;
            }
        };
        let (end, said, new) = match answered {
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
                sandbox::row::conversation::fresh_session(&self.db, turn.sandbox, session_no)
                    .await?;
                return self.ask_again(turn).await;
            }
        };
        let read = Read {
            session_no,
            old: cursor,
            new,
            said,
        };
        let towards = Towards {
            tenant: turn.tenant,
            endpoint: &reached.endpoint,
            answers: asked.last_wamid.as_deref(),
        };
        let left = Left {
            end,
            drafts: self.compose(&towards, read.wanted(Class::Reply)).await?,
            cursor: read.moved(),
            apology: match end {
                End::Buried(why) => self.apology(turn, why).await,
                _ => None,
            },
        };
        let next = self.finish(turn, left).await?;
        self.mention_full_disk(turn, &reached).await;
        self.note_agenda(turn, &reached).await;
        Ok(next)
    }

    /// What a person hears who waits for an answer in vain, the one reason named that they can mend.
    pub(super) async fn apology(&self, turn: &Turn, why: &str) -> Option<&'static str> {
        let sentence = apology(turn, why)?;
        match self.sandboxes.disk_is_full(turn.sandbox).await {
            true => Some(copy::DISK_FULL),
            false => Some(sentence),
        }
    }

    /// Once a day, while the agent can still be asked to delete something. After the answer, which
    /// does not wait for it; and not worth a turn's failure.
    async fn mention_full_disk(&self, turn: &Turn, reached: &Reached) {
        if !self.sandboxes.is_short_of_space(&reached.endpoint).await {
            return;
        }
        let mention = async {
            let mut db = self.db.acquire().await?;
            let key = format!("disk-full/{}", self.clock.now().date_naive());
            self.say(&mut db, turn, &key, copy::DISK_FULL).await
        };
        match mention.await {
            Ok(()) => self.wakes.outbox.notify_one(),
            Err(error) => tracing::warn!("failed to mention a full disk: {error:#}"),
        }
    }

    pub(super) async fn say(
        &self,
        db: &mut sqlx::PgConnection,
        turn: &Turn,
        key: &str,
        text: &str,
    ) -> anyhow::Result<()> {
        self.enqueue(db, turn, &[Draft::ours(key, text)]).await
    }
}
