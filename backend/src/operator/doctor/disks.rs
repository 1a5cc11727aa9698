//! The wall around each sandbox's disk, and who has reached it: by what the worker measures, since
//! only it may give orders to what keeps the disks.

use super::{
    facts::Facts,
    finding::{Found, fail, ok, skip, warn},
};

const LOOP_CONTROL: &str = "/dev/loop-control";

pub async fn wall(facts: &Facts) -> Result<Found, Found> {
    let sandbox = &facts.config.sandbox;
    let Some(bytes) = sandbox.disk else {
        return Ok(warn(
            "A sandbox's disk has no limit (SANDBOX_DISK=unlimited): one can fill the disk of all.",
            "Set SANDBOX_DISK to a size, such as 1g. It holds for volumes made from then on.",
        ));
    };
    let walled = facts.gauge("clawkaka_sandbox_disks_walled").await;
    let walled = walled.map_err(|why| skip(format!("{why}.")))?;
    let folder = &sandbox.disk_folder;
    Ok(judge_wall(walled.as_deref(), bytes >> 20, folder))
}

fn judge_wall(walled: Option<&str>, megabytes: i64, folder: &str) -> Found {
    match walled {
        Some("1") => ok(format!(
            "A sandbox may keep {megabytes} MB; the files are in {folder} on the Docker host."
        )),
        Some(_) => fail(
            "The size of sandboxes' disks cannot be kept, so that no new one is made.",
            format!(
                "Look at the worker's log. It needs {LOOP_CONTROL} on the Docker host (modprobe loop) and room in {folder}."
            ),
        ),
        None => skip("The worker has not looked at sandboxes' disks yet."),
    }
}

pub async fn full(facts: &Facts) -> Result<Found, Found> {
    let full = facts.gauge("clawkaka_sandbox_disks_full").await;
    let full = full.map_err(|why| skip(format!("{why}.")))?;
    Ok(judge_full(full.as_deref()))
}

fn judge_full(full: Option<&str>) -> Found {
    match full {
        Some("0") => ok("No sandbox's disk is full."),
        Some(count) => warn(
            format!("Sandboxes whose disk is full or nearly so: {count}."),
            "Their people were told. infra/monitoring/runbook.md, SandboxDiskFull, says how to give more.",
        ),
        None => skip("The worker has not looked at sandboxes' disks yet."),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::finding::Verdict, *};

    #[test]
    fn a_wall_that_cannot_be_put_up_fails_and_a_full_disk_warns() {
        let wall = |walled| judge_wall(walled, 1024, "/disks").verdict;
        assert_eq!(wall(Some("1")), Verdict::Ok);
        assert_eq!(wall(Some("0")), Verdict::Fail);
        assert_eq!(wall(None), Verdict::Skip);
        assert_eq!(judge_full(Some("0")).verdict, Verdict::Ok);
        assert_eq!(judge_full(Some("3")).verdict, Verdict::Warn);
        assert_eq!(judge_full(None).verdict, Verdict::Skip);
    }
}
