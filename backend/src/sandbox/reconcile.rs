//! The loop that makes what is into what should be: look at everything, plan each sandbox, act.
//!
//! Level-triggered: a pass knows nothing of the one before, so that whatever survives our restart
//! is simply found again. At most one step is under way per sandbox. Without the worker's lease a
//! pass does nothing at all.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    time::{Duration, Instant},
};

use anyhow::Context;
use chrono::{DateTime, Utc};
use futures_util::StreamExt;

use super::{
    Busy, Sandboxes, Seen,
    act::Task,
    figures,
    look::Look,
    plan::{self, Facts, Observed, Step, Walls},
    row::{self, Row},
    runtime::Container,
    spec,
};
use crate::{id::SandboxId, lifecycle::Shutdown};

/// A pass at least so often, whatever wakes us: walls that fall are seen within it.
const TICK: Duration = Duration::from_secs(1);
/// Slots to free and volumes to report are looked for so often.
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// What Postgres gets within a pass. Fallen walls must not wait for a database that is down.
const TABLE_TIMEOUT: Duration = Duration::from_secs(3);

pub async fn run(sandboxes: Sandboxes, shutdown: Shutdown) {
    tokio::join!(
        passes(&sandboxes, &shutdown),
        sweeps(&sandboxes, &shutdown),
        hints(&sandboxes, &shutdown)
    );
}

async fn passes(sandboxes: &Sandboxes, shutdown: &Shutdown) {
    let mut last_error = String::new();
    while !shutdown.is_stopping() {
        let begun = Instant::now();
        let found = sandboxes.pass().await;
        metrics::histogram!("clawkaka_sandbox_pass_seconds").record(begun.elapsed());
        match found {
            Ok(tasks) => {
                last_error.clear();
                for task in tasks {
                    let sandboxes = sandboxes.clone();
                    shutdown.spawn(async move { sandboxes.perform(task).await });
                }
                if let Some(begun) = sandboxes.probe_is_due() {
                    let sandboxes = sandboxes.clone();
                    shutdown.spawn(async move { sandboxes.probe(begun).await });
                }
            }
            Err(error) => {
                let error = format!("{error:#}");
                if error != last_error {
                    tracing::error!("failed to look after sandboxes: {error}");
                }
                last_error = error;
            }
        }
        tokio::select! {
            () = sandboxes.0.wake.notified() => {}
            () = tokio::time::sleep(TICK) => {}
            () = shutdown.stopping() => {}
        }
    }
}

async fn sweeps(sandboxes: &Sandboxes, shutdown: &Shutdown) {
    while !shutdown.is_stopping() {
        if let Err(error) = sandboxes.sweep().await {
            tracing::error!("failed to sweep sandboxes: {error:#}");
        }
        tokio::select! {
            () = tokio::time::sleep(SWEEP_EVERY) => {}
            () = shutdown.stopping() => {}
        }
    }
}

/// Docker says that something changed: look at once.
async fn hints(sandboxes: &Sandboxes, shutdown: &Shutdown) {
    let mut changes = sandboxes.0.parts.runtime.changes();
    loop {
        tokio::select! {
            Some(()) = changes.next() => sandboxes.wake(),
            () = shutdown.stopping() => return,
        }
    }
}

/// While this goes on, nobody may go to a sandbox's gateway.
fn shuts_the_door(busy: Busy) -> bool {
    use Step::{Pause, Remove, Stop, Suspend, Unpause};
    match busy {
        Busy::Held => true,
        Busy::Step(step) => matches!(step, Stop | Pause | Suspend | Unpause | Remove),
    }
}

