//! The walls around sandboxes: whether they stand. `infra/firewall/` puts them up; we read them.
//!
//! Four things must hold, each enough against most of what we fear, so that one may fail unseen
//! for a pass: our nftables table ([`rules`]), the flags of the network (`network.rs`), the kernel
//! showing bridged packets to those tables, and every port of the bridge isolated from every other
//! ([`ports`]). A probe from inside shows that they do what we think ([`probe`]).
//!
//! What cannot be read counts as fallen: pausing costs milliseconds and loses nothing.

pub mod ports;
pub mod probe;
pub mod record;
pub mod rules;

use std::{process::Stdio, time::Duration};

use anyhow::{Context, ensure};
use tokio::process::Command;

use super::{layout::Layout, runtime::Breach};

/// `nft` and `ip` answer in milliseconds; the kernel's network lock may be held by others.
const TOOL_TIMEOUT: Duration = Duration::from_secs(5);

/// Isolates ports that are new and reads every wall of this host back.
pub async fn check(layout: &Layout) -> Result<(), Breach> {
    rules::check(layout).await?;
    ports::bridged_packets_are_filtered(&layout.bridge())?;
    ports::isolate(&layout.bridge()).await
}

/// What a tool of the system prints.
pub async fn output(tool: &str, arguments: &[&str]) -> anyhow::Result<Vec<u8>> {
    let run = Command::new(tool)
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = tokio::time::timeout(TOOL_TIMEOUT, run)
        .await
        .with_context(|| format!("{tool} did not end within {TOOL_TIMEOUT:?}"))?
        .with_context(|| format!("run {tool}"))?;
    let complaint = String::from_utf8_lossy(&done.stderr);
    let complaint = complaint.lines().next().unwrap_or_default();
    ensure!(done.status.success(), "{tool}: {complaint}");
    Ok(done.stdout)
}
