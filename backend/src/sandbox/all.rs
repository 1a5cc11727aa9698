//! Everything that this program made in Docker for one deployment: found by its labels, and removed
//! for good by `clawkaka nuke`. Beside the reconcile loop, which does not run then.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    docker::Docker,
    network,
    runtime::Runtime,
    spec::{DISKS_LABEL, PROBE_LABEL, SANDBOX_LABEL},
};
use crate::id::SandboxId;

/// Removing waits for processes to die and for disks.
const REMOVED_AT_ONCE: usize = 8;

pub struct All {
    /// Ids of the sandboxes' containers and of the walls' probes, in any state.
    pub containers: BTreeSet<String>,
    pub volumes: Vec<SandboxId>,
    /// Whether there is the network.
    pub network: bool,
}

impl All {
    /// What carries this deployment's name and one of our own two labels: a container of the
    /// deployment that somebody else made (Postgres, say) is none of these.
    pub async fn find(docker: &Docker) -> anyhow::Result<Self> {
        let mut containers = BTreeSet::new();
        for label in [SANDBOX_LABEL, PROBE_LABEL] {
            let found = docker.labelled(label).await?;
            containers.extend(found.into_iter().filter_map(|one| one.id));
        }
        Ok(Self {
            containers,
            volumes: docker.volumes().await?,
            network: network::is_there(&docker.engine, &docker.layout).await?,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.volumes.is_empty() && !self.network
    }

    /// Containers first: they hold volumes and network. `tell` hears how many things are gone.
    pub async fn remove(&self, docker: &Docker, mut tell: impl FnMut(usize)) -> anyhow::Result<()> {
        let mut gone = 0;
        let mut count = || {
            gone += 1;
            tell(gone);
        };
        let mut removed = stream::iter(&self.containers)
            .map(|id| docker.remove(id))
            .buffer_unordered(REMOVED_AT_ONCE);
        while removed.try_next().await?.is_some() {
            count();
        }
        let mut removed = stream::iter(&self.volumes)
            .map(|id| docker.remove_volume(*id))
            .buffer_unordered(REMOVED_AT_ONCE);
        while removed.try_next().await?.is_some() {
            count();
        }
        // The keeper of the volumes' files, which was made anew for these.
        for keeper in docker.labelled(DISKS_LABEL).await? {
            if let Some(id) = keeper.id {
                docker.remove(&id).await?;
            }
        }
        network::remove(&docker.engine, &docker.layout).await
    }
}