impl Sandboxes {
    /// Looks at everything once and says what is to be done; each task is then to be performed.
    pub async fn pass(&self) -> anyhow::Result<Vec<Task>> {
        let parts = &self.0.parts;
        if !(parts.lease_held)() {
            return Ok(Vec::new());
        }
        let now = parts.clock.now();
        // A step that ends while we look makes what we saw of its sandbox worthless.
        let busy: HashSet<_> = self.notes().busy.keys().copied().collect();
        if self.walls().walls(now) != Walls::Standing {
            parts.runtime.ensure_network().await?;
        }
        // In this order: what is seen to run here has its port isolated below, before it is dialled.
        let containers = parts.runtime.containers().await?;
        let checked = parts.runtime.check_walls().await?;
        let walls = {
            let mut record = self.walls();
            record.checked(checked);
            record.walls(now)
        };
        figures::walls(walls, self.walls().proven_at());

        let (open_turns, rows) = match self.ask_tables(&containers, now).await {
            Ok(answer) => answer,
            Err(error) if walls == Walls::Fallen => {
                tracing::warn!("failed to {error:#}; walls have fallen, so all are paused");
                return Ok(self.pause_all(containers));
            }
            Err(error) => return Err(error),
        };
        let images = self.images(&rows).await?;

        let mut rows: HashMap<_, _> = rows.into_iter().map(|row| (row.id, row)).collect();
        let (own, orphans): (Vec<_>, Vec<_>) = containers.into_iter().partition(|container| {
            // A second container that claims to be the same sandbox is an orphan, too.
            rows.contains_key(&container.sandbox)
                && container.name == parts.layout.name(container.sandbox)
        });
        let own: HashMap<_, _> = own
            .into_iter()
            .map(|found| (found.sandbox, found))
            .collect();
        self.pin(&mut rows, &own, &images).await;
        figures::states(own.values(), open_turns.keys());
        self.publish(&rows, &own, walls);

        let mut tasks: Vec<_> = orphans
            .into_iter()
            .map(|one| Task::unknown(Step::Remove, one))
            .collect();
        let look = Look {
            rows,
            own,
            open_turns,
            walls,
            now,
        };
        let shares = self.share(&look);
        let mut room = self.room(&look.own, now);
        for row in look.in_order() {
            let container = look.own.get(&row.id);
            let image = images.get(row.image.as_ref().unwrap_or(&parts.image));
            let spec =
                image.map(|image| spec::spec(&parts.layout, &parts.shape, row.id, row.slot, image));
            let spec = spec.transpose()?;
            let facts = Facts {
                outdated: spec
                    .as_ref()
                    .zip(container)
                    .is_some_and(|(spec, container)| spec.hash != container.spec_hash),
                room: room > 0,
                ..self.facts(&look, row, &shares)
            };
            let step = plan::next_step(&facts);
            if step == Step::Nothing || (step == Step::Bury && row.gone_at.is_some()) {
                continue;
            }
            if step == Step::Create && spec.is_none() {
                tracing::error!(sandbox.id = %row.id, "the sandbox image is not on this machine");
                continue;
            }
            room -= usize::from(step == Step::Start);
            tasks.push(Task::new(step, row.clone(), container.cloned(), spec));
        }
        tasks.retain(|task| !busy.contains(&task.sandbox));
        self.claim(&mut tasks);
        let room = shares.free > 0 && shares.waiting.is_empty() && look.pool_is_settled();
        self.stock_pool(&look, images.get(&parts.image), room)
            .await?;
        Ok(tasks)
    }

    /// The sandboxes with open turns, and the rows of all that matter now.
    async fn ask_tables(
        &self,
        containers: &[Container],
        now: DateTime<Utc>,
    ) -> anyhow::Result<(HashMap<SandboxId, DateTime<Utc>>, Vec<Row>)> {
        let parts = &self.0.parts;
        let answer = async {
            let open_turns = (parts.open_turns)().await?;
            let ids = containers.iter().map(|found| found.sandbox);
            let ids: Vec<_> = ids.chain(open_turns.keys().copied()).collect();
            let rows = row::list(&parts.pool, &ids, now - parts.sleep.pause_after).await?;
            Ok((open_turns, rows))
        };
        tokio::time::timeout(TABLE_TIMEOUT, answer)
            .await
            .context("ask the tables in time")?
    }

    /// Without knowing anything of them.
    fn pause_all(&self, containers: Vec<Container>) -> Vec<Task> {
        let running = containers
            .into_iter()
            .filter(|one| one.observed == Observed::Running);
        let mut tasks: Vec<_> = running.map(|one| Task::unknown(Step::Pause, one)).collect();
        self.0
            .view
            .send_modify(|view| view.values_mut().for_each(|seen| seen.open = false));
        self.claim(&mut tasks);
        tasks
    }

