//! Postgres: reached, migrated as far as this program, and sealed with our key.

use std::collections::HashMap;

use sqlx::{PgPool, migrate::Migrate};

use super::{
    facts::Facts,
    finding::{Found, fail, ok, skip, warn},
};
use crate::{MIGRATOR, seal::Opener};

/// Postgres' own code.
const UNDEFINED_TABLE: &str = "42P01";
const MIGRATE: &str = "Run `clawkaka migrate`.";

pub async fn postgres(facts: &Facts) -> Result<Found, Found> {
    Ok(match facts.try_db().await {
        Ok(db) => match sqlx::query_scalar!(r#"select 1 as "one!""#)
            .fetch_one(db)
            .await
        {
            Ok(_) => ok("Postgres answers."),
            Err(error) => fail(
                format!("Postgres does not answer: {error}."),
                "Look at Postgres' own log.",
            ),
        },
        Err(error) => fail(
            format!("Postgres is not reached: {error}."),
            "Start it, or mend DATABASE_URL: user, password, host, port, name of the database.",
        ),
    })
}

pub async fn migrations(facts: &Facts) -> Result<Found, Found> {
    let db = facts.db().await?;
    let applied = applied(db).await;
    Ok(match applied {
        Ok(applied) => judge_migrations(&applied),
        Err(error) if is_missing_table(&error) => fail(
            "The database is empty: no migration has been applied.",
            MIGRATE,
        ),
        Err(error) => fail(
            format!(
                "The database does not say which migrations it has: {}.",
                error.root_cause()
            ),
            "Look at the rights of the user in DATABASE_URL.",
        ),
    })
}

fn is_missing_table(error: &anyhow::Error) -> bool {
    let database = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<sqlx::Error>())
        .find_map(sqlx::Error::as_database_error);
    database.and_then(|error| error.code()).as_deref() == Some(UNDEFINED_TABLE)
}

/// Versions with their checksums; the checksum is missing where one began and did not end.
type Applied = HashMap<i64, Option<Vec<u8>>>;

async fn applied(db: &PgPool) -> anyhow::Result<Applied> {
    let mut db = db.acquire().await?;
    let table = MIGRATOR.table_name.as_ref();
    let listed = db.list_applied_migrations(table).await?;
    let dirty = db.dirty_version(table).await?;
    let mut applied: Applied = listed
        .into_iter()
        .map(|one| (one.version, Some(one.checksum.into_owned())))
        .collect();
    if let Some(version) = dirty {
        applied.insert(version, None);
    }
    Ok(applied)
}

fn judge_migrations(applied: &Applied) -> Found {
    let mut missing = Vec::new();
    for one in MIGRATOR.iter() {
        match applied.get(&one.version) {
            None => missing.push(one.version.to_string()),
            Some(None) => {
                return fail(
                    format!("Migration {} began and did not end.", one.version),
                    "Look at Postgres' log why, and restore the backup from before it.",
                );
            }
            Some(Some(checksum)) if **checksum != *one.checksum => {
                return fail(
                    format!(
                        "Migration {} is another one than this program's.",
                        one.version
                    ),
                    "This database belongs to another program or version: mend DATABASE_URL.",
                );
            }
            Some(Some(_)) => {}
        }
    }
    if !missing.is_empty() {
        return fail(
            format!("Migrations {} are missing.", missing.join(", ")),
            MIGRATE,
        );
    }
    let newest = MIGRATOR.iter().map(|one| one.version).max().unwrap_or(0);
    match applied.keys().max() {
        Some(&theirs) if theirs > newest => warn(
            format!("The database is newer ({theirs}) than this program ({newest}); that works."),
            "Finish the upgrade: start the newer program everywhere.",
        ),
        _ => ok(format!(
            "All {} migrations are applied.",
            MIGRATOR.iter().count()
        )),
    }
}

pub async fn keys(facts: &Facts) -> Result<Found, Found> {
    let Some(master) = facts.master() else {
        return Err(skip("This process has no key that reads."));
    };
    let db = facts.db().await?;
    let sealed = sealed(db).await;
    let sealed = sealed.map_err(|error| skip(format!("Nothing sealed can be read: {error}.")))?;
    let opener = Opener::new(master);
    let opens = |sealed: &Option<Vec<u8>>| sealed.as_ref().map(|value| opener.open(value).is_ok());
    Ok(judge_keys(opens(&sealed.by_web), opens(&sealed.by_worker)))
}

/// The latest of what each of the two roles sealed.
struct Sealed {
    by_web: Option<Vec<u8>>,
    by_worker: Option<Vec<u8>>,
}

async fn sealed(db: &PgPool) -> sqlx::Result<Sealed> {
    sqlx::query_as!(
        Sealed,
        "select (select body from inbox where body is not null order by id desc limit 1) as by_web,
                (select address from tenant_address order by tenant_id desc limit 1) as by_worker"
    )
    .fetch_one(db)
    .await
}

fn judge_keys(by_web: Option<bool>, by_worker: Option<bool>) -> Found {
    match (by_web, by_worker) {
        (None, None) => ok("Nothing is sealed yet, so every key fits."),
        (Some(false), Some(true)) => fail(
            "The worker's key does not open what web seals.",
            "Give web the CLAWKAKA_SEALING_KEY that `clawkaka keys` prints here, and restart it.",
        ),
        (Some(false), _) | (_, Some(false)) => fail(
            "CLAWKAKA_MASTER_KEY does not open what is stored.",
            "Put back the key this database was filled with: it is in the backup of settings.env.",
        ),
        _ => ok("The master key opens what is stored."),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    fn all() -> Applied {
        let one = |one: &sqlx::migrate::Migration| (one.version, Some(one.checksum.to_vec()));
        MIGRATOR.iter().map(one).collect()
    }

    #[test]
    fn missing_broken_and_foreign_migrations_fail_and_newer_ones_warn() {
        let with = |version, checksum| {
            let mut applied = all();
            applied.insert(version, checksum);
            judge_migrations(&applied).verdict
        };
        let mut missing = all();
        missing.remove(&3);
        assert_eq!(judge_migrations(&all()).verdict, Verdict::Ok);
        assert_eq!(judge_migrations(&missing).verdict, Verdict::Fail);
        assert_eq!(with(2, None), Verdict::Fail);
        assert_eq!(with(2, Some(vec![1])), Verdict::Fail);
        assert_eq!(with(9_999, Some(vec![1])), Verdict::Warn);
    }

    #[sqlx::test(migrations = false)]
    async fn a_database_without_any_migration_is_known_as_such(db: PgPool) {
        let error = applied(&db).await.unwrap_err();
        assert!(is_missing_table(&error), "{error:#}");
    }

    #[test]
    fn whoever_sealed_with_another_key_is_named() {
        assert_eq!(judge_keys(None, None).verdict, Verdict::Ok);
        assert_eq!(judge_keys(Some(true), Some(true)).verdict, Verdict::Ok);
        let of_web = judge_keys(Some(false), Some(true));
        assert!(of_web.what.contains("what web seals"), "{}", of_web.what);
        assert_eq!(judge_keys(Some(false), None).verdict, Verdict::Fail);
        assert_eq!(judge_keys(Some(true), Some(false)).verdict, Verdict::Fail);
    }
}
