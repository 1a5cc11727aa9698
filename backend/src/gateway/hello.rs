//! `hello-ok`: what a gateway says when it lets us in.

use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::wire::{lenient, read};

/// `tickIntervalMs` is the sandbox's word; outside of this it would make the watch useless.
const TICKS: (u64, u64) = (1_000, 60_000);

/// `hello-ok`.
#[derive(Debug, PartialEq, Eq)]
pub struct Hello {
    pub scopes: Vec<String>,
    pub tick: Duration,
    /// Somebody suspended it, and nobody has let it go on since.
    pub is_suspended: bool,
}

/// Reads `hello-ok`; a missing tick interval is OpenClaw's default.
pub fn read_hello(payload: &RawValue) -> Option<Hello> {
    #[derive(Deserialize)]
    struct Wire {
        auth: Granted,
        #[serde(default, deserialize_with = "lenient")]
        policy: Policy,
        #[serde(default, deserialize_with = "lenient")]
        snapshot: Snapshot,
    }
    #[derive(Default, Deserialize)]
    struct Snapshot {
        #[serde(default, deserialize_with = "lenient")]
        suspension: Phase,
    }
    #[derive(Default, Deserialize)]
    struct Phase {
        #[serde(default, deserialize_with = "lenient")]
        phase: String,
    }
    #[derive(Deserialize)]
    struct Granted {
        scopes: Vec<String>,
    }
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Policy {
        #[serde(default, deserialize_with = "lenient")]
        tick_interval_ms: Option<u64>,
    }
    let wire: Wire = read(Some(payload))?;
    let tick = wire.policy.tick_interval_ms.unwrap_or(30_000);
    Some(Hello {
        scopes: wire.auth.scopes,
        tick: Duration::from_millis(tick.clamp(TICKS.0, TICKS.1)),
        is_suspended: !matches!(wire.snapshot.suspension.phase.as_str(), "" | "accepting"),
    })
}
