//! What Docker says of the sandboxes, in the operator's words.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};

use super::look::Listed;
use crate::{
    id::SandboxId,
    sandbox::{
        docker::Docker,
        plan::Observed,
        runtime::{Container, Runtime},
    },
};

/// Where a sandbox is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Running,
    Paused,
    /// No container; what it remembers is in its volume.
    Stopped,
    /// It was never started.
    New,
    /// No container and no volume, though it was started once: its memory is lost.
    Missing,
    /// Between two states; the worker is at it.
    Created,
    Exited,
    Changing,
    Dead,
    /// Removed; its slot rests.
    Gone,
    /// Docker is not reached.
    Unknown,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::New => "new",
            Self::Missing => "missing",
            Self::Created => "created",
            Self::Exited => "exited",
            Self::Changing => "changing",
            Self::Dead => "dead",
            Self::Gone => "gone",
            Self::Unknown => "unknown",
        }
    }

    pub fn of(row: &Listed, seen: Option<&Seen>) -> Self {
        let Some(seen) = seen else {
            return Self::Unknown;
        };
        let observed = seen.containers.get(&row.id).map(|found| found.observed);
        match observed.unwrap_or(Observed::Missing) {
            Observed::Running => Self::Running,
            Observed::Paused => Self::Paused,
            Observed::Created => Self::Created,
            Observed::Exited => Self::Exited,
            Observed::Changing => Self::Changing,
            Observed::Dead => Self::Dead,
            Observed::Missing if row.gone_at.is_some() => Self::Gone,
            Observed::Missing if !row.started_once => Self::New,
            Observed::Missing if !seen.volumes.contains(&row.id) => Self::Missing,
            Observed::Missing => Self::Stopped,
        }
    }
}

/// All containers and volumes of the deployment's sandboxes.
pub struct Seen {
    /// Id of the image that new sandboxes run; None where it is not on this machine.
    current_image: Option<String>,
    pub containers: HashMap<SandboxId, Container>,
    volumes: HashSet<SandboxId>,
}

impl Seen {
    pub async fn ask(docker: &Docker, image: &str) -> anyhow::Result<Self> {
        let current_image = match image {
            "" => None,
            image => docker.image(image).await?,
        };
        let containers = docker.containers().await?.into_iter();
        Ok(Self {
            current_image,
            containers: containers.map(|found| (found.sandbox, found)).collect(),
            volumes: docker.volumes().await?.into_iter().collect(),
        })
    }

    /// Whether it runs what new ones do; None: nobody knows.
    pub fn is_current(&self, row: &Listed) -> Option<bool> {
        let current = self.current_image.as_ref()?;
        Some(row.image.as_ref()? == current)
    }

    /// Since when its container has been up; paused or not.
    pub fn awake_since(&self, id: SandboxId) -> Option<DateTime<Utc>> {
        let started = &self.containers.get(&id)?.started_at;
        let started = DateTime::parse_from_rfc3339(started).ok()?;
        Some(started.to_utc())
    }
}
