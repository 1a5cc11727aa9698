//! Stories of the reconcile loop and of the table, over an engine in memory and a real Postgres.

pub mod engine;
mod stories;
mod table;

use std::{
    collections::HashSet,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta};
use sqlx::PgPool;
use uuid::Uuid;

use super::{Parts, Sandboxes, layout::Layout, row, spec::Shape};
use crate::{
    clock::Clock,
    id::{SandboxId, TenantId},
    seal::MasterKey,
};
use engine::Engine;

/// A tenant of `fixtures/tenants.sql`; from 10 to 29.
pub fn tenant(n: u128) -> TenantId {
    TenantId(Uuid::parse_str(&format!("00000000-0000-0000-0000-0000000000{n}")).unwrap())
}

/// A worker's sandboxes, with all its surroundings in a test's hand.
pub struct World {
    pub pool: PgPool,
    pub engine: Arc<Engine>,
    pub clock: Clock,
    pub sandboxes: Sandboxes,
    open: Arc<Mutex<HashSet<SandboxId>>>,
    lease: Arc<AtomicBool>,
}

impl World {
    pub fn new(pool: PgPool) -> Self {
        Self::with(pool, Arc::default(), Arc::default())
    }

    fn with(pool: PgPool, engine: Arc<Engine>, open: Arc<Mutex<HashSet<SandboxId>>>) -> Self {
        let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let lease = Arc::new(AtomicBool::new(true));
        let (wanted, held) = (open.clone(), lease.clone());
        let sandboxes = Sandboxes::new(Parts {
            pool: pool.clone(),
            runtime: engine.clone(),
            layout: Layout::new("test", Ipv4Addr::new(10, 99, 0, 0), 100_000, 3005),
            shape: Shape {
                memory: 1 << 30,
                cpus: 1.0,
                runtime: None,
            },
            image: "image".to_owned(),
            model: "model".to_owned(),
            master: Arc::new(MasterKey::parse(&STANDARD.encode([7; 32]).into()).unwrap()),
            clock: clock.clone(),
            boots: 2,
            open_turns: Arc::new(move || {
                let ids = wanted.lock().unwrap().clone();
                Box::pin(async move { Ok(ids) })
            }),
            lease_held: Arc::new(move || held.load(Ordering::Relaxed)),
        });
        Self {
            pool,
            engine,
            clock,
            sandboxes,
            open,
            lease,
        }
    }

    /// Another process takes over: nothing is known but what engine and table say.
    pub fn restart(self) -> Self {
        Self::with(self.pool, self.engine, self.open)
    }

    pub async fn assign(&self, n: u128) -> SandboxId {
        let mut conn = self.pool.acquire().await.unwrap();
        row::assign(&mut conn, tenant(n), self.clock.now())
            .await
            .unwrap()
    }

    /// A sandbox somebody has a turn open with.
    pub async fn wanted(&self, n: u128) -> SandboxId {
        let id = self.assign(n).await;
        self.open.lock().unwrap().insert(id);
        id
    }

    pub fn turn_ends(&self, id: SandboxId) {
        self.open.lock().unwrap().remove(&id);
    }

    pub fn lose_lease(&self) {
        self.lease.store(false, Ordering::Relaxed);
    }

    pub fn advance(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    /// One pass, and everything it asks for.
    pub async fn pass(&self) -> usize {
        let tasks = self.sandboxes.pass().await.unwrap();
        let count = tasks.len();
        for task in tasks {
            self.sandboxes.perform(task).await;
        }
        if let Some(begun) = self.sandboxes.probe_is_due() {
            self.sandboxes.probe(begun).await;
            return count + 1;
        }
        count
    }

    /// Passes until there is nothing left to do.
    pub async fn settle(&self) {
        for _ in 0..20 {
            if self.pass().await == 0 {
                return;
            }
        }
        panic!("it never settles: {:?}", self.engine.log());
    }
}
