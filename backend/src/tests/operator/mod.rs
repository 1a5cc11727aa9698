//! The operator's commands, as typed, on the real tables.

mod admission;
mod block;
mod engine;
mod freeze;
mod group;
mod line;
mod nuke;
mod polled;
mod sandbox;
mod send;
mod template;
mod tenant;
mod trace;
mod upgrade;
mod webhook;

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Parser;
use serde_json::Value;
use sqlx::{ConnectOptions, PgPool};

use super::support::{
    LIMITS, Site, TIMING, master, noon, opener, policy, sealer, seed_line, webhook,
};
use crate::{
    clock::Clock,
    id::{LineId, OutboxId, TenantId, TurnId, WorkerId},
    operator::{self, answer::Answer},
    outbox::{self, Class, Draft, claim},
    sandbox as sandboxes,
    tenant::{address::AddressBook, invite::Codes},
    turn::{self, Trigger, Turn},
    wake::Wakes,
    whatsapp::outgoing::Outgoing,
    worker::{Progress, route::Routing},
};

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: operator::Command,
}

/// What an operator types, at whatever database.
async fn types(db: &PgPool, words: &[&str], now: DateTime<Utc>) -> Answer {
    let url = db.connect_options().to_url_lossy();
    let words = ["clawkaka"].into_iter().chain(words.iter().copied());
    let words = words.map(str::to_owned).chain([
        format!("--database-url={url}"),
        format!("--master-key={}", STANDARD.encode([7; 32])),
    ]);
    // The engine of these stories has no disks with walls.
    let walls = words.clone().any(|word| word.contains("docker-host"));
    let words = words.chain(walls.then(|| "--sandbox-disk=unlimited".to_owned()));
    let command = Cli::try_parse_from(words).unwrap().command;
    operator::answer(command, Vec::new(), now).await.unwrap()
}

/// A product without agents and without WhatsApp: webhooks come in, the rest is done by hand.
struct Desk {
    db: PgPool,
    site: Site,
    routing: Routing,
    line: LineId,
    worker: WorkerId,
}

impl Desk {
    async fn new(db: &PgPool) -> Self {
        let line = seed_line(db).await;
        let routing = Routing {
            db: db.clone(),
            clock: Clock::manual(noon()),
            opener: opener(),
            sealer: sealer(),
            book: AddressBook::new(&master(), sealer()),
            codes: Codes::new(&master()),
            policy: policy(),
            limits: LIMITS,
            timing: TIMING,
            wakes: Wakes::default(),
        };
        let site = Site::start(db).await;
        let desk = Self {
            db: db.clone(),
            site,
            routing,
            line,
            worker: WorkerId::new(),
        };
        desk.hire().await;
        desk
    }

    /// A worker holds its lease.
    async fn hire(&self) {
        sqlx::query!(
            "insert into worker (host, id, lease_until) values ('here', $1, now() + interval '1 h')",
            self.worker as WorkerId,
        )
        .execute(&self.db)
        .await
        .unwrap();
    }

    /// The worker has died and its lease is over.
    async fn fire(&self) {
        sqlx::query!("delete from worker")
            .execute(&self.db)
            .await
            .unwrap();
    }

    /// What an operator types, with this database.
    async fn types(&self, words: &[&str]) -> Answer {
        types(&self.db, words, self.routing.clock.now()).await
    }

    /// A webhook arrives.
    async fn receive(&self, message: Value) {
        assert_eq!(self.site.receive(webhook(&[message])).await, 200);
    }

    async fn route(&self) {
        while self.routing.step().await.unwrap() == Progress::Worked {}
    }

    fn after(&self, time: TimeDelta) {
        self.routing.clock.advance(time);
    }

    /// The only person there is.
    async fn tenant(&self) -> TenantId {
        sqlx::query_scalar!(r#"select id as "id: TenantId" from tenant"#)
            .fetch_one(&self.db)
            .await
            .unwrap()
    }

    /// Takes what waits for somebody into a turn, as `deliver` does.
    async fn open_turn(&self, tenant: TenantId) -> Turn {
        let now = self.routing.clock.now();
        let mut tx = self.db.begin().await.unwrap();
        let sandbox = sandboxes::row::assign(&mut tx, tenant, now).await.unwrap();
        let deadline = TimeDelta::minutes(10);
        let (worker, trigger) = (self.worker, Trigger::Message);
        let turn = turn::open(&mut *tx, worker, tenant, sandbox, trigger, deadline, now);
        let turn = turn.await.unwrap().unwrap();
        assert!(
            crate::inbox::take(&mut tx, tenant, turn.id, trigger, now)
                .await
                .unwrap()
        );
        tx.commit().await.unwrap();
        turn
    }

    async fn queue(&self, tenant: TenantId, turn: Option<TurnId>, text: &str) -> OutboxId {
        let draft = Draft {
            key: text.to_owned(),
            class: Class::Reply,
            message: Outgoing::text(text),
        };
        let mut db = self.db.acquire().await.unwrap();
        let now = self.routing.clock.now();
        outbox::enqueue(&mut db, &sealer(), tenant, turn, &[draft], now)
            .await
            .unwrap();
        sqlx::query_scalar!(
            r#"select id as "id: OutboxId" from outbox where tenant_id = $1 order by seq desc limit 1"#,
            tenant as TenantId,
        )
        .fetch_one(&self.db)
        .await
        .unwrap()
    }

    /// Whose message would go out next.
    async fn next_to_go(&self) -> Option<TenantId> {
        let now = self.routing.clock.now();
        let next = claim::next(&self.db, self.worker, &[self.line], now).await;
        next.unwrap().map(|next| next.post.tenant)
    }

    /// For whom a turn would be opened.
    async fn next_turns(&self) -> Vec<TenantId> {
        let now = self.routing.clock.now();
        crate::inbox::waiting_tenants(&self.db, &[], now, 10)
            .await
            .unwrap()
    }

    /// What is on record, in order.
    async fn events(&self) -> Vec<(String, String, Value)> {
        let rows =
            sqlx::query!(r#"select kind, actor, detail::text as "detail!" from event order by id"#)
                .fetch_all(&self.db)
                .await
                .unwrap();
        rows.into_iter()
            .map(|row| {
                (
                    row.kind,
                    row.actor,
                    serde_json::from_str(&row.detail).unwrap(),
                )
            })
            .collect()
    }
}
