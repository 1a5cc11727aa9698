//! Docker as a [`Runtime`]: engines from 20.10 (API 1.41) to the newest, the version negotiated.
//!
//! Thin on purpose: it decides nothing. Every call has a limit in time; "not found" and "already
//! so" are facts, not errors; before anything that changes a container our label on it is read.

use std::{collections::HashMap, sync::Mutex, time::Duration};

use anyhow::{Context, ensure};
use bollard::{
    Docker as Engine, body_stream,
    errors::Error,
    query_parameters::{
        CreateContainerOptionsBuilder, DownloadFromContainerOptionsBuilder, EventsOptionsBuilder,
        RemoveContainerOptionsBuilder, StopContainerOptionsBuilder,
        UploadToContainerOptionsBuilder,
    },
};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream, stream::BoxStream};
use tokio::sync::mpsc;

use super::{
    call::{CHANGE_TIMEOUT, READ_TIMEOUT, already, bounded, found, frozen, timed},
    containers::Begun,
    disks::{Disks, Limit},
    entrance::Entrances,
    files,
    layout::Layout,
    network,
    runtime::{Answer, Breach, Chunk, Container, Runtime, Space},
    spec::{self, DEPLOYMENT_LABEL, DISKS_LABEL, PROBE_LABEL, SANDBOX_LABEL, Shape, Spec},
    volume, walls,
};
use crate::id::SandboxId;

/// What OpenClaw gets between SIGTERM and SIGKILL: a clean stop took under 2 s. Always said, since
/// it announces a budget of minutes.
const STOP_GRACE_SECONDS: i32 = 20;
/// The event stream is opened again so long after it broke.
const EVENTS_RETRY: Duration = Duration::from_secs(1);

/// The events that change what a pass sees.
const CHANGES: [&str; 5] = ["start", "die", "pause", "unpause", "destroy"];

/// One deployment on one Docker engine.
pub struct Docker {
    pub engine: Engine,
    pub layout: Layout,
    pub shape: Shape,
    pub disks: Disks,
    pub(super) begun: Mutex<Begun>,
    pub(super) entrances: Entrances,
}

impl Docker {
    /// Finds out what the engine speaks; it must be up.
    pub async fn connect(
        host: &str,
        layout: Layout,
        shape: Shape,
        limit: Limit,
    ) -> anyhow::Result<Self> {
        let engine = Engine::connect_with_host(host).context("connect to Docker")?;
        let engine = bounded(
            "ask Docker its version",
            READ_TIMEOUT,
            engine.negotiate_version(),
        );
        Ok(Self {
            engine: engine.await?,
            layout,
            shape,
            disks: Disks::new(limit),
            begun: Mutex::default(),
            entrances: Entrances::default(),
        })
    }

    /// Refuses a container that is not ours; false when there is none.
    async fn is_ours(&self, id: &str) -> anyhow::Result<bool> {
        let found = bounded(
            "inspect a container",
            READ_TIMEOUT,
            found(self.engine.inspect_container(id, None)),
        );
        let Some(container) = found.await? else {
            return Ok(false);
        };
        let labels = container
            .config
            .and_then(|config| config.labels)
            .unwrap_or_default();
        ensure!(
            labels.get(DEPLOYMENT_LABEL) == Some(&self.layout.deployment)
                && [SANDBOX_LABEL, PROBE_LABEL, DISKS_LABEL]
                    .iter()
                    .any(|label| labels.contains_key(*label)),
            "container {id} is not this deployment's: left alone"
        );
        Ok(true)
    }

    /// A change of a container of ours. One that is gone or already so is a fact.
    pub(super) async fn change(
        &self,
        what: &'static str,
        id: &str,
        call: impl Future<Output = Result<(), Error>>,
    ) -> anyhow::Result<()> {
        ensure!(self.is_ours(id).await?, "{what}: container {id} is gone");
        bounded(what, CHANGE_TIMEOUT, call).await
    }

