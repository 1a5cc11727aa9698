//! How a trace is written: the way of a message line by line, or as JSON.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::{
    explain::Explanation,
    look::{Answer, Received, Sandbox, Seen, Turn},
};
use crate::{
    operator::answer::{pairs, stamp, when},
    whatsapp::short_id,
};

pub fn text(seen: &Seen, explanation: &Explanation, now: DateTime<Utc>) -> String {
    let mut lines: Vec<(&str, Option<String>)> = Vec::new();
    for row in &seen.received {
        lines.push(("received", Some(received(row, now))));
    }
    if let Some(person) = &seen.person {
        lines.push((
            "routed",
            Some(format!("to tenant {}, {}", person.id, person.status)),
        ));
    }
    if let Some(turn) = &seen.turn {
        lines.push(("turn", Some(turn_line(turn, now))));
        let asked = turn.submitted_at.map(|at| {
            let session = turn.session.as_deref().unwrap_or("?");
            format!(
                "{}, in conversation {session}, attempt {}",
                when(at, now),
                turn.attempt
            )
        });
        lines.push(("asked", asked));
    }
    lines.push((
        "sandbox",
        seen.sandbox
            .as_ref()
            .map(|sandbox| sandbox_line(sandbox, now)),
    ));
    for answer in &seen.answers {
        lines.push(("answer", Some(answer_line(answer, now))));
        for receipt in &answer.receipts {
            let at = receipt
                .at
                .map_or("at a time not given".to_owned(), |at| when(at, now));
            let error = receipt
                .error
                .as_deref()
                .map_or(String::new(), |code| format!(", code {code}"));
            lines.push(("receipt", Some(format!("{} {at}{error}", receipt.status))));
        }
    }
    let Explanation { stage, what, todo } = explanation;
    lines.push(("now", Some(format!("[{stage}] {what}"))));
    lines.push(("do", Some(todo.clone())));
    pairs(&lines)
}

fn received(row: &Received, now: DateTime<Utc>) -> String {
    let outcome = row
        .outcome
        .as_deref()
        .map_or(String::new(), |how| format!(", {how}"));
    let end = short_id(&row.provider_id);
    format!(
        "{}, {} …{end}, inbox {}{outcome}",
        when(row.received_at, now),
        row.kind,
        row.id
    )
}

fn turn_line(turn: &Turn, now: DateTime<Utc>) -> String {
    let end = match (&turn.outcome, turn.done_at) {
        (Some(outcome), Some(at)) => format!("{outcome} {}", when(at, now)),
        _ => format!("until {}", when(turn.deadline_at, now)),
    };
    let claims = match turn.claims {
        1 => String::new(),
        claims => format!(", taken over {} times", claims - 1),
    };
    format!(
        "{}, {}, opened {}, {end}{claims}",
        turn.id,
        turn.state,
        when(turn.created_at, now)
    )
}

fn sandbox_line(sandbox: &Sandbox, now: DateTime<Utc>) -> String {
    let failures = match (sandbox.failures, sandbox.retry_at) {
        (0, _) => String::new(),
        (failures, Some(at)) => format!(", {failures} starts not ready, next {}", when(at, now)),
        (failures, None) => format!(", {failures} starts not ready"),
    };
    format!(
        "{}, slot {}, {}{failures}",
        sandbox.id, sandbox.slot, sandbox.intent
    )
}

fn answer_line(answer: &Answer, now: DateTime<Utc>) -> String {
    let error = answer
        .error
        .as_deref()
        .map_or(String::new(), |error| format!(", {error}"));
    let sent = answer
        .sent_at
        .map_or(String::new(), |at| format!(", sent {}", when(at, now)));
    let again = if answer.resent { ", once more" } else { "" };
    format!(
        "{}, {}, {}, attempt {}{again}{sent}{error}",
        answer.id, answer.class, answer.state, answer.attempt
    )
}

pub fn json(seen: &Seen, explanation: &Explanation) -> Value {
    json!({
        "stage": explanation.stage,
        "what": explanation.what,
        "do": explanation.todo,
        "worker_is_alive": seen.worker_is_alive,
        "received": seen.received.iter().map(received_json).collect::<Vec<_>>(),
        "tenant": seen.person.as_ref().map(|person| json!({
            "id": person.id.0,
            "status": person.status,
            "frozen": person.frozen.is_some(),
            "last_inbound_at": person.last_inbound_at.map(stamp),
            "line_blocked_until": person.line_blocked_until.map(stamp),
            "line_blocked_reason": person.line_blocked_reason,
        })),
        "turn": seen.turn.as_ref().map(turn_json),
        "sandbox": seen.sandbox.as_ref().map(|sandbox| json!({
            "id": sandbox.id.0,
            "slot": sandbox.slot,
            "intent": sandbox.intent,
            "failures": sandbox.failures,
            "retry_at": sandbox.retry_at.map(stamp),
        })),
        "answers": seen.answers.iter().map(answer_json).collect::<Vec<_>>(),
    })
}

fn received_json(row: &Received) -> Value {
    json!({
        "inbox": row.id.0,
        "line": row.line.map(|line| line.0),
        "kind": row.kind,
        "wamid_end": short_id(&row.provider_id),
        "provider_at": row.provider_at.map(stamp),
        "received_at": stamp(row.received_at),
        "tenant": row.tenant.map(|tenant| tenant.0),
        "turn": row.turn.map(|turn| turn.0),
        "done_at": row.done_at.map(stamp),
        "outcome": row.outcome,
    })
}

fn turn_json(turn: &Turn) -> Value {
    json!({
        "id": turn.id.0,
        "trigger": turn.trigger,
        "state": turn.state,
        "attempt": turn.attempt,
        "claims": turn.claims,
        "session": turn.session,
        "created_at": stamp(turn.created_at),
        "submitted_at": turn.submitted_at.map(stamp),
        "deadline_at": stamp(turn.deadline_at),
        "stop_asked_at": turn.stop_asked_at.map(stamp),
        "done_at": turn.done_at.map(stamp),
        "outcome": turn.outcome,
    })
}

fn answer_json(answer: &Answer) -> Value {
    let receipts: Vec<_> = answer
        .receipts
        .iter()
        .map(|receipt| {
            json!({ "status": receipt.status, "at": receipt.at.map(stamp), "error": receipt.error })
        })
        .collect();
    json!({
        "outbox": answer.id.0,
        "class": answer.class,
        "state": answer.state,
        "attempt": answer.attempt,
        "resent": answer.resent,
        "rank": answer.rank,
        "wamid_end": answer.wamid.as_deref().map(short_id),
        "error": answer.error,
        "created_at": stamp(answer.created_at),
        "run_after": stamp(answer.run_after),
        "sent_at": answer.sent_at.map(stamp),
        "done_at": answer.done_at.map(stamp),
        "expires_at": stamp(answer.expires_at),
        "behind": answer.behind.map(|earlier| earlier.0),
        "receipts": receipts,
    })
}
