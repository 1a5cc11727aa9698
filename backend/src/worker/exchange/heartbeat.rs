//! A turn that nobody began: every half hour the agent looks whether the person needs something.
//!
//! It is asked in a light session of its own, thrown away afterwards, so that the conversation with
//! the person stays theirs. Silence is the usual answer; anything else goes to the person, the same
//! words once a day. Nobody waits for it, so a failure is no apology, and the person's own message
//! comes first: the agent is stopped and asked that.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{
    Exchange, Left, Next, Reached,
    compose::Towards,
    said::{self, Wanted},
};
use crate::{
    gateway::{
        ask::{Outcome, Question, Said},
        protocol::{Abort, Delete, Request},
    },
    inbox,
    outbox::Class,
    seal,
    tenant::{self, window},
    turn::{End, Trigger, Turn},
};

/// Nobody waits for the answer, and it must not hold the person's own message up.
pub const DEADLINE: TimeDelta = TimeDelta::minutes(3);
/// How soon it is noticed that the person wrote meanwhile.
const LOOK_FOR_MESSAGES_EVERY: Duration = Duration::from_millis(500);
/// What was said so lately is shown to the agent, so that it does not say it again.
const SAID_LATELY: TimeDelta = TimeDelta::days(1);
/// What older models answer instead of `NO_REPLY`; with so little beside it, it is silence too
/// (OpenClaw docs: gateway/heartbeat, response contract).
const SILENT_TOKEN: &str = "HEARTBEAT_OK";
const SILENT_REST_CHARS: usize = 300;

impl Exchange {
    pub(super) async fn look_around(&self, turn: &Turn) -> anyhow::Result<Next> {
        let reached = tokio::select! {
            reached = self.reach_by(turn) => reached?,
            wrote = self.person_writes(turn) => return self.give_way(turn, wrote).await,
        };
        let Some((reached, deadline)) = reached else {
            return self.bury(turn, "sandbox_not_ready").await;
        };
        let zone = window::zone(&tenant::standing(&self.db, turn.tenant).await?.time_zone);
        let agenda = self.note_agenda(turn, &reached).await;
        let lately = turn.created_at - SAID_LATELY..turn.created_at;
        let lately = self.reading().said_unasked(turn, lately).await?;
        let session = format!("heartbeat-{}", turn.id);
        let question = Question {
            attachments: &[],
            session: &session,
            cursor: None,
            turn: turn.id,
            attempt: turn.attempt,
            text: &prompt(turn.created_at, zone, &agenda, &lately),
            deadline,
            idle: self.idle,
        };
        let outcome = tokio::select! {
            outcome = self.ask(turn, &reached, &question) => outcome?,
            wrote = self.person_writes(turn) => {
                self.close(&reached, &session).await;
                return self.give_way(turn, wrote).await;
            }
        };
        let (end, said) = match outcome {
            Outcome::Answered { said, .. } => (End::Answered, said),
            Outcome::Silent { .. } => (End::Silent, Vec::new()),
            Outcome::AskAgain => return self.ask_again(turn).await,
            Outcome::ModelFailed { .. } | Outcome::Tombstoned => {
                (End::Buried("model_failed"), Vec::new())
            }
            Outcome::TimedOut { .. } => (End::Buried("deadline"), Vec::new()),
        };
        let towards = Towards {
            tenant: turn.tenant,
            endpoint: &reached.endpoint,
            answers: None,
        };
        let drafts = self
            .compose(&towards, self.unasked(turn, zone, &said))
            .await?;
        let left = Left {
            drafts,
            ..Left::nothing(end)
        };
        let next = self.finish(turn, left).await?;
        self.close(&reached, &session).await;
        Ok(next)
    }

    /// Keyed by the day and the words: whatever restarts, and however often the agent says them,
    /// the person reads the same words once a day.
    fn unasked(&self, turn: &Turn, zone: Tz, said: &[Said]) -> Vec<Wanted> {
        let day = turn.created_at.with_timezone(&zone).date_naive();
        let key = self.master.derive("unasked");
        let texts = said.iter().filter_map(|said| spoken(&said.text));
        let wanted = texts.flat_map(|text| {
            let words = hex::encode(&seal::keyed_hash(&key, text.as_bytes())[..8]);
            said::wanted(&format!("unasked/{day}/{words}"), Class::Proactive, text)
        });
        wanted.collect()
    }

