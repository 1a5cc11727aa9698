//! An engine in memory that behaves as Docker does where the reconcile loop can tell.

use std::{
    collections::{HashMap, HashSet},
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{bail, ensure};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream, stream::BoxStream};
use tokio::sync::{Notify, mpsc};

use super::stall::Stall;
use crate::{
    id::SandboxId,
    sandbox::{
        plan::Observed,
        runtime::{Answer, Breach, Chunk, Container, Runtime},
        spec::Spec,
    },
};

#[derive(Default)]
pub struct Engine {
    state: Mutex<State>,
    pub stall: Arc<Stall>,
}

#[derive(Default)]
pub struct State {
    pub containers: Vec<Container>,
    pub volumes: Vec<SandboxId>,
    /// What is in them, as Docker tells it.
    pub files: HashMap<SandboxId, Bytes>,
    pub breach: Option<Breach>,
    pub leak: Option<Breach>,
    pub refuses_to_start: bool,
    /// Nobody answers.
    pub is_away: bool,
    pub refuses_to_pause: bool,
    /// What new sandboxes are to run by now.
    pub image: Option<String>,
    /// Images that somebody removed.
    pub lost_images: Vec<String>,
    /// How long sandboxes were at work on cores.
    pub on_cores: HashMap<SandboxId, Duration>,
    /// The containers that go last.
    pub last: HashSet<String>,
    /// What started containers of this image write into their volumes.
    pub spoils: Option<(String, Bytes)>,
    /// Holds a list back after it was taken.
    pub gate: Option<Arc<Notify>>,
    addresses: HashMap<String, Ipv4Addr>,
    log: Vec<String>,
    made: u32,
}

impl Engine {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Every change that was asked for, in order.
    pub fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    pub fn of(&self, sandbox: SandboxId) -> Option<Container> {
        let state = self.state();
        state
            .containers
            .iter()
            .find(|container| container.sandbox == sandbox)
            .cloned()
    }

    /// The container ends by itself.
    pub fn crash(&self, sandbox: SandboxId) {
        self.becomes(sandbox, Observed::Exited);
    }

    /// What Docker shows of it from now on.
    pub fn becomes(&self, sandbox: SandboxId, observed: Observed) {
        let mut state = self.state();
        let found = state
            .containers
            .iter_mut()
            .find(|container| container.sandbox == sandbox);
        let found = found.unwrap();
        found.observed = observed;
        if !matches!(observed, Observed::Running | Observed::Paused) {
            found.started_at = String::new();
        }
    }

    /// Nothing happens without an engine.
    fn answering(&self) -> anyhow::Result<MutexGuard<'_, State>> {
        let state = self.state();
        ensure!(!state.is_away, "the engine does not answer");
        Ok(state)
    }

    fn change(&self, what: &str, id: &str, to: Observed) -> anyhow::Result<()> {
        let mut state = self.answering()?;
        state.log.push(format!("{what} {id}"));
        let address = state.addresses.get(id).copied();
        state.made += 1;
        let started_at = format!("2027-01-15T08:00:{:02}Z", state.made % 60);
        let Some(found) = state
            .containers
            .iter_mut()
            .find(|container| container.id == id)
        else {
            bail!("no container {id}");
        };
        let ran = matches!(found.observed, Observed::Running | Observed::Paused);
        found.observed = to;
        match to {
            Observed::Running if !ran => (found.started_at, found.address) = (started_at, address),
            Observed::Running | Observed::Paused => {}
            _ => (found.started_at, found.address) = (String::new(), None),
        }
        Ok(())
    }
}

