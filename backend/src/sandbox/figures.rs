//! What the reconcile loop saw, as metrics.

use chrono::{DateTime, Utc};

use super::{
    plan::{Observed, Walls},
    runtime::Container,
};
use crate::id::SandboxId;

const STATES: [(Observed, &str); 7] = [
    (Observed::Missing, "missing"),
    (Observed::Created, "created"),
    (Observed::Running, "running"),
    (Observed::Paused, "paused"),
    (Observed::Exited, "exited"),
    (Observed::Dead, "dead"),
    (Observed::Changing, "changing"),
];

/// How many containers are in which state; `missing` are those that somebody waits for and that do
/// not exist yet.
pub fn states<'a>(
    own: impl Iterator<Item = &'a Container>,
    wanted: impl Iterator<Item = &'a SandboxId>,
) {
    let own: Vec<_> = own.collect();
    let missing = wanted.filter(|id| own.iter().all(|container| container.sandbox != **id));
    let missing = missing.count();
    for (state, name) in STATES {
        let count = match state {
            Observed::Missing => missing,
            _ => own.iter().filter(|one| one.observed == state).count(),
        };
        metrics::gauge!("clawkaka_sandboxes", "state" => name).set(count as f64);
    }
}

/// How the walls stand. The time of a proof, and not its age: it grows old by itself.
pub fn walls(walls: Walls, proven_at: Option<DateTime<Utc>>) {
    let is = |state| u8::from(walls == state);
    metrics::gauge!("clawkaka_walls_standing").set(is(Walls::Standing));
    metrics::gauge!("clawkaka_walls_fallen").set(is(Walls::Fallen));
    let proven = proven_at.map_or(0, |at| at.timestamp());
    metrics::gauge!("clawkaka_walls_proven_timestamp_seconds").set(proven as f64);
}
