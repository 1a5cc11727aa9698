//! Empties a volume that Docker does not let go of: a program of our image, in a container of ours,
//! deletes what is in it.
//!
//! It runs nothing of what is in there, follows no links, and has neither a network nor any right
//! but to delete what is not its own.

use anyhow::{Context, bail};
use bollard::{
    errors::Error,
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{StartContainerOptions, WaitContainerOptions},
};
use futures_util::StreamExt;

use super::{close, files, open_named};
use crate::{
    id::SandboxId,
    sandbox::{
        call::{CHANGE_TIMEOUT, bounded},
        docker::Docker,
        runtime::Runtime as _,
        spec::STATE_DIR,
    },
};

const COMMAND: [&str; 5] = ["find", STATE_DIR, "-mindepth", "1", "-delete"];
/// Files belong to the sandbox's user, and a folder may be sticky.
const RIGHTS: [&str; 2] = ["DAC_OVERRIDE", "FOWNER"];

pub async fn empty(docker: &Docker, sandbox: SandboxId, image: &str) -> anyhow::Result<()> {
    let body = files::body(docker, sandbox, image, true, false);
    let body = ContainerCreateBody {
        user: Some("0:0".to_owned()),
        entrypoint: Some(COMMAND.map(str::to_owned).to_vec()),
        host_config: Some(HostConfig {
            cap_add: Some(RIGHTS.map(str::to_owned).to_vec()),
            ..body.host_config.unwrap_or_default()
        }),
        ..body
    };
    let holder = files::create(docker, sandbox, body).await?;
    let open = open_named(docker, &docker.layout.name(sandbox)).await?;
    let emptied = Box::pin(run(docker, &holder)).await;
    close(docker, open).await;
    docker.remove(&holder).await?;
    emptied
}

async fn run(docker: &Docker, holder: &str) -> anyhow::Result<()> {
    let call = docker
        .engine
        .start_container(holder, None::<StartContainerOptions>);
    bounded("start to empty a volume", CHANGE_TIMEOUT, call).await?;
    let mut ends = docker
        .engine
        .wait_container(holder, None::<WaitContainerOptions>);
    let end = tokio::time::timeout(files::FILL_WITHIN, ends.next()).await;
    match end.context("empty a volume in time")? {
        Some(Ok(_)) => Ok(()),
        Some(Err(Error::DockerContainerWaitError { code, .. })) => {
            bail!("empty a volume: {COMMAND:?} ended with {code}")
        }
        Some(Err(error)) => Err(error).context("empty a volume"),
        None => bail!("empty a volume: Docker did not say how it ended"),
    }
}
