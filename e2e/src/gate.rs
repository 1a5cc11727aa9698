//! Named gates: places where a simulated service stops until the test says how to go on.
//!
//! A fault or a rule names a gate, the call waits there, the test sees that it waits
//! ([`Gates::reached`]) and opens the gate. Names are plain strings so that the Rust API and the
//! control API mean the same thing by them. A gate opened stays open until it is shut again, and
//! programming a fault that waits at a gate shuts it.

use std::{collections::HashMap, time::Duration};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// How a call that waited goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// As if nothing had happened.
    Go,
    /// The connection is cut and the call has had no effect.
    Drop,
    /// The call takes effect and the connection is cut before the answer.
    GoAndDrop,
}

#[derive(Clone, Default)]
pub struct Gates {
    all: watch::Sender<HashMap<String, Gate>>,
}

#[derive(Default)]
struct Gate {
    /// How many calls have come to this gate since it was last shut.
    reached: usize,
    open: Option<Then>,
}

impl Gates {
    /// Lets everybody through who waits at the gate or comes to it later.
    pub fn release(&self, name: &str, then: Then) {
        self.all
            .send_modify(|all| all.entry(name.to_owned()).or_default().open = Some(then));
    }

    /// Shuts a gate and forgets who came to it before.
    pub fn shut(&self, name: &str) {
        self.all.send_modify(|all| {
            all.insert(name.to_owned(), Gate::default());
        });
    }

    /// Waits until `count` calls have come to the gate.
    pub async fn reached(&self, name: &str, count: usize, within: Duration) -> anyhow::Result<()> {
        let mut watcher = self.all.subscribe();
        let seen = watcher.wait_for(|all| reached(all, name) >= count);
        match tokio::time::timeout(within, seen).await {
            Ok(seen) => seen.map(drop).context("watch the gates"),
            Err(_) => anyhow::bail!(
                "{} of {count} calls came to gate {name} within {within:?}",
                reached(&self.all.borrow(), name)
            ),
        }
    }

    /// Waits at the gate.
    pub(crate) async fn pass(&self, name: &str) -> Then {
        let mut watcher = self.all.subscribe();
        self.all
            .send_modify(|all| all.entry(name.to_owned()).or_default().reached += 1);
        match watcher.wait_for(|all| opened(all, name).is_some()).await {
            Ok(all) => opened(&all, name).unwrap_or(Then::Drop),
            // Nobody is left to open it.
            Err(_) => Then::Drop,
        }
    }
}

fn reached(all: &HashMap<String, Gate>, name: &str) -> usize {
    all.get(name).map_or(0, |gate| gate.reached)
}

fn opened(all: &HashMap<String, Gate>, name: &str) -> Option<Then> {
    all.get(name).and_then(|gate| gate.open)
}
