//! What the worker measures: queues by their oldest row, answers by what a person waited, blocked lines by reason.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::retention::Story;
use crate::{
    broker::usage,
    id::{CallId, SandboxId, TenantId, TurnId},
    inbox,
    line::{self, Pause},
    outbox::{State, figures},
    turn,
};

async fn seconds_pass(story: &Story, seconds: i64) -> DateTime<Utc> {
    story.clock.advance(TimeDelta::seconds(seconds));
    story.clock.now()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_queue_is_as_old_as_the_first_that_waits_in_it(db: PgPool) {
    let story = Story::new(db).await;
    let start = story.clock.now();
    let queues = inbox::figures::queues(&story.db).await.unwrap();
    assert_eq!((queues.unrouted, queues.unrouted_since), (0, None));
    assert_eq!((queues.waiting, queues.waiting_since), (0, None));

    let anna = story.person("active").await;
    for id in ["routed", "unrouted", "later"] {
        story.receives(id).await;
        seconds_pass(&story, 10).await;
    }
    sqlx::query!(
        "update inbox set tenant_id = $1 where provider_id = 'routed'",
        anna as TenantId
    )
    .execute(&story.db)
    .await
    .unwrap();
    let queues = inbox::figures::queues(&story.db).await.unwrap();
    let second = start + TimeDelta::seconds(10);
    assert_eq!((queues.unrouted, queues.unrouted_since), (2, Some(second)));
    assert_eq!((queues.waiting, queues.waiting_since), (1, Some(start)));

    let sandbox = story.sandbox(anna).await;
    let turn = story.turn(anna, sandbox, "active").await;
    let (active, since) = turn::active(&story.db).await.unwrap();
    assert_eq!((active, since), (1, Some(story.clock.now())));
    story.message(anna, Some(turn), "1/a/0", "held").await;
    story.message(anna, Some(turn), "1/b/0", "accepted").await;
    let open = figures::open(&story.db).await.unwrap();
    assert_eq!(open.len(), 1, "what is done does not wait");
    assert_eq!((open[0].state, open[0].rows), (State::Held, 1));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_answer_took_from_the_first_message_to_its_first_acceptance_and_counts_once(db: PgPool) {
    let story = Story::new(db).await;
    let start = story.clock.now();
    let anna = story.person("active").await;
    let sandbox = story.sandbox(anna).await;
    story.receives("first").await;
    seconds_pass(&story, 3).await;
    story.receives("second").await;
    let turn = story.turn(anna, sandbox, "active").await;
    for id in ["first", "second"] {
        story.done(id, anna, Some(turn)).await;
    }
    seconds_pass(&story, 20).await;
    end(&story, turn).await;
    seconds_pass(&story, 2).await;
    story.message(anna, Some(turn), "1/a/0", "accepted").await;
    let accepted = seconds_pass(&story, 5).await;
    story.message(anna, Some(turn), "1/a/1", "accepted").await;
    story.message(anna, None, "unasked", "accepted").await;

    let now = accepted + TimeDelta::seconds(1);
    let took = figures::answer_times(&story.db, start, now, 10).await;
    assert_eq!(took.unwrap(), [25.0]);
    let later = figures::answer_times(&story.db, now, now + TimeDelta::days(1), 10).await;
    assert!(later.unwrap().is_empty(), "the next look counts it again");

    let ended = turn::ended(&story.db, start, now, 10).await.unwrap();
    assert_eq!(ended.len(), 1);
    assert_eq!(
        (ended[0].trigger.as_str(), ended[0].outcome.as_str()),
        ("message", "answered")
    );
    assert_eq!(ended[0].seconds, 20.0);
}

async fn end(story: &Story, turn: TurnId) {
    sqlx::query!(
        "update turn set state = 'done', outcome = 'answered', done_at = $2 where id = $1",
        turn as TurnId,
        story.clock.now(),
    )
    .execute(&story.db)
    .await
    .unwrap();
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_blocked_line_says_whether_token_account_or_throttle(db: PgPool) {
    let story = Story::new(db).await;
    let now = story.clock.now();
    let minute = std::time::Duration::from_secs(60);
    let blocked = async || line::blocked(&story.db, now).await.unwrap();
    assert!(blocked().await.is_empty());
    for (pause, code, why) in [
        (Pause::Throttle(minute), "130429", "throttled"),
        (Pause::Operator(2 * minute), "131042", "operator"),
        (Pause::Token, "190", "token"),
    ] {
        line::stop(&story.db, story.line, pause, code, now)
            .await
            .unwrap();
        assert_eq!(blocked().await, [why]);
    }
    line::unblock(&story.db, story.line).await.unwrap();
    assert!(blocked().await.is_empty());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn tokens_are_those_of_the_last_day_reserved_ones_too(db: PgPool) {
    let story = Story::new(db).await;
    let anna = story.person("active").await;
    let sandbox = story.sandbox(anna).await;
    for (hours, state) in [(25, "final"), (23, "final"), (1, "reserved")] {
        sqlx::query!(
            "insert into usage (request_id, sandbox_id, tenant_id, at, model, tokens, state)
             values ($1, $2, $3, $4, 'm', 10, $5)",
            CallId::new() as CallId,
            sandbox as SandboxId,
            anna as TenantId,
            story.clock.now() - TimeDelta::hours(hours),
            state,
        )
        .execute(&story.db)
        .await
        .unwrap();
    }
    let tokens = usage::tokens_in_a_day(&story.db, story.clock.now()).await;
    assert_eq!(tokens.unwrap(), 20);
}
