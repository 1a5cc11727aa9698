//! A question over a socket: how often the gateway is asked what, and when it gets lost.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::scripted::{Server, connect, gateway};
use crate::{
    gateway::{
        ask::{Outcome, Question, Said, ask, collect},
        stop::stop,
    },
    id::TurnId,
};

fn question(turn: TurnId, cursor: Option<&str>) -> Question<'_> {
    Question {
        attachments: &[],
        session: "main-1",
        cursor,
        turn,
        attempt: 1,
        text: "hello",
        deadline: Instant::now() + Duration::from_secs(60),
        idle: Duration::from_secs(20),
    }
}

fn page(rows: &[Value], busy: bool) -> Value {
    json!({ "kind": "delta", "messages": rows, "deltaCursor": "D",
        "sessionInfo": { "hasActiveRun": busy, "status": if busy { "running" } else { "done" } } })
}

fn asked(key: &str) -> Value {
    json!({ "role": "user", "content": "hello", "idempotencyKey": format!("{key}:user"), "__openclaw": { "id": "u1" } })
}

fn answered(id: &str) -> Value {
    json!({ "role": "assistant", "content": "hi", "stopReason": "stop", "__openclaw": { "id": id, "runId": "r" } })
}

async fn expect(server: &mut Server, method: &str) -> (String, Value) {
    let (id, asked, params) = server.asked().await;
    assert_eq!(asked, method);
    (id, params)
}

#[tokio::test]
async fn a_plain_question_costs_one_look_one_send_and_one_look() {
    let target = gateway(|_, mut server| {
        Box::pin(async move {
            server.let_in().await;
            let (id, _) = expect(&mut server, "chat.history").await;
            server.answer(&id, page(&[], false)).await;
            let (id, params) = expect(&mut server, "chat.send").await;
            let key = params["idempotencyKey"].as_str().unwrap();
            server.answer(&id, json!({ "status": "started" })).await;
            server.chat("r", "delta").await;
            server.chat("r", "final").await;
            let (id, _) = expect(&mut server, "chat.history").await;
            // Another's run may have begun: ours is known to be over by its event.
            server
                .answer(&id, page(&[asked(key), answered("a1")], true))
                .await;
            server.hold().await;
        })
    })
    .await;
    let connection = connect(&target).await;
    let mut submitted = 0;
    let question = question(TurnId::new(), Some("u0 C"));
    let outcome = ask(&connection, &question, async || submitted += 1).await;
    let said = vec![Said {
        id: "a1".into(),
        text: "hi".into(),
    }];
    let cursor = Some("a1 D".into());
    assert_eq!(outcome.unwrap(), Outcome::Answered { said, cursor });
    assert_eq!(submitted, 1);
}

#[tokio::test]
async fn an_answer_told_by_events_needs_no_second_look() {
    let target = gateway(|_, mut server| {
        Box::pin(async move {
            server.let_in().await;
            let (id, _) = expect(&mut server, "chat.history").await;
            server.answer(&id, page(&[], false)).await;
            let (id, params) = expect(&mut server, "chat.send").await;
            let key = params["idempotencyKey"].as_str().unwrap();
            server.answer(&id, json!({ "status": "started" })).await;
            for row in [asked(key), answered("a1")] {
                let told = json!({ "sessionKey": "agent:main:main-1", "message": row });
                server.event("session.message", told).await;
            }
            server.chat("r", "final").await;
            server.hold().await;
        })
    })
    .await;
    let connection = connect(&target).await;
    let outcome = ask(
        &connection,
        &question(TurnId::new(), Some("u0 C")),
        async || (),
    )
    .await;
    let said = vec![Said {
        id: "a1".into(),
        text: "hi".into(),
    }];
    let cursor = Some("a1 D".into());
    assert_eq!(outcome.unwrap(), Outcome::Answered { said, cursor });
}

#[tokio::test]
async fn after_a_reset_what_was_told_before_is_not_told_again() {
    let target = gateway(|_, mut server| {
        Box::pin(async move {
            server.let_in().await;
            let (id, params) = expect(&mut server, "chat.history").await;
            assert_eq!(params["cursor"], "C");
            server.answer(&id, json!({ "kind": "reset" })).await;
            let (id, params) = expect(&mut server, "chat.history").await;
            assert!(params["cursor"].is_null() && params["limit"].is_number());
            server
                .answer(&id, page(&[answered("a1"), answered("a2")], false))
                .await;
            server.hold().await;
        })
    })
    .await;
    let (said, cursor) = collect(&connect(&target).await, "main-1", Some("a1 C"))
        .await
        .unwrap();
    assert_eq!(
        said,
        [Said {
            id: "a2".into(),
            text: "hi".into()
        }]
    );
    assert_eq!(cursor.as_deref(), Some("a2 D"));
}

