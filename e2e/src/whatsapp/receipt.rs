//! Sends the status webhooks that follow a message.
//!
//! They are first posted in the order programmed, one after the other, so that a test gets the
//! order it asks for. Each is retried for itself, so a product that was away gets them in any
//! order, as it does from Meta.

use std::{sync::Arc, time::Duration};

use futures_util::future::join_all;

use super::{Inner, error::title, fault::Receipt, person::Person, state::Ticks, webhook};

/// A message on its way to somebody.
pub(crate) struct Sent {
    /// As Graph names them in receipts: by the address that was written to.
    pub person: Person,
    pub wamid: String,
    pub callback: Option<String>,
}

pub(crate) fn send_all(sim: &Arc<Inner>, sent: Sent, receipts: Vec<Receipt>) {
    let sim_for_task = sim.clone();
    sim.spawn(async move {
        for receipt in receipts {
            tokio::time::sleep(Duration::from_millis(receipt.after_ms)).await;
            send(&sim_for_task, &sent, &receipt).await;
        }
    });
}

async fn send(sim: &Arc<Inner>, sent: &Sent, receipt: &Receipt) {
    sim.state
        .send_modify(|state| state.tick(&sent.wamid, receipt.status));
    let error = (receipt.status == Ticks::Failed).then(|| {
        let code = receipt.code.unwrap_or(131026);
        (code, title(code))
    });
    let body = webhook::status_body(
        &sim.settings,
        &sent.person,
        &sent.wamid,
        sent.callback.as_deref(),
        receipt.status,
        error,
    );
    sim.keep(&body);
    let copies = (0..receipt.copies).map(|_| webhook::deliver(sim, &body));
    for (delivery, status) in join_all(copies).await {
        if status != Some(200) {
            let (sim_for_task, body) = (sim.clone(), body.clone());
            sim.spawn(async move {
                let lasts = sim_for_task.settings.retry_for;
                webhook::retry(&sim_for_task, delivery, &body, lasts).await
            });
        }
    }
}
