//! One agent does everything to a machine that it can; the person next to it hardly notices.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use e2e::{Person, Product, alone, command, crowd, crowd::people};

/// How much longer somebody may wait because of a neighbour.
const AT_MOST: f64 = 1.5;
/// Turns with and without; the middle one counts.
const TURNS: usize = 9;
/// What a sandbox may have of processes, as its specification says.
const MAX_PROCESSES: usize = 512;
/// What the kernel lets a user have of inotify instances, unless an operator says otherwise.
const INOTIFY: &str = "/proc/sys/fs/inotify/max_user_instances";
const DISK: u64 = 256 << 20;
/// All of it ends by itself then, whatever becomes of this test.
const SECONDS: &str = "300";

/// Everything at once, one after the other so that each gets at it: all of the user's inotify
/// instances, a disk that is written full again and again, lines of log without end, memory until the
/// kernel kills, and processes that make processes. `/tmp` tells how far it came.
const HOSTILE: &str = r#"
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

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_that_does_its_worst_does_not_slow_its_neighbour() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start(&[("SANDBOX_DISK", "256m")]).await?;
    let people = people(2);
    let first = product.all_say(&people[..1], "hostile").await?;
    product.exactly_one_each(&people[..1], &first).await?;
    let hostile = product.docker.sandboxes().await?.remove(0).id;
    let first = product.all_say(&people[1..], "neighbour").await?;
    product.exactly_one_each(&people[1..], &first).await?;
    let neighbour = &people[1];

    turns(&product, neighbour, "warm").await?;
    let usual = turns(&product, neighbour, "usual").await?;
    let start = format!("set -u; {HOSTILE}");
    product
        .docker
        .exec(&hostile, &["sh", "-c", &start, SECONDS])
        .await?;
    product
        .until("it has all processes it can have", async || {
            Ok(processes(&hostile).await? >= MAX_PROCESSES * 9 / 10)
        })
        .await?;
    let beside = turns(&product, neighbour, "beside").await?;
    let ratio = beside.as_secs_f64() / usual.as_secs_f64();
    show(&format!(
        "a turn takes {usual:.0?}, beside the hostile {beside:.0?}: {ratio:.2} times\n"
    ));

    // That it did its worst all the time.
    anyhow::ensure!(
        processes(&hostile).await? >= MAX_PROCESSES * 9 / 10,
        "it ended before we did"
    );
    let read = async |path: &str| inside(&hostile, path).await;
    let instances: usize = read("inotify").await?.trim().parse()?;
    let all: usize = fs::read_to_string(INOTIFY)?.trim().parse()?;
    anyhow::ensure!(
        instances + 5 > all,
        "{instances} of {all} inotify instances"
    );
    let eaten = read("eaten").await?.lines().count();
    let log = log_size(&hostile).await?;
    let disk = largest_disk(&product)?;
    show(&format!(
        "it had {instances} inotify instances, ate its memory {eaten} times, has {log} bytes of log and {disk} of disk\n"
    ));
    anyhow::ensure!(eaten > 0, "it ate nothing");
    anyhow::ensure!(log > 5 << 20, "it logged nothing");
    anyhow::ensure!(log < 32 << 20, "its log has no end");
    anyhow::ensure!(disk > DISK / 2 && disk <= DISK, "{disk} bytes");

    anyhow::ensure!(
        ratio <= AT_MOST,
        "its neighbour waits {ratio:.2} times as long"
    );
    product.finish(&[]).await
}

/// The middle of some turns, from what a person writes to what they read.
async fn turns(product: &Product, person: &Person, name: &str) -> anyhow::Result<Duration> {
    let mut took = Vec::new();
    for number in 0..TURNS {
        let mark = crowd::mark(format!("{name}-{number}"));
        let begun = Instant::now();
        product.says(person, &format!("Please note {mark}")).await?;
        product.answered(person, &mark).await?;
        took.push(begun.elapsed());
        product.settled().await?;
    }
    took.sort();
    Ok(took[TURNS / 2])
}

async fn processes(container: &str) -> anyhow::Result<usize> {
    let listed = command::run("docker", &["top", container, "-eo", "pid"]).await?;
    Ok(listed.lines().count().saturating_sub(1))
}

/// A file of its `/tmp`, seen from outside: nothing can be started in there any more.
async fn inside(container: &str, file: &str) -> anyhow::Result<String> {
    let pid = command::run("docker", &["inspect", "-f", "{{.State.Pid}}", container]).await?;
    let path = format!("/proc/{}/root/tmp/{file}", pid.trim());
    fs::read_to_string(&path).with_context(|| format!("read {path}"))
}

async fn log_size(container: &str) -> anyhow::Result<u64> {
    let path = command::run("docker", &["inspect", "-f", "{{.LogPath}}", container]).await?;
    let mut size = 0;
    for number in ["", ".1"] {
        let path = format!("{}{number}", path.trim());
        size += fs::metadata(path).map_or(0, |file| file.len());
    }
    Ok(size)
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

#[expect(
    clippy::print_stdout,
    reason = "figures for whoever runs it with --nocapture"
)]
fn show(figures: &str) {
    print!("{figures}");
}
