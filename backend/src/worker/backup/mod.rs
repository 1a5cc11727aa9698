//! Backups: does what the table `backup` asks for, and asks by itself when it is time.
//!
//! A sandbox is held still while its files are read or replaced (`sandbox/hold`), not while what
//! was read is stored, and people come first: one that is in use is tried again later, and only
//! after some hours it is left out. One whose files are to be put back is held from the moment at
//! which the worker starts until they are there, so that nobody meets an agent without its memory.
//!
//! | it ends | what happens |
//! |---|---|
//! | while files are read or stored | nothing was there before its end; the next worker begins anew |
//! | between stored and noted | a second snapshot of the same files; the older one is pruned later |
//! | while files are put back | the row is open, so the sandbox stays held; they are put back again |
//! | between put back and noted | they are put back again; nothing ran on them meanwhile |

mod work;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::{Progress, run_loop};
use crate::{
    backup::{
        archive::Refused,
        row::{self, End, Job, Kind, State, Wish, look},
        seal::BackupKey,
        store::Store,
    },
    clock::Clock,
    config::Backup,
    id::SandboxId,
    lease::{self, Lease},
    lifecycle::Shutdown,
    sandbox::{Sandboxes, docker::Docker, hold::Hold, volume},
};

/// Two at the same time: one reads while another stores.
const AT_ONCE: usize = 2;
const MEASURE_EVERY: Duration = Duration::from_secs(15);
/// A sandbox in use is tried again so soon: somebody waits for it, or nobody does.
const BUSY_FOR_SOMEBODY: TimeDelta = TimeDelta::seconds(2);
const BUSY_FOR: TimeDelta = TimeDelta::seconds(20);
/// And after so long it is left out.
const GIVES_UP_AFTER: TimeDelta = TimeDelta::hours(6);
/// Errors, mostly of a store that is away, are tried again after so long, and so often.
const AGAIN_AFTER: TimeDelta = TimeDelta::seconds(60);
const MAX_ATTEMPTS: i32 = 10;
/// A backup of everything that failed is asked for again after so long.
const ASK_AGAIN_AFTER: TimeDelta = TimeDelta::minutes(30);

pub struct Backing {
    pub db: PgPool,
    pub clock: Clock,
    pub lease: Lease,
    pub sandboxes: Sandboxes,
    pub key: BackupKey,
    pub settings: Option<Backup>,
    /// Sandboxes that wait for their files.
    held: Mutex<HashMap<SandboxId, Hold>>,
}

/// What a job came to.
enum Came {
    To(End),
    /// It cannot be done, now or ever.
    Nothing(&'static str),
    /// It is in use; later.
    Busy,
    /// Its parts come first.
    Parts,
}

impl Backing {
    pub fn new(
        db: PgPool,
        clock: Clock,
        lease: Lease,
        sandboxes: Sandboxes,
        key: BackupKey,
        settings: Option<Backup>,
    ) -> Self {
        Self {
            db,
            clock,
            lease,
            sandboxes,
            key,
            settings,
            held: Mutex::default(),
        }
    }

    /// Clears up after the worker before, holds whoever waits for their files, and starts to work.
    pub async fn start(self, docker: &Docker, shutdown: &Shutdown) -> anyhow::Result<()> {
        volume::files::clear(docker).await?;
        self.hold_those_to_restore().await?;
        let backing = Arc::new(self);
        for _ in 0..AT_ONCE {
            let backing = backing.clone();
            let station = run_loop("backup", Arc::default(), shutdown.clone(), move || {
                let backing = backing.clone();
                async move { backing.step().await }
            });
            shutdown.run_forever("backup", station);
        }
        let stop = shutdown.clone();
        shutdown.run_forever("backup's figures", async move {
            backing.keep_measuring(stop).await
        });
        Ok(())
    }

    async fn keep_measuring(&self, shutdown: Shutdown) {
        while !shutdown.is_stopping() {
            if self.lease.is_held()
                && let Err(error) = self.measure().await
            {
                tracing::warn!("failed to {error:#}");
            }
            tokio::select! {
                () = tokio::time::sleep(MEASURE_EVERY) => {}
                () = shutdown.stopping() => {}
            }
        }
    }

    /// Holds all sandboxes that wait for their files. Before the reconcile loop begins.
    pub async fn hold_those_to_restore(&self) -> anyhow::Result<()> {
        for sandbox in row::to_restore(&self.db).await? {
            if let Some(hold) = self.sandboxes.reserve(sandbox) {
                self.held().insert(sandbox, hold);
            }
        }
        Ok(())
    }

