//! A loopback HTTP server that can misbehave below HTTP: refuse connections and cut them.
//!
//! Both simulators stand on it. A handler that wants its caller to see a lost connection takes
//! [`Line`] from the request and calls [`Line::cut`]; a test that wants "connection refused" calls
//! [`Server::refuse`]. The port stays the same over a refusal, as the product knows only that one.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};

use anyhow::Context as _;
use axum::{
    Router,
    extract::connect_info::Connected,
    serve::{IncomingStream, Listener},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::Mutex,
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

pub struct Server {
    address: SocketAddr,
    router: Router,
    stop: CancellationToken,
    /// `None` while connections are refused.
    running: Mutex<Option<Running>>,
}

struct Running {
    /// Cuts every connection accepted so far.
    cut: CancellationToken,
    accepting: JoinHandle<()>,
}

/// The connection a request came in on.
#[derive(Clone)]
pub struct Line(CancellationToken);

impl Server {
    pub async fn start(port: u16, router: Router, stop: CancellationToken) -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
            .await
            .with_context(|| format!("listen on port {port}"))?;
        let address = listener.local_addr().context("read the port")?;
        let running = Running::start(listener, router.clone(), &stop);
        Ok(Self {
            address,
            router,
            stop,
            running: Mutex::new(Some(running)),
        })
    }

    /// The address, without a path.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Cuts every connection and refuses new ones until [`Server::accept_again`].
    pub async fn refuse(&self) {
        if let Some(running) = self.running.lock().await.take() {
            running.cut.cancel();
            // The port is closed once the task that owns the listener has ended.
            if let Err(error) = running.accepting.await {
                tracing::warn!("failed to stop listening: {error}");
            }
        }
    }

    pub async fn accept_again(&self) -> anyhow::Result<()> {
        let mut running = self.running.lock().await;
        if running.is_none() {
            let listener = TcpListener::bind(self.address)
                .await
                .context("listen again")?;
            *running = Some(Running::start(listener, self.router.clone(), &self.stop));
        }
        Ok(())
    }
}

impl Running {
    fn start(listener: TcpListener, router: Router, stop: &CancellationToken) -> Self {
        let cut = stop.child_token();
        let listener = Cuttable {
            listener,
            cut: cut.clone(),
        };
        let service = router.into_make_service_with_connect_info::<Line>();
        let until = cut.clone();
        let accepting = tokio::spawn(async move {
            tokio::select! {
                () = until.cancelled() => {}
                result = axum::serve(listener, service) => {
                    if let Err(error) = result {
                        tracing::error!("failed to serve: {error}");
                    }
                }
            }
        });
        Self { cut, accepting }
    }
}

impl Line {
    /// Closes the connection under the caller; nothing more is sent on it.
    pub async fn cut(self) -> Infallible {
        self.0.cancel();
        // The connection's own task now ends and drops the handler that waits here.
        std::future::pending().await
    }
}

impl Connected<IncomingStream<'_, Cuttable>> for Line {
    fn connect_info(stream: IncomingStream<'_, Cuttable>) -> Self {
        Self(stream.io().cut.clone())
    }
}

struct Cuttable {
    listener: TcpListener,
    cut: CancellationToken,
}

impl Listener for Cuttable {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.listener).await;
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!("failed to switch off Nagle's algorithm: {error}");
        }
        let cut = self.cut.child_token();
        let is_cut = Box::pin(cut.clone().cancelled_owned());
        (
            Connection {
                stream,
                cut,
                is_cut,
            },
            address,
        )
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A TCP stream that fails as soon as its line is cut.
struct Connection {
    stream: TcpStream,
    cut: CancellationToken,
    is_cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Connection {
    fn stream(&mut self, context: &mut Context<'_>) -> io::Result<Pin<&mut TcpStream>> {
        match self.is_cut.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Pending => Ok(Pin::new(&mut self.stream)),
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.stream(context)?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.stream(context)?.poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(context)?.poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream(context)?.poll_shutdown(context)
    }
}
