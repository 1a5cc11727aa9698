//! An image that does not work: what was, is again, and few have noticed.

use std::pin::pin;

use sqlx::PgPool;

use super::{FIRST, SECOND, Story};
use crate::{
    backup::store::{Place, Store},
    id::SandboxId,
    upgrade::Which,
};

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn an_image_that_never_becomes_ready_is_taken_back_with_the_files_and_stops_at_the_canary(
    db: PgPool,
) {
    let story = Story::new(db).await;
    let world = &story.base.world;
    let canary = story.sleeping(10, "likes tea").await;
    let (one, other) = (
        story.sleeping(11, "one").await,
        story.sleeping(12, "other").await,
    );
    sqlx::query!("update sandbox set cursor = 'a D'")
        .execute(&world.pool)
        .await
        .unwrap();
    story.new_image_is_bad();
    let asked = story.asks(Which::All, 1, 5).await;
    story.works().await;
    assert_eq!(story.came_to(asked).await, "stopped canary, 0 of 3");
    assert_eq!(story.part(canary).await, "rolled_back refused");
    assert_eq!(story.image(canary).await, FIRST);
    for id in [one, other] {
        assert_eq!(story.part(id).await, "waiting", "untouched");
        assert_eq!(story.base.snapshots(id).await.len(), 0);
    }
    let row = sqlx::query!(
        "select epoch, cursor, restored, failures, retry_at from sandbox where id = $1",
        canary as SandboxId
    );
    let row = row.fetch_one(&world.pool).await.unwrap();
    assert_eq!(row.epoch, 2, "what the bad one saw opens nothing");
    assert_eq!(
        row.cursor.as_deref(),
        Some("a D"),
        "nobody has read what came after"
    );
    assert!(!row.restored && row.failures == 0 && row.retry_at.is_none());
    world.settle().await;
    story.finds(canary, FIRST, "likes tea").await;
    story.finds(one, FIRST, "one").await;
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn it_stops_after_as_many_failures_as_were_allowed(db: PgPool) {
    let story = Story::new(db).await;
    for n in 10..15 {
        story.sleeping(n, "tea").await;
    }
    story.new_image_is_bad();
    let asked = story.asks(Which::All, 0, 3).await;
    story.works().await;
    assert_eq!(story.came_to(asked).await, "stopped failures, 0 of 5");
    let back = "select count(*) from upgrade_sandbox where state = 'rolled_back'";
    let back: i64 = sqlx::query_scalar(back)
        .fetch_one(&story.base.world.pool)
        .await
        .unwrap();
    assert_eq!(back, 3);
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn one_that_does_not_even_start_is_taken_back(db: PgPool) {
    let story = Story::new(db).await;
    let world = &story.base.world;
    let id = story.sleeping(10, "tea").await;
    world.engine.state().refuses_to_start = true;
    story.asks(Which::All, 0, 1).await;
    story.works().await;
    assert_eq!(story.part(id).await, "rolled_back not_started");
    world.engine.state().refuses_to_start = false;
    assert_eq!(story.base.memory(id).unwrap(), "tea");
    story.finds(id, FIRST, "tea").await;
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn walls_that_fall_are_no_fault_of_the_image_and_nothing_runs_behind_them(db: PgPool) {
    let story = Story::new(db).await;
    let world = &story.base.world;
    let id = story.sleeping(10, "tea").await;
    let asked = story.asks(Which::All, 0, 1).await;
    world.engine.stall.set("boot");
    let meanwhile = async {
        world.engine.stall.reached().await;
        world.engine.state().breach = Some("a rule is missing".to_owned());
        world.pass().await;
    };
    tokio::join!(story.works(), meanwhile);
    assert_eq!(story.part(id).await, "replacing walls");
    assert_eq!(world.engine.of(id), None);
    world.engine.stall.go_on();
    world.engine.state().breach = None;
    world.settle().await;
    assert_eq!(world.engine.of(id), None, "it is still being upgraded");
    world.advance(11);
    story.works().await;
    assert_eq!(story.came_to(asked).await, "done whole, 1 of 1");
    story.finds(id, SECOND, "tea").await;
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn nothing_is_touched_before_a_way_back_is_stored(db: PgPool) {
    let story = Story::new(db).await;
    let id = story.sleeping(10, "tea").await;
    let Place::Folder(folder) = story.settings().to.clone() else {
        panic!("no folder");
    };
    let before = story.base.world.engine.log();
    std::fs::write(&folder, b"in the way").unwrap();
    let asked = story.asks(Which::All, 0, 1).await;
    story.works().await;
    assert_eq!(story.part(id).await, "waiting");
    assert_eq!(story.base.world.engine.log(), before);
    std::fs::remove_file(&folder).unwrap();
    story.base.later(11);
    story.works().await;
    assert_eq!(story.came_to(asked).await, "done whole, 1 of 1");
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn a_way_back_that_is_away_is_waited_for_and_nobody_meets_the_ruins(db: PgPool) {
    let story = Story::new(db).await;
    let world = &story.base.world;
    let id = story.sleeping(10, "tea").await;
    let Place::Folder(folder) = story.settings().to.clone() else {
        panic!("no folder");
    };
    let away = folder.with_extension("away");
    story.new_image_is_bad();
    story.asks(Which::All, 0, 1).await;
    world.engine.stall.set("boot");
    let meanwhile = async {
        world.engine.stall.reached().await;
        std::fs::rename(&folder, &away).unwrap();
        std::fs::write(&folder, b"in the way").unwrap();
        world.engine.stall.go_on();
    };
    tokio::join!(story.works(), meanwhile);
    for _ in 0..20 {
        assert_eq!(story.part(id).await, "rolling_back refused");
        world.opens(id);
        world.settle().await;
        assert_eq!(world.engine.of(id), None, "its files are garbage");
        world.advance(11);
        story.works().await;
    }
    assert!(
        crate::upgrade::look::is_stuck(&world.pool, 5)
            .await
            .unwrap(),
        "somebody is told"
    );
    let story = story.dies().await;
    std::fs::remove_file(&folder).unwrap();
    std::fs::rename(&away, &folder).unwrap();
    assert!(Store::open(&story.settings().to).is_ok());
    story.base.later(11);
    story.works().await;
    assert_eq!(story.part(id).await, "rolled_back refused");
    story.finds(id, FIRST, "tea").await;
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn an_engine_that_goes_away_is_waited_for_and_no_fault_of_the_image(db: PgPool) {
    let story = Story::new(db).await;
    let engine = &story.base.world.engine;
    let id = story.sleeping(10, "tea").await;
    let asked = story.asks(Which::All, 0, 1).await;
    engine.stall.set("start");
    let meanwhile = async {
        engine.stall.reached().await;
        engine.state().is_away = true;
        engine.stall.go_on();
    };
    tokio::join!(story.works(), meanwhile);
    for _ in 0..20 {
        assert_eq!(story.part(id).await, "replacing engine");
        story.base.world.advance(11);
        story.works().await;
    }
    engine.state().is_away = false;
    story.base.later(11);
    story.works().await;
    assert_eq!(story.came_to(asked).await, "done whole, 1 of 1");
    story.finds(id, SECOND, "tea").await;
}

/// An upgrade of one sandbox, whose gateway ends so often while it boots, so many seconds after it was
/// started.
async fn ends_in_its_boot(story: &Story, id: SandboxId, times: u32, seconds: i64) {
    let world = &story.base.world;
    world.engine.stall.set("boot");
    let meanwhile = async {
        for time in 1..=times {
            world.engine.stall.reached().await;
            world
                .engine
                .stall
                .set(if time < times { "boot" } else { "" });
            world.advance(seconds);
            world.engine.crash(id);
        }
    };
    let mut works = pin!(story.works());
    tokio::select! {
        biased;
        () = meanwhile => works.await,
        () = &mut works => panic!("it came to its end before its gateway ended {times} times"),
    }
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn a_gateway_that_waits_for_one_that_was_killed_is_started_until_it_stays(db: PgPool) {
    let story = Story::new(db).await;
    let id = story.sleeping(10, "tea").await;
    let asked = story.asks(Which::All, 0, 1).await;
    ends_in_its_boot(&story, id, 6, 12).await;
    assert_eq!(story.came_to(asked).await, "done whole, 1 of 1");
    story.finds(id, SECOND, "tea").await;
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn a_gateway_that_ends_whenever_it_is_started_is_the_images_fault(db: PgPool) {
    let story = Story::new(db).await;
    let id = story.sleeping(10, "tea").await;
    let asked = story.asks(Which::All, 0, 1).await;
    ends_in_its_boot(&story, id, 7, 12).await;
    assert_eq!(story.came_to(asked).await, "stopped failures, 0 of 1");
    assert_eq!(story.part(id).await, "rolled_back ended");
    story.finds(id, FIRST, "tea").await;
}
