//! How one station tells the next that there is work: at once inside a process, by Postgres
//! between processes, and by a tick when both fail.
//!
//! `web` notifies after its commit and at most every [`NOTIFY_EVERY`]: a `NOTIFY` inside the
//! insert's transaction costs five sixths of the throughput.

use std::{sync::Arc, time::Duration};

use anyhow::Context;
use sqlx::{PgConnection, PgPool, postgres::PgListener};
use tokio::sync::Notify;

use crate::lifecycle::Shutdown;

/// The most often that `web` notifies. Adds this much to a message's way at worst.
const NOTIFY_EVERY: Duration = Duration::from_millis(2);
/// Between attempts to listen again when Postgres is away.
const RELISTEN_EVERY: Duration = Duration::from_secs(1);
/// The channel on which `web` says that the inbox has something.
const CHANNEL: &str = "clawkaka_inbox";
/// The channel on which an operator's command says that the lines have changed.
const LINES: &str = "clawkaka_lines";

/// One bell per queue.
#[derive(Clone, Debug, Default)]
pub struct Wakes {
    /// Rings `worker/route`.
    pub inbox: Arc<Notify>,
    /// Rings `worker/deliver`.
    pub turns: Arc<Notify>,
    /// Rings `worker/send`.
    pub outbox: Arc<Notify>,
    /// Rings all turns: somebody has stopped theirs.
    pub stops: Arc<Notify>,
}

/// Passes rings of `web`'s own bell on to Postgres, many as one.
pub async fn tell_workers(db: PgPool, bell: Arc<Notify>, shutdown: Shutdown) {
    loop {
        tokio::select! {
            () = bell.notified() => {}
            () = shutdown.stopping() => return,
        }
        if let Err(error) = sqlx::query_scalar!("select pg_notify($1, '')", CHANNEL)
            .fetch_one(&db)
            .await
        {
            // The worker's tick finds the row all the same.
            tracing::warn!("failed to notify the workers: {error:#}");
        }
        tokio::time::sleep(NOTIFY_EVERY).await;
    }
}

/// Rings the worker's bell whenever a `web` process says so.
pub async fn listen_to_web(db: PgPool, wakes: Wakes, shutdown: Shutdown) {
    listen(db, CHANNEL, wakes.inbox, shutdown).await;
}

/// Rings when an operator has changed the lines.
pub async fn listen_to_operators(db: PgPool, bell: Arc<Notify>, shutdown: Shutdown) {
    listen(db, LINES, bell, shutdown).await;
}

/// Says, with the commit, that the lines have changed.
pub async fn tell_of_lines(conn: &mut PgConnection) -> anyhow::Result<()> {
    sqlx::query_scalar!("select pg_notify($1, '')", LINES)
        .fetch_one(conn)
        .await
        .context("tell that the lines have changed")?;
    Ok(())
}

/// Rings once at the beginning, too: something may have been said before we listened.
async fn listen(db: PgPool, channel: &'static str, bell: Arc<Notify>, shutdown: Shutdown) {
    loop {
        let listening = async {
            let mut listener = PgListener::connect_with(&db).await?;
            listener.listen(channel).await?;
            bell.notify_one();
            loop {
                listener.recv().await?;
                bell.notify_one();
            }
            #[expect(unreachable_code, reason = "gives the block its type")]
            Ok::<(), sqlx::Error>(())
        };
        tokio::select! {
            ended = listening => {
                if let Err(error) = ended {
                    tracing::warn!(channel, "failed to listen: {error:#}");
                }
            }
            () = shutdown.stopping() => return,
        }
        tokio::time::sleep(RELISTEN_EVERY).await;
    }
}
