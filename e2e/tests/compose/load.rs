//! Fifty webhooks a second, each posted once: what is not answered with 200 is lost.

use std::time::Duration;

use anyhow::Context as _;
use e2e::{
    Whatsapp,
    crowd::person,
    whatsapp::{Receipt, Ticks},
};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, JoinSet},
};

const EVERY: Duration = Duration::from_millis(20);

pub struct Load {
    stop: oneshot::Sender<()>,
    posting: JoinHandle<Vec<Option<u16>>>,
}

impl Load {
    /// Statuses of messages nobody sent: they are stored and routed, and answer nobody.
    pub fn start(whatsapp: &Whatsapp) -> Self {
        let (stop, mut stopped) = oneshot::channel();
        let whatsapp = whatsapp.clone();
        let posting = tokio::spawn(async move {
            let mut posts = JoinSet::new();
            let mut ticks = tokio::time::interval(EVERY);
            let mut number = 0;
            while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
                ticks.tick().await;
                number += 1;
                let whatsapp = whatsapp.clone();
                posts.spawn(async move { whatsapp.post(&body(&whatsapp, number)).await });
            }
            posts.join_all().await
        });
        Self { stop, posting }
    }

    /// How many were sent, all of them answered with 200.
    pub async fn stop(self) -> anyhow::Result<i64> {
        // An error means that it ended by itself, which the handle tells better.
        let _ = self.stop.send(());
        let answers = self.posting.await.context("post webhooks")?;
        let lost: Vec<_> = answers.iter().filter(|one| **one != Some(200)).collect();
        anyhow::ensure!(
            lost.is_empty(),
            "{} of {} webhooks were lost: {:?}",
            lost.len(),
            answers.len(),
            &lost[..lost.len().min(10)]
        );
        Ok(i64::try_from(answers.len())?)
    }
}

fn body(whatsapp: &Whatsapp, number: usize) -> Vec<u8> {
    let read = Receipt {
        status: Ticks::Read,
        after_ms: 0,
        copies: 1,
        code: None,
    };
    whatsapp.status_body(&person(999), &format!("wamid.load-{number}"), None, &read)
}
