//! Row 8: what somebody costs whose sandbox is stopped: memory, and room on the disk after their
//! first message.

use super::{
    Scale,
    asked::{ask, until_stopped},
    report::{Better, Budget, Figure, Of, say},
    stage,
};
use crate::{Product, command, crowd::person, docker::DEPLOYMENT_LABEL, processes};

/// Sandbox slots, and so users, of one deployment.
const SLOTS: u32 = 65_000;

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
    for volume in volumes(&product).await? {
        let megabytes = on_disk(&volume).await?;
        say(&format!("  a fresh volume takes {megabytes:.2} MB"));
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

async fn volumes(product: &Product) -> anyhow::Result<Vec<String>> {
    let filter = format!("label={DEPLOYMENT_LABEL}={}", product.place.deployment);
    let listed = command::run("docker", &["volume", "ls", "-q", "--filter", &filter]).await?;
    let found: Vec<_> = listed.lines().map(str::to_owned).collect();
    anyhow::ensure!(!found.is_empty(), "there are no volumes");
    Ok(found)
}

/// As seen inside, however the volume is kept.
async fn on_disk(volume: &str) -> anyhow::Result<f64> {
    let (mount, image) = (format!("{volume}:/state:ro"), stage::image().await?);
    let arguments = [
        "run",
        "--rm",
        "--network",
        "none",
        "--user",
        "0",
        "-v",
        &mount,
        "--entrypoint",
        "du",
        &image,
        "-sk",
        "/state",
    ];
    let printed = command::run("docker", &arguments).await?;
    let kilobytes = printed.split_whitespace().next().unwrap_or_default();
    Ok(kilobytes.parse::<f64>()? * 1024.0 / 1e6)
}
