//! Table `worker`: the lease that fences every claim.
//!
//! One process per Docker host works at a time. It renews its lease every [`RENEW_EVERY`] and holds a
//! session of Postgres open beside it. When it dies, Postgres sees its session end, and its claims
//! are free at once; when its machine is cut off, they are free [`LEASE`] later. Time is Postgres'
//! own, so that two machines agree. A process that loses its session starts nothing until the lease
//! is renewed with a new one, and stops if somebody else has it by then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use chrono::{DateTime, Utc};
use sqlx::{PgExecutor, PgPool, postgres::PgListener};
use tokio::time::Instant;

use crate::{id::WorkerId, lifecycle::Shutdown};

/// How long a worker keeps its claims that is cut off, or whose Postgres is.
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
    /// Waits until no other process works for this host, then takes its place. [`Self::keep`] wants
    /// the session.
    pub async fn acquire(
        db: &PgPool,
        host: &str,
        shutdown: &Shutdown,
    ) -> anyhow::Result<(Self, Session)> {
        let lease = Self {
            id: WorkerId::new(),
            host: host.to_owned(),
            held: Arc::new(true.into()),
        };
        let session = Session::open(db).await?;
        let mut said = false;
        while !take(db, &lease, &session)
            .await
            .context("take the worker's lease")?
        {
            if !said {
                tracing::info!(host, "another worker holds the lease; standing by");
                said = true;
            }
            tokio::select! {
                () = tokio::time::sleep(STAND_BY_EVERY) => {}
                () = shutdown.stopping() => anyhow::bail!("stopped while standing by"),
            }
        }
        Ok((lease, session))
    }

    /// False once the lease is lost: nothing may be started any more.
    pub fn is_held(&self) -> bool {
        self.held.load(Ordering::Acquire)
    }

    /// Renews until another process has it; returning stops this one. A stop does not end it: what
    /// is under way then needs the lease to come to its end.
    pub async fn keep(self, db: PgPool, mut session: Session) {
        let (mut renewed_at, mut is_noted) = (Instant::now(), true);
        loop {
            tokio::select! {
                () = tokio::time::sleep(RENEW_EVERY) => {}
                () = session.ended() => {
                    // Whoever stands by may see it as early as we do.
                    self.held.store(false, Ordering::Release);
                    tracing::warn!("the session that holds the worker's lease has ended");
                    (session, is_noted) = (Session::open_again(&db).await, false);
                }
            }
            match tokio::time::timeout(LEASE, renew(&db, &self, &session)).await {
                Ok(Ok(true)) => (renewed_at, is_noted) = (Instant::now(), true),
                Ok(Ok(false)) => {
                    tracing::error!(worker.id = %self.id, "lost the worker's lease");
                    break;
                }
                Ok(Err(error)) => tracing::warn!("failed to renew the lease: {error:#}"),
                Err(_) => tracing::warn!("failed to renew the lease: no answer from Postgres"),
            }
            // While Postgres is away nobody can take over either: keep trying for as long as it takes,
            // but start nothing new once the lease may have run out.
            let held = is_noted && renewed_at.elapsed() < LEASE;
            self.held.store(held, Ordering::Release);
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

/// A connection to Postgres that is open for as long as this process lives.
pub struct Session {
    connection: PgListener,
    pid: i32,
    started_at: DateTime<Utc>,
}

impl Session {
    async fn open(db: &PgPool) -> anyhow::Result<Self> {
        let open = async {
            // It hears nothing but its own end; another connection would be another session.
            let mut connection = PgListener::connect_with(db).await?;
            connection.eager_reconnect(false);
            let own = sqlx::query!(
                r#"select pid as "pid!", backend_start as "started_at!" from pg_stat_activity
                   where pid = pg_backend_pid()"#
            )
            .fetch_one(&mut connection)
            .await?;
            Ok::<_, sqlx::Error>(Self {
                connection,
                pid: own.pid,
                started_at: own.started_at,
            })
        };
        open.await.context("open a session for the worker's lease")
    }

    /// As soon as Postgres is there.
    async fn open_again(db: &PgPool) -> Self {
        loop {
            match Self::open(db).await {
                Ok(session) => return session,
                Err(error) => tracing::warn!("failed to {error:#}"),
            }
            tokio::time::sleep(STAND_BY_EVERY).await;
        }
    }

    /// Resolves when Postgres, or the way to it, is gone.
    async fn ended(&mut self) {
        while let Ok(Some(_)) = self.connection.try_recv().await {}
    }
}

async fn take(db: impl PgExecutor<'_>, lease: &Lease, session: &Session) -> anyhow::Result<bool> {
    let taken = sqlx::query!(
        "insert into worker (host, id, lease_until, session_pid, session_started_at)
         values ($1, $2, now() + $3 * interval '1 s', $4, $5)
         on conflict (host) do update
         set id = excluded.id, lease_until = excluded.lease_until,
             session_pid = excluded.session_pid, session_started_at = excluded.session_started_at
         where worker.lease_until < now()
            or worker.session_pid is not null and not exists (
                select from pg_stat_activity session
                where session.pid = worker.session_pid
                  and session.backend_start = worker.session_started_at)",
        lease.host,
        lease.id as WorkerId,
        LEASE.as_secs_f64(),
        session.pid,
        session.started_at,
    )
    .execute(db)
    .await?;
    Ok(taken.rows_affected() == 1)
}

async fn renew(db: impl PgExecutor<'_>, lease: &Lease, session: &Session) -> anyhow::Result<bool> {
    let renewed = sqlx::query!(
        "update worker set lease_until = now() + $2 * interval '1 s',
                           session_pid = $3, session_started_at = $4
         where id = $1",
        lease.id as WorkerId,
        LEASE.as_secs_f64(),
        session.pid,
        session.started_at,
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
        let session = Session::open(&db).await.unwrap();
        assert!(take(&db, &first, &session).await.unwrap());
        assert!(!take(&db, &second, &session).await.unwrap());
        assert!(take(&db, &elsewhere, &session).await.unwrap());

        sqlx::query!("update worker set lease_until = now() - interval '1 s' where host = 'a'")
            .execute(&db)
            .await
            .unwrap();
        assert!(take(&db, &second, &session).await.unwrap());
        assert!(
            !renew(&db, &first, &session).await.unwrap(),
            "the first one must notice"
        );

        second.release(&db).await;
        assert!(take(&db, &first, &session).await.unwrap());
    }

    #[sqlx::test(migrator = "crate::MIGRATOR")]
    async fn who_dies_is_followed_at_once(db: PgPool) {
        let (dead, next, third) = (lease("a"), lease("a"), lease("a"));
        let session = Session::open(&db).await.unwrap();
        assert!(take(&db, &dead, &session).await.unwrap());
        // As the kernel does it for a process that was killed.
        drop(session);
        let session = Session::open(&db).await.unwrap();
        while !take(&db, &next, &session).await.unwrap() {
            tokio::task::yield_now().await;
        }
        assert!(!take(&db, &third, &session).await.unwrap());
        assert!(!renew(&db, &dead, &session).await.unwrap());
    }

    #[sqlx::test(migrator = "crate::MIGRATOR")]
    async fn who_only_loses_the_session_starts_nothing_until_it_is_noted_again(db: PgPool) {
        let shutdown = Shutdown::default();
        let (lease, session) = Lease::acquire(&db, "a", &shutdown).await.unwrap();
        let pid = session.pid;
        let keeping = lease.clone().keep(db.clone(), session);
        let watching = async {
            // Nothing is renewed while the row is locked.
            let mut locked = db.begin().await.unwrap();
            sqlx::query!("select id from worker for update")
                .fetch_one(&mut *locked)
                .await
                .unwrap();
            sqlx::query!("select pg_terminate_backend($1)", pid)
                .fetch_one(&db)
                .await
                .unwrap();
            while lease.is_held() {
                tokio::task::yield_now().await;
            }
            locked.commit().await.unwrap();
            while !lease.is_held() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = keeping => panic!("nobody took it away"),
            () = watching => {}
        }
        let session = Session::open(&db).await.unwrap();
        let other = self::lease("a");
        assert!(!take(&db, &other, &session).await.unwrap());
    }
}
