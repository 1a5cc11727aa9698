//! Brings the database up to date, and says whether it is.
//!
//! Programs and database change one after the other, so each works beside its neighbour: a
//! migration adds what the program before it can ignore (expand), and a later one takes away what
//! no program reads any more (contract). An old program therefore runs on a newer database; a new
//! program refuses an older one. And because messages go on coming in meanwhile, a migration never
//! makes others queue behind it: it gives up a lock soon and tries again.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use sqlx::{
    Connection, PgConnection, PgPool,
    migrate::{AppliedMigration, Migrate, MigrateError, Migrator},
};

use crate::backup::whole;

/// Postgres' code for `lock_timeout`.
const LOCK_NOT_AVAILABLE: &str = "55P03";
/// Postgres' code for `statement_timeout`.
const QUERY_CANCELED: &str = "57014";
const UNDEFINED_TABLE: &str = "42P01";

/// How long a migration may be in the way of others, and how often it tries.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Whoever needs the table waits behind us for as long as we wait for it.
    pub lock: Duration,
    /// A step that expands takes milliseconds; what takes longer holds the table for too long.
    pub statement: Duration,
    pub attempts: u32,
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            lock: Duration::from_secs(5),
            statement: Duration::from_secs(60),
            attempts: 12,
            pause: Duration::from_secs(5),
        }
    }
}

/// Applies what is missing. What a newer program applied is left alone. `tell` hears of every
/// attempt that has to be repeated.
pub async fn run(
    db: &PgPool,
    migrator: &Migrator,
    patience: Patience,
    mut tell: impl FnMut(&str),
) -> anyhow::Result<()> {
    let migrator = tolerant(migrator);
    for attempt in 1.. {
        let Err(error) = attempt_once(db, &migrator, patience).await? else {
            break;
        };
        match code(&error).as_deref() {
            Some(LOCK_NOT_AVAILABLE) if attempt < patience.attempts => {
                let of = patience.attempts;
                tell(&format!(
                    "the database is busy, another session holds a lock: trying again ({attempt} of {of})"
                ));
                tokio::time::sleep(patience.pause).await;
            }
            Some(LOCK_NOT_AVAILABLE) => bail!(
                "gave up after {attempt} attempts: another session holds a lock on a table to change, or is \
                 migrating. Nothing was changed by the step that waited. `select * from pg_stat_activity where \
                 state <> 'idle'` shows who it is; when it has ended, run this again ({error})"
            ),
            Some(QUERY_CANCELED) => bail!(
                "a step took longer than {:?} and was undone, so that messages go on coming in ({error})",
                patience.statement
            ),
            _ => return Err(error).context("migrate the database"),
        }
    }
    Ok(())
}

/// On a connection of its own, which takes its locks and timeouts with it.
async fn attempt_once(
    db: &PgPool,
    migrator: &Migrator,
    patience: Patience,
) -> anyhow::Result<Result<(), MigrateError>> {
    let milliseconds = |limit: Duration| limit.as_millis().to_string();
    let options = db.connect_options().as_ref().clone().options([
        ("lock_timeout", milliseconds(patience.lock)),
        ("statement_timeout", milliseconds(patience.statement)),
    ]);
    let mut connection = PgConnection::connect_with(&options)
        .await
        .context("connect to Postgres (DATABASE_URL)")?;
    let done = migrator.run(&mut connection).await;
    // Whether the farewell arrives makes no difference to what was done.
    let _ = connection.close().await;
    Ok(done)
}

/// Refuses a database that lacks a migration this program was written for; one that has more will do.
pub async fn require_current(db: &PgPool, migrator: &Migrator) -> anyhow::Result<()> {
    let applied = applied(db, migrator).await?;
    ensure!(
        !whole::is_unfinished(db).await?,
        "a restore of this database was begun and has not ended: run `clawkaka restore` again"
    );
    let lacking: Vec<_> = migrator
        .iter()
        .filter(|known| !applied.iter().any(|one| one.version == known.version))
        .map(|known| format!("{:04} ({})", known.version, known.description))
        .collect();
    ensure!(
        lacking.is_empty(),
        "the database is older than this program: it lacks {}. Run `clawkaka migrate`, then start this again",
        lacking.join(", ")
    );
    Ok(())
}

/// Whether this program's migrations made the tables there are: their names alone may be anybody's.
pub async fn are_tables_ours(db: &PgPool, migrator: &Migrator) -> anyhow::Result<bool> {
    let applied = applied(db, migrator).await?;
    let first = migrator.iter().next();
    Ok(first.is_some_and(|first| {
        applied
            .iter()
            .any(|one| one.version == first.version && one.checksum == first.checksum)
    }))
}

async fn applied(db: &PgPool, migrator: &Migrator) -> anyhow::Result<Vec<AppliedMigration>> {
    let mut connection = db.acquire().await.context("connect to Postgres")?;
    match connection
        .list_applied_migrations(&migrator.table_name)
        .await
    {
        Ok(applied) => Ok(applied),
        Err(error) if code(&error).as_deref() == Some(UNDEFINED_TABLE) => Ok(Vec::new()),
        Err(error) => Err(error).context("read which migrations the database has"),
    }
}

/// The same migrations, on a database that may have newer ones.
fn tolerant(migrator: &Migrator) -> Migrator {
    let mut tolerant = Migrator::with_migrations(migrator.iter().cloned().collect());
    tolerant.set_ignore_missing(true);
    tolerant
}

/// Postgres' own code of what went wrong.
fn code(error: &MigrateError) -> Option<String> {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return None;
    };
    Some(error.as_database_error()?.code()?.into_owned())
}
