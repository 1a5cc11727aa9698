//! The files in which sandboxes' volumes lie, one each, of a fixed size: the wall around their disk.
//!
//! Nothing of this needs the worker to see the host's disk. A container of ours keeps the files
//! (`disks.sh`): it sees their folder and the loop devices, and has no capability and no network.
//! It takes orders over its input, ends with it, and is made anew whenever it does not answer;
//! every order is safe to repeat. What Docker has mounted does not need it.

use std::{collections::HashMap, pin::Pin, time::Duration};

use anyhow::{Context, bail};
use bollard::{
    container::{AttachContainerResults, LogOutput},
    errors::Error,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{
        AttachContainerOptionsBuilder, CreateContainerOptionsBuilder, StartContainerOptions,
    },
};
use futures_util::{Stream, StreamExt};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    sync::Mutex,
};

use super::{
    call::{CHANGE_TIMEOUT, bounded},
    docker::Docker,
    runtime::Runtime,
    spec::{DEPLOYMENT_LABEL, DISKS_LABEL, SECCOMP},
};

const SCRIPT: &str = include_str!("disks.sh");
/// An order takes milliseconds; checking one that was cut off, or making it larger, some seconds.
const ORDER_TIMEOUT: Duration = Duration::from_secs(60);
/// Making and checking a file system takes some; what is written through it is not its own.
const MEMORY: i64 = 256 << 20;
const MAX_PIDS: i64 = 32;
/// Loop devices, and what hands them out; of the host's other devices none can be opened.
const DEVICES: [&str; 2] = ["b 7:* rw", "c 10:237 rw"];

/// How volumes are made, as the operator wants it.
#[derive(Clone, Debug)]
pub struct Limit {
    /// What one may take. `None`: there is no wall.
    pub bytes: Option<i64>,
    /// On the host.
    pub folder: String,
    /// Has the tools for it: the sandboxes'.
    pub image: String,
}

pub struct Disks {
    pub limit: Limit,
    keeper: Mutex<Option<Keeper>>,
}

/// How much of the host's disk a volume takes, and at most may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage {
    pub volume: String,
    pub bytes: u64,
    pub limit: u64,
}

impl Usage {
    /// Its agent can write a few hundredths more, if any: of a file of 256 MB 90 hundredths are an
    /// agent's to fill, of one of 1 GB 92. The rest is what a start sets free, and the file system's.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.limit / 100 * 85
    }
}

impl Disks {
    pub fn new(limit: Limit) -> Self {
        Self {
            limit,
            keeper: Mutex::default(),
        }
    }

    /// What Docker mounts, on the host: a name for whichever loop device the file is on.
    pub fn device(&self, deployment: &str, volume: &str) -> String {
        format!("{}/{deployment}/{volume}.device", self.limit.folder)
    }

    pub async fn make(
        &self,
        docker: &Docker,
        volume: &str,
        bytes: i64,
        uid: u32,
    ) -> anyhow::Result<()> {
        let order = format!("make {volume} {bytes} {uid}");
        self.order(docker, &order).await?;
        Ok(())
    }

    /// From now on Docker can mount it, until [`Disks::close`].
    pub async fn open(&self, docker: &Docker, volume: &str) -> anyhow::Result<()> {
        let order = format!("open {volume} {}", self.limit.bytes.unwrap_or_default());
        self.order(docker, &order).await?;
        Ok(())
    }

    pub async fn close(&self, docker: &Docker, volume: &str) -> anyhow::Result<()> {
        self.order(docker, &format!("close {volume}")).await?;
        Ok(())
    }

    pub async fn remove(&self, docker: &Docker, volume: &str) -> anyhow::Result<()> {
        self.order(docker, &format!("remove {volume}")).await?;
        Ok(())
    }

    /// Of one volume or, with an empty name, of all.
    pub async fn usage(&self, docker: &Docker, volume: &str) -> anyhow::Result<Vec<Usage>> {
        let answer = self.order(docker, &format!("usage {volume}")).await?;
        answer.split_whitespace().map(usage).collect()
    }

    /// One order at a time.
    async fn order(&self, docker: &Docker, order: &str) -> anyhow::Result<String> {
        let mut place = self.keeper.lock().await;
        let answered = match place.take() {
            Some(mut keeper) => keeper.ask(order).await.map(|answer| (keeper, answer)),
            None => Err(anyhow::anyhow!("there is none")),
        };
        // One that is gone, or does not answer, is not asked again: a new one is.
        let (keeper, answer) = match answered {
            Ok(answered) => answered,
            Err(_) => {
                let mut keeper = Keeper::start(docker, &self.limit).await?;
                let answer = keeper.ask(order).await.context("keep volumes' files")?;
                (keeper, answer)
            }
        };
        *place = Some(keeper);
        let (order, _) = order.split_once(' ').unwrap_or((order, ""));
        match answer.split_once(' ').unwrap_or((&answer, "")) {
            ("ok", answer) => Ok(answer.to_owned()),
            (_, why) => bail!("{order} a volume's file: {why}"),
        }
    }
}

