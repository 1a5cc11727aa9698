//! What a message waits for, in one sentence, and what to do. Pure: rows in, words out.
//!
//! Looked at from its end: an answer that is out explains everything before it.

use chrono::{DateTime, Utc};

use super::{
    finished::finished,
    look::{Answer, Person, Received, Sandbox, Seen, Turn},
};
use crate::operator::{
    answer::{ago, when},
    freeze::{again, name},
};

pub struct Explanation {
    /// Stable, for scripts.
    pub stage: &'static str,
    pub what: String,
    pub todo: String,
}

pub(super) const NOTHING: &str = "Nothing: this is how it should be.";
const NO_WORKER: &str = "no worker is running";
const START_WORKER: &str = "Start it, and look at `clawkaka doctor` if it does not stay up.";

pub(super) fn said(
    stage: &'static str,
    what: impl Into<String>,
    todo: impl Into<String>,
) -> Explanation {
    Explanation {
        stage,
        what: what.into(),
        todo: todo.into(),
    }
}

pub fn explain(seen: &Seen, now: DateTime<Utc>) -> Explanation {
    let running = seen.turn.as_ref().filter(|turn| turn.state == "active");
    if let Some(answer) = the_answer(seen)
        && (seen.about.is_some() || running.is_none())
    {
        return answered(seen, answer, now);
    }
    match (&seen.turn, seen.received.first()) {
        (Some(turn), _) if turn.state == "active" => in_turn(seen, turn, now),
        (Some(turn), _) => ended_without_answer(turn),
        (None, Some(row)) => arrived(seen, row, now),
        (None, None) => said("unknown", "Nothing is known of it.", NOTHING),
    }
}

/// The one asked about, else the first that needs a word, else the last.
fn the_answer(seen: &Seen) -> Option<&Answer> {
    let about = seen.answers.iter().find(|one| Some(one.id) == seen.about);
    let open = seen.answers.iter().find(|one| one.state != "accepted");
    about
        .or(open)
        .or_else(|| seen.answers.iter().min_by_key(|one| one.rank))
}

fn arrived(seen: &Seen, row: &Received, now: DateTime<Utc>) -> Explanation {
    if row.done_at.is_some() {
        return finished(row);
    }
    if row.tenant.is_none() && row.run_after > now {
        return said(
            "put_off",
            format!(
                "It could not be routed; it is tried again {}.",
                when(row.run_after, now)
            ),
            format!("Look in the worker's log for inbox.id {}.", row.id),
        );
    }
    if row.tenant.is_none() {
        return match seen.worker_is_alive {
            true => said("received", "It is stored and about to be routed.", NOTHING),
            false => said(
                "received",
                format!("It is stored, but {NO_WORKER}."),
                START_WORKER,
            ),
        };
    }
    if let Some(stopped) = seen.person.as_ref().and_then(|person| stopped(person, now)) {
        return stopped;
    }
    if seen
        .person
        .as_ref()
        .is_some_and(|person| person.status == "undecided")
    {
        return said(
            "undecided",
            "The person was asked whether they agree (CONSENT), and has not answered.",
            "It is asked once they do; after 7 days it is thrown away.",
        );
    }
    if !seen.worker_is_alive {
        return said(
            "waiting",
            format!("It waits for a turn, but {NO_WORKER}."),
            START_WORKER,
        );
    }
    match seen.person.as_ref().and_then(|person| person.running) {
        Some(turn) => said(
            "waiting",
            format!("It waits until the person's running turn {turn} ends."),
            format!("clawkaka trace {turn}"),
        ),
        None if row.run_after > now => said(
            "debounced",
            "It waits a moment for another message, so that the two become one question.",
            "The setting is DEBOUNCE.",
        ),
        None => said(
            "waiting",
            "It is routed; a turn is about to be opened for it.",
            NOTHING,
        ),
    }
}

/// What an operator or WhatsApp has stopped, the most telling first.
fn stopped(person: &Person, now: DateTime<Utc>) -> Option<Explanation> {
    if let Some(freeze) = &person.frozen {
        return Some(said(
            "frozen",
            format!(
                "{} is frozen since {}, by {}: nothing goes out.",
                name(freeze.scope),
                when(freeze.since, now),
                freeze.actor
            ),
            format!("clawkaka unfreeze{}", again(freeze.scope)),
        ));
    }
    match person.status.as_str() {
        "suspended" => Some(said(
            "suspended",
            "The person is suspended.",
            format!("clawkaka tenant resume {}", person.id),
        )),
        "opted_out" => Some(said(
            "opted_out",
            "The person wants to hear nothing from us (STOP).",
            "They hear from us again once they write START.",
        )),
        _ => None,
    }
}

