//! Webhooks that arrive together: each is answered after its own rows, and fails only for them.

use std::{collections::HashSet, sync::Arc};

use futures_util::future::join_all;
use sqlx::{PgPool, Row};

use super::support::{Site, noon, sealer, seed_line, text, webhook};
use crate::{
    clock::Clock,
    http::batch::{Batches, batches},
    inbox::Sealed,
    whatsapp::provider::Provider,
};

/// The way into the inbox, with the clock standing.
#[expect(clippy::disallowed_methods, reason = "a test's own task")]
fn open(db: &PgPool) -> (Batches, tokio::task::JoinHandle<()>) {
    let (batches, lanes) = batches(db.clone(), Clock::manual(noon()), Arc::default());
    (batches, tokio::spawn(lanes.run()))
}

/// What a webhook with one message brings.
fn brought(wamid: &str) -> Vec<Sealed> {
    let updates = Provider::Meta
        .cut(None, &webhook(&[text(wamid, "hello")]))
        .into_iter();
    updates
        .map(|update| Sealed::new(&sealer(), Provider::Meta, update))
        .collect()
}

/// What Postgres takes from nobody: its key is too long for an index.
fn indigestible() -> Vec<Sealed> {
    let mut updates = Provider::Meta.cut(None, &webhook(&[text("wamid.1", "hello")]));
    // Of changing digits, or it would be compressed.
    let digits = (0..3_000_u64).map(|n| (n * n * 2_654_435_761 % 97_001).to_string());
    updates[0].provider_id = digits.collect();
    let updates = updates.into_iter();
    updates
        .map(|update| Sealed::new(&sealer(), Provider::Meta, update))
        .collect()
}

/// How many different values the rows have here.
async fn count(db: &PgPool, column: &'static str) -> usize {
    let rows = sqlx::raw_sql("select provider_id, xmin::text as made_by from inbox")
        .fetch_all(db)
        .await
        .unwrap();
    let values = rows.iter().map(|row| row.get::<String, _>(column));
    values.collect::<HashSet<_>>().len()
}

/// Holds up every insert until it is dropped.
async fn held_up(db: &PgPool) -> sqlx::Transaction<'static, sqlx::Postgres> {
    let mut tx = db.begin().await.unwrap();
    sqlx::raw_sql("lock table inbox in exclusive mode")
        .execute(&mut *tx)
        .await
        .unwrap();
    tx
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_comes_while_others_are_stored_is_stored_in_one_go_and_repeats_once(db: PgPool) {
    seed_line(&db).await;
    let (batches, _lanes) = open(&db);
    let held = held_up(&db).await;
    // Every message twice, and all at once.
    let all = (0..100).map(|n| batches.store(brought(&format!("wamid.{}", n / 2))));
    let release = async {
        tokio::task::yield_now().await;
        held.rollback().await.unwrap();
    };
    let (answers, ()) = tokio::join!(join_all(all), release);
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(count(&db, "provider_id").await, 50);
    let commits = count(&db, "made_by").await;
    assert!(commits <= 4, "{commits} commits for what came at once");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn one_that_postgres_does_not_take_fails_alone(db: PgPool) {
    seed_line(&db).await;
    let (batches, _lanes) = open(&db);
    let held = held_up(&db).await;
    let all = (0..20).map(|n| {
        batches.store(match n {
            7 => indigestible(),
            _ => brought(&format!("wamid.{n}")),
        })
    });
    let release = async {
        tokio::task::yield_now().await;
        held.rollback().await.unwrap();
    };
    let (answers, ()) = tokio::join!(join_all(all), release);
    let failed: Vec<_> = (0..20).filter(|n| answers[*n].is_err()).collect();
    assert_eq!(failed, [7]);
    assert_eq!(count(&db, "provider_id").await, 19);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_batch_that_fails_is_answered_503_to_all_and_stored_when_it_is_repeated(db: PgPool) {
    seed_line(&db).await;
    let site = Site::start(&db).await;
    let post =
        || join_all((0..5).map(|n| site.receive(webhook(&[text(&format!("wamid.{n}"), "hi")]))));
    let rename = |statement: &'static str| sqlx::raw_sql(statement).execute(&db);
    rename("alter table inbox rename to away").await.unwrap();
    assert_eq!(post().await, [503; 5]);
    rename("alter table away rename to inbox").await.unwrap();
    assert_eq!(count(&db, "provider_id").await, 0);
    assert_eq!(post().await, [200; 5]);
    assert_eq!(count(&db, "provider_id").await, 5);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_stop_in_the_middle_stores_what_was_let_in_and_then_ends(db: PgPool) {
    seed_line(&db).await;
    let (batches, lanes) = open(&db);
    let held = held_up(&db).await;
    let all: Vec<_> = (0..10)
        .map(|n| {
            let batches = batches.clone();
            async move { batches.store(brought(&format!("wamid.{n}"))).await }
        })
        .collect();
    // The listener is gone; who is inside still has a way in.
    drop(batches);
    let release = async {
        tokio::task::yield_now().await;
        held.rollback().await.unwrap();
    };
    let (answers, ()) = tokio::join!(join_all(all), release);
    assert!(answers.iter().all(Result::is_ok));
    lanes.await.unwrap();
    assert_eq!(count(&db, "provider_id").await, 10);
}
