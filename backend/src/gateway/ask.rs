//! One question, put at most once, and everything the assistant said since the cursor.
//!
//! Called by `worker/deliver`, again and again with the same cursor and attempt until it returns an
//! [`Outcome`]; [`next`](super::next) holds the policy. Runs at events; a slow look in between heals
//! what an event did not tell.

use std::time::Duration;

use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::{Instant, timeout_at},
};

use super::{
    connection::{Connection, Event, Lost},
    next::{Memory, Step, Subject, Verdict, next_step},
    protocol::{Abort, Attachment, Rejection, Request, Send},
    reader::{self, Reader},
    transcript::{Kind, Page, Row, Session},
};
use crate::id::TurnId;

/// A look at the transcript when events have been missing for so long.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// A look even though events keep coming: they may be about nothing.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(20);
/// After something ended, the transcript is read again at growing intervals from here.
const LOOK_SOON: Duration = Duration::from_millis(50);
/// A request refused so often for reasons of its own is not tried again.
const MAX_REFUSALS: usize = 3;
/// Ends remembered per question; a sandbox can send any number.
const MAX_ENDED: usize = 64;
/// Rows told while waiting; a turn that writes more is read.
const MAX_TOLD: usize = 64;

pub struct Question<'a> {
    pub session: &'a str,
    /// Behind the last turn's end; None reads the session from its beginning.
    pub cursor: Option<&'a str>,
    pub turn: TurnId,
    pub attempt: i32,
    pub text: &'a str,
    pub attachments: &'a [Attachment],
    pub deadline: Instant,
    /// How long a session may do nothing before we stop believing that it will answer.
    pub idle: Duration,
}

/// One message of the assistant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Of the transcript row: the same whenever it is read, so it deduplicates.
    pub id: String,
    pub text: String,
}

/// After a `reset` of the cursor, `said` starts at the tail of the session and repeats old messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All that was said since the cursor, in order: answers, late ones, recovered ones.
    Answered {
        said: Vec<Said>,
        cursor: Option<String>,
    },
    /// The assistant chose to say nothing; `said` was said before our message.
    Silent {
        said: Vec<Said>,
        cursor: Option<String>,
    },
    /// The session forgot the question: commit the next attempt and ask again, once.
    AskAgain,
    /// The model failed, refused or said nothing: apologise, do not ask again.
    ModelFailed {
        said: Vec<Said>,
        cursor: Option<String>,
    },
    /// OpenClaw gave this session up: start a fresh one.
    Tombstoned,
    /// Too late; the run was stopped, so that no late answer follows the apology.
    TimedOut {
        said: Vec<Said>,
        cursor: Option<String>,
    },
}

/// Puts the question, unless the transcript shows that it was put, and waits for what comes of it.
/// `on_submitted` runs once when the gateway has it.
pub async fn ask(
    connection: &Connection,
    question: &Question<'_>,
    on_submitted: impl AsyncFnOnce(),
) -> Result<Outcome, Lost> {
    connection.listen_to(question.session).await?;
    // Before the first look, so that nothing falls between.
    let mut events = connection.events();
    let mut on_submitted = Some(on_submitted);
    let mut reader = Reader::new(connection, question.session, question.cursor);
    let mut memory = Memory::default();
    let mut pace = Pace::new();
    let mut refusals = 0;
    let subject = Subject {
        turn: question.turn,
        attempt: question.attempt,
        idle: question.idle,
    };
    loop {
        let Some(mut page) = reader.read().await? else {
            pace.wait(&mut events, question, &mut memory, connection)
                .await?;
            continue;
        };
        pace.look(&page, &mut memory, question.deadline);
        match next_step(&page, subject, &memory) {
            Step::End(verdict) => return Ok(outcome(verdict, page)),
            Step::Wait => {
                if memory.accepted.is_none()
                    && was_submitted(&page, question.turn)
                    && let Some(on_submitted) = on_submitted.take()
                {
                    on_submitted().await;
                }
            }
            Step::Abort => {
                let _ = connection
                    .call(&Request::Abort(Abort::new(question.session)))
                    .await?;
                pace.aborted_at = Some(Instant::now());
                continue;
            }
            Step::Send { key } => {
                let send = Request::Send(Send::new(
                    question.session,
                    question.text,
                    question.attachments,
                    &key,
                ));
                match connection.call(&send).await? {
                    Ok(_) => {
                        memory.accepted = Some(key);
                        pace.expect_events();
                        if let Some(on_submitted) = on_submitted.take() {
                            on_submitted().await;
                        }
                    }
                    Err(rejection) => match judge(&rejection) {
                        Refusal::HasIt => memory.accepted = Some(key),
                        Refusal::DeadKey => memory.refused += 1,
                        Refusal::Tombstoned => return Ok(Outcome::Tombstoned),
                        Refusal::NotNow => {}
                        Refusal::Never => {
                            tracing::warn!(
                                code = rejection.code,
                                reason = rejection.reason,
                                "a gateway refused a message"
                            );
                            refusals += 1;
                        }
                    },
                }
                if refusals >= MAX_REFUSALS {
                    return Ok(outcome(Verdict::ModelFailed, page));
                }
            }
        }
        let told = pace
            .wait(&mut events, question, &mut memory, connection)
            .await?;
        // Rows are told some 100 ms before the run's end, and after it the gateway tidies up and
        // answers slowly (measured): if they are the answer, it need not be asked.
        reader::add(&mut page, told);
        page.session.busy = true;
        if next_step(&page, subject, &memory) == Step::End(Verdict::Answered) {
            return Ok(outcome(Verdict::Answered, page));
        }
    }
}

