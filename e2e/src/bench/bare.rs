//! OpenClaw without us: the sandbox image in a container with the worker's limits, started by
//! `docker run`, asked by a script that stands outside. What we add is measured against it.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde_json::Value;

use super::stage;
use crate::{
    PATIENCE,
    command::{self, output},
    docker::{DEPLOYMENT_LABEL, GATEWAY_PORT},
    http_client,
    place::{self, BENCH, Place},
};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../sandbox-image");
const SECCOMP: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../backend/src/sandbox/seccomp.json"
);
const MODEL_PORT: u16 = 3010;
const GATEWAY_TOKEN: &str = "a-bare-gateways-token";
/// Often enough that it adds little to a boot, seldom enough that it does not slow it down.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A network of its own with room for one container. Everything in it goes when this is dropped.
pub struct Bare {
    place: Place,
    image: String,
    http: reqwest::Client,
}

impl Drop for Bare {
    fn drop(&mut self) {
        place::remove(&self.place.deployment);
    }
}

impl Bare {
    pub async fn prepare() -> anyhow::Result<Self> {
        let place = Place::find(BENCH).await?;
        let bare = Self {
            image: stage::image().await?,
            http: http_client(Duration::from_secs(2))?,
            place,
        };
        let subnet = bare.place.subnet.replace("/16", "/24");
        let label = bare.label();
        let network = [
            "network create --internal",
            &format!(
                "--label {label} --subnet {subnet} --gateway {}",
                bare.host()
            ),
            &format!(
                "-o com.docker.network.bridge.enable_icc=false {}",
                bare.name()
            ),
        ];
        docker(&network.join(" ")).await?;
        Ok(bare)
    }

    fn name(&self) -> &str {
        &self.place.deployment
    }

    fn label(&self) -> String {
        format!("{DEPLOYMENT_LABEL}={}", self.name())
    }

    fn host(&self) -> String {
        self.place.bridge_address()
    }

    fn address(&self) -> String {
        self.place.subnet.replace(".0.0/16", ".0.9")
    }

