//! Starts the worker's stations and gives each what it needs.

use std::{collections::HashSet, sync::Arc};

use chrono::TimeDelta;
use sqlx::PgPool;
use tokio::sync::Semaphore;

use super::{
    backup::Backing,
    deliver::Delivery,
    exchange::{Exchange, Typing, compose},
    export::Exporting,
    leave::Leaving,
    listen,
    poll::Polling,
    remind::Reminding,
    route::Routing,
    run_loop,
    send::Sending,
    upgrade::Upgrading,
};
use crate::{
    app,
    backup::seal::BackupKey,
    clock::Clock,
    config::Config,
    gateway::Gateways,
    lease::Lease,
    lifecycle::Shutdown,
    line::{self, Line, Lines, stored::Stored},
    presence::Receipts,
    reminder,
    sandbox::{Parts, Sandboxes, capacity, docker::Docker, plan::Sleep},
    seal::{MasterKey, Opener, Sealer},
    tenant::{address::AddressBook, invite::Codes},
    transcribe::Transcriber,
    turn,
    wake::{self, Wakes},
    whatsapp::{
        account::Account,
        client::{self, Client},
        fetch::Fetcher,
        poll::{BETWEEN_PAGES, Lister},
        provider::Provider,
    },
};

/// Starts everything; returns when it runs.
pub async fn start(
    config: &Config,
    master: Arc<MasterKey>,
    docker: Arc<Docker>,
    lease: Lease,
    db: &PgPool,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let clock = Clock::System;
    let wakes = Wakes::default();
    let opener = Arc::new(Opener::new(&master));
    let sealer = Arc::new(Sealer::new(master.sealing_key()));
    let client = Client::new(client::http_builder().build()?);
    let lines = lines(config, db, opener.clone(), shutdown).await?;
    let receipts = Receipts::default();

    let routing = Routing {
        db: db.clone(),
        clock: clock.clone(),
        opener: opener.clone(),
        sealer: sealer.clone(),
        book: AddressBook::new(&master, sealer.clone()),
        codes: Codes::new(&master),
        limits: config.limits,
        policy: config.policy.clone(),
        timing: config.timing,
        wakes: wakes.clone(),
    };
    let sending = Arc::new(Sending {
        db: db.clone(),
        clock: clock.clone(),
        opener: opener.clone(),
        sealer: sealer.clone(),
        client: client.clone(),
        lines: lines.clone(),
        worker: lease.id,
        receipts: receipts.clone(),
        unknown_wait: config.timing.send_unknown_wait,
    });
    let polling = Polling {
        db: db.clone(),
        clock: clock.clone(),
        sealer: sealer.clone(),
        lister: Lister {
            http: client::http_builder().build()?,
            between_pages: BETWEEN_PAGES,
        },
        lines: lines.clone(),
        lease: lease.clone(),
        wakes: wakes.clone(),
        receipts,
    };
    shutdown.run_forever("poll", polling.run(shutdown.clone()));
    let measuring = super::measure::Measuring::new(
        db.clone(),
        clock.clone(),
        lease.clone(),
        lines.clone(),
        docker.clone(),
    );
    shutdown.run_forever("measure", measuring.run(shutdown.clone()));
    let sweeping = super::sweep::Sweeping {
        db: db.clone(),
        clock: clock.clone(),
        lease: lease.clone(),
        retention: TimeDelta::from_std(config.timing.retention)?,
    };
    shutdown.run_forever("sweep", sweeping.run(shutdown.clone()));
    let expiry = super::token::Expiry {
        account: Account::new(client::http_builder().build()?, config.whatsapp.api.clone()),
        lines: lines.clone(),
        lease: lease.clone(),
        told: HashSet::new(),
    };
    shutdown.run_forever("token", expiry.run(shutdown.clone()));
    let gateways = Arc::new(Gateways::new(master.clone(), shutdown.clone()));
    let sandboxes = sandboxes(
        config,
        &master,
        docker.clone(),
        &lease,
        db,
        gateways.clone(),
    )?;
    let backing = Backing::new(
        db.clone(),
        clock.clone(),
        lease.clone(),
        sandboxes.clone(),
        BackupKey::new(&master),
        config.backup.clone(),
    );
    let upgrading = Upgrading::new(
        db.clone(),
        clock.clone(),
        lease.clone(),
        sandboxes.clone(),
        BackupKey::new(&master),
        config.backup.clone(),
    );
    // Before the loop, or a restore, could touch one of them.
    upgrading.hold_those_begun().await?;
    backing.start(&docker, shutdown).await?;
    sandboxes.pin_all().await?;
    sandboxes.run(shutdown);
    upgrading.run(shutdown);
    let every = config.timing.heartbeat_every;
    if !every.is_zero() {
        reminder::bring_forward(db, every, clock.now()).await?;
    }
    let reminding = Reminding {
        db: db.clone(),
        clock: clock.clone(),
        lease: lease.clone(),
        lines: lines.clone(),
        sandboxes: sandboxes.clone(),
        wakes: wakes.clone(),
        every,
        unasked_per_day: config.limits.unasked_per_day,
        llm: config.llm.clone(),
    };
    let exporting = Arc::new(Exporting {
        db: db.clone(),
        clock: clock.clone(),
        lease: lease.clone(),
        opener: opener.clone(),
        sealer: sealer.clone(),
        sandboxes: sandboxes.clone(),
        lines: lines.clone(),
        client: client.clone(),
        wakes: wakes.clone(),
    });
    let exchange = Arc::new(Exchange {
        db: db.clone(),
        clock,
        lease: lease.clone(),
        master: master.clone(),
        opener: opener.clone(),
        book: AddressBook::new(&master, sealer.clone()),
        sealer,
        sandboxes,
        gateways,
        typing: Typing {
            db: db.clone(),
            opener,
            lines,
            client,
        },
        fetcher: Fetcher::new(client::http_builder().build()?),
        transcriber: match config.transcription.clone() {
            Some(service) => Some(Transcriber {
                http: client::http_builder().build()?,
                service,
            }),
            None => None,
        },
        files: Semaphore::new(compose::FILES_AT_ONCE),
        wakes: wakes.clone(),
        shutdown: shutdown.clone(),
        turn_deadline: TimeDelta::from_std(config.timing.turn_deadline)?,
        idle: config.timing.turn_idle,
        still_working_after: config.timing.still_working_after,
        messages_per_turn: config.limits.messages_per_turn as usize,
        media_per_day: config.limits.media_per_day,
        policy: config.policy.clone(),
    });
    let leaving = Arc::new(Leaving {
        db: db.clone(),
        clock: Clock::System,
        lease: lease.clone(),
    });
    let collect = listen::run(exchange.clone(), shutdown.clone());
    shutdown.run_forever("collect", collect);
    let delivery = Delivery::new(exchange);

    let (inbox, turns) = (wakes.inbox.clone(), wakes.turns.clone());
    let (routing, delivery) = (Arc::new(routing), Arc::new(delivery));
    let reminding = Arc::new(reminding);
    let route = run_loop("route", inbox, shutdown.clone(), move || {
        let routing = routing.clone();
        async move { routing.step().await }
    });
    let deliver = run_loop("deliver", turns, shutdown.clone(), move || {
        let delivery = delivery.clone();
        async move { delivery.step().await }
    });
    // Nobody rings for time: it has only its tick.
    let remind = run_loop("remind", Arc::default(), shutdown.clone(), move || {
        let reminding = reminding.clone();
        async move { reminding.step().await }
    });
    let leave = run_loop("leave", Arc::default(), shutdown.clone(), move || {
        let leaving = leaving.clone();
        async move { leaving.step().await }
    });
    let export = run_loop("export", Arc::default(), shutdown.clone(), move || {
        let exporting = exporting.clone();
        async move { exporting.step().await }
    });
    shutdown.run_forever("export", export);
    shutdown.run_forever("leave", leave);
    shutdown.run_forever("remind", remind);
    shutdown.run_forever("route", route);
    shutdown.run_forever("deliver", deliver);
    shutdown.run_forever("send", sending.run(wakes.outbox.clone(), shutdown.clone()));
    shutdown.run_forever(
        "listen",
        wake::listen_to_web(db.clone(), wakes, shutdown.clone()),
    );
    Ok(())
}

