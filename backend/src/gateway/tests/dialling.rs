//! Being let in, staying connected, and not being harmed by what comes.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use tokio::{net::TcpListener, time::Instant};

use super::scripted::{PATIENCE, connect, endpoint, gateway, master};
use crate::{
    gateway::{
        Gateways,
        device::Device,
        dial::{DialError, Patience, dial},
        protocol::{History, MAX_FRAME_BYTES, Request},
    },
    lifecycle::Shutdown,
};

/// Whoever does not let us in at once is given up on.
const ONE_KNOCK: Patience = Patience {
    knocking: Duration::ZERO,
    ..PATIENCE
};

fn history() -> Request<'static> {
    Request::History(History::new("main-1", None))
}

#[tokio::test]
async fn a_paused_container_that_accepts_and_says_nothing_is_given_up_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = endpoint(listener.local_addr().unwrap());
    let device = Device::of(&master(), endpoint.sandbox);
    let error = dial(&endpoint, &device, ONE_KNOCK).await.unwrap_err();
    assert!(matches!(error, DialError::Unreachable(_)));
}

#[tokio::test]
async fn a_gateway_that_never_challenges_is_given_up_on() {
    let endpoint = gateway(|_, server| Box::pin(server.hold())).await;
    let device = Device::of(&master(), endpoint.sandbox);
    let error = dial(&endpoint, &device, ONE_KNOCK).await.unwrap_err();
    assert!(matches!(error, DialError::Unreachable("no challenge")));
}

#[tokio::test]
async fn a_gateway_that_starts_or_does_not_know_us_yet_is_asked_again_until_it_lets_us_in() {
    let endpoint = gateway(|number, mut server| {
        Box::pin(async move {
            let id = server.meet().await;
            match number {
                0 => {
                    let details = json!({ "reason": "startup-sidecars" });
                    let error = json!({ "code": "UNAVAILABLE", "message": "…", "retryAfterMs": 1, "details": details });
                    server.refuse(&id, error).await;
                }
                1 => {
                    let details = json!({ "code": "PAIRING_REQUIRED" });
                    let error = json!({ "code": "NOT_PAIRED", "message": "…", "details": details });
                    server.refuse(&id, error).await;
                }
                2 => server.welcome(&id, &[]).await,
                _ => server.welcome(&id, &["operator.admin", "operator.read", "operator.write"]).await,
            }
            server.hold().await;
        })
    })
    .await;
    assert!(!connect(&endpoint).await.is_closed());
}

#[tokio::test]
async fn a_gateway_with_another_token_is_not_asked_twice() {
    let endpoint = gateway(|number, mut server| {
        Box::pin(async move {
            assert_eq!(number, 0);
            let id = server.meet().await;
            let error = json!({ "code": "INVALID_REQUEST", "message": "token mismatch" });
            server.refuse(&id, error).await;
            server.hold().await;
        })
    })
    .await;
    let device = Device::of(&master(), endpoint.sandbox);
    let error = dial(&endpoint, &device, ONE_KNOCK).await.unwrap_err();
    assert!(matches!(error, DialError::Refused(_)));
}

#[tokio::test]
async fn a_gateway_silent_for_two_ticks_is_hung_up_on() {
    let endpoint = gateway(|_, mut server| {
        Box::pin(async move {
            server.let_in().await;
            server.hold().await;
        })
    })
    .await;
    let connection = connect(&endpoint).await;
    // It proposed ticks of 1 ms; we do not go below a second.
    let before = Instant::now();
    connection.closed().await;
    assert!(before.elapsed() >= Duration::from_millis(1_900));
    assert!(connection.call(&history()).await.is_err());
}

#[tokio::test]
async fn rubbish_neither_ends_the_connection_nor_passes_for_an_answer() {
    let endpoint = gateway(|_, mut server| {
        Box::pin(async move {
            server.let_in().await;
            let (id, _, _) = server.asked().await;
            for rubbish in [
                "",
                "{",
                "[]",
                "null",
                "{\"type\":7}",
                "{\"type\":\"res\",\"id\":[]}",
            ] {
                server.say(rubbish).await;
            }
            server.answer("999", json!({ "not": "ours" })).await;
            server.event("chat", json!({ "sessionKey": 7 })).await;
            server.answer(&id, json!({ "messages": "none" })).await;
            server.hold().await;
        })
    })
    .await;
    let connection = connect(&endpoint).await;
    let answer = connection.call(&history()).await.unwrap().unwrap();
    assert_eq!(answer.get(), r#"{"messages":"none"}"#);
}

#[tokio::test]
async fn a_flood_is_read_slowly_remembered_little_and_does_not_drown_an_answer() {
    let endpoint = gateway(|_, mut server| {
        Box::pin(async move {
            server.let_in().await;
            let (id, _, _) = server.asked().await;
            for _ in 0..2_500 {
                server.chat("run", "delta").await;
            }
            server.answer(&id, json!(1)).await;
            server.hold().await;
        })
    })
    .await;
    let connection = connect(&endpoint).await;
    let mut events = connection.events();
    let before = Instant::now();
    assert_eq!(
        connection.call(&history()).await.unwrap().unwrap().get(),
        "1"
    );
    assert!(before.elapsed() >= Duration::from_millis(1_500));
    assert!(
        events.len() <= 2_500 && events.recv().await.is_err(),
        "it lagged"
    );
}

#[tokio::test]
async fn a_frame_beyond_the_limit_ends_the_connection() {
    let endpoint = gateway(|_, mut server| {
        Box::pin(async move {
            server.let_in().await;
            server.asked().await;
            server.say("x".repeat(MAX_FRAME_BYTES + 1)).await;
            server.hold().await;
        })
    })
    .await;
    assert!(connect(&endpoint).await.call(&history()).await.is_err());
}

#[tokio::test]
async fn a_sandbox_has_one_connection_until_its_container_changes_or_is_lost() {
    let endpoint = gateway(|_, mut server| {
        Box::pin(async move {
            server.let_in().await;
            loop {
                let (id, _, _) = server.asked().await;
                server.answer(&id, json!({})).await;
            }
        })
    })
    .await;
    let gateways = Gateways::new(Arc::new(master()), Shutdown::default());
    let mut news = gateways.news();
    let first = gateways.connection(&endpoint).await.unwrap();
    assert_eq!(
        news.recv().await.unwrap(),
        endpoint.sandbox,
        "what was said meanwhile is news"
    );
    first.call(&history()).await.unwrap().unwrap();
    gateways.connection(&endpoint).await.unwrap();
    assert!(news.try_recv().is_err(), "the same connection");

    let mut restarted = endpoint.clone();
    restarted.started_at = "again".into();
    let second = gateways.connection(&restarted).await.unwrap();
    assert!(first.is_closed() && !second.is_closed());
    gateways.lost(endpoint.sandbox);
    assert!(second.is_closed());
}
