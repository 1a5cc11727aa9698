//! Places at which a story holds up what runs.

use std::sync::Mutex;

use tokio::sync::Notify;

/// Where something stops until the story goes on, or lets it die there.
#[derive(Default)]
pub struct Stall {
    at: Mutex<Option<&'static str>>,
    reached: Notify,
    go: Notify,
}

impl Stall {
    pub fn set(&self, at: &'static str) {
        *self.at.lock().unwrap() = Some(at);
    }

    pub async fn reached(&self) {
        self.reached.notified().await;
    }

    pub fn go_on(&self) {
        self.go.notify_one();
    }

    pub async fn pass(&self, what: &'static str) {
        let is_here = self.at.lock().unwrap().take_if(|at| *at == what).is_some();
        if is_here {
            self.reached.notify_one();
            self.go.notified().await;
        }
    }
}
