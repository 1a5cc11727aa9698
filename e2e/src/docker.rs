//! One deployment on the real Docker, looked at and hurt from outside with the `docker` command.

use std::{process::Stdio, time::Duration};

use anyhow::Context as _;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use crate::command::{self, try_now};

pub const DEPLOYMENT_LABEL: &str = "clawkaka.deployment";
pub const SANDBOX_LABEL: &str = "clawkaka.sandbox";
/// The gateway's port in every sandbox.
pub const GATEWAY_PORT: u16 = 18789;

/// The containers of one deployment.
#[derive(Clone, Debug)]
pub struct Docker {
    pub deployment: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub address: String,
    /// As Docker writes it: `running`, `paused`, `exited`…
    pub state: String,
}

impl Docker {
    fn ours(&self) -> String {
        format!("label={DEPLOYMENT_LABEL}={}", self.deployment)
    }

    /// Every sandbox there is, running or not.
    pub async fn sandboxes(&self) -> anyhow::Result<Vec<Container>> {
        let sandboxes = format!("label={SANDBOX_LABEL}");
        let filters = [
            "ps",
            "-aq",
            "--no-trunc",
            "--filter",
            &self.ours(),
            "--filter",
            &sandboxes,
        ];
        let listed = command::run("docker", &filters).await?;
        let mut containers = Vec::new();
        for id in listed.lines() {
            let Some(facts) = inspect(id).await? else {
                continue;
            };
            let networks = facts["NetworkSettings"]["Networks"].as_object();
            let network = networks.and_then(|networks| networks.values().next());
            let address = network.map(|network| &network["IPAMConfig"]["IPv4Address"]);
            containers.push(Container {
                id: id.to_owned(),
                address: address
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned(),
                state: facts["State"]["Status"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned(),
            });
        }
        containers.sort_by(|one, other| one.address.cmp(&other.address));
        Ok(containers)
    }

    /// Kills every sandbox as a machine out of memory would.
    pub async fn kill_sandboxes(&self) -> anyhow::Result<usize> {
        let running = self.sandboxes().await?;
        let running: Vec<_> = running
            .iter()
            .filter(|one| one.state == "running")
            .collect();
        let mut arguments = vec!["kill"];
        arguments.extend(running.iter().map(|one| one.id.as_str()));
        if !running.is_empty() {
            command::run("docker", &arguments).await?;
        }
        Ok(running.len())
    }

    /// Kills those that run; any other is removed behind our back.
    pub async fn lose_sandboxes(&self) -> anyhow::Result<()> {
        for one in self.sandboxes().await? {
            if one.state != "running" {
                command::run("docker", &["rm", "-f", &one.id]).await?;
            }
        }
        self.kill_sandboxes().await?;
        Ok(())
    }

    /// Waits until `count` different sandboxes had this event since a moment.
    pub async fn wait_for_event(
        &self,
        event: &str,
        count: usize,
        since: chrono::DateTime<chrono::Utc>,
        within: Duration,
    ) -> anyhow::Result<()> {
        let mut events = Command::new("docker")
            .args([
                "events",
                "--since",
                &since.to_rfc3339(),
                "--format",
                "{{.Actor.ID}}",
            ])
            .args([
                "--filter",
                "type=container",
                "--filter",
                &format!("event={event}"),
            ])
            .args([
                "--filter",
                &self.ours(),
                "--filter",
                &format!("label={SANDBOX_LABEL}"),
            ])
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("listen to Docker's events")?;
        let output = events.stdout.take().context("read Docker's events")?;
        let mut lines = BufReader::new(output).lines();
        let mut seen = Vec::new();
        let counting = async {
            while seen.len() < count {
                let line = lines.next_line().await?.context("Docker's events ended")?;
                if !seen.contains(&line) {
                    seen.push(line);
                }
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(within, counting)
            .await
            .with_context(|| format!("{event} did not come {count} times within {within:?}"))?
    }

    /// Runs something inside a container, as its own user, and returns what it prints.
    pub async fn exec(&self, id: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut all = vec!["exec", id];
        all.extend(arguments);
        command::run("docker", &all).await
    }

    /// A sandbox's own: ours towards its gateway, and its towards the broker.
    pub async fn tokens(&self, id: &str) -> anyhow::Result<[String; 2]> {
        let config = self.exec(id, &["cat", "/state/openclaw.json"]).await?;
        let config: Value = serde_json::from_str(&config).context("read a configuration")?;
        let gateway = config
            .pointer("/gateway/auth/token")
            .and_then(Value::as_str);
        let gateway = gateway.context("the gateway's token is elsewhere")?;
        let broker = self.exec(id, &["cat", "/state/broker-token"]).await?;
        Ok([gateway.to_owned(), broker])
    }

    /// Everything a container printed.
    pub async fn logs(&self, id: &str) -> anyhow::Result<String> {
        let script = "exec docker logs \"$0\" 2>&1";
        command::run("sh", &["-c", script, id]).await
    }

    /// A folder of a container as a tar archive.
    pub async fn files(&self, id: &str, path: &str) -> anyhow::Result<Vec<u8>> {
        command::bytes("docker", &["cp", &format!("{id}:{path}"), "-"], b"").await
    }

    /// Removes everything with the deployment's label. Called where nothing can be awaited.
    pub fn remove_everything(&self) {
        let ours = self.ours();
        let listed = |what: &[&str]| {
            let mut arguments = what.to_vec();
            arguments.extend(["-q", "--filter", &ours]);
            let listed = try_now("docker", &arguments);
            listed.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        for (list, remove) in [
            (&["ps", "-a"][..], &["rm", "-f", "-v"][..]),
            (&["volume", "ls"], &["volume", "rm", "-f"]),
            (&["network", "ls"], &["network", "rm"]),
        ] {
            let found = listed(list);
            if !found.is_empty() {
                let found = found.iter().map(String::as_str);
                let arguments: Vec<_> = remove.iter().copied().chain(found).collect();
                try_now("docker", &arguments);
            }
        }
    }
}

/// Everything Docker knows about a container or an image; nothing if it is gone.
pub async fn inspect(id: &str) -> anyhow::Result<Option<Value>> {
    let mut command = Command::new("docker");
    command.args(["inspect", id]);
    let ended = command.output().await.context("inspect a container")?;
    if !ended.status.success() {
        return Ok(None);
    }
    let found: Value = serde_json::from_slice(&ended.stdout).context("read docker inspect")?;
    Ok(found.get(0).cloned())
}
