//! Row 8: what somebody costs whose sandbox is stopped: memory, and room on the disk after their
//! first message.

use std::{fs, os::unix::fs::MetadataExt as _, path::PathBuf};

use anyhow::Context as _;

use super::{
    Scale,
    asked::{ask, until_stopped},
    report::{Better, Budget, Figure, Of, say},
    stage,
};
use crate::{Product, crowd::person, processes};

/// Sandbox slots, and so users, of one deployment.
const SLOTS: u32 = 65_000;
/// What a file system counts in, whatever its own blocks are.
const BLOCK: f64 = 512.0;

pub async fn measure(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let settings = [("SANDBOX_PAUSE_AFTER", "1s"), ("SANDBOX_STOP_AFTER", "3s")];
    let product = stage::whole(&settings).await?;
    for number in 1..=scale.people {
        ask(&product, &person(number), &format!("fresh-{number}")).await?;
    }
    until_stopped(&product).await?;
    let first = product.place.uid_base + 1;
    let memory = processes::kilobytes_by_user(&(first..first + SLOTS))?;
    let memory = memory.values().sum::<u64>() as f64 / 1024.0 / scale.people as f64;
    let mut largest = 0.0_f64;
    for disk in disks(&product)? {
        let megabytes = fs::metadata(&disk)?.blocks() as f64 * BLOCK / 1e6;
        say(&format!("  a fresh disk takes {megabytes:.2} MB"));
        largest = largest.max(megabytes);
    }
    product.finish(&[]).await?;
    let less = |must, aim| Budget {
        of: Of::Value,
        better: Better::Less,
        must,
        aim,
    };
    Ok(vec![
        Figure::new("stopped_memory", memory, "MiB", Some(0.0), less(0.0, 0.0)),
        Figure::new("fresh_disk", largest, "MB", None, less(8.0, 2.0)),
    ])
}

/// The files in which the volumes lie: what they take is what a sandbox takes.
fn disks(product: &Product) -> anyhow::Result<Vec<PathBuf>> {
    let place = &product.place;
    let folder = place.folder.join("disks").join(&place.deployment);
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).context("list the disks")? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "ext4") {
            found.push(path);
        }
    }
    anyhow::ensure!(!found.is_empty(), "there are no disks");
    Ok(found)
}