fn in_turn(seen: &Seen, turn: &Turn, now: DateTime<Utc>) -> Explanation {
    let until = when(turn.deadline_at, now);
    if !seen.worker_is_alive {
        return said(
            "in_turn",
            format!("Its turn is open, but {NO_WORKER}; the next one takes it over."),
            START_WORKER,
        );
    }
    if let Some(at) = turn.stop_asked_at {
        return said(
            "stopping",
            format!(
                "The person stopped it {}; the agent is being told.",
                when(at, now)
            ),
            NOTHING,
        );
    }
    if turn.submitted_at.is_some() {
        return said(
            "asked",
            format!(
                "The agent has been asked (attempt {}); its answer is awaited until {until}.",
                turn.attempt
            ),
            "Wait; at the deadline the person gets an apology.",
        );
    }
    match &seen.sandbox {
        Some(sandbox) if sandbox.intent != "auto" => said(
            "waking",
            format!("Its sandbox is {} by an operator's will.", sandbox.intent),
            "If the person is suspended: clawkaka tenant resume",
        ),
        Some(sandbox) if sandbox.failures > 0 => failing(sandbox, turn, now),
        _ => said(
            "waking",
            format!("The sandbox is being woken; it has until {until}."),
            "Wait some seconds; if it stays so, look at `clawkaka doctor` (walls, image, memory).",
        ),
    }
}

fn failing(sandbox: &Sandbox, turn: &Turn, now: DateTime<Utc>) -> Explanation {
    let again = sandbox.retry_at.filter(|at| *at > now);
    let again = again.map_or("now".to_owned(), |at| when(at, now));
    // Every start counts as failed until its gateway has answered.
    let what = match sandbox.failures {
        1 => "The sandbox has been started; its gateway has not answered yet.".to_owned(),
        failures => {
            format!("The sandbox did not start {failures} times; it is tried again {again}.")
        }
    };
    said(
        "waking",
        format!("{what} The turn ends {}.", when(turn.deadline_at, now)),
        format!("Look in the worker's log for sandbox.id {}.", sandbox.id),
    )
}

fn ended_without_answer(turn: &Turn) -> Explanation {
    let outcome = turn.outcome.as_deref().unwrap_or_default();
    match turn.state.as_str() {
        "buried" => said(
            "buried",
            format!("The turn was given up: {outcome}."),
            "The next message begins afresh.",
        ),
        _ if outcome == "stopped" => said("stopped", "The person stopped it.", NOTHING),
        _ => said("silent", "The agent chose to say nothing.", NOTHING),
    }
}

fn answered(seen: &Seen, answer: &Answer, now: DateTime<Utc>) -> Explanation {
    let error = answer.error.as_deref().unwrap_or("no reason given");
    match answer.state.as_str() {
        "queued" => queued(seen, answer, now),
        "sending" => said("sending", "The answer is being sent right now.", NOTHING),
        "unknown" => said(
            "unknown",
            "WhatsApp neither took nor refused the answer; a receipt is awaited.",
            "Wait: after SEND_UNKNOWN_WAIT without one it is sent once more.",
        ),
        "held" => said(
            "held",
            format!(
                "WhatsApp's 24 hours are over; the answer waits for the person to write, until {}.",
                when(answer.expires_at, now)
            ),
            NOTHING,
        ),
        "failed" => said(
            "failed",
            format!("The answer was given up: {error}."),
            "Codes of six digits are WhatsApp's own, explained in Meta's list of errors.",
        ),
        _ => accepted(answer, now),
    }
}

fn queued(seen: &Seen, answer: &Answer, now: DateTime<Utc>) -> Explanation {
    if let Some(stopped) = seen.person.as_ref().and_then(|person| stopped(person, now)) {
        return stopped;
    }
    if !seen.worker_is_alive {
        return said(
            "queued",
            format!("The answer is queued, but {NO_WORKER}."),
            START_WORKER,
        );
    }
    let blocked = seen.person.as_ref().and_then(|person| {
        let until = person.line_blocked_until.filter(|until| *until > now)?;
        Some((until, person.line_blocked_reason.as_deref().unwrap_or("?")))
    });
    match (blocked, answer.behind) {
        (Some((_, code @ ("190" | "0"))), _) => said(
            "line_blocked",
            format!("WhatsApp refuses the access token (code {code}); the answer waits."),
            "Put a new WHATSAPP_ACCESS_TOKEN into the settings and restart the worker.",
        ),
        (Some((until, code)), _) => said(
            "line_blocked",
            format!(
                "WhatsApp has stopped the line (code {code}) until {}.",
                when(until, now)
            ),
            "If the code names the account, mend it in Meta's dashboard; else wait.",
        ),
        (None, Some(earlier)) => said(
            "queued",
            format!("The answer waits behind an earlier one, {earlier}."),
            format!("clawkaka trace {earlier}"),
        ),
        (None, None) if answer.run_after > now => said(
            "retrying",
            format!(
                "The answer was not taken ({}); it is tried again {}.",
                answer.error.as_deref().unwrap_or("no reason given"),
                when(answer.run_after, now)
            ),
            "Wait; `clawkaka doctor` tells whether WhatsApp is reached.",
        ),
        (None, None) => said("queued", "The answer is about to be sent.", NOTHING),
    }
}

fn accepted(answer: &Answer, now: DateTime<Utc>) -> Explanation {
    let at = answer
        .done_at
        .map_or(String::new(), |at| format!(" {}", ago(at, now)));
    let (stage, what) = match answer.rank {
        0 => (
            "accepted",
            "WhatsApp took the answer{at}; no receipt has come yet.",
        ),
        1 => (
            "sent",
            "WhatsApp has sent the answer{at}; the phone has not got it yet.",
        ),
        2 => ("delivered", "The answer is on the person's phone."),
        _ => ("read", "The person has read the answer."),
    };
    said(stage, what.replace("{at}", &at), NOTHING)
}
