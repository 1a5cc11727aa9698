//! What to do next, on pages recorded from OpenClaw 2026.9.6: one test per way in which a turn can go.
//!
//! In each fixture our turn is number 1 and its messages are keyed `<turn>:1`; a second message
//! beside it is turn 2.

use std::time::Duration;

use serde_json::{json, value::RawValue};

use crate::{
    gateway::{
        next::{Memory, Step, Subject, Verdict, next_step},
        transcript::{Ending, Kind, Page, Row, page, row},
    },
    id::TurnId,
};

const IDLE: Duration = Duration::from_secs(20);

fn turn(number: u128) -> TurnId {
    TurnId(uuid::Uuid::from_u128(
        0x0189_0000_0000_7000_8000_0000_0000_0000 + number,
    ))
}

fn subject(number: u128, attempt: i32) -> Subject {
    Subject {
        turn: turn(number),
        attempt,
        idle: IDLE,
    }
}

fn pages(recorded: &str) -> Vec<Page> {
    let raw: Vec<Box<RawValue>> = serde_json::from_str(recorded).unwrap();
    raw.iter().map(|raw| page(raw).unwrap()).collect()
}

macro_rules! recorded {
    ($name:literal) => {
        pages(include_str!(concat!("../fixtures/", $name, ".json")))
    };
}

/// After the session has been idle for so long.
fn idle(seconds: u64) -> Memory {
    Memory {
        idle_for: Duration::from_secs(seconds),
        ..Memory::default()
    }
}

fn sent(number: u128) -> Memory {
    Memory {
        accepted: Some(format!("{}:1", turn(number))),
        ..Memory::default()
    }
}

fn step(page: &Page, number: u128, memory: &Memory) -> Step {
    next_step(page, subject(number, 1), memory)
}

/// The steps along a recording, as an asker who sent the message takes them; equal ones once.
fn along(pages: &[Page], number: u128) -> Vec<Step> {
    let mut steps: Vec<Step> = pages
        .iter()
        .map(|page| step(page, number, &sent(number)))
        .collect();
    steps.dedup();
    steps
}

fn said(page: &Page) -> Vec<&str> {
    let said = page.rows.iter().filter_map(|row| match &row.kind {
        Kind::Said(text) => Some(text.as_str()),
        _ => None,
    });
    said.collect()
}

fn end(verdict: Verdict) -> Step {
    Step::End(verdict)
}

#[test]
fn a_plain_turn_is_waited_for_and_then_answered() {
    let pages = recorded!("normal");
    assert_eq!(along(&pages, 1), [Step::Wait, end(Verdict::Answered)]);
    assert_eq!(said(pages.last().unwrap()), ["answer to mark-n"]);
}

#[test]
fn a_message_queued_behind_a_running_turn_gets_its_own_answer() {
    let pages = recorded!("followup");
    assert_eq!(along(&pages, 2), [Step::Wait, end(Verdict::Answered)]);
    let all = said(pages.last().unwrap());
    assert_eq!(all, ["answer to mark-x", "answer to mark-y"]);
}

#[test]
fn while_another_turn_runs_nothing_is_sent_into_it() {
    let pages = recorded!("followup");
    let busy = pages.iter().find(|page| page.session.busy).unwrap();
    assert_eq!(step(busy, 9, &Memory::default()), Step::Wait);
}

#[test]
fn the_end_of_a_run_is_believed_even_if_the_next_one_has_begun() {
    let mut page = recorded!("normal").pop().unwrap();
    page.session.busy = true;
    let run = page.rows.last().unwrap().run.clone().unwrap();
    assert_eq!(step(&page, 1, &Memory::default()), Step::Wait);
    let ended = Memory {
        ended: vec![run],
        ..Memory::default()
    };
    assert_eq!(step(&page, 1, &ended), end(Verdict::Answered));
    page.session.active = vec!["another".into()];
    assert_eq!(step(&page, 1, &Memory::default()), end(Verdict::Answered));
}

#[test]
fn a_merged_message_is_answered_by_the_turn_it_was_merged_into() {
    let pages = recorded!("merged");
    assert_eq!(along(&pages, 2), [Step::Wait, end(Verdict::Answered)]);
}

#[test]
fn a_message_that_is_not_in_the_transcript_is_sent_once_the_session_is_idle() {
    let first = &recorded!("killed_at_first_message")[0];
    let key = format!("{}:1", turn(1));
    assert_eq!(step(first, 1, &Memory::default()), Step::Send { key });
    assert_eq!(
        step(first, 1, &sent(1)),
        Step::Wait,
        "accepted, and not yet to be seen"
    );
    let forgotten = Memory {
        idle_for: IDLE,
        ..sent(1)
    };
    assert_eq!(step(first, 1, &forgotten), end(Verdict::AskAgain));
}

