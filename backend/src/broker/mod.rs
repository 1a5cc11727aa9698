//! The broker: the only thing a sandbox can reach. It passes calls of the model on with our key,
//! within limits; the sandbox holds a token that is worth nothing anywhere else.
//!
//! Everything that comes in is hostile until shown otherwise. Connections, time to send a request,
//! bodies and calls under way are bounded, each also for one sandbox, so that none of them can
//! shut out the others.

mod call;
mod caller;
pub mod llm;
mod meter;
mod places;
mod refusal;
mod request;
#[cfg(test)]
mod tests;
pub mod usage;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use axum::{Extension, Router, routing::post};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use socket2::{Domain, SockRef, Socket, Type};
use sqlx::PgPool;
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::{clock::Clock, config, id::SandboxId, lifecycle::Shutdown};
use places::Places;
use refusal::Refusal;

/// Connections at a time: each may hold a body of 4 MB.
const MAX_CONNECTIONS: usize = 64;
/// Of one sandbox: its streams, and some that its client keeps open between calls.
const MAX_CONNECTIONS_PER_ADDRESS: usize = 8;
/// Calls under way of one sandbox.
const MAX_CALLS_PER_SANDBOX: usize = 3;
/// Connections the kernel may hold ready before we take them.
const BACKLOG: i32 = 128;
/// Bytes of a request's head, and read at a time.
const MAX_HEAD: usize = 16 * 1024;
/// After a failed accept, which is mostly a lack of file descriptors and would spin otherwise.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long we wait for others. Tests shorten them.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a request's head, also between two requests of a connection: clients close idle ones
    /// after some seconds, and a silent one holds a place.
    pub head: Duration,
    /// For a request's body: 4 MB take milliseconds on a bridge within one machine.
    pub body: Duration,
    /// For a sandbox to take what was sent; one that stops reading would hold a call open.
    pub write: Duration,
    /// To reach the provider.
    pub connect: Duration,
    /// For the provider's next byte, the first included: models think for minutes in silence.
    pub silence: Duration,
    /// For a whole call; a turn has ten minutes, so nobody waits for what comes later.
    pub call: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(15),
            write: Duration::from_secs(60),
            connect: Duration::from_secs(10),
            silence: Duration::from_secs(5 * 60),
            call: Duration::from_secs(12 * 60),
        }
    }
}

/// Everything the broker needs.
pub struct Broker {
    db: PgPool,
    clock: Clock,
    llm: config::Llm,
    completions: Url,
    client: reqwest::Client,
    timeouts: Timeouts,
    address_of: Box<dyn Fn(i32) -> Ipv4Addr + Send + Sync>,
    calls: Arc<Places<SandboxId>>,
}

impl Broker {
    /// `address_of` gives the fixed address of a slot.
    pub fn new(
        db: PgPool,
        clock: Clock,
        llm: config::Llm,
        timeouts: Timeouts,
        address_of: impl Fn(i32) -> Ipv4Addr + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        // A redirect would take the request, and with it what a person wrote, somewhere else.
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(timeouts.connect)
            .read_timeout(timeouts.silence)
            .timeout(timeouts.call)
            .build()
            .context("build the client for the model provider")?;
        let base = llm.base_url.as_str().trim_end_matches('/');
        Ok(Self {
            db,
            clock,
            completions: Url::parse(&format!("{base}/chat/completions"))?,
            llm,
            client,
            timeouts,
            address_of: Box::new(address_of),
            calls: Places::new(MAX_CALLS_PER_SANDBOX, MAX_CONNECTIONS),
        })
    }
}

/// What every request can see.
#[derive(Clone)]
struct Shared {
    broker: Arc<Broker>,
    shutdown: Shutdown,
}

/// The sandbox's side of a connection.
#[derive(Clone, Copy)]
struct Peer(IpAddr);

/// Listens on an address that need not exist yet: the bridge comes with the first sandbox.
pub fn bind(address: Ipv4Addr, port: u16) -> anyhow::Result<TcpListener> {
    let listen = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_freebind_v4(true)?;
        // A restart would otherwise wait until the connections of the process before are forgotten.
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::V4(SocketAddrV4::new(address, port)).into())?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    };
    listen().with_context(|| format!("listen on {address}:{port} for sandboxes"))
}

/// Serves sandboxes until the process stops; calls under way may end within its grace.
pub async fn run(listener: TcpListener, broker: Broker, shutdown: Shutdown) {
    let connections = Places::new(MAX_CONNECTIONS_PER_ADDRESS, MAX_CONNECTIONS);
    let shared = Shared {
        broker: Arc::new(broker),
        shutdown: shutdown.clone(),
    };
    let router = Router::new()
        .route("/llm/v1/chat/completions", post(llm::complete))
        .method_not_allowed_fallback(async || Refusal::NotFound)
        .fallback(async || Refusal::NotFound)
        .with_state(shared.clone());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.stopping() => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("failed to accept a sandbox's connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(place) = connections.take(peer.ip()) else {
            metrics::counter!("clawkaka_broker_refusals_total", "reason" => "connections")
                .increment(1);
            continue;
        };
        let router = router.clone().layer(Extension(Peer(peer.ip())));
        let shared = shared.clone();
        shutdown.spawn(async move {
            serve(stream, router, &shared).await;
            drop(place);
        });
    }
}

/// One connection to its end. How it ends concerns only the sandbox, so errors go nowhere.
async fn serve(stream: TcpStream, router: Router, shared: &Shared) {
    let timeouts = &shared.broker.timeouts;
    let prepared = stream
        .set_nodelay(true)
        .and_then(|()| SockRef::from(&stream).set_tcp_user_timeout(Some(timeouts.write)));
    if let Err(error) = prepared {
        return tracing::debug!("failed to prepare a sandbox's connection: {error}");
    }
    let mut connection = std::pin::pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(timeouts.head)
            .max_buf_size(MAX_HEAD)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router))
    );
    tokio::select! {
        _ = connection.as_mut() => return,
        () = shared.shutdown.stopping() => connection.as_mut().graceful_shutdown(),
    }
    _ = connection.await;
}
