//! The ports of our bridge: each isolated from all others, so that sandboxes cannot reach each
//! other even where no packet filter sees bridged packets.
//!
//! Every port of the bridge is a sandbox's or a probe's, since the network is ours alone; so there
//! is no need to find out which is whose. The kernel forgets the flag with the port, at every start
//! of a container. Reading is by sysfs (of the host: the worker uses the host's network), setting
//! by `ip`, which needs NET_ADMIN.

use std::{collections::HashSet, fs, path::PathBuf};

use super::output;
use crate::sandbox::runtime::Breach;

/// The kernel's switch for all bridges; each bridge has one of its own as well.
const FILTER_ALL_BRIDGES: &str = "/proc/sys/net/bridge/bridge-nf-call-iptables";

fn of_bridge(bridge: &str, what: &str) -> PathBuf {
    ["/sys/class/net", bridge, what].iter().collect()
}

/// Whether there is a bridge at all: the first container makes it one.
pub fn exists(bridge: &str) -> bool {
    of_bridge(bridge, "brif").is_dir()
}

/// Whether packets from sandbox to sandbox pass the packet filters at all.
pub fn bridged_packets_are_filtered(bridge: &str) -> Result<(), Breach> {
    let switches = [
        PathBuf::from(FILTER_ALL_BRIDGES),
        of_bridge(bridge, "bridge/nf_call_iptables"),
    ];
    let on = switches
        .iter()
        .any(|file| fs::read_to_string(file).is_ok_and(|on| on.trim() == "1"));
    on.then_some(())
        .ok_or_else(|| "net.bridge.bridge-nf-call-iptables is off".to_owned())
}

/// Isolates the ports that are not, and reads all of them back until none is open. Sandboxes start
/// and end all the while: a port that is new in a later look is isolated as well, and only one that
/// stays open after that is a breach.
pub async fn isolate(bridge: &str) -> Result<(), Breach> {
    let mut tried = HashSet::new();
    loop {
        let open = open_ports(bridge)?;
        if let Some(port) = open.iter().find(|port| tried.contains(*port)) {
            return Err(format!("port {port} of {bridge} cannot be isolated"));
        }
        if open.is_empty() {
            return Ok(());
        }
        for port in open {
            isolate_one(&port).await;
            tried.insert(port);
        }
    }
}

/// One that has gone meanwhile is an error, too; what counts is what is read next.
async fn isolate_one(port: &str) {
    let words = [
        "link",
        "set",
        "dev",
        port,
        "type",
        "bridge_slave",
        "isolated",
        "on",
    ];
    match output("ip", &words).await {
        Ok(_) => tracing::debug!(port, "bridge port isolated"),
        Err(error) => tracing::debug!(port, "bridge port not isolated: {error:#}"),
    }
}

fn open_ports(bridge: &str) -> Result<Vec<String>, Breach> {
    let entries = fs::read_dir(of_bridge(bridge, "brif"))
        .map_err(|error| format!("bridge {bridge} cannot be read: {error}"))?;
    let mut open = Vec::new();
    for entry in entries.flatten() {
        match fs::read_to_string(entry.path().join("isolated")) {
            Ok(flag) if flag.trim() == "1" => {}
            // Gone between the two looks: nothing to isolate.
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound && !entry.path().exists() => {}
            _ => open.push(entry.file_name().to_string_lossy().into_owned()),
        }
    }
    Ok(open)
}
