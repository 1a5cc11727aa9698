//! What outlives the texts, and when it goes: keys of messages, turns, receipts, calls of the model.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::retention::Story;
use crate::{
    id::{CallId, LineId, SandboxId, TenantId},
    sandbox,
};

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn keys_that_a_transcript_may_bring_up_again_live_as_long_as_the_sandbox(db: PgPool) {
    let story = Story::new(db).await;
    let anna = story.person("active").await;
    story.message(anna, None, "1/old/0", "accepted").await;
    story.clock.advance(TimeDelta::days(1));
    story.sandbox(anna).await;
    story.message(anna, None, "first-contact", "accepted").await;
    let now = story.clock.now();
    many_messages(&story.db, anna, 2_600, now).await;

    story.days_later(400).await;
    let keys = sqlx::query_scalar!("select key from outbox order by seq")
        .fetch_all(&story.db)
        .await
        .unwrap();
    assert_eq!(keys.len(), 2_001, "the latest, and that we met");
    assert_eq!(keys[0], "first-contact");
    assert_eq!(keys[1], "1/m601/0");
    assert_eq!(story.left().await[1].0, 0, "no body is left");
}

/// One a second, the first now.
async fn many_messages(db: &PgPool, person: TenantId, count: i32, now: DateTime<Utc>) {
    sqlx::query!(
        "insert into outbox (id, tenant_id, key, class, type, body, key_id, state, run_after,
                             created_at, sent_at, done_at, expires_at)
         select gen_random_uuid(), $1, '1/m' || n || '/0', 'reply', 'text', 'sealed', 1, 'accepted', at, at, at, at, at
         from generate_series(1, $2::int) as n, lateral (select $3::timestamptz + n * interval '1 s' as at) as t",
        person as TenantId,
        count,
        now,
    )
    .execute(db)
    .await
    .unwrap();
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn turns_go_but_a_persons_latest_and_that_only_while_its_sandbox_lives(db: PgPool) {
    let story = Story::new(db).await;
    let anna = story.person("active").await;
    let sandbox = story.sandbox(anna).await;
    let early = story.turn(anna, sandbox, "done").await;
    let late = story.turn(anna, sandbox, "buried").await;
    story.message(anna, Some(early), "1/a/0", "accepted").await;

    let unasked = [
        story.turn(anna, sandbox, "done").await,
        story.turn(anna, sandbox, "done").await,
    ];
    sqlx::query!(
        "update turn set trigger = 'heartbeat' where id = any($1)",
        &unasked.map(|turn| turn.0),
    )
    .execute(&story.db)
    .await
    .unwrap();

    story.days_later(16).await;
    assert_eq!(story.turns().await, [late, unasked[1]]);
    assert_eq!(story.left().await[1].1, 1, "the key outlives its turn");

    sandbox::row::retire(&story.db, sandbox).await.unwrap();
    sandbox::row::gone(&story.db, sandbox, story.clock.now())
        .await
        .unwrap();
    story.days_later(1).await;
    assert!(story.turns().await.is_empty());
    let mut conn = story.db.acquire().await.unwrap();
    let freed = sandbox::row::free_slots(&mut conn, story.clock.now()).await;
    assert_eq!(freed.unwrap(), 1, "nothing holds its slot any more");
    story.days_later(1).await;
    assert_eq!(
        story.left().await[1].1,
        0,
        "its transcript is gone, and so are the keys"
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn receipts_go_after_two_weeks_and_calls_of_the_model_after_a_months_budget(db: PgPool) {
    let story = Story::new(db).await;
    let anna = story.person("active").await;
    let sandbox = story.sandbox(anna).await;
    sqlx::query!(
        "insert into receipt (line_id, wamid, status, recorded_at) values ($1, 'wamid.1', 'sent', $2)",
        story.line as LineId,
        story.clock.now(),
    )
    .execute(&story.db)
    .await
    .unwrap();
    sqlx::query!(
        "insert into usage (request_id, sandbox_id, tenant_id, at, model, tokens, state)
         values ($1, $2, $3, $4, 'm', 10, 'reserved')",
        CallId::new() as CallId,
        sandbox as SandboxId,
        anna as TenantId,
        story.clock.now(),
    )
    .execute(&story.db)
    .await
    .unwrap();
    let left = async || {
        let left = sqlx::query!(
            r#"select (select count(*) from receipt) as "receipts!", (select count(*) from usage) as "calls!""#
        );
        let left = left.fetch_one(&story.db).await.unwrap();
        (left.receipts, left.calls)
    };
    story.days_later(14).await;
    assert_eq!(left().await, (1, 1));
    story.days_later(2).await;
    assert_eq!(left().await, (0, 1));
    story.days_later(23).await;
    assert_eq!(left().await, (0, 1));
    story.days_later(2).await;
    assert_eq!(left().await, (0, 0));
}
