//! How much longer somebody waits while the agent next to theirs does everything to the machine that
//! it can, with limits as they are out of the box. Fails when it does not do its worst, or when what
//! it takes has no end.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use super::{
    Scale,
    report::{Better, Budget, Figure, Of, median, say},
    stage,
};
use crate::{Person, Product, command, crowd};

/// What a sandbox may have of processes and threads, as its specification says.
const MAX_TASKS: usize = 480;
/// What the kernel lets a user have of inotify instances, unless an operator says otherwise.
const INOTIFY: &str = "/proc/sys/fs/inotify/max_user_instances";
/// OpenClaw's own.
const FEW_INSTANCES: usize = 5;
const DISK: u64 = 256 << 20;
/// Two files of 10 MB, as the specification says, and what may be written before one is closed.
const LOG: std::ops::Range<u64> = 5 << 20..32 << 20;
/// The first turns of a session are slower.
const WARM_UP: usize = 3;
/// Nobody writes without a pause; whoever does is as greedy as the other.
const READS_FOR: Duration = Duration::from_secs(1);
/// Of each kind: an hour has sixty answers for a person.
const MAX_TURNS: usize = 25;
/// All of it ends by itself then, whatever becomes of us.
const SECONDS: &str = "300";

/// Everything at once, one after the other so that each gets at it: all of the user's inotify
/// instances, a disk that is written full again and again, lines of log without end, memory until the
/// kernel kills, and processes that make processes. `/tmp` tells how far it came.
const WORST: &str = r#"
set -u
lasting() { timeout "$0" "$@" >/dev/null 2>&1 & }
lasting perl -e '
    my $inotify_init1 = `uname -m` =~ /x86_64/ ? 294 : 26;
    my $count = 0;
    $count++ while syscall($inotify_init1, 0) >= 0;
    open my $told, ">", "/tmp/inotify.new"; print $told $count; close $told;
    rename "/tmp/inotify.new", "/tmp/inotify";
    sleep 1000'
until [ -e /tmp/inotify ]; do sleep 0.1; done
lasting sh -c 'while :; do dd if=/dev/zero of=/state/hostile bs=64k conv=fsync; done'
lasting sh -c 'exec yes "this is a line of a log that says nothing" >/proc/1/fd/1'
lasting sh -c 'while :; do perl -e "push @all, \"x\" x (50 << 20) . \$_ while ++\$_"; echo eaten >>/tmp/eaten; done'
until [ -e /tmp/eaten ]; do sleep 0.1; done
lasting perl -e 'while (1) { defined(fork) or select(undef, undef, undef, 0.01) }'
"#;

pub async fn measure(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let product = stage::whole(&[("SANDBOX_DISK", "256m")]).await?;
    let people = crowd::people(2);
    turn(&product, &people[0], "hostile").await?;
    let hostile = product.docker.sandboxes().await?.remove(0).id;
    turn(&product, &people[1], "neighbour").await?;
    product.settled().await?;
    let neighbour = &people[1];
    turns(&product, neighbour, WARM_UP, "warm").await?;

    let count = scale.turns.min(MAX_TURNS);
    let usual = turns(&product, neighbour, count, "usual").await?;
    let worst = ["sh", "-c", WORST, SECONDS];
    product.docker.exec(&hostile, &worst).await?;
    let worst = async || Ok(Harm::of(&product, &hostile).await?.is_the_worst());
    product.until("it does its worst", worst).await?;
    // It takes half a minute until that is found out.
    let last = async || Ok(product.logs.count("\"goes_last\":true")? > 0);
    product.until("it goes last", last).await?;
    let beside = turns(&product, neighbour, count, "beside").await?;
    let harm = Harm::of(&product, &hostile).await?;
    anyhow::ensure!(harm.is_the_worst(), "it ended before we did: {harm:?}");
    anyhow::ensure!(harm.has_an_end(), "what it takes has no end: {harm:?}");
    say(&format!("  {harm:?}"));
    product.finish(&[]).await?;

    let budget = Budget {
        of: Of::Ratio,
        better: Better::Less,
        must: 1.5,
        aim: 1.2,
    };
    let (usual, beside) = (median(&usual), median(&beside));
    let figure = Figure::new("neighbours_turn", beside, "ms", Some(usual), budget);
    Ok(vec![figure])
}