impl Runtime for Engine {
    fn read<'a>(
        &'a self,
        _id: &'a str,
        _path: &'a str,
        _limit: usize,
    ) -> Answer<'a, Option<Vec<u8>>> {
        async { Ok(None) }.boxed()
    }

    fn image<'a>(&'a self, reference: &'a str) -> Answer<'a, Option<String>> {
        let state = self.state();
        let image = match (reference, &state.image) {
            ("image", Some(image)) => image.clone(),
            ("image", None) => "sha256:first".to_owned(),
            (id, _) => id.to_owned(),
        };
        let image = Some(image).filter(|image| !state.lost_images.contains(image));
        async move { Ok(image) }.boxed()
    }

    fn ensure_network(&self) -> Answer<'_, ()> {
        async { Ok(()) }.boxed()
    }

    fn containers(&self) -> Answer<'_, Vec<Container>> {
        async {
            let (list, gate) = {
                let state = self.answering()?;
                (state.containers.clone(), state.gate.clone())
            };
            if let Some(gate) = gate {
                gate.notified().await;
            }
            Ok(list)
        }
        .boxed()
    }

    fn inspect<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Container>> {
        async move {
            let state = self.answering()?;
            Ok(state
                .containers
                .iter()
                .find(|container| container.id == id || container.name == id)
                .cloned())
        }
        .boxed()
    }

    fn create<'a>(&'a self, spec: &'a Spec) -> Answer<'a, ()> {
        async move {
            self.stall.pass("create").await;
            let mut state = self.answering()?;
            state.made += 1;
            let id = format!("c{}", state.made);
            state.log.push(format!("create {id}"));
            ensure!(
                !state.containers.iter().any(|one| one.name == spec.name),
                "name taken"
            );
            let networking = spec
                .body
                .networking_config
                .clone()
                .unwrap()
                .endpoints_config
                .unwrap();
            let address = networking
                .into_values()
                .next()
                .unwrap()
                .ipam_config
                .unwrap();
            state
                .addresses
                .insert(id.clone(), address.ipv4_address.unwrap().parse().unwrap());
            state.containers.push(Container {
                id,
                name: spec.name.clone(),
                sandbox: spec.sandbox,
                spec_hash: spec.hash.clone(),
                image: spec.body.image.clone().unwrap_or_default(),
                observed: Observed::Created,
                started_at: String::new(),
                address: None,
            });
            if !state.volumes.contains(&spec.sandbox) {
                state.volumes.push(spec.sandbox);
            }
            Ok(())
        }
        .boxed()
    }

    fn upload<'a>(&'a self, id: &'a str, archive: Vec<u8>) -> Answer<'a, ()> {
        async move {
            self.stall.pass("upload").await;
            let container = self.inspect(id).await?;
            ensure!(!archive.is_empty(), "an empty archive");
            ensure!(
                container.is_some_and(|container| container.observed != Observed::Running),
                "files were put into a running sandbox"
            );
            Ok(())
        }
        .boxed()
    }

    fn put<'a>(&'a self, id: &'a str, archive: Vec<u8>) -> Answer<'a, ()> {
        async move {
            let container = self.inspect(id).await?;
            ensure!(!archive.is_empty(), "an empty archive");
            ensure!(
                container.is_some_and(|container| container.observed == Observed::Running),
                "a file was put into a sandbox that does not run"
            );
            Ok(())
        }
        .boxed()
    }

    fn start<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        async move {
            self.stall.pass("start").await;
            ensure!(!self.state().refuses_to_start, "the engine refuses");
            self.change("start", id, Observed::Running)?;
            let mut state = self.state();
            let made = state.containers.iter().find(|one| one.id == id);
            let made = made.map(|one| (one.sandbox, one.image.clone()));
            if let (Some((sandbox, image)), Some((bad, files))) = (made, state.spoils.clone())
                && image == bad
            {
                state.files.insert(sandbox, files);
            }
            Ok(())
        }
        .boxed()
    }

    fn stop<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        async move { self.change("stop", id, Observed::Exited) }.boxed()
    }

    fn pause<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        async move {
            ensure!(!self.state().refuses_to_pause, "the engine is out of sorts");
            self.change("pause", id, Observed::Paused)
        }
        .boxed()
    }

    fn unpause<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        async move { self.change("unpause", id, Observed::Running) }.boxed()
    }

    fn remove<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        async move {
            self.stall.pass("remove").await;
            let mut state = self.answering()?;
            state.log.push(format!("remove {id}"));
            state.containers.retain(|container| container.id != id);
            Ok(())
        }
        .boxed()
    }

    fn volumes(&self) -> Answer<'_, Vec<SandboxId>> {
        async { Ok(self.state().volumes.clone()) }.boxed()
    }

    fn remove_volume(&self, sandbox: SandboxId) -> Answer<'_, ()> {
        async move {
            self.state().volumes.retain(|volume| *volume != sandbox);
            Ok(())
        }
        .boxed()
    }

    fn time_on_cores<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Duration>> {
        let state = self.state();
        let found = state.containers.iter().find(|one| one.id == id);
        let time = found.map(|one| {
            state
                .on_cores
                .get(&one.sandbox)
                .copied()
                .unwrap_or_default()
        });
        async move { Ok(time) }.boxed()
    }

    fn goes_last<'a>(&'a self, id: &'a str) -> Answer<'a, bool> {
        let last = self.state().last.contains(id);
        async move { Ok(last) }.boxed()
    }

    fn put_last<'a>(&'a self, id: &'a str, last: bool) -> Answer<'a, ()> {
        let mut state = self.state();
        match last {
            true => state.last.insert(id.to_owned()),
            false => state.last.remove(id),
        };
        async { Ok(()) }.boxed()
    }

    fn read_volume<'a>(
        &'a self,
        sandbox: SandboxId,
        _image: &'a str,
        to: mpsc::Sender<Chunk>,
    ) -> Answer<'a, bool> {
        async move {
            self.stall.pass("read").await;
            let runs = self.of(sandbox).map(|container| container.observed);
            ensure!(
                runs != Some(Observed::Running),
                "a running sandbox was read"
            );
            let (there, files) = {
                let state = self.state();
                let files = state.files.get(&sandbox).cloned();
                (state.volumes.contains(&sandbox), files.unwrap_or_default())
            };
            if there {
                to.send(Ok(files)).await?;
            }
            Ok(there)
        }
        .boxed()
    }

    fn fill_volume<'a>(
        &'a self,
        sandbox: SandboxId,
        _image: &'a str,
        _uid: u32,
        from: BoxStream<'static, Bytes>,
    ) -> Answer<'a, ()> {
        async move {
            ensure!(
                self.of(sandbox).is_none(),
                "a volume was filled that a container has"
            );
            let files = from.collect::<Vec<_>>().await.concat();
            self.stall.pass("fill").await;
            let mut state = self.state();
            state.log.push("fill".to_owned());
            state.files.insert(sandbox, files.into());
            if !state.volumes.contains(&sandbox) {
                state.volumes.push(sandbox);
            }
            Ok(())
        }
        .boxed()
    }

    fn check_walls(&self) -> Answer<'_, Result<(), Breach>> {
        async { Ok(self.state().breach.clone().map_or(Ok(()), Err)) }.boxed()
    }

    fn probe_walls<'a>(&'a self, _image: &'a str) -> Answer<'a, Result<(), Breach>> {
        async { Ok(self.state().leak.clone().map_or(Ok(()), Err)) }.boxed()
    }

    fn changes(&self) -> BoxStream<'_, ()> {
        stream::pending().boxed()
    }
}