fn usage(text: &str) -> anyhow::Result<Usage> {
    let mut fields = text.split(':');
    let mut number = || fields.next_back()?.parse().ok();
    let (limit, bytes) = (number(), number());
    Ok(Usage {
        volume: fields.next().unwrap_or_default().to_owned(),
        bytes: bytes.context("read how full volumes are")?,
        limit: limit.context("read how full volumes are")?,
    })
}

/// The container, at work.
struct Keeper {
    input: Pin<Box<dyn AsyncWrite + Send>>,
    output: Pin<Box<dyn Stream<Item = Result<LogOutput, Error>> + Send>>,
    /// Of its output, what came after the last answer.
    rest: Vec<u8>,
}

impl Keeper {
    /// In place of the one there is: whoever made that is gone, or could not talk to it.
    async fn start(docker: &Docker, limit: &Limit) -> anyhow::Result<Self> {
        let name = format!("{}-disks", docker.layout.bridge());
        docker.remove(&name).await?;
        let options = CreateContainerOptionsBuilder::default().name(&name).build();
        let body = body(&docker.layout.deployment, limit);
        let call = docker.engine.create_container(Some(options), body);
        bounded("create the keeper of volumes", CHANGE_TIMEOUT, call).await?;
        let options = AttachContainerOptionsBuilder::default()
            .stream(true)
            .stdin(true)
            .stdout(true)
            .stderr(true)
            .build();
        let call = docker.engine.attach_container(&name, Some(options));
        let AttachContainerResults { output, input } =
            bounded("attach to the keeper of volumes", CHANGE_TIMEOUT, call).await?;
        let call = docker
            .engine
            .start_container(&name, None::<StartContainerOptions>);
        bounded("start the keeper of volumes", CHANGE_TIMEOUT, call).await?;
        Ok(Self {
            input,
            output,
            rest: Vec::new(),
        })
    }

    async fn ask(&mut self, order: &str) -> anyhow::Result<String> {
        let asked = async {
            let order = format!("{order}\n");
            // One that ended at once said why.
            let _ = self.input.write_all(order.as_bytes()).await;
            let _ = self.input.flush().await;
            self.answer().await
        };
        let asked = tokio::time::timeout(ORDER_TIMEOUT, asked);
        asked.await.context("wait for the keeper of volumes")?
    }

    async fn answer(&mut self) -> anyhow::Result<String> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<_> = self.rest.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim().to_owned());
            }
            match self.output.next().await {
                Some(Ok(LogOutput::StdErr { message })) => {
                    let said = String::from_utf8_lossy(&message);
                    tracing::warn!("the keeper of volumes says: {}", said.trim());
                }
                Some(Ok(output)) => self.rest.extend_from_slice(&output.into_bytes()),
                Some(Err(error)) => return Err(error).context("read from the keeper of volumes"),
                None => bail!("read from the keeper of volumes: it has ended"),
            }
        }
    }
}

fn body(deployment: &str, limit: &Limit) -> ContainerCreateBody {
    let host = HostConfig {
        binds: Some(vec![
            format!("{}:/disks", limit.folder),
            "/dev:/dev".to_owned(),
        ]),
        device_cgroup_rules: Some(DEVICES.map(str::to_owned).to_vec()),
        cap_drop: Some(vec!["ALL".to_owned()]),
        security_opt: Some(vec![
            "no-new-privileges".to_owned(),
            format!("seccomp={SECCOMP}"),
        ]),
        readonly_rootfs: Some(true),
        network_mode: Some("none".to_owned()),
        memory: Some(MEMORY),
        memory_swap: Some(MEMORY),
        pids_limit: Some(MAX_PIDS),
        ..Default::default()
    };
    let command = ["bash", "-c", SCRIPT, "disks", deployment];
    ContainerCreateBody {
        image: Some(limit.image.clone()),
        entrypoint: Some(command.map(str::to_owned).to_vec()),
        cmd: Some(Vec::new()),
        user: Some("0:0".to_owned()),
        working_dir: Some("/".to_owned()),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        open_stdin: Some(true),
        // With us, its input ends.
        stdin_once: Some(true),
        // It may die at any line, and whoever stops all containers need not wait for it.
        stop_signal: Some("SIGKILL".to_owned()),
        labels: Some(HashMap::from([
            (DEPLOYMENT_LABEL.to_owned(), deployment.to_owned()),
            (DISKS_LABEL.to_owned(), String::new()),
        ])),
        host_config: Some(host),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_keeper_says_of_files_is_understood() {
        let found = usage("ck-1-2:679936:1073741824").unwrap();
        assert_eq!((found.volume.as_str(), found.bytes), ("ck-1-2", 679_936));
        assert!(!found.is_full());
        assert!(usage("ck-1-2:1000000000:1073741824").unwrap().is_full());
        assert!(usage("ck-1-2").is_err());
        assert!(usage("").is_err());
    }
}
