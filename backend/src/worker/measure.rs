//! What an operator asks first, measured every 15 s: is anybody waiting, how long did it take, what
//! is left of tokens and disk. One task, in the one process that holds the lease, so that the
//! tables are asked once however many processes run.
//!
//! Times of turns and answers are read from the tables after the fact, and so hold whoever did the
//! work. What ended while nobody measured is left out of them; the tables keep it.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use crate::{
    broker::usage,
    clock::Clock,
    inbox,
    lease::Lease,
    lifecycle::Shutdown,
    line::{self, Lines},
    outbox::figures,
    presence,
    sandbox::{docker::Docker, volume},
    turn,
};

const EVERY: Duration = Duration::from_secs(15);
/// Postgres that takes longer is as good as away.
const WITHIN: Duration = Duration::from_secs(5);
/// What ended later may not be committed yet: its time is taken before its transaction ends.
const SETTLED_AFTER: TimeDelta = TimeDelta::seconds(5);
/// Samples of one look. A worker ends some hundred turns in 15 s at most.
const SAMPLES: i64 = 5_000;
/// The open states of an outbox row.
const OUTBOX: [&str; 4] = ["queued", "sending", "unknown", "held"];

pub struct Measuring {
    db: PgPool,
    clock: Clock,
    lease: Lease,
    lines: Lines,
    docker: Arc<Docker>,
    /// Samples up to here are counted.
    counted_until: DateTime<Utc>,
    /// Where Docker keeps its data, once it said so.
    docker_root: Option<String>,
}

impl Measuring {
    pub fn new(db: PgPool, clock: Clock, lease: Lease, lines: Lines, docker: Arc<Docker>) -> Self {
        let counted_until = clock.now() - SETTLED_AFTER;
        Self {
            db,
            clock,
            lease,
            lines,
            docker,
            counted_until,
            docker_root: None,
        }
    }

    pub async fn run(mut self, shutdown: Shutdown) {
        while !shutdown.is_stopping() {
            let held = self.lease.is_held();
            metrics::gauge!("clawkaka_lease_held").set(u8::from(held));
            self.postgres(held).await;
            if let Err(error) = self.disk().await {
                tracing::warn!("failed to {error:#}");
            }
            if held {
                self.sandbox_disks().await;
            }
            tokio::select! {
                () = tokio::time::sleep(EVERY) => {}
                () = shutdown.stopping() => {}
            }
        }
        metrics::gauge!("clawkaka_lease_held").set(0);
    }

    async fn postgres(&mut self, held: bool) {
        // Without the lease somebody else measures, and Postgres is only asked whether it is there.
        let measured = match held {
            true => tokio::time::timeout(WITHIN, self.measure()).await,
            false => tokio::time::timeout(WITHIN, self.ping()).await,
        };
        let measured = measured.context("measure in time").flatten();
        metrics::gauge!("clawkaka_postgres_up").set(u8::from(measured.is_ok()));
        match measured {
            Ok(()) if held => metrics::gauge!("clawkaka_measured_timestamp_seconds")
                .set(self.clock.now().timestamp() as f64),
            Ok(()) => {}
            Err(error) => {
                tracing::warn!("failed to {error:#}");
                metrics::counter!("clawkaka_step_errors_total", "station" => "measure")
                    .increment(1);
            }
        }
    }

    async fn ping(&self) -> anyhow::Result<()> {
        self.db.acquire().await.context("reach Postgres")?;
        Ok(())
    }

    /// Asks the tables once.
    pub async fn measure(&mut self) -> anyhow::Result<()> {
        let now = self.clock.now();
        self.queues(now).await?;
        // Where nothing is brought, web need not run.
        let is_brought = self.lines.polled().len() < self.lines.ids().len();
        if is_brought && let Some(web) = presence::stretch(&self.db).await? {
            metrics::gauge!("clawkaka_web_seen_timestamp_seconds")
                .set(web.until.timestamp() as f64);
        }
        self.samples(now).await?;
        let blocked = line::blocked(&self.db, now).await?;
        for why in ["token", "operator", "throttled"] {
            let count = blocked.iter().filter(|reason| **reason == why).count();
            metrics::gauge!("clawkaka_lines_blocked", "why" => why).set(count as f64);
        }
        let tokens = usage::tokens_in_a_day(&self.db, now)
            .await
            .context("add up the tokens of a day")?;
        metrics::gauge!("clawkaka_tokens_used").set(tokens as f64);
        Ok(())
    }

