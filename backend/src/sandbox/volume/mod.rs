//! A sandbox's volume: where all lies that outlives its container.
//!
//! With a wall (SANDBOX_DISK) it is a file of a fixed size that Docker mounts, see [`super::disks`];
//! without one it is a folder of Docker's. Which one a volume is, Docker knows: those that were made
//! before there were walls go on as they are.

mod empty;
pub mod files;

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, ensure};
use bollard::{
    exec::{StartExecOptions, StartExecResults},
    models::{
        ContainerCreateBody, ExecConfig, HostConfig, MountVolumeOptions, Volume,
        VolumeCreateRequest,
    },
    query_parameters::{ListVolumesOptionsBuilder, RemoveVolumeOptions},
};
use futures_util::TryStreamExt;

use super::{
    Endpoint, Sandboxes,
    call::{CHANGE_TIMEOUT, READ_TIMEOUT, bounded, found},
    disks::Usage,
    docker::Docker,
    runtime::Space,
    spec::{DEPLOYMENT_LABEL, SANDBOX_LABEL, STATE_DIR, Spec},
};
use crate::id::SandboxId;

/// Nothing in it gets rights or is a device; what is deleted is given back to the host's disk; one
/// that is damaged is not written to any more.
const MOUNT_OPTIONS: &str = "nodev,nosuid,noatime,discard,errors=remount-ro";
/// Prints how many blocks are left, and how many there are.
const SPACE: [&str; 5] = ["stat", "-f", "-c", "%a %b", STATE_DIR];
/// With fewer OpenClaw's databases cannot work.
const MIN_BLOCKS: u64 = 512;
/// Nearly all turns are over sooner.
const LOOK_EVERY: Duration = Duration::from_secs(8);
/// What Docker says of a volume that no container has and that it counts as mounted.
const MISCOUNTED: &str = "volume has active mounts";
/// Where Docker keeps what a volume mounts.
const DEVICE: &str = "device";

/// Makes the volume when it is missing, and returns what the container is created from.
pub async fn ensure(docker: &Docker, spec: &Spec) -> anyhow::Result<ContainerCreateBody> {
    let mut body = spec.body.clone();
    let uid = body
        .user
        .as_deref()
        .and_then(|user| user.split(':').next()?.parse().ok());
    let uid = uid.context("read a sandbox's uid")?;
    if make(docker, spec.sandbox, uid).await? {
        without_copy(body.host_config.as_mut());
    }
    Ok(body)
}

/// Docker would mount a volume with a wall at once, to copy into it what the image has there: nothing.
fn without_copy(host: Option<&mut HostConfig>) {
    let mounts = host.and_then(|host| host.mounts.as_mut());
    for mount in mounts.into_iter().flatten() {
        mount.volume_options = Some(MountVolumeOptions {
            no_copy: Some(true),
            ..Default::default()
        });
    }
}

/// Makes the volume when it is missing; whether it has a wall.
async fn make(docker: &Docker, sandbox: SandboxId, uid: u32) -> anyhow::Result<bool> {
    let name = docker.layout.name(sandbox);
    let disks = &docker.disks;
    let known = find(docker, &name).await?;
    let walled = known.as_ref().map_or(disks.limit.bytes.is_some(), has_wall);
    let mut options = HashMap::new();
    if walled {
        if let Some(bytes) = disks.limit.bytes {
            disks.make(docker, &name, bytes, uid).await?;
        }
        let device = disks.device(&docker.layout.deployment, &name);
        options.extend(
            [("type", "ext4"), (DEVICE, &device), ("o", MOUNT_OPTIONS)]
                .map(|(key, value)| (key.to_owned(), value.to_owned())),
        );
    }
    let volume = VolumeCreateRequest {
        name: Some(name.clone()),
        labels: Some(HashMap::from([
            (
                DEPLOYMENT_LABEL.to_owned(),
                docker.layout.deployment.clone(),
            ),
            (SANDBOX_LABEL.to_owned(), sandbox.to_string()),
        ])),
        driver_opts: walled.then_some(options),
        ..Default::default()
    };
    // Docker answers with the volume that exists, whoever made it.
    let call = docker.engine.create_volume(volume);
    let volume = bounded("make a volume", CHANGE_TIMEOUT, call).await?;
    ensure!(
        volume.labels.get(SANDBOX_LABEL) == Some(&sandbox.to_string()),
        "volume {name} is not ours: left alone"
    );
    Ok(walled)
}

