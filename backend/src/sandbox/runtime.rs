//! What an engine must be able to do for us. Docker does it today, a cluster's engine later.
//!
//! Every call is bounded in time by its implementation, is safe to repeat, and takes "it is not
//! there any more" as a fact. Calls that change a container refuse what does not carry our label.

use std::{net::Ipv4Addr, time::Duration};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};
use tokio::sync::mpsc;

use super::{plan::Observed, spec::Spec};
use crate::id::SandboxId;

/// What every call returns.
pub type Answer<'a, T> = BoxFuture<'a, anyhow::Result<T>>;

/// A piece of an archive, or why there is no more of it.
pub type Chunk = std::io::Result<Bytes>;

/// A container with our deployment's sandbox label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub sandbox: SandboxId,
    pub spec_hash: String,
    /// Id of the image it was made of.
    pub image: String,
    pub observed: Observed,
    /// With the id it names one run of a container; empty unless it runs or is paused.
    pub started_at: String,
    pub address: Option<Ipv4Addr>,
}

/// Of a volume, in blocks of 4 KB.
#[derive(Clone, Copy, Debug)]
pub struct Space {
    pub left: u64,
    pub all: u64,
}

/// Why sandboxes are not shut in, in the operator's words.
pub type Breach = String;

pub trait Runtime: Send + Sync {
    /// The id of an image, when this machine has it.
    fn image<'a>(&'a self, reference: &'a str) -> Answer<'a, Option<String>>;

    /// Makes the deployment's network when it is missing; never changes one that exists.
    fn ensure_network(&self) -> Answer<'_, ()>;

    /// Everything of ours, in any state.
    fn containers(&self) -> Answer<'_, Vec<Container>>;

    fn inspect<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Container>>;

    /// Makes the volume when it is missing, and the container.
    fn create<'a>(&'a self, spec: &'a Spec) -> Answer<'a, ()>;

    /// Puts a tar archive into the state directory of a container that does not run.
    fn upload<'a>(&'a self, id: &'a str, archive: Vec<u8>) -> Answer<'a, ()>;

    /// The first `limit` bytes of a file in the state directory; `None` where there is no such
    /// file, or something that is none.
    fn read<'a>(&'a self, id: &'a str, path: &'a str, limit: usize) -> Answer<'a, Option<Vec<u8>>>;

    /// Puts files into one that runs.
    fn put<'a>(&'a self, id: &'a str, archive: Vec<u8>) -> Answer<'a, ()>;

    fn start<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    fn stop<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    fn pause<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    fn unpause<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// Kills it when it runs. Its volume stays.
    fn remove<'a>(&'a self, id: &'a str) -> Answer<'a, ()>;

    /// The sandboxes that have a volume.
    fn volumes(&self) -> Answer<'_, Vec<SandboxId>>;

    fn remove_volume(&self, sandbox: SandboxId) -> Answer<'_, ()>;

    /// Whether nothing, or next to nothing, can be written to its volume any more.
    fn disk_is_full(&self, _sandbox: SandboxId) -> Answer<'_, bool> {
        Box::pin(async { Ok(false) })
    }

    /// What is left to write on in a container that runs; `None` where it does not say.
    fn space<'a>(&'a self, _id: &'a str) -> Answer<'a, Option<Space>> {
        Box::pin(async { Ok(None) })
    }

    /// How long its processes were at work on cores since it started; `None` when it is gone.
    fn time_on_cores<'a>(&'a self, id: &'a str) -> Answer<'a, Option<Duration>>;

    /// Whether all others come first where there are not enough cores.
    fn goes_last<'a>(&'a self, id: &'a str) -> Answer<'a, bool>;

    fn put_last<'a>(&'a self, id: &'a str, last: bool) -> Answer<'a, ()>;

    /// Sends the files of a volume as a tar archive, below `state/`; false when there is no volume.
    /// Nothing may run on it. An error is sent, too, so that half an archive is never taken for one.
    fn read_volume<'a>(
        &'a self,
        sandbox: SandboxId,
        image: &'a str,
        to: mpsc::Sender<Chunk>,
    ) -> Answer<'a, bool>;

    /// Replaces everything in a volume, which is this uid's, by the files of a tar archive. No container
    /// may have it.
    fn fill_volume<'a>(
        &'a self,
        sandbox: SandboxId,
        image: &'a str,
        uid: u32,
        from: BoxStream<'static, Bytes>,
    ) -> Answer<'a, ()>;

    /// Isolates what is not isolated yet, then reads every wall back. Cheap: at every pass.
    fn check_walls(&self) -> Answer<'_, Result<(), Breach>>;

    /// Tries the walls from inside. Takes seconds: at start and every ten minutes.
    fn probe_walls<'a>(&'a self, image: &'a str) -> Answer<'a, Result<(), Breach>>;

    /// An item whenever something of ours may have changed. Only a hint.
    fn changes(&self) -> BoxStream<'_, ()>;
}
