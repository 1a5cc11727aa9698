//! The lines this process may send on, as they are now.

use std::{collections::HashMap, sync::Arc};

use tokio::sync::watch;

use super::{Delivery, Line};
use crate::id::LineId;

type ById = HashMap<LineId, Arc<Line>>;

/// Those of the environment, which stay, and those that operators add and remove meanwhile.
#[derive(Clone, Default)]
pub struct Lines {
    named: Arc<ById>,
    added: Arc<watch::Sender<ById>>,
}

impl Lines {
    /// Those of the environment.
    pub fn of(lines: impl IntoIterator<Item = Line>) -> Self {
        Self {
            named: Arc::new(by_id(lines)),
            added: Arc::default(),
        }
    }

    /// Puts these in the place of all that were added before. Those of the environment win.
    pub fn set_added(&self, lines: impl IntoIterator<Item = Line>) {
        self.added.send_replace(by_id(lines));
    }

    pub fn get(&self, id: LineId) -> Option<Arc<Line>> {
        let named = self.named.get(&id).cloned();
        named.or_else(|| self.added.borrow().get(&id).cloned())
    }

    pub fn ids(&self) -> Vec<LineId> {
        let added = self.added.borrow();
        let others = added.keys().filter(|id| !self.named.contains_key(id));
        self.named.keys().chain(others).copied().collect()
    }

    /// Those whose messages, and what became of ours, are asked for and not brought.
    pub fn polled(&self) -> Vec<LineId> {
        let is_polled = |id: &LineId| {
            let line = self.get(*id);
            line.is_some_and(|line| line.delivery == Delivery::Poll)
        };
        self.ids().into_iter().filter(is_polled).collect()
    }

    /// Returns when lines were added, changed or removed.
    pub fn changes(&self) -> Changes {
        Changes(self.added.subscribe())
    }
}

pub struct Changes(watch::Receiver<ById>);

impl Changes {
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            // Nobody can change them any more.
            std::future::pending::<()>().await;
        }
    }
}

fn by_id(lines: impl IntoIterator<Item = Line>) -> ById {
    let lines = lines.into_iter().map(Arc::new);
    lines.map(|line| (line.id, line)).collect()
}
