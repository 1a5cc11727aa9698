//! The floor of everything that is stored: one row, inserted and committed by pgbench, on the very
//! Postgres that the product uses.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;

use crate::{command::output, postgres::Postgres};

/// Both cores, as far as pgbench can use them.
const THREADS: &str = "2";

pub struct Pgbench<'a> {
    postgres: &'a Postgres,
    folder: PathBuf,
}

impl<'a> Pgbench<'a> {
    /// A table with a key and a body of this size, and nothing else: no index, no name, no check.
    pub async fn prepare(
        postgres: &'a Postgres,
        folder: PathBuf,
        body_bytes: usize,
    ) -> anyhow::Result<Self> {
        let make =
            "create table floor (id bigint generated always as identity primary key, body bytea)";
        // As the product's role, whose table it becomes.
        let mut psql = postgres.client("psql")?;
        psql.args(["-Xq", "-v", "ON_ERROR_STOP=1", "-c", make]);
        output(psql, b"").await.context("make the floor's table")?;
        fs::create_dir_all(&folder)?;
        let body = format!(
            "insert into floor (body) values (convert_to(repeat('x', {body_bytes}), 'utf8'));\n"
        );
        fs::write(folder.join("insert.sql"), body).context("write pgbench's script")?;
        Ok(Self { postgres, folder })
    }

    /// Single-row inserts a second.
    pub async fn at_once(&self, clients: usize, lasting: Duration) -> anyhow::Result<f64> {
        let printed = self.run(clients, lasting, &[]).await?;
        let line = printed
            .lines()
            .find_map(|line| line.strip_prefix("tps = "))
            .with_context(|| format!("read what pgbench says: {printed}"))?;
        let number = line.split(' ').next().unwrap_or_default();
        number.parse().context("read pgbench's rate")
    }

    /// How long each took, in milliseconds, counted from when it was to begin.
    pub async fn at_rate(
        &self,
        per_second: u32,
        clients: usize,
        lasting: Duration,
    ) -> anyhow::Result<Vec<f64>> {
        let logs = self.folder.join("log");
        // It writes one file per thread.
        let _ = fs::remove_dir_all(&logs);
        fs::create_dir_all(&logs)?;
        let prefix = format!("--log-prefix={}", logs.join("one").display());
        let rate = format!("--rate={per_second}");
        self.run(clients, lasting, &["--log", &prefix, &rate])
            .await?;
        let mut samples = Vec::new();
        for log in fs::read_dir(&logs)? {
            for line in fs::read_to_string(log?.path())?.lines() {
                // client, transaction, microseconds, …
                let field = line.split(' ').nth(2).context("read pgbench's log")?;
                samples.push(field.parse::<f64>().context("read a latency")? / 1000.0);
            }
        }
        anyhow::ensure!(!samples.is_empty(), "pgbench did nothing");
        Ok(samples)
    }

    async fn run(
        &self,
        clients: usize,
        lasting: Duration,
        more: &[&str],
    ) -> anyhow::Result<String> {
        let mut pgbench = self.postgres.client("pgbench")?;
        pgbench
            .args(["--no-vacuum", "--protocol=prepared", "--jobs", THREADS])
            .args(["--client", &clients.to_string()])
            .args(["--time", &lasting.as_secs().max(1).to_string()])
            .args(more)
            .arg("--file")
            .arg(self.folder.join("insert.sql"));
        let printed = output(pgbench, b"").await.context("run pgbench")?;
        Ok(String::from_utf8_lossy(&printed).into_owned())
    }
}
