//! Our tables in whatever database DATABASE_URL names: which there are, who uses them, away with them.

use anyhow::Context;
use sqlx::{AssertSqlSafe, PgConnection, PgPool};

use crate::{MIGRATOR, lease, migrate, operator::answer::Refusal, presence};

/// Everything our migrations make, and their own record. Never anything else of the schema.
const TABLES: [&str; 25] = [
    "allowed",
    "backup",
    "blocked",
    "event",
    "frozen",
    "inbox",
    "invite",
    "line",
    "media",
    "outbox",
    "presence",
    "receipt",
    "reminder",
    "sandbox",
    "tenant",
    "tenant_address",
    "tombstone",
    "turn",
    "unserved_group",
    "upgrade",
    "upgrade_sandbox",
    "upload",
    "usage",
    "worker",
    "_sqlx_migrations",
];
const VIEWS: [&str; 1] = ["frozen_tenant"];
const FUNCTIONS: [&str; 1] = ["event_is_append_only"];
/// Somebody else who holds a lock on a table of ours is told, not waited for.
const LOCK_TIMEOUT: &str = "set local lock_timeout = '10s'";
/// Postgres' codes for that, and for somebody else's view on a table of ours.
const LOCK_NOT_AVAILABLE: &str = "55P03";
const OTHERS_DEPEND: &str = "2BP01";

/// Of the tables; all empty where they are not ours.
#[derive(Default)]
pub struct Database {
    pub tables: Vec<String>,
    pub people: i64,
    pub messages: i64,
}

pub async fn look(db: &PgPool) -> anyhow::Result<Database> {
    if !migrate::are_tables_ours(db, &MIGRATOR).await? {
        return Ok(Database::default());
    }
    let tables = existing(db, &TABLES, &[]).await?;
    let has = |name: &str| tables.iter().any(|table| table == name);
    let people = match has("tenant") {
        true => {
            let count = sqlx::query_scalar!(r#"select count(*) as "count!" from tenant"#);
            count.fetch_one(db).await.context("count people")?
        }
        false => 0,
    };
    let messages = match has("inbox") {
        true => {
            let count = sqlx::query_scalar!(
                r#"select count(*) as "count!" from inbox where kind = 'message'"#
            );
            count.fetch_one(db).await.context("count messages")?
        }
        false => 0,
    };
    Ok(Database {
        tables,
        people,
        messages,
    })
}

/// Which of these are there, in the schema in which `migrate` makes them.
async fn existing(db: &PgPool, tables: &[&str], functions: &[&str]) -> anyhow::Result<Vec<String>> {
    let owned = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    sqlx::query_scalar!(
        r#"select relname::text as "name!" from pg_class
           where relnamespace = current_schema()::regnamespace and relname::text = any($1)
           union all
           select proname::text from pg_proc
           where pronamespace = current_schema()::regnamespace and proname::text = any($2)
           order by 1"#,
        &owned(tables),
        &owned(functions),
    )
    .fetch_all(db)
    .await
    .context("look for our tables")
}

pub async fn refuse_while_it_runs(db: &mut PgConnection, found: &Database) -> anyhow::Result<()> {
    let has = |name: &str| found.tables.iter().any(|table| table == name);
    let worker = has("worker") && !lease::live(&mut *db).await?.is_empty();
    let web = has("presence") && presence::is_live(&mut *db).await?;
    let (code, who) = match (worker, web) {
        (true, _) => ("worker-alive", "worker"),
        (_, true) => ("web-alive", "web"),
        _ => return Ok(()),
    };
    Err(Refusal {
        code,
        what: format!("A {who} is alive, and would make again what is removed: stop serve first."),
        todo: "Stop `clawkaka serve`, everywhere. Up to ten seconds after its end it still counts as alive.",
    }
    .into())
}

/// All or none.
pub async fn drop_all(db: &PgPool, found: &Database) -> anyhow::Result<()> {
    if found.tables.is_empty() {
        return Ok(());
    }
    let all = existing(db, &[&VIEWS[..], &found_names(found)].concat(), &FUNCTIONS).await?;
    let of = |names: &[&str]| -> Vec<String> {
        let kept = names
            .iter()
            .filter(|name| all.iter().any(|one| one == *name));
        kept.map(|name| format!("\"{name}\"")).collect()
    };
    let mut tx = db.begin().await.context("begin to drop our tables")?;
    sqlx::raw_sql(LOCK_TIMEOUT)
        .execute(&mut *tx)
        .await
        .context("bound the wait for locks")?;
    // Whoever started meanwhile would find its tables gone.
    refuse_while_it_runs(&mut tx, found).await?;
    let steps = [
        ("view", of(&VIEWS), ""),
        ("table", of(&TABLES), ""),
        ("function", of(&FUNCTIONS), "()"),
    ];
    for (kind, names, arguments) in steps {
        if names.is_empty() {
            continue;
        }
        let names = names.join(&format!("{arguments}, "));
        let statement = AssertSqlSafe(format!("drop {kind} {names}{arguments}"));
        let dropped = sqlx::raw_sql(statement).execute(&mut *tx).await;
        dropped.map_err(refused)?;
    }
    tx.commit().await.context("commit that our tables are gone")
}

fn found_names(found: &Database) -> Vec<&str> {
    found.tables.iter().map(String::as_str).collect()
}

fn refused(error: sqlx::Error) -> anyhow::Error {
    let said = error.as_database_error();
    let code = said.and_then(|error| error.code()).unwrap_or_default();
    let (code, todo) = match &*code {
        LOCK_NOT_AVAILABLE => (
            "tables-in-use",
            "`select * from pg_stat_activity` shows by whom. Then run this again.",
        ),
        OTHERS_DEPEND => (
            "others-depend",
            "Somebody made something of their own on our tables: drop that, then run this again.",
        ),
        _ => return anyhow::Error::new(error).context("drop our tables"),
    };
    let what = said
        .map(|error| error.message().to_owned())
        .unwrap_or_default();
    Refusal {
        code,
        what: format!("Docker is empty of ours; the tables are all still there: {what}."),
        todo,
    }
    .into()
}
