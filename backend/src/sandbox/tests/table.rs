//! The table's functions, and their races.

use std::collections::HashSet;

use chrono::DateTime;
use futures_util::future::join_all;
use sqlx::PgPool;

use super::{World, tenant};
use crate::sandbox::row;

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn people_who_come_at_once_get_one_sandbox_each_in_the_lowest_slots(pool: PgPool) {
    let now = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    // Each of the twenty comes twice.
    let assigned = join_all((10..30).chain(10..30).map(async |n| {
        let mut conn = pool.acquire().await.unwrap();
        row::assign(&mut conn, tenant(n), now).await.unwrap()
    }))
    .await;
    let ids: Vec<_> = assigned
        .iter()
        .copied()
        .collect::<HashSet<_>>()
        .into_iter()
        .collect();
    assert_eq!(ids.len(), 20);
    assert_eq!(assigned[..20], assigned[20..]);
    let rows = row::list(&pool, &ids, DateTime::UNIX_EPOCH).await.unwrap();
    let mut slots: Vec<_> = rows.iter().map(|row| row.slot).collect();
    slots.sort_unstable();
    assert_eq!(slots, (1..=20).collect::<Vec<_>>());
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn the_cursor_moves_only_from_where_its_reader_left_it(pool: PgPool) {
    let id = World::new(pool.clone()).assign(10).await;
    let (session, cursor) = row::conversation::session(&pool, id).await.unwrap();
    assert_eq!((session, cursor), (1, None));
    assert!(
        row::conversation::set_cursor(&pool, id, 1, None, "a")
            .await
            .unwrap()
    );
    assert!(
        !row::conversation::set_cursor(&pool, id, 1, None, "b")
            .await
            .unwrap()
    );
    assert!(
        row::conversation::set_cursor(&pool, id, 1, Some("a"), "b")
            .await
            .unwrap()
    );
    assert!(
        row::conversation::fresh_session(&pool, id, 1)
            .await
            .unwrap()
    );
    assert!(
        !row::conversation::fresh_session(&pool, id, 1)
            .await
            .unwrap(),
        "it has begun already"
    );
    assert_eq!(
        row::conversation::session(&pool, id).await.unwrap(),
        (2, None)
    );
    assert!(
        !row::conversation::set_cursor(&pool, id, 1, None, "c")
            .await
            .unwrap(),
        "of the old session"
    );
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn only_the_latest_broker_token_is_known(pool: PgPool) {
    let world = World::new(pool.clone());
    let id = world.assign(10).await;
    let now = world.clock.now();
    row::begin_start(&pool, id, "spec", &[1; 32], now)
        .await
        .unwrap();
    row::begin_start(&pool, id, "spec", &[2; 32], now)
        .await
        .unwrap();
    assert_eq!(row::by_broker_token(&pool, &[1; 32]).await.unwrap(), None);
    let known = row::by_broker_token(&pool, &[2; 32]).await.unwrap();
    assert_eq!(known, Some((id, Some(tenant(10)), 1)));
    row::retire(&pool, id).await.unwrap();
    assert_eq!(row::by_broker_token(&pool, &[2; 32]).await.unwrap(), None);
}

#[sqlx::test(migrations = "../migrations", fixtures("../fixtures/tenants.sql"))]
async fn what_an_agent_was_told_is_unknown_once_its_files_or_our_tables_are_another_times(
    pool: PgPool,
) {
    let id = World::new(pool.clone()).assign(10).await;
    let told = async || row::conversation::told(&pool, id).await.unwrap();
    let tell = async || row::conversation::tell(&pool, id, "guest").await.unwrap();
    assert_eq!(told().await, None, "it is new");
    tell().await;
    assert_eq!(told().await.as_deref(), Some("guest"));
    row::saved::put_back(&pool, id, 1).await.unwrap();
    assert_eq!(told().await, None);
    tell().await;
    row::saved::all_are_old(&pool).await.unwrap();
    assert_eq!(told().await, None);
}