    /// Image references to ids, for those that are on this machine.
    async fn images(&self, rows: &[Row]) -> anyhow::Result<HashMap<String, String>> {
        let parts = &self.0.parts;
        let mut images = HashMap::new();
        let references = rows.iter().filter_map(|row| row.image.as_ref());
        for reference in references.chain([&parts.image]).collect::<HashSet<_>>() {
            if let Some(id) = parts.runtime.image(reference).await? {
                images.insert(id.clone(), id.clone());
                images.insert(reference.clone(), id);
            }
        }
        Ok(images)
    }

    /// Tells those who wait in `endpoint` and `lost`.
    fn publish(
        &self,
        rows: &HashMap<SandboxId, Row>,
        own: &HashMap<SandboxId, Container>,
        walls: Walls,
    ) {
        let layout = &self.0.parts.layout;
        let shut: HashSet<_> = self
            .notes()
            .busy
            .iter()
            .filter(|(_, busy)| shuts_the_door(**busy))
            .map(|(id, _)| *id)
            .collect();
        let awake = own
            .values()
            .filter(|container| !container.started_at.is_empty());
        let view: HashMap<_, _> = awake
            .filter_map(|container| {
                let row = rows.get(&container.sandbox)?;
                let seen = Seen {
                    container_id: container.id.clone(),
                    started_at: container.started_at.clone(),
                    slot: row.slot,
                    epoch: row.epoch,
                    open: walls == Walls::Standing
                        && !shut.contains(&row.id)
                        && container.observed == Observed::Running
                        && container.address == Some(layout.address(row.slot)),
                };
                Some((row.id, seen))
            })
            .collect();
        metrics::gauge!("clawkaka_sandboxes_awake").set(view.len() as f64);
        let mut notes = self.notes();
        let seen: HashSet<_> = own.values().map(|container| &container.id).collect();
        notes.condemned.retain(|id| seen.contains(id));
        notes.ready.retain(|(id, _)| seen.contains(id));
        notes.wanted.retain(|(id, _), _| seen.contains(id));
        notes.restless.retain(|id, _| own.contains_key(id));
        self.0.view.send_if_modified(|old| {
            let changed = *old != view;
            *old = view;
            changed
        });
    }

    /// Marks their sandboxes as being worked on; of two tasks for one sandbox the first stays.
    fn claim(&self, tasks: &mut Vec<Task>) {
        let mut notes = self.notes();
        tasks.retain(|task| match notes.busy.entry(task.sandbox) {
            Entry::Occupied(_) => false,
            Entry::Vacant(free) => {
                free.insert(Busy::Step(task.step));
                true
            }
        });
        drop(notes);
        let shut: HashSet<_> = tasks
            .iter()
            .filter(|task| shuts_the_door(Busy::Step(task.step)))
            .map(|task| task.sandbox)
            .collect();
        self.shut_doors(&shut);
    }

    pub fn probe_is_due(&self) -> Option<u64> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let mut record = self.walls();
        let due = (parts.lease_held)() && record.probe_is_due(now);
        due.then(|| record.probe_begins(now))
    }

    pub async fn probe(&self, begun: u64) {
        let parts = &self.0.parts;
        let result = parts.runtime.probe_walls(&parts.image).await;
        self.walls().probed(begun, result, parts.clock.now());
        self.wake();
    }

    /// Frees slots that have rested, and reports volumes that nobody knows. Those are never
    /// removed: what a lost database forgot is in them.
    pub async fn sweep(&self) -> anyhow::Result<()> {
        let parts = &self.0.parts;
        if !(parts.lease_held)() {
            return Ok(());
        }
        row::free_slots(&mut *parts.pool.acquire().await?, parts.clock.now()).await?;
        let volumes = parts.runtime.volumes().await?;
        let known = row::known(&parts.pool, &volumes).await?;
        let unknown: Vec<_> = volumes.iter().filter(|id| !known.contains(id)).collect();
        metrics::gauge!("clawkaka_volumes_unknown").set(unknown.len() as f64);
        if let Some(first) = unknown.first() {
            tracing::warn!(count = unknown.len(), sandbox.id = %first, "volumes without a row are kept");
        }
        Ok(())
    }
}