    async fn queues(&self, now: DateTime<Utc>) -> anyhow::Result<()> {
        let age = |since: Option<DateTime<Utc>>| {
            since.map_or(0.0, |since| (now - since).as_seconds_f64().max(0.0))
        };
        let inbox = inbox::figures::queues(&self.db).await?;
        for (state, rows, since) in [
            ("unrouted", inbox.unrouted, inbox.unrouted_since),
            ("waiting", inbox.waiting, inbox.waiting_since),
        ] {
            metrics::gauge!("clawkaka_inbox_rows", "state" => state).set(rows as f64);
            metrics::gauge!("clawkaka_inbox_age_seconds", "state" => state).set(age(since));
        }
        let (active, since) = turn::active(&self.db)
            .await
            .context("measure the active turns")?;
        metrics::gauge!("clawkaka_turns_active").set(active as f64);
        metrics::gauge!("clawkaka_turn_age_seconds").set(age(since));
        let open = figures::open(&self.db).await?;
        for state in OUTBOX {
            let found = open.iter().find(|open| open.state.as_str() == state);
            let rows = found.map_or(0, |open| open.rows);
            metrics::gauge!("clawkaka_outbox_rows", "state" => state).set(rows as f64);
            metrics::gauge!("clawkaka_outbox_age_seconds", "state" => state)
                .set(age(found.map(|open| open.since)));
        }
        Ok(())
    }

    async fn samples(&mut self, now: DateTime<Utc>) -> anyhow::Result<()> {
        let (from, to) = (self.counted_until, now - SETTLED_AFTER);
        let turns = turn::ended(&self.db, from, to, SAMPLES)
            .await
            .context("measure how long turns took")?;
        let answers = figures::answer_times(&self.db, from, to, SAMPLES).await?;
        for turn in turns {
            metrics::histogram!("clawkaka_turn_seconds",
                "trigger" => turn.trigger, "outcome" => turn.outcome)
            .record(turn.seconds);
        }
        for seconds in answers {
            metrics::histogram!("clawkaka_answer_seconds").record(seconds);
        }
        self.counted_until = to;
        Ok(())
    }

    /// At the first look it is found out whether walls can be put up at all.
    async fn sandbox_disks(&self) {
        let walled = match volume::usage(&self.docker).await {
            Ok(usage) => {
                let full = usage.iter().filter(|one| one.is_full()).count();
                let bytes: u64 = usage.iter().map(|one| one.bytes).sum();
                metrics::gauge!("clawkaka_sandbox_disks_full").set(full as f64);
                metrics::gauge!("clawkaka_sandbox_disks_used_bytes").set(bytes as f64);
                self.docker.disks.limit.bytes.is_some()
            }
            Err(error) => {
                tracing::error!("sandboxes' disks cannot be kept to their size: {error:#}");
                false
            }
        };
        metrics::gauge!("clawkaka_sandbox_disks_walled").set(u8::from(walled));
    }

    async fn disk(&mut self) -> anyhow::Result<()> {
        let root = match &self.docker_root {
            Some(root) => root.clone(),
            None => {
                let info = self.docker.engine.info().await;
                let info = info.context("ask Docker where it keeps its data")?;
                let root = info.docker_root_dir.unwrap_or_default();
                self.docker_root.insert(root).clone()
            }
        };
        // In a container of our own that folder is not seen; but what we run on lies on it.
        let disk = rustix::fs::statvfs(root.as_str()).or_else(|_| rustix::fs::statvfs("/"));
        let disk = disk.context("look how full the disk is")?;
        let bytes = |blocks: u64| (blocks.saturating_mul(disk.f_frsize)) as f64;
        metrics::gauge!("clawkaka_disk_free_bytes").set(bytes(disk.f_bavail));
        metrics::gauge!("clawkaka_disk_size_bytes").set(bytes(disk.f_blocks));
        metrics::gauge!("clawkaka_disk_free_inodes").set(disk.f_favail as f64);
        metrics::gauge!("clawkaka_disk_size_inodes").set(disk.f_files as f64);
        Ok(())
    }
}
