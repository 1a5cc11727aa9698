//! Brings a whole deployment back, while nothing serves it: the tables from an export, and rows that
//! ask the worker to put every sandbox's files back.
//!
//! The tables end with three things done that the export cannot know: what was open when it was made
//! is settled, so that nobody is answered twice ([`Open`]); who was erased since is erased again;
//! and every sandbox waits for its files, so that no agent starts without its memory. Until all that
//! is committed the schema `unfinished` stands in the database, and `serve` refuses it
//! (`migrate::require_current`): run again, a restore begins anew.

use anyhow::{Context, bail, ensure};
use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection, PgPool, migrate::Migrator};

use super::{
    database::{self, Manifest},
    row::{self, Kind, Wish},
    seal::BackupKey,
    store::{self, Object, Store},
    tombstone,
};
use crate::{
    inbox, lease, line,
    migrate::{self, Patience},
    outbox,
    sandbox::row::saved,
    turn,
};

/// What becomes of messages that the export found open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Open {
    /// The deployment ran on after it: for all we know they were answered.
    WasDone,
    /// Nothing ran after it: they are answered now.
    GoesOn,
}

/// What a restore brought back.
#[derive(Clone, Debug)]
pub struct Restored {
    pub manifest: Manifest,
    pub people: i64,
    pub sandboxes: usize,
    /// Open messages that are not answered any more, and answers that are not sent any more.
    pub settled: u64,
    /// People who were erased after it was made.
    pub erased_again: u64,
}

/// The newest export, or the newest of before then.
pub async fn choose(
    store: &Store,
    before: Option<DateTime<Utc>>,
) -> anyhow::Result<Option<Object>> {
    let found = store.list(store::DATABASE).await?;
    let mut found = found.into_iter();
    Ok(found.find(|object| before.is_none_or(|before| object.at <= before)))
}

/// Why a database may not be filled; None: it may.
pub async fn obstacle(db: &PgPool) -> anyhow::Result<Option<&'static str>> {
    if is_unfinished(db).await? {
        return Ok(None);
    }
    let has = async |table: &'static str| -> anyhow::Result<bool> {
        let found = sqlx::query_scalar!(
            r#"select to_regclass('public.' || $1) is not null as "found!""#,
            table
        );
        found.fetch_one(db).await.context("look at the database")
    };
    if has("worker").await? && !lease::live(db).await?.is_empty() {
        return Ok(Some("A worker is running on it."));
    }
    if has("tenant").await? && has("inbox").await? && !is_empty(db).await? {
        return Ok(Some("The database is not empty."));
    }
    Ok(None)
}

async fn is_empty(db: &PgPool) -> anyhow::Result<bool> {
    sqlx::query_scalar!(
        r#"select not exists (select from tenant) and not exists (select from inbox) as "empty!""#
    )
    .fetch_one(db)
    .await
    .context("look at the database")
}

/// A restore that was begun and has not ended.
pub async fn is_unfinished(db: impl sqlx::PgExecutor<'_>) -> anyhow::Result<bool> {
    sqlx::query_scalar!(r#"select to_regnamespace('unfinished') is not null as "unfinished!""#)
        .fetch_one(db)
        .await
        .context("look for an unfinished restore")
}

/// Fills an empty database. Safe to run again after it was interrupted.
pub async fn bring_back(
    db: &PgPool,
    migrator: &Migrator,
    store: &Store,
    key: &BackupKey,
    name: &str,
    open: Open,
    now: DateTime<Utc>,
) -> anyhow::Result<Restored> {
    let manifest = database::manifest(store, key, name).await?;
    let stones = tombstone::stored(store, key).await?;
    let upto = database::migrations_of(migrator, &manifest)?;
    begin_anew(db).await?;
    let patience = Patience {
        attempts: 1,
        ..Patience::default()
    };
    migrate::run(db, &upto, patience, |_| {}).await?;
    fill(db, store, key, name, &manifest).await?;
    migrate::run(db, migrator, patience, |_| {}).await?;

    let mut tx = db.begin().await.context("end a restore")?;
    let mut settled = outbox::leave::settle_half_sent(&mut *tx, now).await?;
    settled += turn::settle_restored(&mut *tx, open == Open::GoesOn, now).await?;
    if open == Open::WasDone {
        settled += inbox::leave::settle_restored(&mut *tx, now).await?;
        settled += outbox::leave::settle_waiting(&mut *tx, now).await?;
        line::cursor::begin_all_anew(&mut *tx, now).await?;
    }
    row::settle_restored(&mut *tx, now).await?;
    let erased_again = tombstone::apply(&mut tx, &stones, now).await?;
    saved::all_are_old(&mut *tx).await?;
    let sandboxes = saved::all(&mut *tx).await?;
    for sandbox in &sandboxes {
        let wish = Wish {
            kind: Kind::Restore,
            parent: None,
            sandbox: Some(*sandbox),
            object: None,
            actor: None,
        };
        row::ask(&mut *tx, &wish, now).await?;
    }
    let people = crate::tenant::count(&mut *tx).await?;
    sqlx::query!("drop schema unfinished cascade")
        .execute(&mut *tx)
        .await
        .context("end a restore")?;
    tx.commit().await.context("end a restore")?;
    Ok(Restored {
        manifest,
        people,
        sandboxes: sandboxes.len(),
        settled,
        erased_again,
    })
}

/// Throws away what stands in an empty database, and marks it.
async fn begin_anew(db: &PgPool) -> anyhow::Result<()> {
    if let Some(why) = obstacle(db).await? {
        bail!("{why}");
    }
    let mut tx = db.begin().await.context("begin a restore")?;
    for statement in [
        "create schema if not exists unfinished",
        "drop schema public cascade",
        "create schema public",
    ] {
        let done = sqlx::raw_sql(statement).execute(&mut *tx).await;
        done.context("empty the database: its user must own it")?;
    }
    tx.commit().await.context("begin a restore")
}

/// On a connection of its own: statements that were prepared for other tables mean nothing here.
async fn fill(
    db: &PgPool,
    store: &Store,
    key: &BackupKey,
    name: &str,
    manifest: &Manifest,
) -> anyhow::Result<()> {
    let options = db.connect_options();
    let mut connection = PgConnection::connect_with(&options).await?;
    let mut tx = connection.begin().await.context("fill the tables")?;
    database::import(&mut tx, store, key, name, manifest).await?;
    ensure!(
        is_unfinished(&mut *tx).await?,
        "another restore has ended meanwhile"
    );
    tx.commit().await.context("fill the tables")?;
    let _ = connection.close().await;
    Ok(())
}