#[test]
fn a_run_killed_in_the_middle_is_waited_for_until_openclaw_resumes_it() {
    assert_eq!(along(&recorded!("killed"), 1), [Step::Wait]);
    let answered = recorded!("killed_and_answered");
    assert_eq!(along(&answered, 1), [end(Verdict::Answered)]);
    assert_eq!(said(&answered[0]), ["answer to mark-k"]);
    let resumed = |page: &Page| {
        page.rows
            .iter()
            .filter(|row| row.kind == Kind::Resumed)
            .count()
    };
    assert_eq!(resumed(&answered[0]), 1);
}

#[test]
fn a_run_killed_five_times_is_answered_once() {
    let pages = recorded!("killed_five_times");
    assert_eq!(along(&pages, 1), [Step::Wait, end(Verdict::Answered)]);
    assert_eq!(said(pages.last().unwrap()), ["answer to mark-mid"]);
}

#[test]
fn a_run_killed_in_a_tool_call_is_answered_after_the_cursor_was_reset() {
    let pages = recorded!("killed_in_tool");
    assert_eq!(along(&pages, 1), [end(Verdict::Answered)]);
    // The first is from before our message: the reader cuts it off by its row id.
    assert_eq!(said(&pages[0]), ["answer to mark-0", "answer (no mark) 59"]);
}

#[test]
fn a_message_lost_before_it_was_taken_up_is_sent_under_a_key_that_is_not_dead() {
    let page = &recorded!("killed_before_taken_up")[0];
    let key = format!("{}:1.1", turn(1));
    assert_eq!(
        step(page, 1, &Memory::default()),
        Step::Send { key: key.clone() }
    );
    let sent = Memory {
        accepted: Some(key),
        ..Memory::default()
    };
    assert_eq!(step(page, 1, &sent), Step::Wait);
    let refused = Memory {
        refused: 2,
        ..Memory::default()
    };
    assert_eq!(
        step(page, 1, &refused),
        Step::Send {
            key: format!("{}:1.2", turn(1))
        }
    );
}

#[test]
fn an_interrupted_session_is_left_alone_until_it_was_resumed_or_given_up() {
    let pages = recorded!("tombstoned");
    assert!(pages[0].session.interrupted);
    for number in [1, 2, 9] {
        assert_eq!(step(&pages[0], number, &idle(30)), Step::Wait);
    }
    assert_eq!(step(&pages[0], 1, &idle(60)), end(Verdict::AskAgain));
    let key = format!("{}:1", turn(9));
    assert_eq!(step(&pages[0], 9, &idle(60)), Step::Send { key });
}

#[test]
fn a_tombstoned_session_is_recognised_and_its_notice_is_not_for_the_person() {
    let page = recorded!("tombstoned").pop().unwrap();
    assert_eq!(step(&page, 1, &Memory::default()), end(Verdict::Tombstoned));
    assert_eq!(said(&page), [""; 0]);
}

#[test]
fn silence_is_believed_when_the_transcript_shows_it_and_nothing_moves() {
    let page = recorded!("silent").pop().unwrap();
    assert_eq!(page.session.last, Ending::Killed);
    assert_eq!(step(&page, 1, &idle(0)), Step::Wait);
    assert_eq!(step(&page, 1, &idle(1)), end(Verdict::Silent));
}

#[test]
fn an_empty_answer_and_a_refusing_model_are_the_models_failure() {
    let empty = recorded!("empty").pop().unwrap();
    assert_eq!(step(&empty, 1, &idle(1)), end(Verdict::ModelFailed));
    let refused = recorded!("refused").pop().unwrap();
    assert_eq!(step(&refused, 1, &idle(1)), end(Verdict::ModelFailed));
    assert_eq!(
        said(&refused),
        ["answer to mark-0"],
        "its notice is not for the person"
    );
}

