//! Nobody begins a program inside a container while it is being paused, nor the other way round.
//!
//! A program that is frozen before it has begun stays half begun: the runtime waits for it, and
//! until the engine is started again the container can be neither thawed nor removed (seen with
//! Docker 28.2 and control groups of version 1, at the first of eighty tries).

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::timeout};

/// A look inside takes a tenth of a second. Who is to be paused may be hostile, and make it last.
const PAUSED_ANYWAY_AFTER: Duration = Duration::from_secs(2);

/// Containers by their ids.
#[derive(Default)]
pub struct Entrances {
    taken: Mutex<HashSet<String>>,
    left: Notify,
}

/// Whoever holds it is alone at a container.
pub struct Entered<'a> {
    entrances: &'a Entrances,
    id: &'a str,
}

impl Entrances {
    /// `None` while somebody else is there.
    pub fn enter<'a>(&'a self, id: &'a str) -> Option<Entered<'a>> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        // Lazily: one that is dropped gives the place back.
        taken.insert(id.to_owned()).then(|| Entered {
            entrances: self,
            id,
        })
    }

    /// Waits until nobody else is there; `None`: somebody does not leave.
    pub async fn shut<'a>(&'a self, id: &'a str) -> Option<Entered<'a>> {
        let alone = async {
            loop {
                let left = self.left.notified();
                if let Some(entered) = self.enter(id) {
                    return entered;
                }
                left.await;
            }
        };
        timeout(PAUSED_ANYWAY_AFTER, alone).await.ok()
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let taken = &self.entrances.taken;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.remove(self.id);
        self.entrances.left.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, poll};

    use super::*;

    #[tokio::test]
    async fn a_pause_waits_for_who_is_inside_and_lets_nobody_in_meanwhile() {
        let entrances = Entrances::default();
        let inside = entrances.enter("a").unwrap();
        assert!(entrances.enter("a").is_none());
        assert!(entrances.enter("b").is_some(), "others are not held up");
        let mut pausing = std::pin::pin!(entrances.shut("a"));
        assert!(poll!(&mut pausing).is_pending());
        drop(inside);
        let paused = pausing.await;
        assert!(paused.is_some() && entrances.enter("a").is_none());
        drop(paused);
        assert!(entrances.enter("a").is_some());
    }

    #[tokio::test]
    async fn who_does_not_leave_is_paused_anyway() {
        let entrances = Entrances::default();
        let _inside = entrances.enter("a");
        assert!(entrances.shut("a").await.is_none());
        assert!(entrances.shut("b").now_or_never().flatten().is_some());
    }
}