    /// Resolves when a message of the person waits for its turn.
    async fn person_writes(&self, turn: &Turn) -> anyhow::Result<()> {
        loop {
            tokio::time::sleep(LOOK_FOR_MESSAGES_EVERY).await;
            let waits = inbox::what_waits(&self.db, turn.tenant, self.clock.now()).await?;
            if waits.is_some_and(|trigger| trigger != Trigger::Heartbeat) {
                return Ok(());
            }
        }
    }

    async fn give_way(&self, turn: &Turn, wrote: anyhow::Result<()>) -> anyhow::Result<Next> {
        wrote?;
        self.finish(turn, Left::nothing(End::GaveWay)).await
    }

    /// Stops what still runs in the session and throws it away. What a crash leaves behind is small,
    /// and OpenClaw prunes its sessions itself.
    pub(super) async fn close(&self, reached: &Reached, session: &str) {
        let delete = Delete {
            key: session,
            delete_transcript: true,
        };
        for request in [Request::Abort(Abort::new(session)), Request::Delete(delete)] {
            match reached.connection.call(&request).await {
                Ok(Ok(_)) => {}
                Ok(Err(refused)) => {
                    tracing::debug!(code = refused.code, "failed to close a heartbeat's session");
                }
                Err(_) => return,
            }
        }
    }
}

/// What the agent is asked. It has its memory and its workspace, but not the conversation.
fn prompt(now: DateTime<Utc>, zone: Tz, agenda: &str, lately: &[String]) -> String {
    let time = now.with_timezone(&zone).format("%A, %-d %B %Y, %H:%M");
    let agenda = match agenda {
        "" => "AGENDA.md is empty.".to_owned(),
        agenda => format!("AGENDA.md says:\n\n{agenda}"),
    };
    let lately = match lately {
        [] => String::new(),
        lately => format!(
            "\n\nToday you have told them already, so do not say it again:\n\n- {}",
            lately.join("\n- ")
        ),
    };
    format!(
        "[Heartbeat] It is {time} ({zone}). The person did not write: this is your regular look \
         whether they need something from you now.\n\n{agenda}{lately}\n\nIf something is due or \
         cannot wait, answer with the message to them and nothing else, and strike what is done off \
         AGENDA.md. Do not bring up old matters. In every other case answer exactly NO_REPLY."
    )
}

/// What of an answer is for the person.
fn spoken(text: &str) -> Option<&str> {
    let text = text.trim();
    let rest = text
        .strip_prefix(SILENT_TOKEN)
        .or_else(|| text.strip_suffix(SILENT_TOKEN));
    match rest.map(str::trim) {
        None => Some(text),
        Some(rest) if rest.chars().count() <= SILENT_REST_CHARS => None,
        Some(rest) => Some(rest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_has_many_forms_and_words_are_words() {
        assert_eq!(spoken("HEARTBEAT_OK"), None);
        assert_eq!(spoken(" HEARTBEAT_OK Nothing is due. "), None);
        assert_eq!(spoken("All quiet.\nHEARTBEAT_OK"), None);
        assert_eq!(spoken("Your train leaves."), Some("Your train leaves."));
        let long = "x".repeat(301);
        assert_eq!(
            spoken(&format!("HEARTBEAT_OK {long}")),
            Some(long.as_str()),
            "whoever says much means it"
        );
        assert_eq!(
            spoken("What HEARTBEAT_OK means"),
            Some("What HEARTBEAT_OK means")
        );
    }

    #[test]
    fn the_agent_learns_the_persons_time_its_agenda_and_what_it_said_already() {
        let now = "2026-11-20T23:30:00Z".parse().unwrap();
        let vienna = window::zone("Europe/Vienna");
        let asked = prompt(now, vienna, "- call Anna at 9", &["Anna wrote".to_owned()]);
        assert!(asked.contains("Saturday, 21 November 2026, 00:30 (Europe/Vienna)"));
        assert!(asked.contains("- call Anna at 9"));
        assert!(asked.contains("do not say it again:\n\n- Anna wrote"));
        let empty = prompt(now, vienna, "", &[]);
        assert!(empty.contains("AGENDA.md is empty.") && !empty.contains("say it again"));
    }
}
