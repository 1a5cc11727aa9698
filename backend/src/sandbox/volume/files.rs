//! Reads and fills a sandbox's volume with Docker's own archives, through a container of ours that
//! has the volume and never runs: what is in there cannot act, and nobody touches Docker's folders.
//!
//! The container carries the probe's label, not the sandbox's, so that the reconcile loop does not
//! take it for one. Its name is the sandbox's own, so that what a dead process left is found again.

use std::{collections::HashMap, io, time::Duration};

use anyhow::Context;
use bollard::{
    body_stream,
    models::{ContainerCreateBody, HostConfig, Mount, MountType},
    query_parameters::{
        CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder,
        UploadToContainerOptionsBuilder,
    },
};
use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use tokio::sync::mpsc;

use super::{close, find, has_wall, make, open_named, without_copy};
use crate::{
    id::SandboxId,
    sandbox::{
        call::{CHANGE_TIMEOUT, bounded},
        docker::Docker,
        runtime::{Chunk, Runtime as _},
        spec::{DEPLOYMENT_LABEL, PROBE_LABEL, STATE_DIR, hardened},
    },
};

const LABEL: &str = "volume";
/// The next piece of an archive comes within this, or it never does.
const PIECE_WITHIN: Duration = Duration::from_secs(60);
/// A whole archive is put in within this: at 10 MB/s more than a snapshot may hold.
pub(super) const FILL_WITHIN: Duration = Duration::from_secs(600);

/// Sends a volume's files. False: there is no such volume.
pub async fn read(
    docker: &Docker,
    sandbox: SandboxId,
    image: &str,
    to: mpsc::Sender<Chunk>,
) -> anyhow::Result<bool> {
    let name = docker.layout.name(sandbox);
    let Some(volume) = find(docker, &name).await? else {
        return Ok(false);
    };
    let holder = hold(docker, sandbox, image, has_wall(&volume), true).await?;
    let open = open_named(docker, &name).await?;
    let sent = send(docker, &holder, &to).await;
    close(docker, open).await;
    if let Err(error) = &sent {
        // Whoever packs it must not take what came for all.
        let _ = to.send(Err(io::Error::other(format!("{error:#}")))).await;
    }
    docker.remove(&holder).await?;
    sent.map(|()| true)
}

async fn send(docker: &Docker, holder: &str, to: &mpsc::Sender<Chunk>) -> anyhow::Result<()> {
    let options = DownloadFromContainerOptionsBuilder::default()
        .path(STATE_DIR)
        .build();
    let pieces = docker.engine.download_from_container(holder, Some(options));
    let mut pieces = std::pin::pin!(pieces);
    loop {
        let piece = tokio::time::timeout(PIECE_WITHIN, pieces.next()).await;
        let Some(piece) = piece.context("read a volume in time")? else {
            return Ok(());
        };
        let sent = to.send(Ok(piece.context("read a volume")?)).await;
        if sent.is_err() {
            // Whoever wanted it has given up, and says why.
            return Ok(());
        }
    }
}

/// Replaces what is in a volume.
pub async fn fill(
    docker: &Docker,
    sandbox: SandboxId,
    image: &str,
    uid: u32,
    from: BoxStream<'static, Bytes>,
) -> anyhow::Result<()> {
    docker.remove(&holder_name(docker, sandbox)).await?;
    super::remove_or_empty(docker, sandbox, image).await?;
    let walled = make(docker, sandbox, uid).await?;
    let holder = hold(docker, sandbox, image, walled, false).await?;
    let open = open_named(docker, &docker.layout.name(sandbox)).await?;
    let options = UploadToContainerOptionsBuilder::default()
        .path(STATE_DIR)
        .build();
    let body = body_stream(from);
    let call = docker
        .engine
        .upload_to_container(&holder, Some(options), body);
    let filled = bounded("fill a volume", FILL_WITHIN, call).await;
    close(docker, open).await;
    docker.remove(&holder).await?;
    filled
}

/// Removes what a process left that died at it.
pub async fn clear(docker: &Docker) -> anyhow::Result<()> {
    for left in docker.labelled(&format!("{PROBE_LABEL}={LABEL}")).await? {
        if let Some(id) = left.id {
            docker.remove(&id).await?;
        }
    }
    Ok(())
}

fn holder_name(docker: &Docker, sandbox: SandboxId) -> String {
    format!("{}-files", docker.layout.name(sandbox))
}

/// A container that has the volume and is never started.
async fn hold(
    docker: &Docker,
    sandbox: SandboxId,
    image: &str,
    walled: bool,
    read_only: bool,
) -> anyhow::Result<String> {
    let body = body(docker, sandbox, image, walled, read_only);
    create(docker, sandbox, body).await
}

/// In place of what a dead process left.
pub(super) async fn create(
    docker: &Docker,
    sandbox: SandboxId,
    body: ContainerCreateBody,
) -> anyhow::Result<String> {
    let name = holder_name(docker, sandbox);
    docker.remove(&name).await?;
    let options = CreateContainerOptionsBuilder::default().name(&name).build();
    let call = docker.engine.create_container(Some(options), body);
    bounded("create a container for a volume", CHANGE_TIMEOUT, call).await?;
    Ok(name)
}

pub(super) fn body(
    docker: &Docker,
    sandbox: SandboxId,
    image: &str,
    walled: bool,
    read_only: bool,
) -> ContainerCreateBody {
    let layout = &docker.layout;
    // Slot 0: no sandbox has this uid.
    let body = hardened(
        layout,
        &docker.shape,
        layout.uid(0),
        layout.bridge_address(),
        image,
    );
    let mut host = HostConfig {
        network_mode: Some("none".to_owned()),
        sysctls: None,
        mounts: Some(vec![Mount {
            typ: Some(MountType::VOLUME),
            source: Some(layout.name(sandbox)),
            target: Some(STATE_DIR.to_owned()),
            read_only: Some(read_only),
            ..Default::default()
        }]),
        ..body.host_config.unwrap_or_default()
    };
    if walled {
        without_copy(Some(&mut host));
    }
    ContainerCreateBody {
        host_config: Some(host),
        networking_config: None,
        // Should anybody start it, it ends.
        entrypoint: Some(vec!["false".to_owned()]),
        cmd: Some(Vec::new()),
        labels: Some(HashMap::from([
            (DEPLOYMENT_LABEL.to_owned(), layout.deployment.clone()),
            (PROBE_LABEL.to_owned(), LABEL.to_owned()),
        ])),
        ..body
    }
}