async fn find(docker: &Docker, name: &str) -> anyhow::Result<Option<Volume>> {
    let call = found(docker.engine.inspect_volume(name));
    bounded("inspect a volume", READ_TIMEOUT, call).await
}

fn has_wall(volume: &Volume) -> bool {
    volume.options.contains_key(DEVICE)
}

/// Makes the volume of this container ready to be mounted; until [`close`], Docker may do so. The
/// name of the volume, when there is anything to close.
pub async fn open(docker: &Docker, container: &str) -> anyhow::Result<Option<String>> {
    let call = found(docker.engine.inspect_container(container, None));
    let container = bounded("inspect a container", READ_TIMEOUT, call).await?;
    match container.and_then(|container| container.name) {
        Some(name) => open_named(docker, name.trim_start_matches('/')).await,
        None => Ok(None),
    }
}

async fn open_named(docker: &Docker, name: &str) -> anyhow::Result<Option<String>> {
    let Some(volume) = find(docker, name).await?.filter(has_wall) else {
        return Ok(None);
    };
    let device = docker.disks.device(&docker.layout.deployment, name);
    ensure!(
        volume.options.get(DEVICE) == Some(&device),
        "open the volume {name}: its file is not in SANDBOX_DISK_FOLDER"
    );
    docker.disks.open(docker, name).await?;
    Ok(Some(name.to_owned()))
}

/// What Docker has mounted stays. Not worth a failure: the keeper ends one day.
pub async fn close(docker: &Docker, volume: Option<String>) {
    let Some(name) = volume else { return };
    if let Err(error) = docker.disks.close(docker, &name).await {
        tracing::warn!("failed to {error:#}");
    }
}

/// The sandboxes that have one.
pub async fn list(docker: &Docker) -> anyhow::Result<Vec<SandboxId>> {
    let options = ListVolumesOptionsBuilder::default()
        .filters(&docker.filters(&[SANDBOX_LABEL.to_owned()]))
        .build();
    let call = docker.engine.list_volumes(Some(options));
    let answer = bounded("list volumes", READ_TIMEOUT, call).await?;
    let ids = answer.volumes.unwrap_or_default().into_iter();
    let ids = ids.filter_map(|volume| volume.labels.get(SANDBOX_LABEL)?.parse().ok());
    Ok(ids.map(SandboxId).collect())
}

/// The volume and its file, also one that a crash left without a volume.
pub async fn remove(docker: &Docker, sandbox: SandboxId) -> anyhow::Result<()> {
    // The keeper's image has what it takes.
    let image = &docker.disks.limit.image;
    ensure!(
        remove_or_empty(docker, sandbox, image).await?,
        "remove a volume, which is empty now: Docker counts it as mounted (if this stays so, restart Docker; with live-restore sandboxes go on)"
    );
    Ok(())
}

/// Whether it is gone. Docker counts a volume's mounts, and may count wrong when it was killed while
/// a container started (moby, pull request 45754): the volume then stays until Docker begins to
/// count anew, and what is in it goes at once.
async fn remove_or_empty(docker: &Docker, sandbox: SandboxId, image: &str) -> anyhow::Result<bool> {
    let name = docker.layout.name(sandbox);
    let known = find(docker, &name).await?;
    let mut walled = docker.disks.limit.bytes.is_some();
    if let Some(volume) = known {
        ensure!(
            volume.labels.get(DEPLOYMENT_LABEL) == Some(&docker.layout.deployment),
            "volume {name} is not this deployment's: left alone"
        );
        walled |= has_wall(&volume);
        let call = docker
            .engine
            .remove_volume(&name, None::<RemoveVolumeOptions>);
        match bounded("remove a volume", CHANGE_TIMEOUT, found(call)).await {
            Err(error) if format!("{error:#}").contains(MISCOUNTED) => {
                tracing::warn!(sandbox.id = %sandbox, "emptied instead, after we failed to {error:#}");
                Box::pin(empty::empty(docker, sandbox, image)).await?;
                return Ok(false);
            }
            removed => removed?,
        };
    }
    if walled {
        docker.disks.remove(docker, &name).await?;
    }
    Ok(true)
}