#[test]
fn a_run_that_never_began_since_the_gateway_was_stopped_is_asked_for_again() {
    let mut page = recorded!("refused").pop().unwrap();
    let notice = |why: &str| {
        let content = format!("This turn ended before a reply: {why}");
        let told =
            json!({ "role": "custom", "content": content, "__openclaw": { "id": "notice" } });
        let told = RawValue::from_string(told.to_string()).unwrap();
        row(&told).unwrap()
    };
    *page.rows.last_mut().unwrap() = notice("Gateway is draining; new tasks are not accepted");
    assert_eq!(page.session.last, Ending::Failed);
    assert_eq!(step(&page, 1, &idle(0)), Step::Wait);
    assert_eq!(step(&page, 1, &idle(1)), end(Verdict::AskAgain));
    *page.rows.last_mut().unwrap() = notice("no such model");
    assert_eq!(step(&page, 1, &idle(1)), end(Verdict::ModelFailed));
    assert_eq!(said(&page), ["answer to mark-0"]);
    // Its session says so as well.
    page.rows.pop();
    page.session.last = Ending::NotBegun;
    assert_eq!(step(&page, 1, &idle(5)), end(Verdict::AskAgain));
    let told = json!({ "sessionInfo": { "status": "failed", "lastRunError": "gateway is draining for restart" } });
    let told = RawValue::from_string(told.to_string()).unwrap();
    assert_eq!(
        crate::gateway::transcript::page(&told)
            .unwrap()
            .session
            .last,
        Ending::NotBegun
    );
}

#[test]
fn the_end_of_the_run_before_is_not_taken_for_the_end_of_ours() {
    let pages = recorded!("stalled");
    let between = &pages[pages.len() - 2];
    assert_eq!(
        (between.session.busy, between.session.last),
        (false, Ending::Done)
    );
    assert_eq!(step(between, 1, &idle(1)), Step::Wait);
}

#[test]
fn a_message_that_was_taken_down_and_never_begun_is_asked_again() {
    let pages = recorded!("stalled");
    let mut between = pages[pages.len() - 2].clone();
    assert_eq!(step(&between, 1, &idle(4)), Step::Wait);
    assert_eq!(step(&between, 1, &idle(5)), end(Verdict::AskAgain));
    // A resumed run has another id, and leaves something behind.
    between.rows.push(Row {
        id: "resumed".to_owned(),
        run: None,
        kind: Kind::Resumed,
    });
    assert_eq!(step(&between, 1, &idle(5)), end(Verdict::Silent));
}

#[test]
fn words_beside_a_tool_call_are_not_a_message() {
    let pages = recorded!("tool");
    assert_eq!(along(&pages, 1), [Step::Wait, end(Verdict::Answered)]);
    assert!(
        said(pages.last().unwrap())
            .iter()
            .all(|text| text.starts_with("answer"))
    );
}

#[test]
fn at_the_deadline_a_stalled_run_is_stopped_before_the_turn_ends() {
    let pages = recorded!("stalled");
    let busy = pages.iter().rfind(|page| page.session.busy).unwrap();
    let overdue = |aborted_for| Memory {
        overdue: true,
        aborted_for,
        ..Memory::default()
    };
    assert_eq!(step(busy, 1, &overdue(None)), Step::Abort);
    assert_eq!(step(busy, 1, &overdue(Some(Duration::ZERO))), Step::Wait);
    assert_eq!(step(busy, 1, &overdue(Some(IDLE))), end(Verdict::TimedOut));
    let stopped = pages.last().unwrap();
    assert_eq!(
        step(stopped, 1, &overdue(Some(Duration::ZERO))),
        end(Verdict::TimedOut)
    );
}

#[test]
fn an_answer_that_came_with_the_deadline_is_still_an_answer() {
    let page = recorded!("normal").pop().unwrap();
    let overdue = Memory {
        overdue: true,
        ..Memory::default()
    };
    assert_eq!(step(&page, 1, &overdue), end(Verdict::Answered));
}

#[test]
fn a_second_attempt_is_sent_unless_the_first_is_answered_after_all() {
    let silent = recorded!("silent").pop().unwrap();
    let key = format!("{}:2", turn(1));
    assert_eq!(
        next_step(&silent, subject(1, 2), &Memory::default()),
        Step::Send { key }
    );
    let late = recorded!("normal").pop().unwrap();
    assert_eq!(
        next_step(&late, subject(1, 2), &Memory::default()),
        end(Verdict::Answered)
    );
}

/// As OpenClaw 2026.9.6 writes it when `sessions.abort` meets a model that had begun to speak.
#[test]
fn half_an_answer_of_an_aborted_run_is_none() {
    let aborted = r#"{"role": "assistant", "content": [{"type": "text", "text": "Got"}],
        "stopReason": "stop", "provider": "openclaw", "model": "gateway-injected",
        "idempotencyKey": "r:1:assistant", "__openclaw": {"id": "a", "runId": "r:1"},
        "openclawAbort": {"aborted": true, "origin": "rpc", "runId": "r:1"}}"#;
    let aborted: Box<RawValue> = serde_json::from_str(aborted).unwrap();
    assert_eq!(row(&aborted).unwrap().kind, Kind::Hidden);
}
