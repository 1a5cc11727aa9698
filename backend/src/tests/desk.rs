//! What receives and routes, without anybody who answers.

use chrono::TimeDelta;
use serde_json::Value;
use sqlx::PgPool;

use super::support::{Site, TIMING, master, noon, opener, policy, sealer, seed_line, webhook};
use crate::{
    clock::Clock,
    config::Limits,
    tenant::{address::AddressBook, invite::Codes},
    wake::Wakes,
    worker::{Progress, route::Routing},
};

pub struct Desk {
    pub db: PgPool,
    pub site: Site,
    pub routing: Routing,
}

impl Desk {
    pub async fn new(db: &PgPool, limits: Limits) -> Self {
        seed_line(db).await;
        let clock = Clock::manual(noon());
        let routing = Routing {
            db: db.clone(),
            clock: clock.clone(),
            opener: opener(),
            sealer: sealer(),
            book: AddressBook::new(&master(), sealer()),
            codes: Codes::new(&master()),
            policy: policy(),
            limits,
            timing: TIMING,
            wakes: Wakes::default(),
        };
        Self {
            db: db.clone(),
            site: Site::at(db, clock).await,
            routing,
        }
    }

    /// A webhook arrives, everything in the inbox is routed, and a moment passes.
    pub async fn receive(&self, messages: &[Value]) {
        assert_eq!(self.site.receive(webhook(messages)).await, 200);
        self.route().await;
    }

    pub async fn route(&self) {
        while self.routing.step().await.unwrap() == Progress::Worked {}
        self.routing.clock.advance(TimeDelta::seconds(1));
    }

    /// What we ourselves said, in order.
    pub async fn said(&self) -> Vec<String> {
        let rows = sqlx::query_scalar!(r#"select body as "body!" from outbox order by seq"#)
            .fetch_all(&self.db)
            .await
            .unwrap();
        rows.into_iter()
            .map(|body| String::from_utf8(opener().open(&body).unwrap()).unwrap())
            .collect()
    }

    /// How many rows ended how.
    pub async fn outcomes(&self) -> Vec<(String, i64)> {
        sqlx::query!(
            r#"select coalesce(outcome, 'waiting') as "outcome!", count(*) as "count!"
             from inbox group by 1 order by 1"#
        )
        .fetch_all(&self.db)
        .await
        .unwrap()
        .into_iter()
        .map(|row| (row.outcome, row.count))
        .collect()
    }

    pub async fn tenants(&self, status: &str) -> i64 {
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from tenant where status = $1"#,
            status
        )
        .fetch_one(&self.db)
        .await
        .unwrap()
    }
}
