//! Stories of sending, against a small Graph API that does as it is told.

mod crash;
mod graph;
mod nudges;
mod order;
mod polled;
mod receipts;
mod refusal;
mod six;

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, TimeDelta, Utc};
use secrecy::SecretString;

use super::*;
use crate::{
    id::{OutboxId, TenantId},
    line::{Line, template::Templates},
    outbox::{self, Class, Draft, State},
    seal::{KEY_ID, MasterKey, Sealer},
    whatsapp::{
        event::{ApiError, Delivery, Sender, Status},
        provider::{Api, Provider},
    },
};
use graph::Graph;

const WAIT: Duration = Duration::from_secs(90);

struct Story {
    db: PgPool,
    clock: Clock,
    graph: Graph,
    line: LineId,
    sealer: Arc<Sealer>,
    sending: Sending,
}

fn master() -> MasterKey {
    MasterKey::parse(&SecretString::from(STANDARD.encode([7; 32]))).unwrap()
}

/// The one line there is, with an API of its own.
fn line_of(id: LineId, api: Api) -> Line {
    Line {
        id,
        api,
        phone_number_id: "1".to_owned(),
        access_token: SecretString::from("token"),
        delivery: line::Delivery::Webhook,
        poll_every: None,
        templates: Templates::default(),
    }
}

fn lines(id: LineId, api: Api) -> Lines {
    Lines::of([line_of(id, api)])
}

fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap()
}

impl Story {
    /// One line, one living worker, a Graph that takes everything.
    async fn new(db: PgPool) -> Self {
        let line = line::seed(&db, Provider::Meta, "1").await.unwrap();
        let (clock, graph) = (Clock::manual(noon()), Graph::start().await);
        let sealer = Arc::new(Sealer::new(master().sealing_key()));
        let worker = WorkerId::new();
        let sending = Sending {
            db: db.clone(),
            clock: clock.clone(),
            opener: Arc::new(Opener::new(&master())),
            sealer: sealer.clone(),
            client: Graph::client(),
            lines: lines(line, graph.api()),
            worker,
            receipts: Receipts::default(),
            unknown_wait: WAIT,
        };
        let story = Self {
            db,
            clock,
            graph,
            line,
            sealer,
            sending,
        };
        story.hire(worker).await;
        story
    }

    async fn hire(&self, worker: WorkerId) {
        sqlx::query!(
            "insert into worker (host, id, lease_until) values ($1, $2, now() + interval '1 h')
             on conflict (host) do update set id = excluded.id",
            "here",
            worker as WorkerId,
        )
        .execute(&self.db)
        .await
        .unwrap();
    }

    /// The process is gone; another one takes over its host.
    async fn restart(&mut self) {
        self.sending.worker = WorkerId::new();
        self.hire(self.sending.worker).await;
    }

    async fn person(&self) -> TenantId {
        let tenant = TenantId::new();
        sqlx::query!(
            "insert into tenant (id, line_id, status, key_id, created_at)
             values ($1, $2, 'active', $3, $4)",
            tenant as TenantId,
            self.line as LineId,
            KEY_ID,
            noon(),
        )
        .execute(&self.db)
        .await
        .unwrap();
        sqlx::query!(
            "insert into tenant_address (line_id, kind, value, address, key_id, tenant_id)
             values ($1, 'phone', $2, $3, $4, $5)",
            self.line as LineId,
            tenant.0.as_bytes(),
            self.sealer.seal(b"4915112345678"),
            KEY_ID,
            tenant as TenantId,
        )
        .execute(&self.db)
        .await
        .unwrap();
        tenant
    }

    async fn queue(&self, tenant: TenantId, texts: &[&str]) {
        let drafts: Vec<_> = texts
            .iter()
            .map(|text| Draft {
                key: (*text).to_owned(),
                class: Class::Reply,
                message: Outgoing::text(*text),
            })
            .collect();
        let mut db = self.db.acquire().await.unwrap();
        let now = self.clock.now();
        outbox::enqueue(&mut db, &self.sealer, tenant, None, &drafts, now)
            .await
            .unwrap();
    }

    /// Steps until there is nothing to do, then says what Graph got in all.
    async fn settle(&self) -> Vec<String> {
        while self.sending.step().await.unwrap() == Progress::Worked {}
        self.graph.texts()
    }

    async fn after(&self, seconds: i64) -> Vec<String> {
        self.clock.advance(TimeDelta::seconds(seconds));
        self.settle().await
    }

    /// A receipt for the POST number `post` (from 0). `code` makes it a failure.
    async fn receipt(&self, post: usize, state: Delivery, code: Option<i64>) {
        let post = self.graph.post(post);
        self.record(post.wamid, Some(post.callback), state, code)
            .await;
    }

    async fn record(
        &self,
        wamid: String,
        callback: Option<String>,
        state: Delivery,
        code: Option<i64>,
    ) {
        let error = code.map(|code| ApiError {
            code,
            title: None,
            details: None,
        });
        let (at, recipient) = (None, Sender::default());
        let status = Status {
            wamid,
            state,
            at,
            callback,
            error,
            recipient,
        };
        let mut tx = self.db.begin().await.unwrap();
        receipt::record(&mut tx, self.line, &status, self.clock.now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    /// Webhooks are taken without a gap from then until now, in seconds after noon.
    async fn web_since(&self, since: i64) {
        sqlx::query!(
            "insert into presence (role, since, until) values ('web', $1, $2)
             on conflict (role) do update set since = excluded.since, until = excluded.until",
            noon() + TimeDelta::seconds(since),
            // What is written is a promise of 6 s more.
            self.clock.now() + TimeDelta::seconds(6),
        )
        .execute(&self.db)
        .await
        .unwrap();
    }

    async fn states(&self) -> Vec<State> {
        sqlx::query_scalar!(r#"select state as "state: State" from outbox order by seq"#)
            .fetch_all(&self.db)
            .await
            .unwrap()
    }

    async fn last_post(&self) -> (OutboxId, i32) {
        let row = sqlx::query!(
            r#"select id as "id: OutboxId", attempt from outbox
               where attempt > 0 order by sent_at desc limit 1"#
        )
        .fetch_one(&self.db)
        .await
        .unwrap();
        (row.id, row.attempt)
    }
}
