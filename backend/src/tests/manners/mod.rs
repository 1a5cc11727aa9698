//! What a person can tell us beside what they tell their agent: stop, begin afresh, leave.

mod commands;
mod exporting;
mod leaving;
mod rows;

use chrono::TimeDelta;
use serde_json::Value;
use sqlx::PgPool;
use tokio::task::JoinSet;

use super::{
    desk::Desk,
    support::{LIMITS, opener, sealer, text, webhook},
};
use crate::{
    id::{LineId, TenantId, WorkerId},
    inbox,
    lease::Lease,
    lifecycle::Shutdown,
    outbox::{self, Class, Draft, claim},
    sandbox::row,
    turn::{self, End, Trigger, Turn},
    whatsapp::outgoing::Outgoing,
    worker::{Progress, leave::Leaving},
};

/// A desk beside which somebody works.
struct Office {
    desk: Desk,
    lease: Lease,
    /// Ends with the test: while it held its connection, the test's database could not be dropped.
    _keeping: JoinSet<()>,
    /// How many messages came: each has an id of its own.
    came: std::cell::Cell<usize>,
}

impl Office {
    async fn open(db: &PgPool) -> Self {
        let shutdown = Shutdown::default();
        let acquired = Lease::acquire(db, "here", &shutdown).await;
        let (lease, session) = acquired.unwrap();
        let mut keeping = JoinSet::new();
        keeping.spawn(lease.clone().keep(db.clone(), session));
        Self {
            desk: Desk::new(db, LIMITS).await,
            lease,
            _keeping: keeping,
            came: std::cell::Cell::default(),
        }
    }

    fn db(&self) -> &PgPool {
        &self.desk.db
    }

    fn worker(&self) -> WorkerId {
        self.lease.id
    }

    fn next(&self, words: &str) -> Value {
        self.came.set(self.came.get() + 1);
        text(&format!("wamid.{}", self.came.get()), words)
    }

    /// The person writes, and this is what comes of the message.
    async fn writes(&self, words: &str) -> String {
        let message = self.next(words);
        self.receives(&[&message]).await;
        sqlx::query_scalar!(
            r#"select coalesce(outcome, 'waiting') as "outcome!" from inbox where provider_id = $1"#,
            message["id"].as_str(),
        )
        .fetch_one(self.db())
        .await
        .unwrap()
    }

    /// At the desk's own time, which the web role does not share.
    async fn receives(&self, messages: &[&Value]) {
        let messages: Vec<_> = messages.iter().map(|one| (*one).clone()).collect();
        assert_eq!(self.desk.site.receive(webhook(&messages)).await, 200);
        sqlx::query!(
            "update inbox set received_at = $1 where tenant_id is null and done_at is null",
            self.desk.routing.clock.now(),
        )
        .execute(self.db())
        .await
        .unwrap();
        while self.desk.routing.step().await.unwrap() == Progress::Worked {}
    }

    /// When a turn would be opened, in milliseconds from now; `None` when nothing waits.
    async fn turn_comes_in(&self) -> Option<i64> {
        let now = self.desk.routing.clock.now();
        let due = inbox::waiting_tenants(self.db(), &[], now, 10).await;
        if !due.unwrap().is_empty() {
            return Some(0);
        }
        let next = inbox::debounce::next_due(self.db(), now).await.unwrap();
        next.map(|at| (at - now).num_milliseconds())
    }

    /// Who came last.
    async fn person(&self) -> TenantId {
        sqlx::query_scalar!(r#"select id as "id: TenantId" from tenant order by id desc limit 1"#)
            .fetch_one(self.db())
            .await
            .unwrap()
    }

    async fn status(&self) -> String {
        sqlx::query_scalar!("select status from tenant order by id desc limit 1")
            .fetch_one(self.db())
            .await
            .unwrap()
    }

    /// Takes what waits into a turn, as `deliver` does.
    async fn opens_a_turn(&self) -> Turn {
        let (person, now) = (self.person().await, self.desk.routing.clock.now());
        let mut tx = self.db().begin().await.unwrap();
        let sandbox = row::assign(&mut tx, person, now).await.unwrap();
        let (worker, trigger, limit) = (self.worker(), Trigger::Message, TimeDelta::minutes(10));
        let turn = turn::open(&mut *tx, worker, person, sandbox, trigger, limit, now);
        let turn = turn.await.unwrap().unwrap();
        let taken = inbox::take(&mut tx, person, turn.id, trigger, now).await;
        assert!(taken.unwrap(), "something waits");
        tx.commit().await.unwrap();
        turn
    }

    /// Whether the turn may end so.
    async fn ends(&self, turn: &Turn, end: End) -> bool {
        let (worker, now) = (self.worker(), self.desk.routing.clock.now());
        let mut conn = self.db().acquire().await.unwrap();
        turn::finish(&mut conn, worker, turn, end, now)
            .await
            .unwrap()
    }

    async fn is_to_stop(&self, turn: &Turn) -> bool {
        turn::stop::asked(self.db(), turn).await.unwrap().is_some()
    }

    /// The agent's words, on their way.
    async fn queues(&self, words: &str) {
        let (person, now) = (self.person().await, self.desk.routing.clock.now());
        let draft = Draft {
            key: words.to_owned(),
            class: Class::Proactive,
            message: Outgoing::text(words),
        };
        let mut conn = self.db().acquire().await.unwrap();
        let queued = outbox::enqueue(&mut conn, &sealer(), person, None, &[draft], now).await;
        assert_eq!(queued.unwrap(), 1);
    }

    /// Sends whatever may go out, and what that was.
    async fn sends(&self) -> Vec<String> {
        let line = sqlx::query_scalar!(r#"select id as "id: LineId" from line"#);
        let line = line.fetch_one(self.db()).await.unwrap();
        let mut sent = Vec::new();
        loop {
            let now = self.desk.routing.clock.now();
            let mut tx = self.db().begin().await.unwrap();
            let next = claim::next(&mut *tx, self.worker(), &[line], now).await;
            let Some(next) = next.unwrap() else {
                return sent;
            };
            claim::start(&mut *tx, self.worker(), next.post, now)
                .await
                .unwrap();
            sqlx::query!(
                "update outbox set state = 'accepted', done_at = $2, rank = 1 where id = $1",
                next.post.id.0,
                now,
            )
            .execute(&mut *tx)
            .await
            .unwrap();
            tx.commit().await.unwrap();
            sent.push(next.body.unwrap().open(&opener()).unwrap().told());
        }
    }

    /// A step of the station that erases those who leave.
    async fn lets_go(&self) {
        let leaving = Leaving {
            db: self.db().clone(),
            clock: self.desk.routing.clock.clone(),
            lease: self.lease.clone(),
        };
        leaving.step().await.unwrap();
    }

    fn later(&self, by: TimeDelta) {
        self.desk.routing.clock.advance(by);
    }
}
