//! The same turn without us: sent straight to the gateway of a running sandbox, by a program that
//! stays connected as the worker does.

use std::process::Stdio;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use super::{bare::sources, stage};
use crate::{
    PATIENCE, Product,
    docker::{Container, DEPLOYMENT_LABEL, GATEWAY_PORT},
};

/// A conversation beside the person's own.
const SESSION: &str = "bench-direct";

pub struct Direct {
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    /// It ends when this is dropped, as its standard input does.
    _child: Child,
}

/// One turn, in milliseconds since 1970.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Turn {
    pub sent: f64,
    #[serde(rename = "final")]
    pub ended: f64,
}

impl Direct {
    pub async fn connect(product: &Product, sandbox: &Container) -> anyhow::Result<Self> {
        let config = product
            .docker
            .exec(&sandbox.id, &["cat", "/state/openclaw.json"])
            .await?;
        let config: Value = serde_json::from_str(&config).context("read a configuration")?;
        let id: String = sqlx::query_scalar("select id::text from sandbox order by slot limit 1")
            .fetch_one(&product.postgres.db)
            .await?;
        let master = product.secrets.iter();
        let master = master
            .clone()
            .find(|(name, _)| *name == "CLAWKAKA_MASTER_KEY");
        let image = stage::image().await?;
        let label = format!("{DEPLOYMENT_LABEL}={}", product.place.deployment);
        let mut child = Command::new("docker")
            .args(["run", "-i", "--rm", "--network", "host", "--label", &label])
            .arg("-v")
            .arg(format!("{}:/src:ro", sources()?.display()))
            .args(["--entrypoint", "node", &image, "/src/measure/direct.mjs"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start the direct client")?;
        let stdout = child.stdout.take().context("read the direct client")?;
        let mut direct = Self {
            stdin: child.stdin.take().context("write to the direct client")?,
            stdout: BufReader::new(stdout).lines(),
            _child: child,
        };
        let first = json!({
            "url": format!("ws://{}:{GATEWAY_PORT}", sandbox.address),
            "token": config["gateway"]["auth"]["token"],
            "master": master.context("find the master key")?.1,
            "sandbox": id,
            "session": SESSION,
        });
        let connected = direct.exchange(&first.to_string()).await?;
        anyhow::ensure!(connected["connected"] == true, "{connected}");
        Ok(direct)
    }

    pub async fn turn(&mut self, message: &str) -> anyhow::Result<Turn> {
        let ended = self.exchange(message).await?;
        anyhow::ensure!(ended["state"] == "final", "a direct turn ended as {ended}");
        Ok(serde_json::from_value(ended)?)
    }

    async fn exchange(&mut self, line: &str) -> anyhow::Result<Value> {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await?;
        let answer = tokio::time::timeout(PATIENCE, self.stdout.next_line()).await;
        let answer = answer.context("the direct client hangs")??;
        let answer = answer.context("the direct client ended")?;
        serde_json::from_str(&answer).context("read the direct client")
    }
}
