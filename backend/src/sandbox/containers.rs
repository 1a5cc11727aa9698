//! Which containers of ours there are. A pass asks every second, so only what the list does not say
//! is asked of each container, and only once for each of its runs.

use std::collections::HashMap;

use bollard::{
    models::{ContainerInspectResponse, ContainerSummary},
    query_parameters::ListContainersOptionsBuilder,
};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    call::{READ_TIMEOUT, bounded, found},
    docker::Docker,
    plan::Observed,
    runtime::Container,
    spec::{DEPLOYMENT_LABEL, SANDBOX_LABEL, SPEC_LABEL},
};
use crate::id::SandboxId;

/// Containers looked at at the same time.
const INSPECT_AT_ONCE: usize = 8;

/// One run of a container: its end of our network is a new one at each start.
type Run = (String, String);

/// When each run began, in Docker's words: the list does not say.
pub type Begun = HashMap<Run, String>;

impl Docker {
    /// This deployment's containers with one more label, in any state.
    pub(super) async fn labelled(&self, label: &str) -> anyhow::Result<Vec<ContainerSummary>> {
        let options = ListContainersOptionsBuilder::default()
            .all(true)
            .filters(&self.filters(&[label.to_owned()]))
            .build();
        let call = self.engine.list_containers(Some(options));
        bounded("list containers", READ_TIMEOUT, call).await
    }

    pub(super) async fn list(&self) -> anyhow::Result<Vec<Container>> {
        let summaries = self.labelled(SANDBOX_LABEL).await?;
        let known = self.begun.lock().expect("no panic while held").clone();
        let listed: Vec<(Container, Option<Run>)> =
            stream::iter(summaries.into_iter().filter_map(|one| self.listed(one)))
                .map(|(mut container, run)| {
                    let begun = run.as_ref().and_then(|run| known.get(run));
                    async move {
                        match begun {
                            Some(begun) => container.started_at.clone_from(begun),
                            None if !container.runs() => {}
                            None => match self.look_at(&container.id).await? {
                                Some(found) => container = found,
                                None => return Ok(None),
                            },
                        }
                        anyhow::Ok(Some((container, run)))
                    }
                })
                .buffer_unordered(INSPECT_AT_ONCE)
                .try_filter_map(async |listed| Ok(listed))
                .try_collect()
                .await?;
        let begun = listed.iter().filter_map(|(container, run)| {
            let begun = Some(container.started_at.clone()).filter(|begun| !begun.is_empty());
            run.clone().zip(begun)
        });
        *self.begun.lock().expect("no panic while held") = begun.collect();
        Ok(listed.into_iter().map(|(container, _)| container).collect())
    }

    pub(super) async fn look_at(&self, id: &str) -> anyhow::Result<Option<Container>> {
        let call = found(self.engine.inspect_container(id, None));
        let container = bounded("inspect a container", READ_TIMEOUT, call).await?;
        Ok(container.and_then(|container| self.inspected(container)))
    }

    /// Without the time of its start; with the run it is in, if the list says.
    fn listed(&self, found: ContainerSummary) -> Option<(Container, Option<Run>)> {
        let labels = found.labels?;
        let networks = found
            .network_settings
            .and_then(|settings| settings.networks);
        let networks = networks.unwrap_or_default();
        let end = networks.get(&self.layout.bridge());
        let id = found.id?;
        let container = Container {
            name: found.names?.first()?.trim_start_matches('/').to_owned(),
            sandbox: SandboxId(labels.get(SANDBOX_LABEL)?.parse().ok()?),
            spec_hash: labels.get(SPEC_LABEL).cloned().unwrap_or_default(),
            image: found.image_id.unwrap_or_default(),
            observed: observed(found.state),
            started_at: String::new(),
            address: end.and_then(|end| end.ip_address.as_deref()?.parse().ok()),
            id: id.clone(),
        };
        let end = end.and_then(|end| end.endpoint_id.clone());
        let end = end.filter(|end| !end.is_empty() && container.runs());
        Some((container, end.map(|end| (id, end))))
    }

    fn inspected(&self, found: ContainerInspectResponse) -> Option<Container> {
        let labels = found.config?.labels?;
        let state = found.state?;
        if labels.get(DEPLOYMENT_LABEL) != Some(&self.layout.deployment) {
            return None;
        }
        let networks = found.network_settings?.networks.unwrap_or_default();
        let address = networks
            .get(&self.layout.bridge())
            .and_then(|end| end.ip_address.as_deref());
        let container = Container {
            id: found.id?,
            name: found.name?.trim_start_matches('/').to_owned(),
            sandbox: SandboxId(labels.get(SANDBOX_LABEL)?.parse().ok()?),
            spec_hash: labels.get(SPEC_LABEL).cloned().unwrap_or_default(),
            image: found.image.unwrap_or_default(),
            observed: observed(state.status),
            started_at: String::new(),
            address: address.and_then(|address| address.parse().ok()),
        };
        let begun = state.started_at.filter(|_| container.runs());
        Some(Container {
            started_at: begun.unwrap_or_default(),
            ..container
        })
    }
}

impl Container {
    /// There are processes in it, thawed or not.
    fn runs(&self) -> bool {
        matches!(self.observed, Observed::Running | Observed::Paused)
    }
}

/// A state in Docker's words, which the list and an inspection share.
fn observed(state: Option<impl ToString>) -> Observed {
    match state.map(|state| state.to_string()).as_deref() {
        Some("created") => Observed::Created,
        Some("running") => Observed::Running,
        Some("paused") => Observed::Paused,
        Some("exited") => Observed::Exited,
        Some("dead") => Observed::Dead,
        // On its way to one of these, or something that an engine to come knows.
        _ => Observed::Changing,
    }
}
