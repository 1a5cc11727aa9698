//! The files of sandboxes: out, and back.

use sqlx::PgPool;

use super::Story;
use crate::{backup::row::Kind, id::SandboxId, sandbox::row::saved};

async fn row(story: &Story, id: SandboxId) -> (i32, i32, Option<String>, bool) {
    let row = sqlx::query!(
        "select epoch, session_no, cursor, restored from sandbox where id = $1",
        id as SandboxId
    );
    let row = row.fetch_one(&story.world.pool).await.unwrap();
    (row.epoch, row.session_no, row.cursor, row.restored)
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn what_a_sandbox_held_comes_back_with_new_keys_and_a_conversation_that_is_old(db: PgPool) {
    let story = Story::new(db).await;
    let id = story.sleeping(10, "likes tea").await;
    sqlx::query!("update sandbox set session_no = 4, cursor = 'a D'")
        .execute(&story.world.pool)
        .await
        .unwrap();
    let taken = story.asks(Kind::Sandbox, Some(id), None).await;
    story.works().await;
    assert_eq!(story.came_to(taken).await, "done whole");

    story.holds(id, "was talked out of it");
    sqlx::query!("update sandbox set session_no = 5, cursor = 'b E'")
        .execute(&story.world.pool)
        .await
        .unwrap();
    let restored = story.asks(Kind::Restore, Some(id), None).await;
    story.works().await;
    assert_eq!(story.came_to(restored).await, "done restored");
    assert_eq!(story.memory(id).unwrap(), "likes tea");
    assert_eq!(row(&story, id).await, (2, 4, None, true));

    saved::read_past(&story.world.pool, id, 4, Some("z"))
        .await
        .unwrap();
    assert_eq!(row(&story, id).await, (2, 4, Some("z".to_owned()), false));
    saved::read_past(&story.world.pool, id, 4, None)
        .await
        .unwrap();
    assert_eq!(row(&story, id).await.2.as_deref(), Some("z"), "only once");
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn a_damaged_snapshot_is_passed_over_and_never_costs_what_there_is(db: PgPool) {
    let story = Story::new(db).await;
    let id = story.sleeping(10, "one").await;
    for memory in ["one", "two"] {
        story.holds(id, memory);
        story.asks(Kind::Sandbox, Some(id), None).await;
        story.works().await;
        story.later(60);
    }
    let newest = story.folder.join(&story.snapshots(id).await[0]);
    let mut bytes = std::fs::read(&newest).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&newest, bytes).unwrap();

    story.holds(id, "now");
    let asked = story.asks(Kind::Restore, Some(id), None).await;
    story.works().await;
    assert_eq!(story.came_to(asked).await, "done restored");
    assert_eq!(story.memory(id).unwrap(), "one", "the one before");

    story.holds(id, "now");
    let name = story.snapshots(id).await[0].clone();
    let asked = story.asks(Kind::Restore, Some(id), Some(&name)).await;
    story.works().await;
    assert_eq!(story.came_to(asked).await, "waiting error");
    assert_eq!(story.memory(id).unwrap(), "now", "it was looked at first");
    for _ in 0..10 {
        story.later(61);
        story.works().await;
    }
    assert_eq!(story.came_to(asked).await, "failed error");
    assert_eq!(story.memory(id).unwrap(), "now");
    assert!(
        story.world.sandboxes.reserve(id).is_some(),
        "it is free again"
    );
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn one_persons_files_never_become_anothers(db: PgPool) {
    let story = Story::new(db).await;
    let (one, other) = (
        story.sleeping(10, "one").await,
        story.sleeping(11, "other").await,
    );
    story.asks(Kind::Sandbox, Some(other), None).await;
    story.works().await;
    let of_other = story.snapshots(other).await[0].clone();
    let asked = story.asks(Kind::Restore, Some(one), Some(&of_other)).await;
    story.works().await;
    assert_eq!(story.came_to(asked).await, "failed foreign");
    assert_eq!(story.memory(one).unwrap(), "one");

    // Under a name of its own it does not even open.
    let as_ones = story.folder.join(format!("sandbox/{one}"));
    std::fs::create_dir_all(&as_ones).unwrap();
    let file = of_other.rsplit('/').next().unwrap();
    std::fs::copy(story.folder.join(&of_other), as_ones.join(file)).unwrap();
    story.asks(Kind::Restore, Some(one), None).await;
    story.works().await;
    assert_eq!(story.memory(one).unwrap(), "one");
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn everything_takes_who_changed_and_then_the_tables_and_keeps_the_newest(db: PgPool) {
    let story = Story::with(db, "0s", 3).await;
    let (one, two) = (
        story.sleeping(10, "one").await,
        story.sleeping(11, "two").await,
    );
    let never_used = story.world.assign(12).await;
    let mut tables = Vec::new();
    for round in 0..4 {
        let all = story.asks(Kind::All, None, None).await;
        story.works().await;
        assert_eq!(story.came_to(all).await, "done whole", "round {round}");
        story.later(2 * 3600);
        story.talked_to(11, two).await;
        tables = story.store().list("database").await.unwrap();
    }
    assert_eq!(
        story.snapshots(one).await.len(),
        2,
        "it went on for a while, and then it slept"
    );
    assert_eq!(story.snapshots(two).await.len(), 3, "BACKUP_KEEP");
    assert_eq!(story.snapshots(never_used).await.len(), 0);
    assert_eq!(tables.len(), 3, "BACKUP_KEEP");
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn it_asks_by_itself_when_it_is_time_and_again_soon_after_a_failure(db: PgPool) {
    let story = Story::with(db, "1h", 2).await;
    story.sleeping(10, "one").await;
    let count = async || story.store().list("database").await.unwrap().len();
    story.works().await;
    assert_eq!(count().await, 1);
    story.later(3_590);
    story.works().await;
    assert_eq!(count().await, 1, "not yet");
    story.later(20);
    story.works().await;
    assert_eq!(count().await, 2);

    sqlx::query!("update backup set state = 'failed' where kind = 'all'")
        .execute(&story.world.pool)
        .await
        .unwrap();
    story.later(1_790);
    let newest = story.store().list("database").await.unwrap()[0].clone();
    story.works().await;
    assert_eq!(story.store().list("database").await.unwrap()[0], newest);
    story.later(20);
    story.works().await;
    assert_ne!(story.store().list("database").await.unwrap()[0], newest);
}

#[sqlx::test(
    migrations = "../migrations",
    fixtures("../../sandbox/fixtures/tenants.sql")
)]
async fn a_place_that_is_away_is_tried_again_until_it_is_back(db: PgPool) {
    let story = Story::new(db).await;
    let id = story.sleeping(10, "one").await;
    std::fs::write(&*story.folder, b"in the way").unwrap();
    let asked = story.asks(Kind::Sandbox, Some(id), None).await;
    story.works().await;
    assert_eq!(story.came_to(asked).await, "waiting error");
    std::fs::remove_file(&*story.folder).unwrap();
    story.later(61);
    story.works().await;
    assert_eq!(story.came_to(asked).await, "done whole");
}