/// Those of the environment, with what they send with, and those that operators add.
async fn lines(
    config: &Config,
    db: &PgPool,
    opener: Arc<Opener>,
    shutdown: &Shutdown,
) -> anyhow::Result<Lines> {
    let mut named = Vec::new();
    for line in config.lines() {
        let id = line::seed(db, line.api.provider, line.number).await?;
        // A restart is how an operator says that a refused token has been replaced.
        line::unblock(db, id).await?;
        named.push(Line::of(id, &line));
    }
    let lines = Lines::of(named);
    let (added, apis) = (lines.clone(), [Provider::Meta, Provider::Kapso]);
    let apis = apis.map(|provider| config.api(provider).clone());
    let set = move |stored: &[Stored]| {
        let opened = stored
            .iter()
            .filter(|line| !line.removed)
            .filter_map(|line| {
                let api = apis.iter().find(|api| api.provider == line.provider)?;
                // The others must go on.
                Line::open(&opener, api, line)
                .inspect_err(
                    |error| tracing::error!(line.id = %line.id, "nothing is sent on it: {error:#}"),
                )
                .ok()
            });
        added.set_added(opened);
    };
    app::follow_lines(db, shutdown, set).await?;
    Ok(lines)
}

fn sandboxes(
    config: &Config,
    master: &Arc<MasterKey>,
    docker: Arc<Docker>,
    lease: &Lease,
    db: &PgPool,
    gateway: Arc<Gateways>,
) -> anyhow::Result<Sandboxes> {
    let (turns, lease) = (db.clone(), lease.clone());
    let timing = &config.timing;
    Ok(Sandboxes::new(Parts {
        pool: db.clone(),
        layout: docker.layout.clone(),
        shape: docker.shape.clone(),
        runtime: docker,
        image: config.sandbox.image.clone(),
        model: config.llm.model.clone(),
        master: master.clone(),
        clock: Clock::System,
        boots: std::thread::available_parallelism().map_or(1, usize::from),
        sleep: Sleep {
            pause_after: TimeDelta::from_std(timing.sandbox_pause_after)?,
            stop_after: TimeDelta::from_std(timing.sandbox_stop_after)?,
        },
        capacity: match config.sandbox.capacity {
            Some(capacity) => capacity,
            None => capacity::of_this_machine(),
        },
        pool_size: config.sandbox.pool_size,
        gateway,
        open_turns: Arc::new(move || {
            let turns = turns.clone();
            Box::pin(async move { turn::open_sandboxes(&turns).await })
        }),
        lease_held: Arc::new(move || lease.is_held()),
    }))
}
