//! How we talk to the OpenClaw gateway inside a sandbox.
//!
//! `worker/deliver` asks through [`Gateways`]: at most one live connection per sandbox, made when
//! it is needed, thrown away when its container is not the one it was made for. [`ask`] puts one
//! question at most once, and [`ask::collect`] fetches what an assistant said of its own accord.
//! What a sandbox sends is data to be judged, see [`protocol`].

pub mod ask;
pub mod connection;
pub mod device;
pub mod dial;
pub mod end;
mod hello;
mod next;
pub mod protocol;
mod reader;
pub mod stop;
pub mod suspend;
pub mod transcript;
mod wire;

#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::broadcast,
    time::{Instant, sleep_until},
};

use crate::{
    id::SandboxId,
    lifecycle::Shutdown,
    sandbox::{
        Endpoint,
        sleep::{Gateway, IsNeeded},
    },
    seal::MasterKey,
};
use connection::Connection;
use device::Device;
use dial::{DialError, Patience, dial};

/// The pauses between failed dials.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Sandboxes with news that nobody has looked at yet; who misses some looks at all.
const NEWS: usize = 1_024;

/// All connections of a process.
pub struct Gateways {
    master: Arc<MasterKey>,
    shutdown: Shutdown,
    slots: Mutex<HashMap<SandboxId, Arc<tokio::sync::Mutex<Slot>>>>,
    news: broadcast::Sender<SandboxId>,
}

#[derive(Default)]
struct Slot {
    held: Option<Held>,
    failed: Option<Failed>,
}

/// A dial that failed. A container that was started anew is dialled at once.
struct Failed {
    started_at: String,
    next_dial: Instant,
    pause: Duration,
}

struct Held {
    container_id: String,
    started_at: String,
    connection: Connection,
}

impl Held {
    fn is_to(&self, endpoint: &Endpoint) -> bool {
        self.container_id == endpoint.container_id
            && self.started_at == endpoint.started_at
            && !self.connection.is_closed()
    }
}

impl Gateway for Gateways {
    fn meet<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, anyhow::Result<()>> {
        async move { Ok(self.connection(endpoint).await.map(drop)?) }.boxed()
    }

    fn suspend<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        patience: Duration,
        is_needed: IsNeeded<'a>,
    ) -> BoxFuture<'a, anyhow::Result<bool>> {
        self.suspend_by(endpoint, patience, is_needed).boxed()
    }

    fn resume<'a>(&'a self, endpoint: &'a Endpoint) -> BoxFuture<'a, anyhow::Result<()>> {
        self.resume_now(endpoint).boxed()
    }
}

impl Gateways {
    pub fn new(master: Arc<MasterKey>, shutdown: Shutdown) -> Self {
        Self {
            master,
            shutdown,
            slots: Mutex::default(),
            news: broadcast::channel(NEWS).0,
        }
    }

    /// Sandboxes in which a run ended, or to which we connected anew: time to [`ask::collect`].
    pub fn news(&self) -> broadcast::Receiver<SandboxId> {
        self.news.subscribe()
    }

    /// The connection to exactly this container. Dials if there is none; after a failed dial the
    /// next caller waits, 1 s at first and up to 30 s.
    pub async fn connection(&self, endpoint: &Endpoint) -> Result<Connection, DialError> {
        let slot = self.slot(endpoint.sandbox);
        // Held over the dial on purpose: others who want the same sandbox get the same socket.
        let mut slot = slot.lock().await;
        if let Some(held) = slot.held.as_ref().filter(|held| held.is_to(endpoint)) {
            return Ok(held.connection.clone());
        }
        if let Some(old) = slot.held.take() {
            old.connection.close();
        }
        let pause = match &slot.failed {
            Some(failed) if failed.started_at == endpoint.started_at => {
                sleep_until(failed.next_dial).await;
                (2 * failed.pause).min(LONGEST_PAUSE)
            }
            _ => FIRST_PAUSE,
        };
        let device = Device::of(&self.master, endpoint.sandbox);
        let begun = Instant::now();
        let dialled = dial(endpoint, &device, Patience::default()).await;
        let outcome = dialled.as_ref().map_or("failed", |_| "let_in");
        metrics::histogram!("clawkaka_gateway_dial_seconds", "outcome" => outcome)
            .record(begun.elapsed());
        let (socket, hello) = match dialled {
            Ok(opened) => opened,
            Err(error) => {
                slot.failed = Some(Failed {
                    started_at: endpoint.started_at.clone(),
                    next_dial: Instant::now() + pause,
                    pause,
                });
                return Err(error);
            }
        };
        let (news, sandbox) = (self.news.clone(), endpoint.sandbox);
        let tell = move || drop(news.send(sandbox));
        let connection = Connection::start(socket, &hello, &self.shutdown, tell.clone());
        if hello.is_suspended {
            // By us, before we died: it takes on nothing until somebody says so.
            suspend::resume(&connection)
                .await
                .map_err(|_| DialError::Unreachable("it does not wake up"))?;
        }
        *slot = Slot {
            held: Some(Held {
                container_id: endpoint.container_id.clone(),
                started_at: endpoint.started_at.clone(),
                connection: connection.clone(),
            }),
            ..Slot::default()
        };
        tell();
        Ok(connection)
    }

    /// Held over a pause: the sockets of a frozen gateway live on.
    async fn suspend_by(
        &self,
        endpoint: &Endpoint,
        patience: Duration,
        is_needed: IsNeeded<'_>,
    ) -> anyhow::Result<bool> {
        let connection = self.connection(endpoint).await?;
        let rests = suspend::suspend(&connection, patience, is_needed).await?;
        connection.expect_silence(rests);
        Ok(rests)
    }

    async fn resume_now(&self, endpoint: &Endpoint) -> anyhow::Result<()> {
        let connection = self.connection(endpoint).await?;
        connection.expect_silence(false);
        Ok(suspend::resume(&connection).await?)
    }

    /// The container is gone: whoever waits for an answer from it hears so at once.
    pub fn lost(&self, sandbox: SandboxId) {
        let slot = self.slots().remove(&sandbox);
        // A slot that is locked is being dialled; that dial ends by itself.
        if let Some(mut slot) = slot.as_ref().and_then(|slot| slot.try_lock().ok())
            && let Some(held) = slot.held.take()
        {
            held.connection.close();
        }
    }

    fn slot(&self, sandbox: SandboxId) -> Arc<tokio::sync::Mutex<Slot>> {
        self.slots().entry(sandbox).or_default().clone()
    }

    fn slots(
        &self,
    ) -> std::sync::MutexGuard<'_, HashMap<SandboxId, Arc<tokio::sync::Mutex<Slot>>>> {
        self.slots.lock().expect("nothing panics while holding it")
    }
}
