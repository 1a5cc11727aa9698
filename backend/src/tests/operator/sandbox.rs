//! The sandboxes, as an operator sees and orders them; the worker and Docker are the test's hands.

use futures_util::{FutureExt, future::LocalBoxFuture};
use sqlx::PgPool;

use super::{
    Desk,
    engine::{Engine, Held},
};
use crate::{
    id::{SandboxId, TenantId},
    operator::answer::Answer,
    sandbox::row::{self, Intent},
    tests::support::{noon, text},
};

/// Nothing listens there.
const NOWHERE: &str = "--docker-host=tcp://127.0.0.1:1";

/// Somebody wrote, and has a sandbox that was never started.
async fn with_somebody(db: &PgPool) -> (Desk, Engine, TenantId, SandboxId) {
    let desk = Desk::new(db).await;
    desk.receive(text("wamid.1", "hello")).await;
    desk.route().await;
    let tenant = desk.tenant().await;
    let mut db = db.acquire().await.unwrap();
    let sandbox = row::assign(&mut db, tenant, noon()).await.unwrap();
    (desk, Engine::start().await, tenant, sandbox)
}

/// It was started once, and runs.
async fn runs(db: &PgPool, engine: &Engine, sandbox: SandboxId) {
    row::begin_start(db, sandbox, "spec", &[1; 32], noon())
        .await
        .unwrap();
    engine.state().containers.push(Held::running(sandbox));
    engine.state().volumes.push(sandbox);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_list_says_where_each_sandbox_is_as_docker_shows_it(db: PgPool) {
    let (desk, engine, tenant, sandbox) = with_somebody(&db).await;
    let state = async || {
        let said = desk.types(&["sandbox", "list", &engine.host]).await;
        assert!(
            said.good && said.text.contains(&sandbox.to_string()),
            "{}",
            said.text
        );
        said.json["sandboxes"][0]["state"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(state().await, "new");
    runs(&db, &engine, sandbox).await;
    for status in ["running", "paused", "exited"] {
        engine.set(status);
        assert_eq!(state().await, status);
    }
    engine.state().containers.clear();
    assert_eq!(state().await, "stopped");
    engine.state().volumes.clear();
    assert_eq!(
        state().await,
        "missing",
        "its memory is lost, and that must be seen"
    );

    engine.state().containers.push(Held::running(sandbox));
    let said = desk.types(&["sandbox", "list", &engine.host]).await;
    let one = &said.json["sandboxes"][0];
    assert_eq!(one["tenant"], tenant.to_string());
    assert_eq!(one["awake_since"], "2026-09-21T14:00:00.000Z");
    assert_eq!((&one["slot"], &one["failures"]), (&1.into(), &1.into()));
    assert!(!format!("{}{}", said.text, said.json).contains("16505551234"));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn without_docker_the_tables_are_shown_and_what_is_missing_is_said(db: PgPool) {
    let (desk, _, tenant, sandbox) = with_somebody(&db).await;
    for words in [
        &["sandbox", "list"][..],
        &["sandbox", "show", &tenant.to_string()],
    ] {
        let said = desk.types(&[words, &[NOWHERE]].concat()).await;
        assert!(said.good, "{words:?}");
        assert!(said.text.contains(&sandbox.to_string()), "{}", said.text);
        assert!(said.text.contains("Docker is not reached"), "{}", said.text);
        assert!(said.text.contains("unknown"), "{}", said.text);
        assert!(said.json["docker_trouble"].is_string(), "{}", said.json);
    }
    let said = desk
        .types(&["sandbox", "logs", &tenant.to_string(), NOWHERE])
        .await;
    assert_eq!(said.json["error"]["code"], "docker-unreachable");
    assert!(desk.events().await.is_empty(), "nothing was read");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn one_sandbox_is_shown_by_its_own_id_or_its_persons(db: PgPool) {
    let (desk, engine, tenant, sandbox) = with_somebody(&db).await;
    runs(&db, &engine, sandbox).await;
    let image = "--sandbox-image=ours:1";
    for id in [tenant.to_string(), sandbox.to_string()] {
        let said = desk
            .types(&["sandbox", "show", &id, &engine.host, image])
            .await;
        assert_eq!(said.json["id"], sandbox.to_string(), "{}", said.text);
        assert!(said.text.contains("640 of 2048 MiB"), "{}", said.text);
        assert!(said.text.contains("(ours:1)"), "{}", said.text);
    }
    engine.state().image = "sha256:def".to_owned();
    let said = desk
        .types(&["sandbox", "show", &tenant.to_string(), &engine.host, image])
        .await;
    assert!(
        said.text.contains("outdated: ours:1 is def"),
        "{}",
        said.text
    );
    assert_eq!(said.json["image_id"], "sha256:abc");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_order_is_written_down_and_followed_until_docker_shows_it(db: PgPool) {
    let (desk, engine, tenant, sandbox) = with_somebody(&db).await;
    runs(&db, &engine, sandbox).await;
    for (order, shown, state) in [
        ("pause", "paused", "paused"),
        ("wake", "running", "running"),
    ] {
        let id = tenant.to_string();
        let words = [
            "sandbox",
            order,
            &id,
            &engine.host,
            "--as",
            "ana",
            "--why",
            "a try",
        ];
        let act = || engine.set(shown);
        let said = acted_on(&engine, desk.types(&words).boxed_local(), act).await;
        assert!(ordered(&db, order).await.is_some());
        assert!(said.good, "{}", said.text);
        assert_eq!(
            (&said.json["state"], &said.json["reached"]),
            (&state.into(), &true.into())
        );
        assert!(
            said.text.contains(&format!("is {state}, after")),
            "{}",
            said.text
        );
    }
    let id = sandbox.to_string();
    let words = ["sandbox", "stop", &id, &engine.host];
    let act = || engine.state().containers.clear();
    let said = acted_on(&engine, desk.types(&words).boxed_local(), act).await;
    assert!(ordered(&db, "stop").await.is_some());
    assert_eq!(said.json["state"], "stopped", "{}", said.text);
    assert!(
        said.text.contains("next message of its person"),
        "{}",
        said.text
    );

    let events = desk.events().await;
    let kinds: Vec<_> = events.iter().map(|event| event.0.as_str()).collect();
    assert_eq!(kinds, ["pause", "wake", "stop"]);
    assert_eq!(events[0].1, "ana");
    assert_eq!(events[0].2["sandbox"], sandbox.to_string());
    assert_eq!(events[0].2["why"], "a try");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nobody_waits_for_a_worker_that_is_not_there(db: PgPool) {
    let (desk, engine, tenant, sandbox) = with_somebody(&db).await;
    runs(&db, &engine, sandbox).await;
    let id = tenant.to_string();
    let said = desk
        .types(&["sandbox", "pause", &id, &engine.host, "--no-wait"])
        .await;
    assert!(said.good && said.json["reached"].is_null(), "{}", said.text);
    desk.fire().await;
    let said = desk.types(&["sandbox", "stop", &id, &engine.host]).await;
    assert!(said.good, "{}", said.text);
    assert!(said.text.contains("no worker is alive"), "{}", said.text);
    assert!(
        ordered(&db, "stop").await.is_some(),
        "it is there for when one starts"
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_turn_that_is_open_is_ended_first_and_that_is_said(db: PgPool) {
    let (desk, _, tenant, _) = with_somebody(&db).await;
    desk.open_turn(tenant).await;
    let said = desk
        .types(&["sandbox", "stop", &tenant.to_string(), "--no-wait"])
        .await;
    assert!(said.good, "{}", said.text);
    assert_eq!(said.json["open_turn"], true);
    assert!(said.text.contains("it is ended first"), "{}", said.text);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn waking_takes_a_stop_back_but_not_a_suspension(db: PgPool) {
    let (desk, _, tenant, sandbox) = with_somebody(&db).await;
    let id = tenant.to_string();
    row::set_intent(&db, tenant, Intent::Stopped).await.unwrap();
    let said = desk.types(&["sandbox", "wake", &id, "--no-wait"]).await;
    assert!(said.good, "{}", said.text);
    let intent = sqlx::query_scalar!("select intent from sandbox");
    assert_eq!(intent.fetch_one(&db).await.unwrap(), "auto");

    desk.types(&["tenant", "suspend", &id]).await;
    for order in ["wake", "pause", "stop"] {
        let said = desk.types(&["sandbox", order, &id, "--no-wait"]).await;
        assert_eq!(said.json["error"]["code"], "tenant-suspended", "{order}");
    }
    row::retire(&db, sandbox).await.unwrap();
    let said = desk
        .types(&["sandbox", "wake", &sandbox.to_string(), "--no-wait"])
        .await;
    assert_eq!(said.json["error"]["code"], "sandbox-gone");
    let nobody = "01234567-89ab-7def-8123-456789abcdef";
    for order in ["wake", "pause", "stop", "show", "logs"] {
        let said = desk.types(&["sandbox", order, nobody]).await;
        assert!(
            !said.good && said.json["error"]["do"].is_string(),
            "{order}"
        );
        assert_eq!(said.json["error"]["code"], "no-such-sandbox", "{order}");
    }
    assert_eq!(desk.events().await.len(), 2, "one wake and the suspension");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_a_hostile_agent_logs_neither_acts_on_the_terminal_nor_shows_secrets(db: PgPool) {
    let (desk, engine, tenant, sandbox) = with_somebody(&db).await;
    let id = tenant.to_string();
    let said = desk.types(&["sandbox", "logs", &id, &engine.host]).await;
    assert_eq!(said.json["error"]["code"], "no-container");

    runs(&db, &engine, sandbox).await;
    let token = crate::sandbox::files::gateway_token(&crate::tests::support::master(), sandbox, 1);
    let token = secrecy::ExposeSecret::expose_secret(&token).to_owned();
    engine.state().containers[0].log = vec![
        (1, b"ready\n\x1b[2J\x1b]0;you are root\x07begun ".to_vec()),
        (2, b"warning\n".to_vec()),
        (
            1,
            format!("and ended\nGATEWAY {token}! Bearer abc.def +1 650 555-1234\n").into_bytes(),
        ),
        (1, b"no end".to_vec()),
    ];
    let said = desk
        .types(&["sandbox", "logs", &id, &engine.host, "--as", "ana"])
        .await;
    assert_eq!(
        said.text,
        "ready\nwarning\nbegun and ended\nGATEWAY [redacted]! [redacted] [number]\nno end"
    );
    let last = desk
        .types(&["sandbox", "logs", &id, &engine.host, "--lines", "1"])
        .await;
    assert_eq!(last.json["lines"], serde_json::json!(["no end"]));
    let events = desk.events().await;
    assert_eq!(
        (events[0].0.as_str(), events[0].1.as_str()),
        ("logs", "ana")
    );
    assert_eq!(events.len(), 2, "each look is on record");
}

/// What an operator is told, while the worker acts once Docker is looked at again and again.
async fn acted_on(
    engine: &Engine,
    mut operator: LocalBoxFuture<'_, Answer>,
    act: impl FnOnce(),
) -> Answer {
    tokio::select! {
        said = &mut operator => panic!("it was not followed: {}", said.text),
        () = engine.is_watched() => act(),
    }
    operator.await
}

/// When an order was given last.
async fn ordered(db: &PgPool, order: &str) -> Option<chrono::DateTime<chrono::Utc>> {
    let times = sqlx::query!("select wake_at, pause_at, stop_at from sandbox");
    let times = times.fetch_one(db).await.unwrap();
    match order {
        "wake" => times.wake_at,
        "pause" => times.pause_at,
        _ => times.stop_at,
    }
}