/// How long each took from what a person writes to what they read, in milliseconds.
async fn turns(
    product: &Product,
    person: &Person,
    count: usize,
    name: &str,
) -> anyhow::Result<Vec<f64>> {
    let mut took = Vec::new();
    for number in 0..count {
        let begun = Instant::now();
        turn(product, person, &format!("{name}-{number}")).await?;
        took.push(begun.elapsed().as_secs_f64() * 1000.0);
        product.settled().await?;
        tokio::time::sleep(READS_FOR).await;
    }
    Ok(took)
}

async fn turn(product: &Product, person: &Person, name: &str) -> anyhow::Result<()> {
    let mark = crowd::mark(name);
    product.says(person, &format!("Please note {mark}")).await?;
    product.answered(person, &mark).await?;
    Ok(())
}

/// What the hostile one has come to.
#[derive(Debug)]
struct Harm {
    tasks: usize,
    inotify_instances: usize,
    memories_eaten: usize,
    log_bytes: u64,
    disk_bytes: u64,
}

impl Harm {
    async fn of(product: &Product, hostile: &str) -> anyhow::Result<Self> {
        let instances = inside(hostile, "inotify").await?;
        Ok(Self {
            tasks: tasks(hostile).await?,
            inotify_instances: instances.trim().parse().unwrap_or(0),
            memories_eaten: inside(hostile, "eaten").await?.lines().count(),
            log_bytes: log_size(hostile).await?,
            disk_bytes: largest_disk(product)?,
        })
    }

    fn is_the_worst(&self) -> bool {
        let all = fs::read_to_string(INOTIFY).unwrap_or_default();
        let all: usize = all.trim().parse().unwrap_or(usize::MAX);
        self.tasks >= MAX_TASKS * 9 / 10
            && self.inotify_instances.saturating_add(FEW_INSTANCES) >= all
            && self.memories_eaten > 0
            && self.log_bytes >= LOG.start
            && self.disk_bytes >= DISK / 2
    }

    fn has_an_end(&self) -> bool {
        self.tasks <= MAX_TASKS && self.log_bytes < LOG.end && self.disk_bytes <= DISK
    }
}

async fn tasks(container: &str) -> anyhow::Result<usize> {
    let listed = command::run("docker", &["top", container, "-eLo", "pid"]).await?;
    Ok(listed.lines().count().saturating_sub(1))
}

/// A file of its `/tmp`, if there is one, seen from outside: nothing can be started in there any more.
async fn inside(container: &str, file: &str) -> anyhow::Result<String> {
    let pid = ["inspect", "-f", "{{.State.Pid}}", container];
    let pid = command::run("docker", &pid).await?;
    let path = format!("/proc/{}/root/tmp/{file}", pid.trim());
    Ok(fs::read_to_string(&path).unwrap_or_default())
}

async fn log_size(container: &str) -> anyhow::Result<u64> {
    let path = ["inspect", "-f", "{{.LogPath}}", container];
    let path = command::run("docker", &path).await?;
    let files = ["", ".1"].map(|number| format!("{}{number}", path.trim()));
    let sizes = files.iter().filter_map(|file| fs::metadata(file).ok());
    Ok(sizes.map(|file| file.len()).sum())
}

fn largest_disk(product: &Product) -> anyhow::Result<u64> {
    let place = &product.place;
    let folder = place.folder.join("disks").join(&place.deployment);
    let mut largest = 0;
    for entry in fs::read_dir(folder).context("list the disks")? {
        largest = largest.max(entry?.metadata()?.blocks() * 512);
    }
    Ok(largest)
}
