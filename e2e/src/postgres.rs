//! A throwaway Postgres cluster: on loopback, with passwords, thrown away at the end.
//!
//! For a story it logs every statement, to be searched for what must not be in the log, and can be
//! killed and started again under the product; for a benchmark it runs as in production.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use sqlx::{
    AssertSqlSafe, Connection as _, PgConnection,
    postgres::{PgConnectOptions, PgPool, PgPoolOptions},
};
use tokio::{
    process::{Child, Command},
    sync::Mutex,
};
use uuid::Uuid;

use crate::{command, free_ports};

const DEBIAN: &str = "/usr/lib/postgresql";
const PRODUCT: &str = "clawkaka";
const START_WITHIN: Duration = Duration::from_secs(60);
/// How a server is set for stories.
pub const TALKATIVE: &[&str] = &[
    "shared_buffers=32MB",
    "log_statement=all",
    "log_connections=on",
];
/// As `infra/lib/postgres.sh` sets it: what a commit acknowledges is on the disk.
pub const AS_IN_PRODUCTION: &[&str] = &["fsync=on", "synchronous_commit=on", "max_connections=200"];
/// Postgres tells nobody that it accepts connections.
const TRY_EVERY: Duration = Duration::from_millis(50);

pub struct Postgres {
    folder: PathBuf,
    settings: &'static [&'static str],
    port: u16,
    /// Of the product's role; the superuser has another.
    password: String,
    superuser_password: String,
    superuser: PgConnectOptions,
    /// For the stories' own questions.
    pub db: PgPool,
    server: Mutex<Child>,
}

impl Postgres {
    /// Makes a cluster below `folder` and a database with a role of its own for the product.
    pub async fn start(folder: &Path, settings: &'static [&'static str]) -> anyhow::Result<Self> {
        let folder = folder.join("postgres");
        let superuser_password = Uuid::new_v4().simple().to_string();
        make_cluster(&folder, &superuser_password)
            .await
            .context("make a cluster")?;
        let port = free_ports(1)?;
        let superuser = PgConnectOptions::new_without_pgpass()
            .host("127.0.0.1")
            .port(port)
            .username("postgres")
            .password(&superuser_password)
            .database("postgres");
        let server = Mutex::new(spawn(&folder, port, settings)?);
        let db = superuser.clone().database(PRODUCT);
        let db = PgPoolOptions::new()
            .max_connections(4)
            .connect_lazy_with(db);
        let password = Uuid::new_v4().simple().to_string();
        let postgres = Self {
            folder,
            settings,
            port,
            password,
            superuser_password,
            superuser,
            db,
            server,
        };
        postgres
            .create_database()
            .await
            .context("create the product's database")?;
        Ok(postgres)
    }

    async fn create_database(&self) -> anyhow::Result<()> {
        let mut superuser = self.wait_until_up(&mut *self.server.lock().await).await?;
        // The password goes in as a hash, as it does from psql's \password: statements are logged.
        let role = format!("create role {PRODUCT} login");
        sqlx::query(AssertSqlSafe(role))
            .execute(&mut superuser)
            .await?;
        sqlx::query("set log_statement = 'none'")
            .execute(&mut superuser)
            .await?;
        let password = format!("alter role {PRODUCT} password '{}'", self.password);
        sqlx::query(AssertSqlSafe(password))
            .execute(&mut superuser)
            .await?;
        let database = format!("create database {PRODUCT} owner {PRODUCT}");
        sqlx::query(AssertSqlSafe(database))
            .execute(&mut superuser)
            .await?;
        Ok(())
    }

    /// The product's `DATABASE_URL`.
    pub fn url(&self) -> String {
        format!(
            "postgres://{PRODUCT}:{}@127.0.0.1:{}/{PRODUCT}",
            self.password, self.port
        )
    }

    pub fn password(&self) -> &str {
        &self.password
    }

    /// Kills the server as a lost machine would and starts it again.
    pub async fn kill_9_and_start_again(&self) -> anyhow::Result<()> {
        let mut server = self.server.lock().await;
        server.kill().await.context("kill Postgres")?;
        *server = spawn(&self.folder, self.port, self.settings)?;
        self.wait_until_up(&mut server).await?;
        Ok(())
    }

    async fn wait_until_up(&self, server: &mut Child) -> anyhow::Result<PgConnection> {
        let started = Instant::now();
        loop {
            match PgConnection::connect_with(&self.superuser).await {
                Ok(connection) => return Ok(connection),
                Err(error) if started.elapsed() > START_WITHIN => {
                    anyhow::bail!("Postgres did not start: {error}\n{}", self.log()?)
                }
                Err(_) => {}
            }
            // The processes of a killed server hold its shared memory until they notice.
            if server.try_wait().context("look at Postgres")?.is_some() {
                *server = spawn(&self.folder, self.port, self.settings)?;
            }
            tokio::time::sleep(TRY_EVERY).await;
        }
    }

    pub fn log(&self) -> anyhow::Result<String> {
        let bytes = fs::read(self.folder.join("log")).context("read Postgres' log")?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Drops the product's database and makes an empty one, as on a new machine.
    pub async fn drop_and_make_again(&self) -> anyhow::Result<()> {
        let mut superuser = PgConnection::connect_with(&self.superuser).await?;
        for statement in [
            format!("drop database {PRODUCT} with (force)"),
            format!("create database {PRODUCT} owner {PRODUCT}"),
        ] {
            let done = sqlx::query(AssertSqlSafe(statement))
                .execute(&mut superuser)
                .await;
            done.context("make the product's database anew")?;
        }
        Ok(())
    }

    /// The whole database as SQL.
    pub async fn dump(&self) -> anyhow::Result<Vec<u8>> {
        let mut dump = Command::new(binary("pg_dump")?);
        let port = self.port.to_string();
        dump.args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", PRODUCT]);
        dump.env("PGPASSWORD", &self.superuser_password);
        command::output(dump, b"").await
    }

    /// A client program, as the product's role on the product's database.
    pub fn client(&self, program: &str) -> anyhow::Result<Command> {
        let mut client = Command::new(binary(program)?);
        client
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.port.to_string())
            .env("PGUSER", PRODUCT)
            .env("PGPASSWORD", &self.password)
            .env("PGDATABASE", PRODUCT);
        Ok(client)
    }

    /// One number, for stories that count rows.
    pub async fn count(&self, query: &'static str) -> anyhow::Result<i64> {
        sqlx::query_scalar(query)
            .fetch_one(&self.db)
            .await
            .with_context(|| query)
    }

    /// Changes rows that nothing of the product's own changes yet.
    pub async fn execute(&self, statement: &'static str) -> anyhow::Result<()> {
        sqlx::query(statement)
            .execute(&self.db)
            .await
            .with_context(|| statement)?;
        Ok(())
    }
}

