//! Table `worker`: the lease that fences every claim.
//!
//! One process per Docker host works at a time. It renews its lease every [`RENEW_EVERY`]; when it
//! dies, its claims are free [`LEASE`] later. Time is Postgres' own, so that two machines agree.
//! A process that finds its lease gone stops: somebody else may be at work already.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use sqlx::{PgExecutor, PgPool};
use tokio::time::Instant;

use crate::{id::WorkerId, lifecycle::Shutdown};

/// How long a silent worker keeps its claims: a `kill -9` costs a person this much.
const LEASE: Duration = Duration::from_secs(10);
/// Four renewals may fail before the lease is lost.
const RENEW_EVERY: Duration = Duration::from_secs(2);
/// How often a process that stands by looks whether it may take over.
const STAND_BY_EVERY: Duration = Duration::from_millis(500);

/// Held while this process may work.
#[derive(Clone)]
pub struct Lease {
    pub id: WorkerId,
    host: String,
    held: Arc<AtomicBool>,
}

impl Lease {
    /// Waits until no other process works for this host, then takes its place.
    pub async fn acquire(db: &PgPool, host: &str, shutdown: &Shutdown) -> anyhow::Result<Self> {
        let lease = Self {
            id: WorkerId::new(),
            host: host.to_owned(),
            held: Arc::new(true.into()),
        };
        let mut said = false;
        while !take(db, &lease).await.context("take the worker's lease")? {
            if !said {
                tracing::info!(host, "another worker holds the lease; standing by");
                said = true;
            }
            tokio::select! {
                () = tokio::time::sleep(STAND_BY_EVERY) => {}
                () = shutdown.stopping() => anyhow::bail!("stopped while standing by"),
            }
        }
        Ok(lease)
    }

    /// False once the lease is lost: nothing may be started any more.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Renews until another process has it; returning stops this one. A stop does not end it: what
    /// is under way then needs the lease to come to its end.
    pub async fn keep(self, db: PgPool) {
        let mut renewed_at = Instant::now();
        loop {
            tokio::time::sleep(RENEW_EVERY).await;
            match tokio::time::timeout(LEASE, renew(&db, &self)).await {
                Ok(Ok(true)) => renewed_at = Instant::now(),
                Ok(Ok(false)) => {
                    tracing::error!(worker.id = %self.id, "lost the worker's lease");
                    break;
                }
                Ok(Err(error)) => tracing::warn!("failed to renew the lease: {error:#}"),
                Err(_) => tracing::warn!("failed to renew the lease: no answer from Postgres"),
            }
            // While Postgres is away nobody can take over either: keep trying for as long as it takes,
            // but start nothing new once the lease may have run out.
            self.held
                .store(renewed_at.elapsed() < LEASE, Ordering::Release);
        }
        self.held.store(false, Ordering::Release);
    }

    /// Gives the lease back at the end of a graceful stop, so that the next process need not wait.
    pub async fn release(&self, db: &PgPool) {
        self.held.store(false, Ordering::Release);
        let released = sqlx::query!("delete from worker where id = $1", self.id as WorkerId)
            .execute(db)
            .await;
        if let Err(error) = released {
            tracing::warn!("failed to release the lease: {error:#}");
        }
    }
}

async fn take(db: impl PgExecutor<'_>, lease: &Lease) -> anyhow::Result<bool> {
    let taken = sqlx::query!(
        "insert into worker (host, id, lease_until) values ($1, $2, now() + $3 * interval '1 s')
         on conflict (host) do update set id = excluded.id, lease_until = excluded.lease_until
         where worker.lease_until < now()",
        lease.host,
        lease.id as WorkerId,
        LEASE.as_secs_f64(),
    )
    .execute(db)
    .await?;
    Ok(taken.rows_affected() == 1)
}

async fn renew(db: impl PgExecutor<'_>, lease: &Lease) -> anyhow::Result<bool> {
    let renewed = sqlx::query!(
        "update worker set lease_until = now() + $2 * interval '1 s' where id = $1",
        lease.id as WorkerId,
        LEASE.as_secs_f64(),
    )
    .execute(db)
    .await?;
    Ok(renewed.rows_affected() == 1)
}

/// Every worker that holds a lease now.
pub async fn live(db: impl PgExecutor<'_>) -> anyhow::Result<Vec<WorkerId>> {
    let live =
        sqlx::query_scalar!(r#"select id as "id: WorkerId" from worker where lease_until > now()"#)
            .fetch_all(db)
            .await?;
    Ok(live)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(host: &str) -> Lease {
        Lease {
            id: WorkerId::new(),
            host: host.to_owned(),
            held: Arc::new(true.into()),
        }
    }

    #[sqlx::test(migrator = "crate::MIGRATOR")]
    async fn a_host_has_one_worker_until_its_lease_ends(db: PgPool) {
        let (first, second, elsewhere) = (lease("a"), lease("a"), lease("b"));
        assert!(take(&db, &first).await.unwrap());
        assert!(!take(&db, &second).await.unwrap());
        assert!(take(&db, &elsewhere).await.unwrap());

        sqlx::query!("update worker set lease_until = now() - interval '1 s' where host = 'a'")
            .execute(&db)
            .await
            .unwrap();
        assert!(take(&db, &second).await.unwrap());
        assert!(
            !renew(&db, &first).await.unwrap(),
            "the first one must notice"
        );

        second.release(&db).await;
        assert!(take(&db, &first).await.unwrap());
    }
}