    /// Does one thing.
    pub async fn step(&self) -> anyhow::Result<Progress> {
        if !self.lease.is_held() {
            return Ok(Progress::Idle);
        }
        self.ask_if_due().await?;
        let live = lease::live(&self.db).await?;
        let now = self.clock.now();
        let Some(job) = row::take(&self.db, self.lease.id, &live, now).await? else {
            return Ok(Progress::Idle);
        };
        // Opened each time, so that a disk that is not there keeps nothing else from working.
        let came = match &self.settings {
            Some(settings) => match Store::open(&settings.to) {
                Ok(store) => Box::pin(self.work(&job, &store)).await,
                Err(error) => Err(error),
            },
            // Whoever is erased has no snapshots where none are made.
            None if job.kind == Kind::Erase => Ok(Came::To(End {
                outcome: "no_store",
                ..End::default()
            })),
            None => Ok(Came::Nothing("no_store")),
        };
        // Without a note of it the job stays this worker's, and nobody else takes it.
        while let Err(error) = self.note(&job, &came).await {
            tracing::warn!(backup.id = %job.id, "failed to {error:#}");
            if !self.lease.is_held() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(Progress::Worked)
    }

    async fn ask_if_due(&self) -> anyhow::Result<()> {
        let Some(settings) = &self.settings else {
            return Ok(());
        };
        if settings.every.is_zero() {
            return Ok(());
        }
        let now = self.clock.now();
        let due = match look::last_all(&self.db).await? {
            None => true,
            Some((_, State::Waiting | State::Running)) => false,
            Some((at, State::Done)) => at + settings.every <= now,
            Some((at, State::Failed)) => {
                at + ASK_AGAIN_AFTER.min(TimeDelta::from_std(settings.every)?) <= now
            }
        };
        if due {
            let wish = Wish {
                kind: Kind::All,
                parent: None,
                sandbox: None,
                object: None,
                actor: None,
            };
            // Both loops may come here at once; the second finds the first one's.
            let mut tx = self.db.begin().await?;
            row::lock(&mut tx).await?;
            if row::open_all(&mut *tx).await?.is_none() {
                row::ask(&mut *tx, &wish, now).await?;
            }
            tx.commit().await.context("ask for a backup")?;
        }
        Ok(())
    }

    async fn work(&self, job: &Job, store: &Store) -> anyhow::Result<Came> {
        match (job.kind, job.sandbox) {
            (Kind::All, _) => self.all(job, store).await,
            (Kind::Sandbox, Some(sandbox)) => self.snapshot(job, store, sandbox).await,
            (Kind::Restore, Some(sandbox)) => self.restore(job, store, sandbox).await,
            (Kind::Erase, sandbox) => self.erase(store, sandbox).await,
            _ => Ok(Came::Nothing("no_sandbox")),
        }
    }

    async fn note(&self, job: &Job, came: &anyhow::Result<Came>) -> anyhow::Result<()> {
        let now = self.clock.now();
        let kind = job.kind.as_str();
        let failed = async |outcome| {
            metrics::counter!("clawkaka_backup_failures_total", "kind" => kind).increment(1);
            tracing::error!(backup.id = %job.id, kind, outcome, "a backup failed");
            let end = End {
                outcome,
                ..End::default()
            };
            row::end(&self.db, job, State::Failed, &end, now)
                .await
                .map(|_| ())
        };
        match came {
            Ok(Came::To(end)) => {
                row::end(&self.db, job, State::Done, end, now).await?;
                tracing::info!(backup.id = %job.id, kind, outcome = end.outcome, entries = end.entries,
                    bytes = end.bytes, stored.bytes = end.stored_bytes, "backup");
                Ok(())
            }
            Ok(Came::Parts) => Ok(()),
            Ok(Came::Busy)
                if now < job.requested_at + GIVES_UP_AFTER || job.kind == Kind::Restore =>
            {
                let pause = match job.actor {
                    Some(_) => BUSY_FOR_SOMEBODY,
                    None => BUSY_FOR,
                };
                row::later(&self.db, job, "in_use", false, now + pause).await
            }
            Ok(Came::Busy) => failed("in_use").await,
            Ok(Came::Nothing(outcome)) => failed(outcome).await,
            Err(error) => {
                tracing::warn!(backup.id = %job.id, kind, "failed to {error:#}");
                if let Some(refused) = error.downcast_ref::<Refused>() {
                    return failed(word(refused)).await;
                }
                if job.attempts >= MAX_ATTEMPTS && self.may_give_up(job).await? {
                    if let Some(sandbox) = job.sandbox {
                        self.held().remove(&sandbox);
                    }
                    return failed("error").await;
                }
                metrics::counter!("clawkaka_backup_failures_total", "kind" => kind).increment(1);
                row::later(&self.db, job, "error", true, now + AGAIN_AFTER).await
            }
        }
    }

    /// What the figures say, every now and then.
    pub async fn measure(&self) -> anyhow::Result<()> {
        let every = self
            .settings
            .as_ref()
            .map_or(Duration::ZERO, |settings| settings.every);
        metrics::gauge!("clawkaka_backup_every_seconds").set(every.as_secs_f64());
        let good = look::last_good(&self.db).await?;
        let since = match &good {
            Some(good) => Some(good.requested_at),
            // Never: since it was first asked for.
            None => look::first_all(&self.db).await?,
        };
        let since: Option<DateTime<Utc>> = since;
        metrics::gauge!("clawkaka_backup_timestamp_seconds")
            .set(since.unwrap_or_else(|| self.clock.now()).timestamp() as f64);
        metrics::gauge!("clawkaka_backup_size_bytes")
            .set(good.map_or(0.0, |good| good.stored_bytes as f64));
        let waiting = row::open_restores(&self.db).await?;
        metrics::gauge!("clawkaka_restores_waiting").set(waiting as f64);
        Ok(())
    }

    /// What was begun to be put back is put back, and so is all that a lost deployment had; what was
    /// erased is forgotten.
    async fn may_give_up(&self, job: &Job) -> anyhow::Result<bool> {
        Ok(match job.kind {
            Kind::All | Kind::Sandbox => true,
            Kind::Restore if job.object.is_some() => {
                let asked = look::asked(&self.db, job.id).await?;
                asked.is_none_or(|asked| asked.entries == 0)
            }
            Kind::Restore | Kind::Erase => false,
        })
    }

    fn held(&self) -> std::sync::MutexGuard<'_, HashMap<SandboxId, Hold>> {
        self.held.lock().expect("no holder of the holds can panic")
    }
}

fn word(refused: &Refused) -> &'static str {
    match refused {
        Refused::TooLarge(_) => "too_large",
        Refused::TooMany(_) => "too_many_files",
        Refused::Foreign(_) => "foreign",
    }
}