/// How full volumes are; those without a wall are not among them.
pub async fn usage(docker: &Docker) -> anyhow::Result<Vec<Usage>> {
    match docker.disks.limit.bytes {
        Some(_) => docker.disks.usage(docker, "").await,
        None => Ok(Vec::new()),
    }
}

pub async fn is_full(docker: &Docker, sandbox: SandboxId) -> anyhow::Result<bool> {
    if docker.disks.limit.bytes.is_none() {
        return Ok(false);
    }
    let name = docker.layout.name(sandbox);
    let found = docker.disks.usage(docker, &name).await?;
    Ok(found.iter().any(Usage::is_full))
}

/// What is left to write on in this container. By a program of our image, since only who sees the
/// mount can tell; if a sandbox makes it lie, that is its own loss. `None` too while it is being
/// paused.
pub async fn space(docker: &Docker, container: &str) -> anyhow::Result<Option<Space>> {
    let Some(_alone) = docker.entrances.enter(container) else {
        return Ok(None);
    };
    let options = ExecConfig {
        attach_stdout: Some(true),
        cmd: Some(SPACE.map(str::to_owned).to_vec()),
        ..Default::default()
    };
    let look = async {
        let exec = docker.engine.create_exec(container, options).await?;
        let started = docker.engine.start_exec(&exec.id, None::<StartExecOptions>);
        let StartExecResults::Attached { output, .. } = started.await? else {
            return Ok(String::new());
        };
        let said = output.try_collect::<Vec<_>>().await?;
        Ok(said.iter().map(ToString::to_string).collect())
    };
    let said: String = bounded("look how much space a sandbox has", READ_TIMEOUT, look).await?;
    let mut blocks = said.split_whitespace().map(str::parse);
    Ok(match (blocks.next(), blocks.next()) {
        (Some(Ok(left)), Some(Ok(all))) => Some(Space { left, all }),
        _ => None,
    })
}

impl Sandboxes {
    /// Resolves when the sandbox has had nothing left to write on for a while. OpenClaw then neither
    /// answers nor lets anybody in.
    pub async fn out_of_space(&self, endpoint: &Endpoint) {
        let runtime = &self.0.parts.runtime;
        let mut times = 0;
        while times < 2 {
            tokio::time::sleep(LOOK_EVERY).await;
            // From outside first: nearly always that is all it takes.
            if !self.disk_is_full(endpoint.sandbox).await {
                times = 0;
                continue;
            }
            match runtime.space(&endpoint.container_id).await {
                Ok(Some(space)) if space.left < MIN_BLOCKS => times += 1,
                Ok(_) => times = 0,
                Err(error) => {
                    tracing::debug!("failed to {error:#}");
                    times = 0;
                }
            }
        }
    }

    /// As [`Self::disk_is_full`], of one that runs: what was deleted just now is seen.
    pub async fn is_short_of_space(&self, endpoint: &Endpoint) -> bool {
        let runtime = &self.0.parts.runtime;
        self.disk_is_full(endpoint.sandbox).await
            && matches!(runtime.space(&endpoint.container_id).await,
                Ok(Some(space)) if space.left < space.all / 20)
    }

    /// Whether nothing, or next to nothing, can be written to its volume any more. Where that cannot
    /// be told, it is not said.
    pub async fn disk_is_full(&self, sandbox: SandboxId) -> bool {
        let full = self.0.parts.runtime.disk_is_full(sandbox).await;
        full.unwrap_or_else(|error| {
            tracing::warn!(sandbox.id = %sandbox, "failed to {error:#}");
            false
        })
    }
}
