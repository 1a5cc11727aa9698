//! Puts the parts of a process together: which roles it plays, what each of them holds.
//!
//! `web` gets no token, no Docker and only the public half of the reading key; `broker` gets the
//! model's key and nothing that reads messages; `worker` gets the rest.

use std::{net::Ipv4Addr, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context;
use axum::Router;
use secrecy::{ExposeSecret, SecretString};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::{net::TcpListener, sync::Notify};

use crate::{
    MIGRATOR,
    broker::{self, Broker, Timeouts},
    clock::Clock,
    config::{Config, Keys},
    http::{self, Web, batch, drain::Door, secrets::Secrets},
    lease::Lease,
    lifecycle::Shutdown,
    line::{
        self,
        stored::{self, Stored},
    },
    migrate, presence,
    sandbox::{disks::Limit, docker::Docker, layout::Layout, spec::Shape},
    seal::{Opener, Sealer},
    telemetry, wake,
    worker::crew,
};

/// Connections of one process. Turns hold none while they wait, so a few serve many people.
const MAX_CONNECTIONS: u32 = 20;
/// A request that finds no connection within this is better refused and repeated.
const CONNECTION_WITHIN: Duration = Duration::from_secs(5);

/// Runs the roles until a signal, the loss of the lease or the death of a task.
pub async fn serve(config: Config) -> anyhow::Result<ExitCode> {
    let shutdown = Shutdown::default();
    let roles = config.roles;
    let metrics = telemetry::start_metrics(roles)?;
    let db = connect(&config.database_url).await?;
    migrate::require_current(&db, &MIGRATOR).await?;
    let tidying = telemetry::keep_tidy(metrics.clone(), shutdown.clone());
    shutdown.run_forever("metrics' upkeep", tidying);
    tracing::info!(?roles, deployment = config.deployment, "starting");
    listen(
        config.ports.metrics_address,
        config.ports.metrics,
        "metrics",
        http::metrics(metrics, db.clone()),
        &shutdown,
    )
    .await?;

    if roles.web || roles.worker {
        for line in config.lines() {
            line::seed(&db, line.api.provider, line.number).await?;
        }
    }
    if roles.broker {
        start_broker(&config, &db, &shutdown)?;
    }
    if roles.web {
        start_web(&config, &db, &shutdown).await?;
    }
    let lease = match roles.worker {
        true => Some(start_worker(&config, &db, &shutdown).await?),
        false => None,
    };
    let code = shutdown.wait().await;
    if let Some(lease) = lease {
        lease.release(&db).await;
    }
    code
}

/// A pool that connects again by itself when Postgres was away.
pub async fn connect(database_url: &SecretString) -> anyhow::Result<PgPool> {
    PgPoolOptions::new()
        .max_connections(MAX_CONNECTIONS)
        .acquire_timeout(CONNECTION_WITHIN)
        .connect(database_url.expose_secret())
        .await
        .context("connect to Postgres (DATABASE_URL)")
}

async fn start_web(config: &Config, db: &PgPool, shutdown: &Shutdown) -> anyhow::Result<()> {
    let sealing_key = match &config.keys {
        Keys::Master(master) => master.sealing_key(),
        Keys::Web { sealing, .. } => sealing.clone(),
        Keys::None => anyhow::bail!("web needs a key to seal with"),
    };
    let secrets = Secrets::of(config.lines(), config.keys.webhook_key().map(Opener::with));
    let known = secrets.clone();
    follow_lines(db, shutdown, move |lines| known.set_added(lines)).await?;
    let arrived = Arc::new(Notify::new());
    let (batches, lanes) = batch::batches(db.clone(), Clock::System, arrived.clone());
    let web = Web {
        db: db.clone(),
        batches,
        sealer: Arc::new(Sealer::new(sealing_key)),
        secrets,
    };
    // It ends after the last request, and so after the listener.
    shutdown.run_forever("store", lanes.run());
    shutdown.run_forever(
        "notify",
        wake::tell_workers(db.clone(), arrived, shutdown.clone()),
    );
    shutdown.run_forever("presence", presence::keep(db.clone(), shutdown.clone()));
    let listener = bind(Ipv4Addr::UNSPECIFIED, config.ports.web, "webhooks").await?;
    let (listener, door) = Door::of(listener)?;
    let stopping = shutdown.clone();
    let last_one_is_in = async move {
        stopping.stopping().await;
        door.shut().await;
    };
    serve_on(
        listener,
        "webhooks",
        http::public(web),
        last_one_is_in,
        shutdown,
    );
    Ok(())
}

/// Applies the lines that operators added, as they are now and whenever they change.
pub async fn follow_lines(
    db: &PgPool,
    shutdown: &Shutdown,
    apply: impl Fn(&[Stored]) + Send + Sync + 'static,
) -> anyhow::Result<()> {
    let known = stored::all(db).await?;
    apply(&known);
    let bell = Arc::new(Notify::new());
    let listening = wake::listen_to_operators(db.clone(), bell.clone(), shutdown.clone());
    shutdown.run_forever("listen for lines", listening);
    let following = stored::follow(db.clone(), known, bell, shutdown.clone(), apply);
    shutdown.run_forever("lines", following);
    Ok(())
}

fn start_broker(config: &Config, db: &PgPool, shutdown: &Shutdown) -> anyhow::Result<()> {
    let layout = layout(config);
    let address = config.sandbox.bridge_address();
    let listener = broker::bind(address, config.ports.broker)?;
    let slots = move |slot| layout.address(slot);
    let llm = config.llm.clone();
    metrics::gauge!("clawkaka_tokens_limit").set(llm.tokens_per_day as f64);
    let broker = Broker::new(db.clone(), Clock::System, llm, Timeouts::default(), slots)?;
    tracing::info!(%address, port = config.ports.broker, "listening for sandboxes");
    shutdown.run_forever("broker", broker::run(listener, broker, shutdown.clone()));
    Ok(())
}

async fn start_worker(config: &Config, db: &PgPool, shutdown: &Shutdown) -> anyhow::Result<Lease> {
    let Keys::Master(master) = &config.keys else {
        anyhow::bail!("worker needs CLAWKAKA_MASTER_KEY");
    };
    let shape = shape(config);
    let host = &config.sandbox.docker_host;
    let docker = Docker::connect(host, layout(config), shape, limit(config)).await?;
    let docker = Arc::new(docker);
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").context("read host name")?;
    let (lease, session) = Lease::acquire(db, host.trim(), shutdown).await?;
    tracing::info!(worker.id = %lease.id, "holding the worker's lease");
    shutdown.run_to_the_end("lease", lease.clone().keep(db.clone(), session));

    let health = http::worker_health(db.clone(), lease.clone(), docker.clone());
    listen(
        Ipv4Addr::LOCALHOST,
        config.ports.worker_health,
        "health",
        health,
        shutdown,
    )
    .await?;
    crew::start(config, master.clone(), docker, lease.clone(), db, shutdown).await?;
    Ok(lease)
}

pub fn shape(config: &Config) -> Shape {
    let sandbox = &config.sandbox;
    Shape {
        memory: sandbox.memory,
        cpus: sandbox.cpus,
        runtime: sandbox.runtime.clone(),
    }
}

pub fn limit(config: &Config) -> Limit {
    let sandbox = &config.sandbox;
    Limit {
        bytes: sandbox.disk,
        folder: sandbox.disk_folder.clone(),
        image: sandbox.image.clone(),
    }
}

pub fn layout(config: &Config) -> Layout {
    let sandbox = &config.sandbox;
    Layout::new(
        &config.deployment,
        sandbox.subnet,
        sandbox.uid_base,
        config.ports.broker,
    )
}

async fn listen(
    address: Ipv4Addr,
    port: u16,
    what: &'static str,
    router: Router,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let listener = bind(address, port, what).await?;
    let stopping = shutdown.clone();
    let stopped = async move { stopping.stopping().await };
    serve_on(listener, what, router, stopped, shutdown);
    Ok(())
}

async fn bind(address: Ipv4Addr, port: u16, what: &'static str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind((address, port))
        .await
        .with_context(|| format!("listen on {address}:{port} for {what}"))?;
    tracing::info!(%address, port, "listening for {what}");
    Ok(listener)
}

/// Serves until `stopped`, then until the last request that was taken is answered.
fn serve_on(
    listener: TcpListener,
    what: &'static str,
    router: Router,
    stopped: impl Future<Output = ()> + Send + 'static,
    shutdown: &Shutdown,
) {
    let serving = axum::serve(listener, router).with_graceful_shutdown(stopped);
    shutdown.run_forever(what, async move {
        if let Err(error) = serving.await {
            tracing::error!("failed to serve {what}: {error:#}");
        }
    });
}