    /// A fresh volume with the files that the platform puts there, the configuration changed by
    /// `change`.
    pub async fn fill(&self, change: impl FnOnce(&mut Value)) -> anyhow::Result<()> {
        let uid = self.place.uid_base;
        let (name, label) = (self.name(), self.label());
        docker(&format!("volume create --label {label} {name}")).await?;
        let config = std::fs::read_to_string(Path::new(SOURCES).join("openclaw.json"))?;
        let config = config
            .replace("{{GATEWAY_TOKEN}}", GATEWAY_TOKEN)
            .replace(
                "{{BROKER_URL}}",
                &format!("http://{}:{MODEL_PORT}", self.host()),
            )
            .replace("{{MODEL}}", "scripted");
        let mut config: Value = serde_json::from_str(&config).context("read the template")?;
        change(&mut config);
        let folder = self.place.folder.join("files");
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("openclaw.json"), config.to_string())?;
        let device = self.outside("measure/files.mjs device.json").await?;
        std::fs::write(folder.join("device.json"), device)?;
        std::fs::write(folder.join("broker-token"), "none")?;
        docker(&format!(
            "create --name {name} --label {label} -v {name}:/state --network none {}",
            self.image
        ))
        .await?;
        let tar = format!(
            "tar -C {} --owner={uid} --group={uid} --mode=0600 -cf - openclaw.json broker-token \
             device.json | docker cp - {name}:/state",
            folder.display()
        );
        command::run("sh", &["-c", &tar]).await?;
        docker(&format!("rm {name}")).await?;
        Ok(())
    }

    /// `docker run`, and how long it takes until the gateway says that it is ready.
    pub async fn boot(&self) -> anyhow::Result<Duration> {
        let uid = self.place.uid_base;
        let (name, address) = (self.name(), self.address());
        // As backend/src/sandbox/spec.rs confines a sandbox.
        let run = [
            &format!(
                "run -d --name {name} --hostname {name} --label {}",
                self.label()
            ),
            &format!("--network {name} --ip {address} --user {uid}:{uid} -v {name}:/state"),
            "--memory 2g --memory-swap 2g --cpus 2 --pids-limit 512 --oom-score-adj 500",
            "--read-only --tmpfs /tmp:rw,exec,nosuid,nodev,size=256m,mode=1777 --cap-drop ALL",
            &format!("--security-opt no-new-privileges --security-opt seccomp={SECCOMP}"),
            "--ulimit core=0 --ulimit nofile=16384 --init --ipc private --dns 127.0.0.1",
            "--log-driver json-file --log-opt max-size=10m --log-opt max-file=2 --log-opt mode=non-blocking",
            "--sysctl net.ipv6.conf.all.disable_ipv6=1",
            &self.image,
        ];
        self.ready_after(&run.join(" ")).await
    }

    pub async fn stop(&self) -> anyhow::Result<()> {
        docker(&format!("stop {}", self.name())).await.map(drop)
    }

    /// `docker start` of what was stopped, and how long it takes until it is ready.
    pub async fn start_again(&self) -> anyhow::Result<Duration> {
        self.ready_after(&format!("start {}", self.name())).await
    }

    async fn ready_after(&self, words: &str) -> anyhow::Result<Duration> {
        let url = format!("http://{}:{GATEWAY_PORT}/readyz", self.address());
        let started = Instant::now();
        docker(words).await?;
        loop {
            let answer = self.http.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(started.elapsed());
            }
            anyhow::ensure!(
                started.elapsed() < PATIENCE,
                "a bare OpenClaw does not start"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// One line of a person and its answer, by a scripted model.
    pub async fn talk(&self, line: &str) -> anyhow::Result<()> {
        let (name, host) = (self.name(), self.host());
        docker(&format!(
            "run -d --name {name}-model --network host --label {} -v {}:/src:ro --entrypoint node {} \
             /src/measure/model.mjs {host} {MODEL_PORT}",
            self.label(),
            sources()?.display(),
            self.image
        ))
        .await?;
        let gateway = format!("ws://{}:{GATEWAY_PORT}", self.address());
        let talk = format!("measure/talk.mjs {gateway} {GATEWAY_TOKEN} {line}");
        self.outside(&talk)
            .await
            .context("talk to a bare OpenClaw")?;
        Ok(())
    }

    /// How large the request to the model is that one line of a person becomes.
    pub async fn request_bytes(&self, line: &str) -> anyhow::Result<f64> {
        self.talk(line).await?;
        let requests = docker(&format!("logs {}-model", self.name())).await?;
        let first = requests.lines().next().context("no request came")?;
        let first: Value = serde_json::from_str(first)?;
        first["bytes"].as_f64().context("read a request's size")
    }

    /// Removes the container and what it wrote.
    pub async fn clear(&self) -> anyhow::Result<()> {
        let name = self.name();
        docker(&format!("rm -f -v {name} {name}-model")).await?;
        docker(&format!("volume rm -f {name}")).await?;
        Ok(())
    }

    /// Runs one of the image's tools on the host's network, with the image's own node.
    async fn outside(&self, tool: &str) -> anyhow::Result<String> {
        docker(&format!(
            "run --rm --network host --label {} -v {}:/src:ro --entrypoint node {} /src/{tool}",
            self.label(),
            sources()?.display(),
            self.image
        ))
        .await
    }
}

/// Docker wants it without `..`.
pub fn sources() -> anyhow::Result<PathBuf> {
    Path::new(SOURCES)
        .canonicalize()
        .context("find the image's sources")
}

/// None of the words has a space in it.
async fn docker(words: &str) -> anyhow::Result<String> {
    let mut docker = tokio::process::Command::new("docker");
    docker.args(words.split_whitespace());
    let printed = output(docker, b"").await?;
    Ok(String::from_utf8_lossy(&printed).trim().to_owned())
}
