//! Every table into the store, and back into an empty database.
//!
//! The tables are read with `COPY` in one transaction that sees one moment. All are taken but those
//! that say who is at work just now ([`LEFT_OUT`]), so that a new table is never forgotten. The
//! archive names the migrations that made the tables: a restore applies just those, fills the
//! tables, and then applies the rest, so that an old backup ends as a database of today.

use std::io::{self, Read, Write};

use anyhow::{Context, ensure};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use serde::{Deserialize, Serialize};
use sqlx::{Connection, PgConnection, PgPool, migrate::Migrator};
use tokio::sync::mpsc;

use super::{pipe, seal::BackupKey, store::Store};

/// Who works now, since when webhooks are received, and which image is moved to on this machine: the
/// next deployment's own.
const LEFT_OUT: [&str; 5] = [
    "_sqlx_migrations",
    "worker",
    "presence",
    "upgrade",
    "upgrade_sandbox",
];
const MANIFEST: &str = "clawkaka.json";
/// A piece of a table in the archive, which must know its size beforehand.
const PIECE: usize = 1 << 20;
const MAX_PIECE: u64 = 64 << 20;
const PIECES: usize = 4;

/// What the archive is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// `database`.
    pub kind: String,
    pub taken_at: DateTime<Utc>,
    /// The last migration that had been applied.
    pub migration: i64,
    /// In an order in which each can be filled: what a table refers to comes before it.
    pub tables: Vec<Table>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub name: String,
    pub columns: Vec<String>,
}

/// What was stored.
#[derive(Clone, Copy, Debug, Default)]
pub struct Exported {
    pub rows: u64,
    pub bytes: u64,
    pub stored_bytes: u64,
}

/// Stores every table as of one moment.
pub async fn export(
    db: &PgPool,
    store: &Store,
    key: &BackupKey,
    name: &str,
    now: DateTime<Utc>,
) -> anyhow::Result<Exported> {
    let mut connection = db.acquire().await.context("export the tables")?;
    // Dropped without a commit: it only reads.
    let mut tx = connection
        .begin_with("begin isolation level repeatable read read only")
        .await
        .context("export the tables")?;
    let manifest = Manifest {
        kind: "database".to_owned(),
        taken_at: now,
        migration: last_migration(&mut tx).await?,
        tables: tables(&mut tx).await?,
    };
    let (to, from) = mpsc::channel(PIECES);
    let names = manifest.tables.clone();
    let reading = async move {
        let mut exported = Exported::default();
        for (number, table) in names.iter().enumerate() {
            if let Err(error) = send(&mut tx, number, table, &to, &mut exported).await {
                let _ = to
                    .send(Err(io::Error::other("the tables could not be read")))
                    .await;
                return Err(error);
            }
        }
        anyhow::Ok(exported)
    };
    let writing = pipe::write(store, key, name, move |out| {
        pack(from, out, &manifest).context("pack the tables")
    });
    let (exported, written) = tokio::join!(reading, writing);
    match (exported, written) {
        (Ok(exported), Ok(written)) => {
            let stored_bytes = written.stored_bytes;
            written.keep().await?;
            Ok(Exported {
                stored_bytes,
                ..exported
            })
        }
        (Err(error), Ok(written)) => {
            written.throw_away().await;
            Err(error)
        }
        (Ok(_), Err(error)) => Err(error),
        (Err(read), Err(error)) => Err(error.context(format!("{read:#}"))),
    }
}

type Piece = io::Result<(usize, Bytes)>;

async fn send(
    db: &mut PgConnection,
    number: usize,
    table: &Table,
    to: &mpsc::Sender<Piece>,
    exported: &mut Exported,
) -> anyhow::Result<()> {
    let what = format!("copy {} to stdout", table.with_columns());
    let mut rows = db.copy_out_raw(&what).await?;
    let mut piece = Vec::with_capacity(PIECE);
    while let Some(row) = rows.try_next().await.context("export a table")? {
        exported.rows += 1;
        exported.bytes += row.len() as u64;
        piece.extend_from_slice(&row);
        if piece.len() >= PIECE {
            to.send(Ok((number, std::mem::take(&mut piece).into())))
                .await?;
        }
    }
    if !piece.is_empty() {
        to.send(Ok((number, piece.into()))).await?;
    }
    Ok(())
}

fn pack<W: Write>(
    mut from: mpsc::Receiver<Piece>,
    to: W,
    manifest: &Manifest,
) -> anyhow::Result<(W, ())> {
    let mut builder = tar::Builder::new(to);
    let mut add = |name: &str, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o600);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, content)
    };
    add(MANIFEST, &serde_json::to_vec(manifest)?)?;
    let mut pieces = 0;
    while let Some(piece) = from.blocking_recv() {
        let (table, content) = piece?;
        add(
            &format!("{}/{pieces}", manifest.tables[table].name),
            &content,
        )?;
        pieces += 1;
    }
    Ok((builder.into_inner()?, ()))
}

/// What a stored export says of itself.
pub async fn manifest(store: &Store, key: &BackupKey, name: &str) -> anyhow::Result<Manifest> {
    let read = pipe::read(store, key, name, |from| {
        let mut archive = tar::Archive::new(&mut *from);
        let first = archive.entries()?.next().context("it is empty")??;
        let manifest = read_manifest(first)?;
        // To the end, so that a damaged one shows before anything is done with it.
        io::copy(from, &mut io::sink())?;
        Ok(manifest)
    });
    read.await.with_context(|| format!("read {name}"))
}

