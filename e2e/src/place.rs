//! A place of its own on this machine for one deployment under test, and the way to leave none behind.
//!
//! A deployment is named `ck-test-<pid>-<n>` (a benchmark's: `ck-bench-…`) after the process that
//! made it, so that the next run can tell and remove what a killed one left: containers, volumes,
//! networks, walls, folders, processes.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process,
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::Context as _;

use crate::{
    command::{self, try_now},
    docker::{DEPLOYMENT_LABEL, Docker},
};

/// What a deployment is for; the beginning of its name.
pub const TEST: &str = "ck-test-";
pub const BENCH: &str = "ck-bench-";
/// Below the range from which the kernel takes ports for connections.
const PORTS: std::ops::Range<u16> = 12_000..32_000;
/// Second bytes of 10.x.0.0/16.
const SUBNETS: std::ops::Range<u16> = 100..250;
/// More than a subnet has slots.
const UIDS_PER_SUBNET: u32 = 70_000;
const FIRST_UID: u32 = 1_000_000;

/// Everything that must differ between two deployments on one machine.
#[derive(Debug)]
pub struct Place {
    pub deployment: String,
    pub port: u16,
    pub subnet: String,
    pub uid_base: u32,
    pub folder: PathBuf,
}

impl Place {
    /// `purpose` is [`TEST`] or [`BENCH`].
    pub async fn find(purpose: &str) -> anyhow::Result<Self> {
        static NUMBER: AtomicU16 = AtomicU16::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        if number == 0 {
            sweep().context("sweep up after killed runs")?;
        }
        let deployment = format!("{purpose}{}-{number}", process::id());
        let second = free_subnet(number).await?;
        let folder = std::env::temp_dir().join(&deployment);
        fs::create_dir_all(&folder).context("make a folder")?;
        Ok(Self {
            deployment,
            port: free_ports(5)?,
            subnet: format!("10.{second}.0.0/16"),
            uid_base: FIRST_UID + UIDS_PER_SUBNET * u32::from(second),
            folder,
        })
    }

    pub fn bridge_address(&self) -> String {
        self.subnet.replace(".0.0/16", ".0.1")
    }
}

/// The first of `count` ports in a row that nobody uses.
pub fn free_ports(count: u16) -> anyhow::Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let blocks = (PORTS.end - PORTS.start) / 8;
    // Two test processes begin at different places.
    let begin = (process::id() % u32::from(blocks)) as u16;
    for _ in 0..blocks {
        let block = (begin + NEXT.fetch_add(1, Ordering::Relaxed)) % blocks;
        let first = PORTS.start + block * 8;
        let held: Result<Vec<_>, _> = (first..first + count)
            .map(|port| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
            .collect();
        if held.is_ok() {
            return Ok(first);
        }
    }
    anyhow::bail!("no {count} free ports in a row")
}

async fn free_subnet(number: u16) -> anyhow::Result<u16> {
    let routes = command::run("ip", &["-4", "route", "show", "table", "all"]).await?;
    let taken: BTreeSet<_> = routes
        .split_whitespace()
        .filter_map(|word| {
            word.strip_prefix("10.")?
                .split('.')
                .next()?
                .parse::<u16>()
                .ok()
        })
        .collect();
    let width = SUBNETS.end - SUBNETS.start;
    let begin = (process::id() % u32::from(width)) as u16 + number;
    (0..width)
        .map(|step| SUBNETS.start + (begin + step) % width)
        .find(|second| !taken.contains(second))
        .context("no free subnet")
}

/// Removes what test processes left that are dead.
fn sweep() -> anyhow::Result<()> {
    let mut left = BTreeSet::new();
    for what in [&["ps", "-a"][..], &["volume", "ls"], &["network", "ls"]] {
        let label = format!("{{{{.Label \"{DEPLOYMENT_LABEL}\"}}}}");
        let filter = format!("label={DEPLOYMENT_LABEL}");
        let mut arguments = what.to_vec();
        arguments.extend(["--filter", &filter, "--format", &label]);
        left.extend(try_now("docker", &arguments).lines().map(str::to_owned));
    }
    let tables = try_now("nft", &["list", "tables", "inet"]);
    let tables = tables
        .lines()
        .filter_map(|line| line.rsplit_once("clawkaka_"));
    left.extend(tables.map(|(_, deployment)| deployment.trim().to_owned()));
    let folders = fs::read_dir(std::env::temp_dir()).context("list temporary folders")?;
    left.extend(
        folders
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok()),
    );
    for deployment in left.iter().filter(|name| is_of_the_dead(name)) {
        remove(deployment);
    }
    Ok(())
}

pub(crate) fn is_of_the_dead(deployment: &str) -> bool {
    let ours = [TEST, BENCH]
        .iter()
        .find_map(|purpose| deployment.strip_prefix(purpose));
    let pid = ours.and_then(|rest| rest.split('-').next());
    pid.and_then(|pid| pid.parse::<u32>().ok())
        .is_some_and(|pid| !fs::exists(format!("/proc/{pid}")).unwrap_or(true))
}

/// An image that a benchmark makes for itself.
pub fn image_of(deployment: &str) -> String {
    format!("{deployment}:cells")
}

/// Removes everything of a deployment: containers before walls, so that nothing runs without them.
/// Its processes ended with the test process.
pub fn remove(deployment: &str) {
    Docker {
        deployment: deployment.to_owned(),
    }
    .remove_everything();
    try_now(
        "nft",
        &["delete", "table", "inet", &format!("clawkaka_{deployment}")],
    );
    // Kept by nuke.sh; those of a test are of no use to anybody.
    try_now(
        "docker",
        &["volume", "rm", "-f", &format!("{deployment}-certificates")],
    );
    // What a benchmark had OpenClaw's own fleet make, which knows nothing of labels of ours.
    let cell = format!("openclaw-cell-{deployment}");
    try_now("docker", &["rm", "-f", "-v", &cell]);
    try_now("docker", &["network", "rm", &format!("{cell}-net")]);
    try_now("docker", &["rmi", "-f", &image_of(deployment)]);
    // They need not be there any more.
    let _ = fs::remove_dir_all(format!("/var/lib/clawkaka-disks/{deployment}"));
    let _ = fs::remove_dir_all(std::env::temp_dir().join(deployment));
}
