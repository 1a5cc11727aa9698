//! The worker dies at each line of an upgrade: the next one finds from the row what is to be done.

use std::time::Duration;

use sqlx::PgPool;

use super::{FIRST, SECOND, Story};
use crate::{id::SandboxId, upgrade::Which};

/// Where it dies.
#[derive(Clone, Copy, Debug)]
enum At {
    /// Before this is done.
    Before(&'static str),
    /// When what came of this is being written down, before it is.
    Noting(&'static str),
}

/// Of an image that works.
const GOOD: [(At, &str); 8] = [
    (At::Before("read"), "running"),
    (At::Noting("read"), "running"),
    (At::Before("create"), "replacing"),
    (At::Before("upload"), "replacing"),
    (At::Before("start"), "replacing"),
    (At::Before("boot"), "replacing"),
    (At::Before("met"), "replacing"),
    (At::Noting("met"), "replacing"),
];
/// Of one that does not.
const BAD: [(At, &str); 5] = [
    (At::Before("boot"), "replacing"),
    (At::Noting("boot"), "replacing"),
    (At::Before("remove"), "replacing"),
    (At::Before("fill"), "rolling_back"),
    (At::Noting("fill"), "rolling_back"),
];

/// Ends transactions that wait for a lock, as with the process that they are of. True: there was one.
async fn kill_who_waits(pool: &PgPool) -> bool {
    let killed = "select pg_terminate_backend(pid) from pg_stat_activity
                  where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0";
    let killed = sqlx::raw_sql(killed).fetch_all(pool).await.unwrap();
    !killed.is_empty()
}

/// Runs an upgrade up to there, and kills the worker.
async fn dies_at(story: Story, at: At) -> Story {
    let (At::Before(what) | At::Noting(what)) = at;
    let pool = story.base.world.pool.clone();
    let stall = story.base.world.engine.stall.clone();
    stall.set(what);
    let until = async {
        stall.reached().await;
        if matches!(at, At::Before(_)) {
            return None;
        }
        let mut lock = pool.begin().await.unwrap();
        sqlx::raw_sql("select from upgrade_sandbox for update")
            .execute(&mut *lock)
            .await
            .unwrap();
        stall.go_on();
        while !kill_who_waits(&pool).await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Some(lock)
    };
    let lock = tokio::select! {
        biased;
        lock = until => lock,
        () = story.works() => panic!("it came to its end before it died at {at:?}"),
    };
    if let Some(lock) = lock {
        // Its last words, should it have begun to say any.
        while kill_who_waits(&pool).await {}
        lock.rollback().await.unwrap();
    }
    story.dies().await
}

async fn tale(db: PgPool, at: At, state: &str, is_good: bool) {
    let story = Story::new(db).await;
    let id = story.sleeping(10, "likes tea").await;
    let other = story.sleeping(11, "other").await;
    if !is_good {
        story.new_image_is_bad();
    }
    let asked = story.asks(Which::These(vec![id]), 0, 1).await;
    let story = Box::pin(dies_at(story, at)).await;
    assert_eq!(
        story.part(id).await.split(' ').next(),
        Some(state),
        "{at:?}"
    );
    if !is_good {
        story.new_image_is_bad();
    }
    writes_meanwhile(&story, id, state).await;
    if state == "running" {
        story.base.world.turn_ends(id);
        story.base.world.settle().await;
    }
    story.base.later(11);
    story.works().await;
    let (came, image) = match is_good {
        true => ("done whole, 1 of 1", SECOND),
        false => ("stopped failures, 0 of 1", FIRST),
    };
    assert_eq!(story.came_to(asked).await, came, "{at:?}");
    assert_eq!(story.image(id).await, image, "{at:?}");
    story.finds(id, image, "likes tea").await;
    story.finds(other, FIRST, "other").await;
}

/// Before the new worker is at it. What was not changed goes on; what was, waits.
async fn writes_meanwhile(story: &Story, id: SandboxId, state: &str) {
    let world = &story.base.world;
    world.opens(id);
    let before = world.engine.of(id);
    world.settle().await;
    match state {
        "running" => assert_eq!(story.runs(id), FIRST),
        _ => assert_eq!(world.engine.of(id), before, "nobody touches it"),
    }
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn with_an_image_that_works(db: PgPool) {
    for (at, state) in GOOD {
        Box::pin(tale(fresh(&db).await, at, state, true)).await;
    }
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn with_an_image_that_does_not(db: PgPool) {
    for (at, state) in BAD {
        Box::pin(tale(fresh(&db).await, at, state, false)).await;
    }
}

/// As if nothing had happened before.
async fn fresh(db: &PgPool) -> PgPool {
    sqlx::raw_sql("truncate upgrade, upgrade_sandbox, turn, sandbox, worker cascade")
        .execute(db)
        .await
        .unwrap();
    db.clone()
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn an_image_that_kills_worker_after_worker_is_taken_back(db: PgPool) {
    let mut story = Story::new(db).await;
    let id = story.sleeping(10, "likes tea").await;
    let asked = story.asks(Which::All, 0, 1).await;
    for _ in 0..3 {
        story = Box::pin(dies_at(story, At::Before("boot"))).await;
        story.base.later(11);
    }
    story.works().await;
    assert_eq!(story.part(id).await, "rolled_back kills_workers");
    assert_eq!(story.came_to(asked).await, "stopped failures, 0 of 1");
    story.finds(id, FIRST, "likes tea").await;
}
