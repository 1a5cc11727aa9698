//! How much a sandbox may use.

use chrono::TimeDelta;
use futures_util::future::join_all;

use super::*;
use crate::id::{CallId, SandboxId};

async fn begin_turn(world: &World) {
    sqlx::query!(
        "insert into turn (id, tenant_id, sandbox_id, trigger, created_at, deadline_at)
         select $1, tenant_id, id, 'message', $2, $2 from sandbox where slot = 1",
        Uuid::now_v7(),
        world.clock.now(),
    )
    .execute(&world.db)
    .await
    .unwrap();
}

/// The code of the refusal, or `None` when it was answered.
async fn refusal(world: &World, slot: u8) -> Option<String> {
    world.will_answer(USAGE);
    let token = format!("token-{slot}");
    let answer = post_from(world.address, slot, &token, request().to_string()).await;
    if answer.status() == 200 {
        answer.bytes().await.unwrap();
        return None;
    }
    let (status, code, message) = error_of(answer).await;
    assert_eq!(status, 400);
    // The word that keeps the agent from trying again.
    assert!(message.contains("insufficient_quota"));
    Some(code)
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_call_after_the_last_of_a_turn_is_refused(db: PgPool) {
    let world = World::new(db).await;
    begin_turn(&world).await;
    for _ in 0..30 {
        assert_eq!(refusal(&world, 1).await, None);
    }
    world.clock.advance(TimeDelta::minutes(30));
    assert_eq!(refusal(&world, 1).await.unwrap(), "calls_per_turn");
    assert_eq!(refusal(&world, 2).await, None);

    let tenant = world.tenant(1).await;
    sqlx::query!(
        "update turn set state = 'done' where tenant_id = $1",
        tenant.0
    )
    .execute(&world.db)
    .await
    .unwrap();
    begin_turn(&world).await;
    assert_eq!(refusal(&world, 1).await, None);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn without_a_turn_the_last_ten_minutes_count(db: PgPool) {
    let world = World::with(db, |llm, _| llm.calls_per_turn = 2).await;
    assert_eq!(refusal(&world, 1).await, None);
    assert_eq!(refusal(&world, 1).await, None);
    assert_eq!(refusal(&world, 1).await.unwrap(), "calls_per_turn");
    world.clock.advance(TimeDelta::minutes(11));
    assert_eq!(refusal(&world, 1).await, None);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_sandbox_without_a_tenant_is_limited_by_itself(db: PgPool) {
    let world = World::with(db, |llm, _| llm.calls_per_turn = 1).await;
    sqlx::query!("update sandbox set tenant_id = null")
        .execute(&world.db)
        .await
        .unwrap();
    assert_eq!(refusal(&world, 1).await, None);
    assert_eq!(refusal(&world, 1).await.unwrap(), "calls_per_turn");
    assert_eq!(refusal(&world, 2).await, None);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_tenant_stops_when_a_days_tokens_are_used_and_goes_on_a_day_later(db: PgPool) {
    // Room for the worst case of one call, which is over 100, but not beside what one has cost.
    let world = World::with(db, |llm, _| llm.tokens_per_tenant_day = 160).await;
    while refusal(&world, 1).await.is_none() {}
    assert_eq!(refusal(&world, 1).await.unwrap(), "tenant_day");
    assert_eq!(refusal(&world, 2).await, None);
    world.clock.advance(TimeDelta::hours(23));
    assert_eq!(refusal(&world, 1).await.unwrap(), "tenant_day");
    world.clock.advance(TimeDelta::hours(2));
    assert_eq!(refusal(&world, 1).await, None);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn everybody_stops_when_the_days_tokens_of_all_are_used(db: PgPool) {
    let world = World::with(db, |llm, _| llm.tokens_per_day = 160).await;
    while refusal(&world, 1).await.is_none() {}
    assert_eq!(refusal(&world, 2).await.unwrap(), "day");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn calls_at_the_same_moment_cannot_share_what_is_left_for_one(db: PgPool) {
    let world = World::with(db, |_, _| {}).await;
    let sandbox = sqlx::query_scalar!("select id from sandbox where slot = 1");
    let sandbox = SandboxId(sandbox.fetch_one(&world.db).await.unwrap());
    let tenant = Some(world.tenant(1).await);
    let now = world.clock.now();
    let llm = config::Llm {
        base_url: "http://127.0.0.1".parse().unwrap(),
        api_key: KEY.into(),
        model: "m".to_owned(),
        tokens_per_tenant_day: 250,
        tokens_per_day: 10_000,
        calls_per_turn: 30,
    };
    // All open before the first one asks, or they would come one after the other by themselves.
    let open = join_all((0..4).map(async |_| world.db.begin().await.unwrap())).await;
    let reserved = join_all(open.into_iter().map(async |mut tx| {
        let call = usage::Call {
            id: CallId::new(),
            sandbox,
            tenant,
            model: "m",
            tokens: 100,
            turn_since: now,
        };
        let reserved = usage::reserve(&mut tx, &call, &llm, now).await.unwrap();
        tx.commit().await.unwrap();
        reserved
    }))
    .await;
    assert_eq!(
        reserved.iter().filter(|reserved| reserved.is_ok()).count(),
        2
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_sandbox_has_three_calls_at_a_time(db: PgPool) {
    let mut world = World::new(db).await;
    let mut open = Vec::new();
    for _ in 0..3 {
        let feed = world.will_stream();
        open.push((world.call(request()).await, feed));
        world.seen.recv().await.unwrap();
    }
    let (status, code, message) = error_of(world.call(request()).await).await;
    assert_eq!((status, code.as_str()), (429, "too_many_at_once"));
    assert!(!message.contains("insufficient_quota"));
    assert!(world.nothing_was_forwarded());
    assert_eq!(refusal(&world, 2).await, None);

    let (mut answer, feed) = open.pop().unwrap();
    drop(feed);
    assert_eq!(answer.chunk().await.unwrap(), None);
    assert_eq!(refusal(&world, 1).await, None);
}
