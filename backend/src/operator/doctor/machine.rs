//! The machine: room on the disk, memory, and addresses that are nobody else's.

use std::{fs, net::Ipv4Addr, path::Path};

use rustix::fs::StatVfs;
use serde::Deserialize;

use super::{
    facts::Facts,
    finding::{Found, fail, ok, skip, warn},
};
use crate::sandbox::walls;

const MEMORY: &str = "/proc/meminfo";
/// SANDBOX_SUBNET is a /16.
const OUR_PREFIX: u32 = 16;

/// What is free where Docker keeps volumes and images.
async fn file_system(facts: &Facts) -> Result<(String, StatVfs), Found> {
    let root = facts
        .info()
        .await?
        .docker_root_dir
        .clone()
        .unwrap_or_default();
    if !Path::new(&root).is_dir() {
        return Err(skip(format!(
            "Docker's data ({root}) is not seen from here: run this on the host."
        )));
    }
    let found = rustix::fs::statvfs(root.as_str());
    let found = found.map_err(|error| skip(format!("{root} cannot be looked at: {error}.")))?;
    Ok((root, found))
}

pub async fn disk(facts: &Facts) -> Result<Found, Found> {
    let (root, found) = file_system(facts).await?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let gb = |bytes: u64| bytes >> 30;
    let what = format!("{} GB are free at {root}", gb(free));
    let todo = "Make room (`docker system df` shows what images take) or give it a larger disk.";
    Ok(match free {
        free if free < facts.limits.disk_bytes => fail(
            format!("Only {what}; {} must be.", gb(facts.limits.disk_bytes)),
            todo,
        ),
        free if free / 2 < facts.limits.disk_bytes => warn(format!("Only {what}."), todo),
        _ => ok(format!("{what}.")),
    })
}

pub async fn inodes(facts: &Facts) -> Result<Found, Found> {
    let (root, found) = file_system(facts).await?;
    if found.f_files == 0 {
        return Ok(ok(format!(
            "The file system of {root} has no limit on the number of files."
        )));
    }
    let what = format!("{} inodes are free at {root}", found.f_favail);
    Ok(match found.f_favail {
        free if free < facts.limits.inodes => fail(
            format!("Only {what}; {} must be.", facts.limits.inodes),
            "Remove old images and volumes of others, or give it a file system with more inodes.",
        ),
        _ => ok(format!("{what}.")),
    })
}

pub async fn memory(facts: &Facts) -> Result<Found, Found> {
    let text = fs::read_to_string(MEMORY);
    let text = text.map_err(|error| skip(format!("{MEMORY} cannot be read: {error}.")))?;
    Ok(judge_memory(&text, facts.config.sandbox.memory))
}

fn judge_memory(text: &str, sandbox: i64) -> Found {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: i64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some(kilobytes * 1024)
    };
    let (Some(total), Some(free)) = (bytes("MemTotal"), bytes("MemAvailable")) else {
        return skip(format!("{MEMORY} says nothing of the memory."));
    };
    let mb = |bytes: i64| bytes >> 20;
    let todo = "Give the machine more memory, or sandboxes less (SANDBOX_MEMORY).";
    if sandbox > total {
        return fail(
            format!(
                "One sandbox may take {} MB, and the machine has {}.",
                mb(sandbox),
                mb(total)
            ),
            todo,
        );
    }
    match free < sandbox {
        true => warn(
            format!(
                "{} MB are free, too little for one more sandbox of {}.",
                mb(free),
                mb(sandbox)
            ),
            todo,
        ),
        false => ok(format!(
            "{} MB are free, for sandboxes of at most {}.",
            mb(free),
            mb(sandbox)
        )),
    }
}

#[derive(Deserialize)]
struct Route {
    dst: String,
    #[serde(default)]
    dev: String,
}

pub async fn subnet(facts: &Facts) -> Result<Found, Found> {
    let listing = walls::output("ip", &["-j", "-4", "route", "show", "table", "all"]).await;
    let routes = listing.and_then(|listing| Ok(serde_json::from_slice::<Vec<Route>>(&listing)?));
    let routes = routes.map_err(|error| skip(format!("Routes cannot be read: {error:#}.")))?;
    let bridge = crate::app::layout(&facts.config).bridge();
    Ok(judge_subnet(&routes, facts.config.sandbox.subnet, &bridge))
}

fn judge_subnet(routes: &[Route], ours: Ipv4Addr, bridge: &str) -> Found {
    let todo =
        "Give SANDBOX_SUBNET a private /16 that nothing else uses, and put the walls up again.";
    let foreign = routes.iter().filter(|route| route.dev != bridge);
    for route in foreign {
        let (address, prefix) = route.dst.split_once('/').unwrap_or((&route.dst, "32"));
        let (Ok(address), Ok(prefix)) = (address.parse::<Ipv4Addr>(), prefix.parse::<u32>()) else {
            continue;
        };
        let shared = 32 - prefix.min(OUR_PREFIX);
        let overlaps = prefix > 0 && u32::from(address) >> shared == u32::from(ours) >> shared;
        let what = format!("{ours}/{OUR_PREFIX}");
        let Route { dst, dev } = route;
        match (overlaps, prefix < OUR_PREFIX) {
            (false, _) => {}
            (true, true) => {
                return warn(
                    format!("{what} is part of {dst}, which is reached by {dev}."),
                    todo,
                );
            }
            (true, false) => {
                return fail(
                    format!("{dst}, reached by {dev}, lies in the sandboxes' {what}."),
                    todo,
                );
            }
        }
    }
    ok(format!("{ours}/{OUR_PREFIX} is the sandboxes' alone."))
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    #[test]
    fn another_network_inside_ours_fails_and_one_around_it_warns() {
        let ours = Ipv4Addr::new(10, 77, 0, 0);
        let verdict = |dst: &str, dev: &str| {
            let (dst, dev) = (dst.to_owned(), dev.to_owned());
            judge_subnet(&[Route { dst, dev }], ours, "ck-1").verdict
        };
        assert_eq!(verdict("10.77.0.0/16", "ck-1"), Verdict::Ok, "our own");
        assert_eq!(verdict("10.78.0.0/16", "eth0"), Verdict::Ok);
        assert_eq!(verdict("default", "eth0"), Verdict::Ok);
        assert_eq!(verdict("0.0.0.0/0", "eth0"), Verdict::Ok);
        assert_eq!(verdict("10.77.3.0/24", "eth0"), Verdict::Fail);
        assert_eq!(verdict("10.77.9.9", "eth0"), Verdict::Fail);
        assert_eq!(verdict("10.0.0.0/8", "eth0"), Verdict::Warn);
    }

    #[test]
    fn a_sandbox_larger_than_the_machine_fails_and_one_that_does_not_fit_now_warns() {
        let text = "MemTotal:       8000000 kB\nMemFree: 1 kB\nMemAvailable:   3000000 kB\n";
        assert_eq!(judge_memory(text, 2 << 30).verdict, Verdict::Ok);
        assert_eq!(judge_memory(text, 4 << 30).verdict, Verdict::Warn);
        assert_eq!(judge_memory(text, 16 << 30).verdict, Verdict::Fail);
        assert_eq!(judge_memory("", 1).verdict, Verdict::Skip);
    }
}