fn read_manifest(entry: tar::Entry<'_, impl Read>) -> anyhow::Result<Manifest> {
    ensure!(
        entry.path_bytes().as_ref() == MANIFEST.as_bytes(),
        "it has no manifest"
    );
    let manifest: Manifest = serde_json::from_reader(entry.take(MAX_PIECE))?;
    ensure!(manifest.kind == "database", "it is no export of the tables");
    Ok(manifest)
}

/// Fills the tables of an empty database that `migrator` has brought to the export's own migration.
pub async fn import(
    db: &mut PgConnection,
    store: &Store,
    key: &BackupKey,
    name: &str,
    manifest: &Manifest,
) -> anyhow::Result<()> {
    let (to, mut from) = mpsc::channel::<(String, Bytes)>(PIECES);
    let reading = pipe::read(store, key, name, move |from| {
        let mut archive = tar::Archive::new(from);
        for entry in archive.entries()?.skip(1) {
            let mut entry = entry?;
            ensure!(entry.size() <= MAX_PIECE, "a piece of a table is too large");
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let (table, _) = path.split_once('/').context("a piece of no table")?;
            let mut content = Vec::with_capacity(entry.size() as usize);
            entry.read_to_end(&mut content)?;
            if to
                .blocking_send((table.to_owned(), content.into()))
                .is_err()
            {
                // Postgres has refused, and says why.
                break;
            }
        }
        Ok(())
    });
    let filling = async {
        let mut next = from.recv().await;
        while let Some((name, _)) = next.clone() {
            let table = manifest.tables.iter().find(|table| table.name == name);
            let table = table.context("it has a piece of a table it does not name")?;
            let what = format!("copy {} from stdin", table.with_columns());
            let mut copy = db.copy_in_raw(&what).await?;
            while let Some((_, content)) = next.take_if(|(piece, _)| *piece == name) {
                copy.send(content).await?;
                next = from.recv().await;
            }
            copy.finish()
                .await
                .with_context(|| format!("fill the table {name}"))?;
        }
        drop(from);
        anyhow::Ok(())
    };
    let (filled, read) = tokio::join!(filling, reading);
    filled.context("fill the tables")?;
    read.with_context(|| format!("read {name}"))?;
    reset_sequences(db).await
}

/// The migrations up to the one that the export was taken at.
pub fn migrations_of(migrator: &Migrator, manifest: &Manifest) -> anyhow::Result<Migrator> {
    let known = migrator.iter().any(|one| one.version == manifest.migration);
    ensure!(
        known,
        "the backup is of a newer program (its last migration is {:04}): restore it with that one",
        manifest.migration
    );
    let upto = migrator
        .iter()
        .filter(|one| one.version <= manifest.migration);
    Ok(Migrator::with_migrations(upto.cloned().collect()))
}

impl Table {
    /// Names are Postgres' own, and quoted anyway.
    fn with_columns(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|name| quoted(name)).collect();
        format!("{} ({})", quoted(&self.name), columns.join(", "))
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

async fn last_migration(db: &mut PgConnection) -> anyhow::Result<i64> {
    // Made by the migrator, not by a migration, so that the checked macros do not know it.
    let last = sqlx::raw_sql(
        "select coalesce(max(version), 0) as last from _sqlx_migrations where success",
    );
    let row = last
        .fetch_one(db)
        .await
        .context("look which migrations were applied")?;
    sqlx::Row::try_get(&row, "last").context("look which migrations were applied")
}

/// All tables and what they store, those first that others refer to.
async fn tables(db: &mut PgConnection) -> anyhow::Result<Vec<Table>> {
    let rows = sqlx::query!(
        r#"select c.relname::text as "name!",
                  array_agg(a.attname::text order by a.attnum) as "columns!",
                  array(select r.relname::text from pg_constraint f join pg_class r on r.oid = f.confrelid
                        where f.conrelid = c.oid and f.contype = 'f' and r.oid <> c.oid) as "refers!"
           from pg_class c join pg_attribute a on a.attrelid = c.oid
           where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
             and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
           group by c.oid, c.relname order by c.relname"#
    )
    .fetch_all(db)
    .await
    .context("list the tables")?;
    let mut left: Vec<_> = rows
        .into_iter()
        .filter(|row| !LEFT_OUT.contains(&row.name.as_str()))
        .collect();
    let mut tables: Vec<Table> = Vec::new();
    while !left.is_empty() {
        let before = left.len();
        let waiting: Vec<_> = left.iter().map(|row| row.name.clone()).collect();
        let (ready, rest): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|row| !row.refers.iter().any(|name| waiting.contains(name)));
        tables.extend(ready.into_iter().map(|row| Table {
            name: row.name,
            columns: row.columns,
        }));
        left = rest;
        ensure!(
            left.len() < before,
            "tables refer to each other in a circle"
        );
    }
    Ok(tables)
}

/// Numbers that tables hand out go on behind those that are taken.
async fn reset_sequences(db: &mut PgConnection) -> anyhow::Result<()> {
    let statements = sqlx::query_scalar!(
        r#"select format('select setval(pg_get_serial_sequence(%L, %L), (select coalesce(max(%I), 0) + 1 from %I), false)',
                         c.relname, a.attname, a.attname, c.relname) as "statement!"
           from pg_class c join pg_attribute a on a.attrelid = c.oid
           where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attidentity <> ''"#
    )
    .fetch_all(&mut *db)
    .await
    .context("list the numbers that tables hand out")?;
    for statement in statements {
        // Postgres wrote it, of its own names.
        let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
        let set = statement.execute(&mut *db).await;
        set.context("set the numbers that tables hand out")?;
    }
    Ok(())
}
