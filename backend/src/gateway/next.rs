//! What to do next about a question, decided purely from the transcript.
//!
//! OpenClaw forgets idempotency keys when it restarts and after 300 s, resumes a run it was killed
//! in under another id, and may lose a message it accepted. So the only question ever asked here
//! is what the transcript shows now: is our message in it, what follows it, is anything going on?

use std::time::Duration;

use super::transcript::{Ending, Kind, Page, Row};
use crate::id::TurnId;

/// A run's end and its rows reach a history within 0.2 s of each other (measured). Silence and
/// failure are believed only when nothing has changed for longer.
pub const SETTLED: Duration = Duration::from_millis(700);
/// The same where the session may still be telling of the run before: after a resumed run, or one
/// that was queued, its latest run has an id that is not ours.
pub const SURELY_SETTLED: Duration = Duration::from_secs(5);
/// An interrupted session is resumed or tombstoned for certain, some seconds after boot or, where
/// many boot at once, much later. Asking anew before would be answered twice. In idle times.
const RESUME_PATIENCE: u32 = 3;
/// What an aborted run gets to end.
const ABORT_PATIENCE: Duration = Duration::from_secs(5);

/// Which question, and how long an idle session is waited for.
#[derive(Clone, Copy)]
pub struct Subject {
    pub turn: TurnId,
    pub attempt: i32,
    pub idle: Duration,
}

/// What the transcript cannot say.
#[derive(Debug, Default)]
pub struct Memory {
    /// The key under which this gateway process accepted our message.
    pub accepted: Option<String>,
    /// Keys it refused as dead.
    pub refused: usize,
    /// Runs that were seen to end.
    pub ended: Vec<String>,
    /// For how long nothing has been going on.
    pub idle_for: Duration,
    /// The deadline is over.
    pub overdue: bool,
    /// How long ago we stopped the session.
    pub aborted_for: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Send { key: String },
    Wait,
    Abort,
    End(Verdict),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Answered,
    Silent,
    AskAgain,
    ModelFailed,
    Tombstoned,
    TimedOut,
}

pub fn next_step(page: &Page, subject: Subject, memory: &Memory) -> Step {
    let session = &page.session;
    // Any attempt's row will do: a late answer to the first is an answer.
    let all_attempts = format!("{}:", subject.turn);
    let first = page
        .rows
        .iter()
        .position(|row| is_asked(row, |key| key.starts_with(&all_attempts)));
    let after = first.map(|at| &page.rows[at + 1..]).unwrap_or_default();
    if let Some(answer) = after.iter().rfind(|row| matches!(row.kind, Kind::Said(_)))
        && is_over(answer, page, memory)
    {
        return Step::End(Verdict::Answered);
    }
    if session.tombstoned {
        return Step::End(Verdict::Tombstoned);
    }
    if memory.overdue {
        return match memory.aborted_for {
            None => Step::Abort,
            Some(waited) if session.busy && waited < ABORT_PATIENCE => Step::Wait,
            Some(_) => Step::End(Verdict::TimedOut),
        };
    }
    // Waiting for another's run, too: what is sent into a running turn is merged into it.
    if session.busy {
        return Step::Wait;
    }
    let patient = memory.idle_for < subject.idle;
    if session.interrupted && memory.idle_for < RESUME_PATIENCE * subject.idle {
        return Step::Wait;
    }

    let key = format!("{}:{}", subject.turn, subject.attempt);
    let now = |asked: &str| {
        asked
            .strip_prefix(&key)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    if let Some(at) = page.rows.iter().rposition(|row| is_asked(row, now)) {
        let ours = |run: &String| run.starts_with(&all_attempts);
        let is_ours = session.last_run.as_ref().is_some_and(ours);
        return conclude(&page.rows[at + 1..], page, memory, is_ours, patient);
    }
    let dead = session
        .dead
        .iter()
        .filter(|asked| now(asked))
        .count()
        .max(memory.refused);
    let waiting = session.queued.iter().any(|asked| now(asked));
    let accepted = memory
        .accepted
        .as_ref()
        .is_some_and(|key| !session.dead.contains(key));
    match (waiting || accepted, patient) {
        // A key whose input was cut off is refused for ever, so the same attempt gets another.
        (false, _) if dead > 0 => Step::Send {
            key: format!("{key}.{dead}"),
        },
        (false, _) => Step::Send { key },
        (true, true) => Step::Wait,
        (true, false) => Step::End(Verdict::AskAgain),
    }
}

fn is_asked(row: &Row, ours: impl Fn(&str) -> bool) -> bool {
    matches!(&row.kind, Kind::Asked(Some(key)) if ours(key))
}

/// Whether the run that said this says no more. Idle sessions say no more; in a busy one another
/// run may have begun meanwhile.
fn is_over(answer: &Row, page: &Page, memory: &Memory) -> bool {
    let Some(run) = answer.run.as_ref().filter(|_| page.session.busy) else {
        return !page.session.busy;
    };
    let active = &page.session.active;
    memory.ended.contains(run) || (!active.is_empty() && !active.contains(run))
}

/// Our message is in the transcript, nothing is going on, and nothing was said. `is_ours`: the
/// session's latest run is that of our message.
fn conclude(after: &[Row], page: &Page, memory: &Memory, is_ours: bool, patient: bool) -> Step {
    if memory.idle_for < SETTLED {
        return Step::Wait;
    }
    let failed = |row: &Row| matches!(row.kind, Kind::Failed | Kind::Empty);
    let verdict = match page.session.last {
        _ if page.session.interrupted => Verdict::AskAgain,
        _ if after.iter().any(failed) => Verdict::ModelFailed,
        _ if after.iter().any(|row| row.kind == Kind::NotBegun) => Verdict::AskAgain,
        _ if !is_ours && memory.idle_for < SURELY_SETTLED => return Step::Wait,
        // It is still the run before: ours never began, for the gateway died when it had just taken
        // our message down. At worst the agent is asked twice what it had nothing to say to.
        _ if !is_ours && after.is_empty() => Verdict::AskAgain,
        Ending::NotBegun => Verdict::AskAgain,
        Ending::Failed => Verdict::ModelFailed,
        // OpenClaw leaves a `NO_REPLY` out of the history, asks once more, and then kills the run.
        Ending::Done | Ending::Killed => Verdict::Silent,
        Ending::Unknown if patient => return Step::Wait,
        Ending::Unknown => Verdict::AskAgain,
    };
    Step::End(verdict)
}
