//! Looks at the machine from time to time: what those who sleep take of its memory, what we take,
//! and how far it has come.

use std::{
    collections::{BTreeSet, HashMap},
    ops::Range,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::Town;
use crate::{
    Product, command,
    docker::{DEPLOYMENT_LABEL, SANDBOX_LABEL},
    processes::{self, Memory},
    whatsapp::Side,
};

const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A line for whoever reads along comes with every so many looks.
const SAY_EVERY: usize = 5;
/// Sandbox slots, and so users, of one deployment.
const SLOTS: u32 = 65_000;

/// What was seen in all looks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seen {
    pub looks: usize,
    /// Of people without a container that runs or is paused, at most.
    pub sleepers_kilobytes: u64,
    /// Containers of theirs that were only waiting to be removed, at most.
    pub leftovers: usize,
    /// As Docker lists them, at most.
    pub most_awake: usize,
    /// Of the product, at most.
    pub our_memory: f64,
    pub our_time: Duration,
    pub took: Duration,
}

pub struct Sampler {
    pid: u32,
    began: Instant,
    time_before: Duration,
    pub seen: Seen,
}

/// Sandboxes with a container, by how it is.
#[derive(Default)]
struct Listed {
    awake: BTreeSet<String>,
    /// Docker calls it created until all of its start is done.
    coming: BTreeSet<String>,
    exited: usize,
}

impl Listed {
    fn may_take_memory(&self, sandbox: &String) -> bool {
        self.awake.contains(sandbox) || self.coming.contains(sandbox)
    }
}

impl Sampler {
    pub fn new(product: &Product) -> anyhow::Result<Self> {
        let process = product.process.as_ref();
        let pid = process.and_then(tokio::process::Child::id);
        let pid = pid.context("find the product's process")?;
        Ok(Self {
            pid,
            began: Instant::now(),
            time_before: processes::time_on_cores(pid)?,
            seen: Seen::default(),
        })
    }

    /// Ends only with an error.
    pub async fn run(&mut self, town: &Town<'_>, say: fn(&str)) -> anyhow::Result<()> {
        loop {
            self.look(town).await?;
            if self.seen.looks.is_multiple_of(SAY_EVERY) {
                say(&self.progress(town));
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    pub async fn look(&mut self, town: &Town<'_>) -> anyhow::Result<()> {
        let product = town.product;
        let users = users(product);
        // Whoever is awake before or after the look may have been awake in it.
        let before = listed(product).await?;
        let memory = processes::kilobytes_by_user(&users)?;
        let after = listed(product).await?;
        let slots: Vec<(i32, String)> = sqlx::query_as("select slot, id::text from sandbox")
            .fetch_all(&product.postgres.db)
            .await
            .context("list the sandboxes")?;
        let owners: HashMap<_, _> = slots
            .into_iter()
            .map(|(slot, id)| (product.place.uid_base + slot.unsigned_abs(), id))
            .collect();
        let asleep = memory.iter().filter(|(user, _)| {
            let owner = owners.get(user);
            !owner.is_some_and(|id| before.may_take_memory(id) || after.may_take_memory(id))
        });
        let asleep = asleep.map(|(_, kilobytes)| kilobytes).sum();
        let seen = &mut self.seen;
        seen.looks += 1;
        seen.sleepers_kilobytes = seen.sleepers_kilobytes.max(asleep);
        seen.leftovers = seen.leftovers.max(after.exited);
        seen.most_awake = seen
            .most_awake
            .max(before.awake.len())
            .max(after.awake.len());
        seen.our_memory = seen.our_memory.max(Memory::of(self.pid)?.resident);
        seen.our_time = processes::time_on_cores(self.pid)?.saturating_sub(self.time_before);
        seen.took = self.began.elapsed();
        Ok(())
    }

    fn progress(&self, town: &Town<'_>) -> String {
        let written = town.written().len();
        let (awake, paused) = {
            let life = town.watch.borrow();
            (life.awake(), life.paused())
        };
        let answers = town.product.whatsapp.read(|state| {
            let ours = state.bubbles.iter();
            ours.filter(|bubble| bubble.side == Side::Assistant).count()
        });
        format!(
            "{:>5} s: {written} messages written, {answers} came back; {awake} awake, {paused} of them paused; we take {:.0} MiB",
            self.began.elapsed().as_secs(),
            self.seen.our_memory
        )
    }
}

/// Of all sandboxes; slot 0 is the probes' of the walls.
fn users(product: &Product) -> Range<u32> {
    let first = product.place.uid_base;
    first + 1..first + SLOTS
}

async fn listed(product: &Product) -> anyhow::Result<Listed> {
    let format = format!("{{{{.State}}}} {{{{.Label \"{SANDBOX_LABEL}\"}}}}");
    let ours = format!("label={DEPLOYMENT_LABEL}={}", product.place.deployment);
    let sandboxes = format!("label={SANDBOX_LABEL}");
    let arguments = [
        "ps", "-a", "--format", &format, "--filter", &ours, "--filter", &sandboxes,
    ];
    let mut listed = Listed::default();
    for line in command::run("docker", &arguments).await?.lines() {
        match line.split_once(' ') {
            Some(("running" | "paused" | "restarting", id)) => {
                listed.awake.insert(id.to_owned());
            }
            Some(("exited" | "dead", _)) => listed.exited += 1,
            Some((_, id)) => {
                listed.coming.insert(id.to_owned());
            }
            None => {}
        }
    }
    Ok(listed)
}
