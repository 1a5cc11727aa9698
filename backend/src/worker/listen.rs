//! What an agent says when no turn waits for it: an answer that came after its turn was given up,
//! or that a restart of its gateway brought back. It takes the way of every answer, once.
//!
//! Runs at news from a gateway: a run has ended there, or we are connected anew. While a turn is
//! open nothing is done, for the turn reads the same transcript from the same cursor.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use tokio::sync::broadcast::error::RecvError;

use super::exchange::{Exchange, compose::Towards, said::Read};
use crate::{
    gateway::ask,
    id::SandboxId,
    lifecycle::Shutdown,
    outbox::{self, Class},
    sandbox, turn,
};

/// A sandbox that is not there by then has been stopped; its news is read with the next turn.
const REACH_WITHIN: Duration = Duration::from_secs(5);

/// Follows the news of all gateways until the process stops.
pub async fn run(exchange: Arc<Exchange>, shutdown: Shutdown) {
    let mut news = exchange.gateways.news();
    loop {
        let sandbox = tokio::select! {
            told = news.recv() => match told {
                Ok(sandbox) => sandbox,
                // What was missed is read with the next turn.
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
            () = shutdown.stopping() => return,
        };
        let exchange = exchange.clone();
        shutdown.spawn(async move {
            if let Err(error) = exchange.collect(sandbox).await {
                tracing::warn!(sandbox.id = %sandbox, "failed to {error:#}");
            }
        });
    }
}

impl Exchange {
    async fn collect(&self, sandbox: SandboxId) -> anyhow::Result<()> {
        let Some(tenant) = sandbox::row::tenant_of(&self.db, sandbox).await? else {
            return Ok(());
        };
        if !self.lease.is_held() || turn::is_active(&self.db, tenant).await? {
            return Ok(());
        }
        let (session_no, old) = sandbox::row::conversation::session(&self.db, sandbox).await?;
        // Before the first turn of a session there is nothing to collect.
        let Some(old) = old else { return Ok(()) };
        let endpoint = tokio::time::timeout(REACH_WITHIN, self.sandboxes.endpoint(sandbox));
        let Ok(endpoint) = endpoint.await else {
            return Ok(());
        };
        let endpoint = endpoint?;
        let connection = self.gateways.connection(&endpoint).await?;
        let session = format!("main-{session_no}");
        let (said, new) = ask::collect(&connection, &session, Some(&old))
            .await
            .context("collect what an agent said unasked")?;
        if said.is_empty() {
            return Ok(());
        }
        let read = Read {
            session_no,
            old: Some(old),
            new,
            said,
        };
        let towards = Towards {
            tenant,
            endpoint: &endpoint,
            answers: None,
        };
        let drafts = self.compose(&towards, read.wanted(Class::Reply)).await?;
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        outbox::enqueue(&mut tx, &self.sealer, tenant, None, &drafts, now).await?;
        let Some(moved) = read.moved() else {
            return Ok(());
        };
        // A turn that has begun meanwhile reads the same rows; theirs or ours, they go out once.
        if !moved.store(&mut tx, sandbox).await? {
            return Ok(());
        }
        tx.commit()
            .await
            .context("keep what an agent said unasked")?;
        metrics::counter!("clawkaka_messages_late_total").increment(drafts.len() as u64);
        self.wakes.outbox.notify_one();
        Ok(())
    }
}