    async fn remove_if_ours(&self, id: &str) -> anyhow::Result<()> {
        if !self.is_ours(id).await? {
            return Ok(());
        }
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        // Somebody else may be at it.
        let call = already(Box::pin(self.engine.remove_container(id, Some(options))));
        bounded("remove a container", CHANGE_TIMEOUT, found(call)).await?;
        Ok(())
    }

    async fn create_container(&self, spec: &Spec) -> anyhow::Result<()> {
        let body = volume::ensure(self, spec).await?;
        let options = CreateContainerOptionsBuilder::default()
            .name(&spec.name)
            .build();
        let call = self.engine.create_container(Some(options), body);
        match timed("create a container", CHANGE_TIMEOUT, call).await? {
            Ok(_) => Ok(()),
            // Made meanwhile, and the next pass sees it; or the name is somebody else's.
            Err(Error::DockerResponseServerError {
                status_code: 409, ..
            }) => {
                let ours = self.is_ours(&spec.name).await;
                ours.context("create a container: rename or remove the one that has its name")?;
                Ok(())
            }
            Err(error) => Err(error).context("create a container"),
        }
    }

    pub(super) fn filters(&self, labels: &[String]) -> HashMap<String, Vec<String>> {
        let ours = format!("{DEPLOYMENT_LABEL}={}", self.layout.deployment);
        HashMap::from([("label".to_owned(), [&[ours], labels].concat())])
    }

    /// The beginning of Docker's tar archive of a file: enough for `limit` bytes of it.
    async fn read_archive(&self, id: &str, path: &str, limit: usize) -> Result<Vec<u8>, Error> {
        let options = DownloadFromContainerOptionsBuilder::default()
            .path(&format!("{}/{path}", spec::STATE_DIR))
            .build();
        let mut pieces = self.engine.download_from_container(id, Some(options));
        let mut archive = Vec::new();
        while let Some(piece) = pieces.next().await {
            archive.extend_from_slice(&piece?);
            if archive.len() >= limit + files::MAX_HEADER_BYTES {
                break;
            }
        }
        Ok(archive)
    }
}

impl Runtime for Docker {
    fn image<'a>(&'a self, reference: &'a str) -> Answer<'a, Option<String>> {
        async move {
            let call = found(self.engine.inspect_image(reference));
            let image = bounded("inspect an image", READ_TIMEOUT, call).await?;
            Ok(image.and_then(|image| image.id))
        }
        .boxed()
    }

