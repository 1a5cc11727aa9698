//! The far side of the wire, simulated: WhatsApp's Graph API and an OpenAI-compatible model.
//!
//! Tests start [`Simulators`] in their own process; `clawkaka-sim` is the same thing behind a small
//! HTTP API for shell scripts. The simulators keep everything they were asked and everything a
//! person would see, answer as strictly as the real services where those are strict, and fail only
//! in the ways they are told to. They never reach into the product.

pub mod backup;
pub mod bench;
pub mod command;
pub mod control;
pub mod crowd;
mod demo;
pub mod docker;
pub mod engine;
pub mod gate;
pub mod kill;
pub mod line;
pub mod logs;
pub mod model;
pub mod place;
pub mod postgres;
pub mod processes;
pub mod product;
pub mod sample;
pub mod server;
mod settings;
pub mod sleep;
pub mod soak;
mod tenant;
pub mod upgrade;
pub mod whatsapp;

use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::BoxFuture;
use tokio_util::sync::{CancellationToken, DropGuard};
use uuid::Uuid;

pub use gate::{Gates, Then};
pub use model::Model;
pub use place::free_ports;
pub use product::{PATIENCE, Product, alone};
pub use whatsapp::{Person, Whatsapp};

/// Long enough for a slow machine, short enough that a hung test is noticed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Both simulators, running. Dropping this stops them.
pub struct Simulators {
    pub whatsapp: Whatsapp,
    pub model: Model,
    /// Where calls that were told to wait are waiting; shared by both simulators.
    pub gates: Gates,
    stop: CancellationToken,
    _stop_on_drop: DropGuard,
}

impl Simulators {
    /// Starts both on loopback. Port 0, the default of both settings, takes a free one.
    ///
    /// Boxed, as all that whole programs consist of: it is compiled here, and not once more in each
    /// program that waits for it.
    pub fn start(
        whatsapp: whatsapp::Settings,
        model: model::Settings,
    ) -> BoxFuture<'static, anyhow::Result<Self>> {
        Box::pin(Self::begin(whatsapp, model))
    }

    async fn begin(whatsapp: whatsapp::Settings, model: model::Settings) -> anyhow::Result<Self> {
        let stop = CancellationToken::new();
        let stop_on_drop = stop.clone().drop_guard();
        let gates = Gates::default();
        let whatsapp = Whatsapp::start(whatsapp, gates.clone(), stop.clone())
            .await
            .context("start the WhatsApp simulator")?;
        let model = Model::start(model, gates.clone(), stop.clone())
            .await
            .context("start the model simulator")?;
        Ok(Self {
            whatsapp,
            model,
            gates,
            stop,
            _stop_on_drop: stop_on_drop,
        })
    }

    /// Opens the control API, with the demonstration page, on loopback and returns its address.
    pub fn start_control(&self, port: u16) -> BoxFuture<'static, anyhow::Result<String>> {
        let steering = control::Steering {
            whatsapp: self.whatsapp.clone(),
            model: self.model.clone(),
            gates: self.gates.clone(),
            run: Uuid::new_v4(),
        };
        let stop = self.stop.clone();
        Box::pin(async move {
            let started = control::start(steering, port, stop).await;
            started.context("start the control API")
        })
    }
}

/// Whether a crash matrix is to run those of its cases, too, that `infra/test.sh` leaves out when
/// nobody asks for them: each is much like one that it runs.
pub fn every_case() -> bool {
    std::env::var("EVERY_CASE").is_ok_and(|wish| wish == "yes")
}

/// An HTTP client for loopback: no proxy from the environment may come between.
pub fn http_client(timeout: Duration) -> anyhow::Result<reqwest::Client> {
    http_client_builder(timeout)
        .build()
        .context("build an HTTP client")
}

/// One that takes certificates of this authority (PEM), and of no other.
pub fn http_client_trusting(
    authority: &[u8],
    timeout: Duration,
) -> anyhow::Result<reqwest::Client> {
    let authority = reqwest::Certificate::from_pem(authority).context("read a certificate")?;
    http_client_builder(timeout)
        .tls_certs_only([authority])
        .build()
        .context("build an HTTP client")
}

fn http_client_builder(timeout: Duration) -> reqwest::ClientBuilder {
    // An error here only says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(timeout)
}
