//! People come first, and nobody meets an agent whose files are on their way.

use futures_util::FutureExt;
use sqlx::PgPool;
use tokio::net::TcpListener;

use super::Story;
use crate::{
    backup::{
        row::{self, Kind},
        store::{Place, S3},
    },
    lease,
    sandbox::{hold::From, plan::Observed},
};

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn who_is_being_answered_is_backed_up_afterwards_and_then_sleeps(db: PgPool) {
    let story = Story::new(db).await;
    let id = story.world.wanted(10).await;
    story.world.settle().await;
    story.holds(id, "busy");
    let asked = story.asks(Kind::Sandbox, Some(id), None).await;
    story.works().await;
    assert_eq!(story.came_to(asked).await, "waiting in_use");
    assert_eq!(
        story.world.engine.of(id).unwrap().observed,
        Observed::Running
    );

    story.world.turn_ends(id);
    story.works().await;
    assert_eq!(
        story.came_to(asked).await,
        "waiting in_use",
        "not before its time"
    );
    story.later(30);
    story.works().await;
    assert_eq!(story.came_to(asked).await, "done whole");
    story.world.settle().await;
    assert_eq!(
        story.world.engine.of(id),
        None,
        "it was stopped for that, and sleeps on"
    );
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn the_schedule_waits_until_somebody_is_quiet(db: PgPool) {
    let story = Story::with(db, "24h", 2).await;
    let id = story.world.wanted(10).await;
    story.world.settle().await;
    story.talked_to(10, id).await;
    story.holds(id, "busy");
    story.world.turn_ends(id);
    let mut pool = story.world.pool.acquire().await.unwrap();
    crate::sandbox::row::touch(&mut *pool, id, story.now())
        .await
        .unwrap();
    drop(pool);
    story.works().await;
    assert_eq!(
        story.snapshots(id).await.len(),
        0,
        "they may write again any moment"
    );
    story.later(11 * 60);
    story.works().await;
    assert_eq!(story.snapshots(id).await.len(), 1);
    assert_eq!(story.store().list("database").await.unwrap().len(), 1);
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn a_paused_sandbox_is_read_as_it_is_and_stays_paused(db: PgPool) {
    let story = Story::new(db).await;
    let id = story.world.wanted(10).await;
    story.world.settle().await;
    story.holds(id, "suspended");
    let container = story.world.engine.of(id).unwrap();
    let engine: &dyn crate::sandbox::runtime::Runtime = &*story.world.engine;
    engine.pause(&container.id).await.unwrap();
    let asked = story.asks(Kind::Sandbox, Some(id), None).await;
    story.works().await;
    assert_eq!(story.came_to(asked).await, "done whole");
    assert_eq!(
        story.world.engine.of(id).unwrap().observed,
        Observed::Paused
    );
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn nobody_waits_for_a_store_that_does_not_answer(db: PgPool) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut story = Story::new(db).await;
    let id = story.sleeping(10, "one").await;
    // It takes connections and never says a word.
    let store = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", store.local_addr().unwrap());
    let place = Place::S3(S3 {
        bucket: "backups".to_owned(),
        prefix: String::new(),
        endpoint: Some(endpoint.parse().unwrap()),
        region: "anywhere".to_owned(),
        access_key_id: "key".into(),
        secret_access_key: "secret".into(),
        session_token: "".into(),
    });
    story.stores_at(place).await;
    story.asks(Kind::Sandbox, Some(id), None).await;
    let (world, engine) = (&story.world, &story.world.engine);
    let they_write = async {
        let _silent = store.accept().await.unwrap();
        world.wanted(10).await;
        world.settle().await;
        assert_eq!(engine.of(id).unwrap().observed, Observed::Running);
    };
    tokio::select! {
        () = story.works() => panic!("it was stored nowhere"),
        () = they_write => {}
    }
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn a_held_sandbox_is_left_alone_until_the_hold_ends(db: PgPool) {
    let story = Story::new(db).await;
    let world = &story.world;
    let id = world.assign(10).await;
    let hold = world
        .sandboxes
        .hold(id, From::Sleep)
        .await
        .unwrap()
        .unwrap();
    assert!(
        world
            .sandboxes
            .hold(id, From::Sleep)
            .await
            .unwrap()
            .is_none(),
        "twice"
    );
    assert_eq!(world.wanted(10).await, id);
    world.settle().await;
    assert_eq!(world.engine.of(id), None);
    assert!(world.sandboxes.endpoint(id).now_or_never().is_none());
    drop(hold);
    world.settle().await;
    assert_eq!(world.engine.of(id).unwrap().observed, Observed::Running);
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn nobody_starts_an_agent_before_its_files_are_back_whoever_dies_meanwhile(db: PgPool) {
    let story = Story::new(db).await;
    let id = story.sleeping(10, "likes tea").await;
    story.asks(Kind::Sandbox, Some(id), None).await;
    story.works().await;
    // The machine is lost; a restore has asked for the files, and the person writes.
    story.world.engine.state().files.clear();
    story.world.engine.state().volumes.clear();
    let asked = story.asks(Kind::Restore, Some(id), None).await;
    let story = story.dies().await;
    assert_eq!(story.world.wanted(10).await, id);
    story.world.settle().await;
    assert_eq!(story.world.engine.of(id), None, "it would know nothing");

    // A worker takes it up and dies in the middle.
    let live = lease::live(&story.world.pool).await.unwrap();
    let taken = row::take(&story.world.pool, live[0], &live, story.now())
        .await
        .unwrap();
    assert_eq!(taken.unwrap().id, asked);
    let again = row::take(&story.world.pool, live[0], &live, story.now())
        .await
        .unwrap();
    assert!(again.is_none(), "somebody who lives is at it");
    let story = story.dies().await;
    story.world.settle().await;
    assert_eq!(story.world.engine.of(id), None);
    // A turn is no reason to wait: nobody can have run.
    story.works().await;
    assert_eq!(story.came_to(asked).await, "done restored");
    assert_eq!(story.memory(id).unwrap(), "likes tea");
    story.world.settle().await;
    assert_eq!(
        story.world.engine.of(id).unwrap().observed,
        Observed::Running
    );
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn a_snapshot_whose_worker_died_is_taken_by_the_next(db: PgPool) {
    let story = Story::new(db).await;
    let id = story.sleeping(10, "one").await;
    let asked = story.asks(Kind::Sandbox, Some(id), None).await;
    let live = lease::live(&story.world.pool).await.unwrap();
    row::take(&story.world.pool, live[0], &live, story.now())
        .await
        .unwrap()
        .unwrap();
    let story = story.dies().await;
    story.works().await;
    assert_eq!(story.came_to(asked).await, "done whole");
    assert_eq!(story.snapshots(id).await.len(), 1);
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn the_backup_that_comes_before_a_restore_is_not_kept_from_its_sandbox_by_a_death(
    db: PgPool,
) {
    let story = Story::new(db).await;
    let id = story.sleeping(10, "likes tea").await;
    story.asks(Kind::Sandbox, Some(id), None).await;
    story.works().await;
    let tea = story.snapshots(id).await.remove(0);
    story.later(1);
    story.holds(id, "likes coffee");
    let before = story.asks(Kind::Sandbox, Some(id), None).await;
    let restore = story.asks(Kind::Restore, Some(id), Some(&tea)).await;
    let story = story.dies().await;
    story.works().await;
    assert_eq!(story.came_to(before).await, "done whole");
    assert_eq!(story.came_to(restore).await, "done restored");
    assert_eq!(story.memory(id).unwrap(), "likes tea");
    assert_eq!(story.snapshots(id).await.len(), 2);
}
