//! Stories of the reconcile loop and of the table, over an engine in memory and a real Postgres.

mod asleep;
pub mod engine;
mod gateway;
mod greed;
mod image;
mod stall;
mod stories;
mod table;

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::FutureExt as _;
use sqlx::PgPool;
use uuid::Uuid;

use super::{
    Parts, Sandboxes,
    layout::Layout,
    plan::Sleep,
    row::{
        self,
        order::{self, Order},
    },
    spec::Shape,
};
use crate::{
    clock::Clock,
    id::{SandboxId, TenantId},
    seal::MasterKey,
};
use engine::Engine;
use gateway::Scripted;

type Open = Arc<Mutex<HashMap<SandboxId, DateTime<Utc>>>>;

/// A tenant of `fixtures/tenants.sql`; from 10 to 29.
pub fn tenant(n: u128) -> TenantId {
    TenantId(Uuid::parse_str(&format!("00000000-0000-0000-0000-0000000000{n}")).unwrap())
}

/// A worker's sandboxes, with all its surroundings in a test's hand.
pub struct World {
    pub pool: PgPool,
    pub engine: Arc<Engine>,
    pub gateway: Arc<Scripted>,
    pub clock: Clock,
    pub sandboxes: Sandboxes,
    open: Open,
    lease: Arc<AtomicBool>,
    places: (usize, usize),
}

/// More than any story needs, and no pool.
const ROOMY: (usize, usize) = (100, 0);

impl World {
    pub fn new(pool: PgPool) -> Self {
        Self::with_places(pool, ROOMY.0, ROOMY.1)
    }

    pub fn with_places(pool: PgPool, capacity: usize, pool_size: usize) -> Self {
        let clock = Clock::manual(DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let places = (capacity, pool_size);
        Self::with(pool, clock, Arc::default(), Arc::default(), places)
    }

    fn with(
        pool: PgPool,
        clock: Clock,
        engine: Arc<Engine>,
        open: Open,
        places: (usize, usize),
    ) -> Self {
        let lease = Arc::new(AtomicBool::new(true));
        let (wanted, held) = (open.clone(), lease.clone());
        let gateway = Arc::new(Scripted::at(engine.stall.clone()));
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
            sleep: Sleep {
                pause_after: TimeDelta::minutes(5),
                stop_after: TimeDelta::minutes(30),
            },
            capacity: places.0,
            pool_size: places.1,
            gateway: gateway.clone(),
            open_turns: Arc::new(move || {
                let ids = wanted.lock().unwrap().clone();
                Box::pin(async move { Ok(ids) })
            }),
            lease_held: Arc::new(move || held.load(Ordering::Relaxed)),
        });
        Self {
            pool,
            engine,
            gateway,
            clock,
            sandboxes,
            open,
            lease,
            places,
        }
    }

    /// Another process takes over: nothing is known but what engine and table say.
    pub fn restart(self) -> Self {
        let (capacity, pool_size) = self.places;
        self.restart_with_places(capacity, pool_size)
    }

    pub fn restart_with_places(self, capacity: usize, pool_size: usize) -> Self {
        let places = (capacity, pool_size);
        Self::with(self.pool, self.clock, self.engine, self.open, places)
    }

    pub async fn assign(&self, n: u128) -> SandboxId {
        let mut conn = self.pool.acquire().await.unwrap();
        row::assign(&mut conn, tenant(n), self.clock.now())
            .await
            .unwrap()
    }

    /// A new one, whoever waits in the pool.
    pub async fn assign_to_new(&self, n: u128) -> SandboxId {
        let mut conn = self.pool.acquire().await.unwrap();
        row::make(&mut conn, Some(tenant(n)), self.clock.now())
            .await
            .unwrap()
    }

    /// A sandbox somebody has a turn open with.
    pub async fn wanted(&self, n: u128) -> SandboxId {
        let id = self.assign(n).await;
        self.opens(id);
        id
    }

    /// A turn opens.
    pub fn opens(&self, id: SandboxId) {
        self.open.lock().unwrap().insert(id, self.clock.now());
    }

    /// A turn opens while the sandbox comes to rest.
    pub fn opens_while_resting(&self, id: SandboxId) {
        let (open, now) = (self.open.clone(), self.clock.now());
        self.gateway
            .meanwhile(move || _ = open.lock().unwrap().insert(id, now));
    }

    pub fn turn_ends(&self, id: SandboxId) {
        self.open.lock().unwrap().remove(&id);
    }

    /// The person's turn ends, and counts as activity.
    pub async fn answered(&self, id: SandboxId) {
        row::touch(&self.pool, id, self.clock.now()).await.unwrap();
        self.turn_ends(id);
    }

    /// An operator's order, as `clawkaka sandbox` leaves it.
    pub async fn order(&self, id: SandboxId, order: Order) {
        let now = self.clock.now();
        order::give(&self.pool, id, order, now).await.unwrap();
    }

    pub async fn in_pool(&self) -> Vec<SandboxId> {
        let members = "select id from sandbox where tenant_id is null and intent = 'auto'";
        sqlx::query_scalar(members)
            .fetch_all(&self.pool)
            .await
            .unwrap()
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

    /// Whoever asks for it gets its address at once.
    pub fn is_within_reach(&self, id: SandboxId) -> bool {
        self.sandboxes
            .endpoint(id)
            .now_or_never()
            .is_some_and(|found| found.is_ok())
    }

    /// Passes until there is nothing left to do.
    pub async fn settle(&self) {
        let mut quiet = 0;
        for _ in 0..40 {
            quiet = match self.pass().await {
                0 => quiet + 1,
                _ => 0,
            };
            // A pass may make a row, which the next one sees.
            if quiet == 2 {
                return;
            }
        }
        panic!("it never settles: {:?}", self.engine.log());
    }
}
