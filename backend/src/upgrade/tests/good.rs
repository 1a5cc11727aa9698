//! An image that works: everybody is moved, and nobody notices.

use futures_util::FutureExt;
use sqlx::PgPool;

use super::{FIRST, SECOND, Story};
use crate::{
    sandbox::{
        plan::Observed,
        row::{Intent, retire, set_intent},
        tests::tenant,
    },
    upgrade::{Which, ask_to_stop},
};

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn all_are_moved_one_after_the_other_and_sleep_again(db: PgPool) {
    let story = Story::new(db).await;
    let mut people = Vec::new();
    for n in 10..13 {
        people.push(story.sleeping(n, &format!("memory {n}")).await);
    }
    let asked = story.asks(Which::All, 1, 1).await;
    story.works().await;
    assert_eq!(story.came_to(asked).await, "done whole, 3 of 3");
    story.base.world.settle().await;
    for (id, n) in people.iter().zip(10..) {
        assert_eq!(story.part(*id).await, "done ready");
        assert_eq!(
            story.base.world.engine.of(*id),
            None,
            "nobody wants it awake"
        );
        assert_eq!(story.base.snapshots(*id).await.len(), 1);
        story.finds(*id, SECOND, &format!("memory {n}")).await;
    }
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn people_come_first(db: PgPool) {
    let story = Story::new(db).await;
    let world = &story.base.world;
    let (talks, sleeps) = (
        story.sleeping(10, "tea").await,
        story.sleeping(11, "coffee").await,
    );
    world.opens(talks);
    world.settle().await;
    let container = world.engine.of(talks).unwrap();
    let asked = story.asks(Which::All, 0, 1).await;
    story.works().await;
    assert_eq!(story.part(talks).await, "waiting in_use");
    assert_eq!(story.part(sleeps).await, "done ready");
    assert_eq!(world.engine.of(talks).unwrap(), container);
    world.answered(talks).await;
    world.advance(6);
    story.works().await;
    assert_eq!(story.came_to(asked).await, "done whole, 2 of 2");
    assert_eq!(story.runs(talks), SECOND, "it was awake, and is");
    assert_eq!(world.engine.of(talks).unwrap().observed, Observed::Running);
    story.finds(talks, SECOND, "tea").await;
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn who_writes_meanwhile_waits_at_the_door_and_meets_the_new_one(db: PgPool) {
    let story = Story::new(db).await;
    let world = &story.base.world;
    let id = story.sleeping(10, "tea").await;
    story.asks(Which::All, 0, 1).await;
    let stall = &world.engine.stall;
    stall.set("met");
    let meanwhile = async {
        stall.reached().await;
        world.opens(id);
        world.settle().await;
        assert_eq!(story.runs(id), SECOND, "the loop leaves it alone");
        let endpoint = world.sandboxes.endpoint(id);
        assert!(endpoint.now_or_never().is_none(), "before the verdict");
        stall.go_on();
    };
    tokio::join!(story.works(), meanwhile);
    let container = world.engine.of(id).unwrap();
    story.finds(id, SECOND, "tea").await;
    assert_eq!(world.engine.of(id).unwrap(), container);
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn who_waits_for_a_place_gets_it_before_an_upgrade_does(db: PgPool) {
    let story = Story::new(db).await;
    let sleeps = story.sleeping(10, "tea").await;
    let story = story.with_one_place().await;
    let world = &story.base.world;
    let awake = world.wanted(11).await;
    world.settle().await;
    assert_eq!(world.engine.of(awake).unwrap().observed, Observed::Running);
    story.asks(Which::These(vec![sleeps]), 0, 1).await;
    story.works().await;
    assert_eq!(story.part(sleeps).await, "waiting no_place");
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn without_files_there_is_nothing_to_store_and_who_is_away_is_left_out(db: PgPool) {
    let story = Story::new(db).await;
    let world = &story.base.world;
    let new = world.assign(10).await;
    let suspended = story.sleeping(11, "tea").await;
    let erased = story.sleeping(12, "coffee").await;
    let asked = story.asks(Which::All, 0, 1).await;
    set_intent(&world.pool, tenant(11), Intent::Stopped)
        .await
        .unwrap();
    retire(&world.pool, erased).await.unwrap();
    story.works().await;
    assert_eq!(story.part(new).await, "done never_started");
    assert_eq!(story.part(suspended).await, "skipped suspended");
    assert_eq!(story.part(erased).await, "skipped gone");
    assert_eq!(story.came_to(asked).await, "done whole, 1 of 3");
    assert_eq!(story.base.snapshots(erased).await.len(), 0);
    assert_eq!(story.image(suspended).await, FIRST);
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn an_operator_stops_it_after_the_sandbox_at_hand(db: PgPool) {
    let story = Story::new(db).await;
    for n in 10..13 {
        story.sleeping(n, "tea").await;
    }
    let asked = story.asks(Which::All, 0, 1).await;
    let stall = &story.base.world.engine.stall;
    stall.set("met");
    let meanwhile = async {
        stall.reached().await;
        let told = ask_to_stop(&story.base.world.pool).await.unwrap();
        assert_eq!(told, Some(asked));
        stall.go_on();
    };
    tokio::join!(story.works(), meanwhile);
    assert_eq!(story.came_to(asked).await, "stopped asked, 1 of 3");
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn so_many_and_no_more(db: PgPool) {
    let story = Story::new(db).await;
    for n in 10..14 {
        story.sleeping(n, "tea").await;
    }
    let asked = story.asks(Which::Some(2), 2, 1).await;
    story.works().await;
    assert_eq!(story.came_to(asked).await, "done whole, 2 of 2");
    let asked = story.asks(Which::All, 0, 1).await;
    story.works().await;
    assert_eq!(
        story.came_to(asked).await,
        "done whole, 2 of 2",
        "the others"
    );
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn a_gateway_that_ends_once_while_it_boots_is_started_again(db: PgPool) {
    let story = Story::new(db).await;
    let world = &story.base.world;
    let id = story.sleeping(10, "tea").await;
    story.asks(Which::All, 0, 1).await;
    world.engine.stall.set("boot");
    let meanwhile = async {
        world.engine.stall.reached().await;
        world.engine.crash(id);
    };
    tokio::join!(story.works(), meanwhile);
    assert_eq!(story.part(id).await, "done ready");
    story.finds(id, SECOND, "tea").await;
}