    fn ensure_network(&self) -> Answer<'_, ()> {
        network::ensure(&self.engine, &self.layout).boxed()
    }

    fn containers(&self) -> Answer<'_, Vec<Container>> {
        self.list().boxed()
    }

    fn inspect<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Container>> {
        self.look_at(id).boxed()
    }

    fn create<'a>(&'a self, spec: &'a Spec) -> Answer<'a, ()> {
        self.create_container(spec).boxed()
    }

    fn upload<'a>(&'a self, id: &'a str, archive: Vec<u8>) -> Answer<'a, ()> {
        let options = UploadToContainerOptionsBuilder::default()
            .path(spec::STATE_DIR)
            .build();
        // As a stream, since the client writes whole bodies into its trace: here are tokens.
        let body = body_stream(stream::once(async { archive.into() }));
        let call = self.engine.upload_to_container(id, Some(options), body);
        async move {
            // Left open: it is started next.
            volume::open(self, id).await?;
            self.change("put files into a sandbox", id, call).await
        }
        .boxed()
    }

    fn put<'a>(&'a self, id: &'a str, archive: Vec<u8>) -> Answer<'a, ()> {
        let options = UploadToContainerOptionsBuilder::default()
            .path(spec::STATE_DIR)
            .build();
        let body = body_stream(stream::once(async { archive.into() }));
        let call = self.engine.upload_to_container(id, Some(options), body);
        self.change("put a file into a sandbox", id, call).boxed()
    }

    fn read<'a>(&'a self, id: &'a str, path: &'a str, limit: usize) -> Answer<'a, Option<Vec<u8>>> {
        async move {
            let call = found(self.read_archive(id, path, limit));
            let archive = bounded("read a file in a sandbox", READ_TIMEOUT, call).await?;
            Ok(archive.and_then(|archive| files::first_file(&archive, limit)))
        }
        .boxed()
    }

    fn start<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        let call = self
            .engine
            .start_container(id, None::<bollard::query_parameters::StartContainerOptions>);
        async move {
            let volume = volume::open(self, id).await?;
            let started = self.change("start a container", id, call).await;
            volume::close(self, volume).await;
            started
        }
        .boxed()
    }

    fn stop<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        let options = StopContainerOptionsBuilder::default()
            .t(STOP_GRACE_SECONDS)
            .build();
        let call = self.engine.stop_container(id, Some(options));
        self.change("stop a container", id, call).boxed()
    }

    fn pause<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        async move {
            let _alone = self.entrances.shut(id).await;
            let call = frozen(move || self.engine.pause_container(id));
            Box::pin(self.change("pause a container", id, call)).await
        }
        .boxed()
    }

    fn unpause<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        let call = already(self.engine.unpause_container(id));
        self.change("unpause a container", id, call).boxed()
    }

    fn remove<'a>(&'a self, id: &'a str) -> Answer<'a, ()> {
        self.remove_if_ours(id).boxed()
    }

    fn volumes(&self) -> Answer<'_, Vec<SandboxId>> {
        volume::list(self).boxed()
    }

    fn remove_volume(&self, sandbox: SandboxId) -> Answer<'_, ()> {
        volume::remove(self, sandbox).boxed()
    }

    fn disk_is_full(&self, sandbox: SandboxId) -> Answer<'_, bool> {
        volume::is_full(self, sandbox).boxed()
    }

    fn space<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Space>> {
        volume::space(self, id).boxed()
    }

    fn time_on_cores<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Duration>> {
        self.time_on_cores(id).boxed()
    }

    fn goes_last<'a>(&'a self, id: &'a str) -> Answer<'a, bool> {
        self.goes_last(id).boxed()
    }

    fn put_last<'a>(&'a self, id: &'a str, last: bool) -> Answer<'a, ()> {
        self.put_last(id, last).boxed()
    }

    fn read_volume<'a>(
        &'a self,
        sandbox: SandboxId,
        image: &'a str,
        to: mpsc::Sender<Chunk>,
    ) -> Answer<'a, bool> {
        volume::files::read(self, sandbox, image, to).boxed()
    }

    fn fill_volume<'a>(
        &'a self,
        sandbox: SandboxId,
        image: &'a str,
        uid: u32,
        from: BoxStream<'static, Bytes>,
    ) -> Answer<'a, ()> {
        volume::files::fill(self, sandbox, image, uid, from).boxed()
    }

    fn check_walls(&self) -> Answer<'_, Result<(), Breach>> {
        async move {
            if let Err(breach) = network::check(&self.engine, &self.layout).await? {
                return Ok(Err(breach));
            }
            Ok(walls::check(&self.layout).await)
        }
        .boxed()
    }

    fn probe_walls<'a>(&'a self, image: &'a str) -> Answer<'a, Result<(), Breach>> {
        walls::probe::run(self, image).boxed()
    }

    fn changes(&self) -> BoxStream<'_, ()> {
        let mut filters = self.filters(&[]);
        filters.insert("event".to_owned(), CHANGES.map(str::to_owned).to_vec());
        let options = EventsOptionsBuilder::default().filters(&filters).build();
        stream::repeat(options)
            .flat_map(|options| {
                let events = self
                    .engine
                    .events(Some(options))
                    .take_while(|event| futures_util::future::ready(event.is_ok()));
                let pause = stream::once(tokio::time::sleep(EVENTS_RETRY));
                events.map(|_| ()).chain(pause)
            })
            .boxed()
    }
}
