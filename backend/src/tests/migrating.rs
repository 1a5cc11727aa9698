//! An upgrade of ours: the database first, then the programs, and messages come in all the while.

use std::time::Duration;

use sqlx::{
    PgPool, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
};
use tokio::sync::Notify;

use crate::{
    MIGRATOR,
    migrate::{Patience, require_current, run},
};

const QUICK: Patience = Patience {
    lock: Duration::from_millis(50),
    statement: Duration::from_secs(20),
    attempts: 2,
    pause: Duration::from_millis(1),
};

/// The next release: everything there is, and a column more.
fn next_release() -> Migrator {
    let column = Migration::new(
        9001,
        "a column more".into(),
        MigrationType::Simple,
        "alter table turn add column more int".into_sql_str(),
        false,
    );
    Migrator::with_migrations(MIGRATOR.iter().cloned().chain([column]).collect())
}

async fn has_the_column(db: &PgPool) -> bool {
    let found: Option<i32> = sqlx::query_scalar(
        "select 1 from information_schema.columns where table_name = 'turn' and column_name = 'more'",
    )
    .fetch_optional(db)
    .await
    .unwrap();
    found.is_some()
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_migration_that_finds_a_lock_gives_up_and_works_once_the_lock_is_gone(db: PgPool) {
    let mut reader = db.begin().await.unwrap();
    let locked = sqlx::raw_sql("lock table turn in access share mode");
    locked.execute(&mut *reader).await.unwrap();

    let mut told = Vec::new();
    let given_up = run(&db, &next_release(), QUICK, |text| {
        told.push(text.to_owned())
    })
    .await;
    let why = given_up.unwrap_err().to_string();
    assert!(why.contains("gave up after 2 attempts"), "{why}");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(!has_the_column(&db).await);

    reader.rollback().await.unwrap();
    run(&db, &next_release(), QUICK, |_| {}).await.unwrap();
    assert!(has_the_column(&db).await);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_migration_goes_through_by_itself_when_the_lock_goes_away(db: PgPool) {
    let mut reader = db.begin().await.unwrap();
    let locked = sqlx::raw_sql("lock table turn in access share mode");
    locked.execute(&mut *reader).await.unwrap();
    let waited = Notify::new();

    let patient = Patience {
        attempts: 1000,
        ..QUICK
    };
    let next = next_release();
    let migrated = run(&db, &next, patient, |_| waited.notify_one());
    let reading = async {
        waited.notified().await;
        reader.rollback().await.unwrap();
    };
    let (migrated, ()) = tokio::join!(migrated, reading);
    migrated.unwrap();
    assert!(has_the_column(&db).await);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_step_that_takes_too_long_is_undone_and_says_so(db: PgPool) {
    let slow = Migration::new(
        9001,
        "slow".into(),
        MigrationType::Simple,
        "alter table turn add column more int; select pg_sleep(600)".into_sql_str(),
        false,
    );
    let slow = Migrator::with_migrations(MIGRATOR.iter().cloned().chain([slow]).collect());
    let hasty = Patience {
        statement: Duration::from_millis(100),
        ..QUICK
    };
    let why = run(&db, &slow, hasty, |_| {})
        .await
        .unwrap_err()
        .to_string();
    assert!(why.contains("took longer than 100ms"), "{why}");
    assert!(!has_the_column(&db).await);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn an_old_program_runs_on_a_newer_database(db: PgPool) {
    run(&db, &next_release(), QUICK, |_| {}).await.unwrap();

    require_current(&db, &MIGRATOR).await.unwrap();
    run(&db, &MIGRATOR, QUICK, |_| {}).await.unwrap();
    assert!(has_the_column(&db).await);
}

#[sqlx::test(migrator = "MIGRATOR")]
async fn a_new_program_refuses_an_older_database_and_says_what_to_do(db: PgPool) {
    let refused = require_current(&db, &next_release()).await;
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("lacks 9001 (a column more)"), "{why}");
    assert!(why.contains("Run `clawkaka migrate`"), "{why}");

    run(&db, &next_release(), QUICK, |_| {}).await.unwrap();
    require_current(&db, &next_release()).await.unwrap();
}

#[sqlx::test(migrations = false)]
async fn a_program_refuses_a_database_without_any_tables(db: PgPool) {
    let refused = require_current(&db, &MIGRATOR).await;
    let why = refused.unwrap_err().to_string();
    assert!(why.contains("lacks 0001 (worker), 0002"), "{why}");

    run(&db, &MIGRATOR, QUICK, |_| {}).await.unwrap();
    require_current(&db, &MIGRATOR).await.unwrap();
}