/// What was said since the cursor when nobody asked, and the cursor behind it.
pub async fn collect(
    connection: &Connection,
    session: &str,
    cursor: Option<&str>,
) -> Result<(Vec<Said>, Option<String>), Lost> {
    let mut reader = Reader::new(connection, session, cursor);
    match reader.read().await? {
        Some(page) => Ok((
            said(&page),
            page.cursor.or_else(|| cursor.map(str::to_owned)),
        )),
        None => Ok((Vec::new(), cursor.map(str::to_owned))),
    }
}

fn outcome(verdict: Verdict, page: Page) -> Outcome {
    let said = said(&page);
    let cursor = page.cursor;
    match verdict {
        Verdict::Answered => Outcome::Answered { said, cursor },
        Verdict::Silent => Outcome::Silent { said, cursor },
        Verdict::ModelFailed => Outcome::ModelFailed { said, cursor },
        Verdict::TimedOut => Outcome::TimedOut { said, cursor },
        Verdict::AskAgain => Outcome::AskAgain,
        Verdict::Tombstoned => Outcome::Tombstoned,
    }
}

pub(super) fn said(page: &Page) -> Vec<Said> {
    let said = page.rows.iter().filter_map(|row| match &row.kind {
        Kind::Said(text) => Some(Said {
            id: row.id.clone(),
            text: text.clone(),
        }),
        _ => None,
    });
    said.collect()
}

/// Whether this turn reached the gateway earlier, before our connection.
fn was_submitted(page: &Page, turn: TurnId) -> bool {
    let turn = format!("{turn}:");
    let Session { active, queued, .. } = &page.session;
    let in_rows = page
        .rows
        .iter()
        .any(|row| matches!(&row.kind, Kind::Asked(Some(key)) if key.starts_with(&turn)));
    in_rows
        || active
            .iter()
            .chain(queued)
            .any(|key| key.starts_with(&turn))
}

enum Refusal {
    /// The key is known with another text: this turn was put before its text changed.
    HasIt,
    DeadKey,
    Tombstoned,
    NotNow,
    Never,
}

/// OpenClaw gives two of these no code of their own; the sentences are of 2026.9.6.
fn judge(rejection: &Rejection) -> Refusal {
    let says = |words| rejection.message.contains(words);
    match rejection.code.as_str() {
        _ if rejection.reason == "chat-request-conflict" => Refusal::HasIt,
        _ if says("Pending input ownership ended") => Refusal::DeadKey,
        _ if says("ended during restart recovery") => Refusal::Tombstoned,
        "UNAVAILABLE" => Refusal::NotNow,
        _ if says("Retry") => Refusal::NotNow,
        _ => Refusal::Never,
    }
}

/// When to look next, and for how long nothing has happened.
struct Pace {
    pause: Duration,
    idle_since: Option<Instant>,
    rows: usize,
    aborted_at: Option<Instant>,
}

impl Pace {
    fn new() -> Self {
        Self {
            pause: LOOK_SOON,
            idle_since: None,
            rows: 0,
            aborted_at: None,
        }
    }

    fn look(&mut self, page: &Page, memory: &mut Memory, deadline: Instant) {
        let now = Instant::now();
        if page.session.busy || page.rows.len() != self.rows {
            self.idle_since = None;
        }
        if !page.session.busy {
            self.idle_since.get_or_insert(now);
        }
        self.rows = page.rows.len();
        memory.idle_for = self.idle_since.map_or(Duration::ZERO, |since| now - since);
        memory.overdue = now >= deadline;
        memory.aborted_for = self.aborted_at.map(|at| now - at);
    }

    /// A run begins, and will tell how it goes.
    fn expect_events(&mut self) {
        self.pause = LOOK_EVERY;
        self.idle_since = None;
    }

    /// Until something ended, or it is time to look without being told. Returns the rows told meanwhile.
    async fn wait(
        &mut self,
        events: &mut Receiver<Event>,
        question: &Question<'_>,
        memory: &mut Memory,
        connection: &Connection,
    ) -> Result<Vec<Row>, Lost> {
        let mut told = Vec::new();
        let now = Instant::now();
        let mut look_at = now + self.pause;
        self.pause = (2 * self.pause).min(LOOK_EVERY);
        let latest = match self.aborted_at {
            None if now < question.deadline => question.deadline.min(now + LOOK_AT_LEAST_EVERY),
            _ => now + LOOK_SOON,
        };
        loop {
            let event = tokio::select! {
                () = connection.closed() => return Err(Lost),
                event = timeout_at(look_at.min(latest), events.recv()) => event,
            };
            match event {
                Err(_) => return Ok(told),
                // Too many to keep: the transcript has them all.
                Ok(Err(RecvError::Lagged(_))) => return Ok(Vec::new()),
                Ok(Err(RecvError::Closed)) => return Err(Lost),
                Ok(Ok(Event::Row(session, row))) if session == question.session => {
                    if told.len() >= MAX_TOLD {
                        return Ok(Vec::new());
                    }
                    told.push(row);
                }
                Ok(Ok(Event::Chat(chat))) if chat.session != question.session => {}
                Ok(Ok(Event::Row(..))) => {}
                Ok(Ok(Event::Chat(chat))) if chat.ended => {
                    memory.ended.truncate(MAX_ENDED - 1);
                    memory.ended.push(chat.run);
                    self.idle_since = None;
                    self.pause = LOOK_SOON;
                    return Ok(told);
                }
                Ok(Ok(Event::Chat(_))) => {
                    self.idle_since = None;
                    look_at = Instant::now() + LOOK_EVERY;
                }
            }
        }
    }
}