#[tokio::test]
async fn a_socket_cut_in_the_middle_is_lost_and_the_next_call_finds_the_answer() {
    let turn = TurnId::new();
    let target = gateway(move |number, mut server| {
        Box::pin(async move {
            server.let_in().await;
            let (id, _) = expect(&mut server, "chat.history").await;
            if number == 1 {
                let rows = [asked(&format!("{turn}:1")), answered("a1")];
                server.answer(&id, page(&rows, false)).await;
                return server.hold().await;
            }
            server.answer(&id, page(&[], false)).await;
            expect(&mut server, "chat.send").await;
        })
    })
    .await;
    let first = connect(&target).await;
    let lost = ask(&first, &question(turn, None), async || ()).await;
    assert!(lost.is_err() && first.is_closed(), "nobody else gets it");
    let second = connect(&target).await;
    let outcome = ask(&second, &question(turn, None), async || ())
        .await
        .unwrap();
    assert!(matches!(outcome, Outcome::Answered { .. }));
}

#[tokio::test]
async fn a_dead_key_is_replaced_and_a_tombstone_ends_it() {
    let target = gateway(|_, mut server| {
        Box::pin(async move {
            server.let_in().await;
            let mut keys = Vec::new();
            loop {
                let (id, method, params) = server.asked().await;
                if method == "chat.history" {
                    server.answer(&id, page(&[], false)).await;
                    continue;
                }
                keys.push(params["idempotencyKey"].as_str().unwrap().to_owned());
                let message = match keys.len() {
                    1 => "Error: Pending input ownership ended; submit a new turn to continue",
                    _ => "Session \"x\" ended during restart recovery. Use /new or /reset",
                };
                assert!(keys.len() == 1 || keys[1] == format!("{}.1", keys[0]));
                server
                    .refuse(&id, json!({ "code": "UNAVAILABLE", "message": message }))
                    .await;
            }
        })
    })
    .await;
    let connection = connect(&target).await;
    let outcome = ask(&connection, &question(TurnId::new(), None), async || ())
        .await
        .unwrap();
    assert_eq!(outcome, Outcome::Tombstoned);
}

#[tokio::test]
async fn at_the_deadline_the_session_is_stopped() {
    let turn = TurnId::new();
    let target = gateway(move |_, mut server| {
        Box::pin(async move {
            server.let_in().await;
            let mut busy = true;
            loop {
                let (id, method, params) = server.asked().await;
                if method == "sessions.abort" {
                    assert_eq!(params["clearQueued"], true);
                    busy = false;
                }
                server
                    .answer(&id, page(&[asked(&format!("{turn}:1"))], busy))
                    .await;
            }
        })
    })
    .await;
    let mut question = question(turn, None);
    question.deadline = Instant::now() + Duration::from_millis(100);
    let outcome = ask(&connect(&target).await, &question, async || ())
        .await
        .unwrap();
    assert!(matches!(outcome, Outcome::TimedOut { .. }));
}

#[tokio::test]
async fn a_session_is_stopped_until_nothing_goes_on_and_what_was_answered_is_nobodys() {
    let turn = TurnId::new();
    let target = gateway(move |_, mut server| {
        Box::pin(async move {
            server.let_in().await;
            let rows = [
                answered("late"),
                asked(&format!("{turn}:1")),
                answered("a1"),
            ];
            // It was just beginning at the first abort, and only the second one ends it.
            for busy in [true, false, false] {
                let (id, params) = expect(&mut server, "sessions.abort").await;
                assert_eq!(params["key"], "main-1");
                server.answer(&id, json!({})).await;
                let (id, _) = expect(&mut server, "chat.history").await;
                server.answer(&id, page(&rows, busy)).await;
            }
            server.hold().await;
        })
    })
    .await;
    let connection = connect(&target).await;
    let stopped = stop(&connection, "main-1", Some("u0 C"), turn).await;
    let late = Said {
        id: "late".into(),
        text: "hi".into(),
    };
    assert_eq!(stopped.unwrap(), (vec![late], Some("a1 D".into())));
}