async fn make_cluster(folder: &Path, password: &str) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    let password_file = folder.join("password");
    fs::write(&password_file, password)?;
    if let Some((uid, gid)) = other_user()? {
        for path in [folder, &password_file] {
            chown(path, Some(uid), Some(gid))?;
        }
    }
    let mut initdb = as_other_user(&binary("initdb")?)?;
    initdb
        .args([
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--username=postgres",
        ])
        .args(["--auth=scram-sha-256", "--pwfile"])
        .arg(&password_file)
        .arg("--pgdata")
        .arg(folder.join("data"))
        .current_dir(folder);
    command::output(initdb, b"").await?;
    Ok(())
}

fn spawn(folder: &Path, port: u16, settings: &[&str]) -> anyhow::Result<Child> {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))?;
    as_other_user(&binary("postgres")?)?
        .arg("-D")
        .arg(folder.join("data"))
        .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1"])
        .args(["-c", "unix_socket_directories="])
        .args(settings.iter().flat_map(|setting| ["-c", setting]))
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .kill_on_drop(true)
        .spawn()
        .context("start Postgres")
}

/// Postgres refuses to run as root. Whoever it runs as, it dies with us.
fn as_other_user(program: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if let Some((uid, gid)) = other_user()? {
        command.args([format!("--reuid={uid}"), format!("--regid={gid}")]);
        command.arg("--clear-groups");
    }
    command
        .arg("--")
        .arg(program)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    Ok(command)
}

/// Nothing where we are not root.
fn other_user() -> anyhow::Result<Option<(u32, u32)>> {
    let id = |arguments: &[&str]| command::try_now("id", arguments).trim().parse::<u32>();
    if id(&["-u"]).context("find out who we are")? != 0 {
        return Ok(None);
    }
    for name in ["postgres", "nobody"] {
        if let (Ok(uid), Ok(gid)) = (id(&["-u", name]), id(&["-g", name])) {
            return Ok(Some((uid, gid)));
        }
    }
    anyhow::bail!("there is neither a user postgres nor nobody to run Postgres as")
}

/// Debian keeps a server's programs out of the path.
fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let mut found: Vec<_> = versions
        .map(|version| version.path().join("bin").join(name))
        .filter(|path| path.exists())
        .collect();
    found.sort();
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&in_path)
        .map(|folder| folder.join(name))
        .find(|path| path.exists());
    found
        .pop()
        .or(in_path)
        .with_context(|| format!("{name} is not installed"))
}
