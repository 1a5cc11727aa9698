//! What was said is cleared after a week, repeats are known for two, and nothing open is touched.

use chrono::TimeDelta;
use sqlx::PgPool;

use super::support::{noon, sealer, seed_line, text, webhook};
use crate::{
    clock::Clock,
    id::{InboxId, LineId, OutboxId, SandboxId, TenantId, TurnId},
    inbox,
    lease::Lease,
    lifecycle::Shutdown,
    sandbox,
    whatsapp::provider::Provider,
    worker::sweep::Sweeping,
};

pub struct Story {
    pub db: PgPool,
    pub clock: Clock,
    pub line: LineId,
    sweeping: Sweeping,
}

impl Story {
    pub async fn new(db: PgPool) -> Self {
        let line = seed_line(&db).await;
        let clock = Clock::manual(noon());
        let sweeping = worker(&db, &clock).await;
        Self {
            db,
            clock,
            line,
            sweeping,
        }
    }

    pub async fn days_later(&self, days: i64) {
        self.clock.advance(TimeDelta::days(days));
        self.sweeping.pass().await.unwrap();
    }

    pub async fn person(&self, status: &str) -> TenantId {
        let id = TenantId::new();
        sqlx::query!(
            "insert into tenant (id, line_id, status, key_id, created_at) values ($1, $2, $3, 1, $4)",
            id as TenantId,
            self.line as LineId,
            status,
            self.clock.now(),
        )
        .execute(&self.db)
        .await
        .unwrap();
        id
    }

    pub async fn sandbox(&self, person: TenantId) -> SandboxId {
        let mut db = self.db.acquire().await.unwrap();
        sandbox::row::assign(&mut db, person, self.clock.now())
            .await
            .unwrap()
    }

    /// Meta posts a message; how many updates were new.
    pub async fn receives(&self, id: &str) -> u64 {
        let updates = Provider::Meta.cut(None, &webhook(&[text(id, "Hello")]));
        let sealed = updates
            .into_iter()
            .map(|update| inbox::Sealed::new(&sealer(), Provider::Meta, update));
        let sealed: Vec<_> = sealed.collect();
        let all: Vec<_> = sealed.iter().collect();
        inbox::accept(&self.db, &all, self.clock.now())
            .await
            .unwrap()
    }

    /// The message was for this person and is done with.
    pub async fn done(&self, id: &str, person: TenantId, turn: Option<TurnId>) {
        sqlx::query!(
            "update inbox set tenant_id = $2, turn_id = $3, done_at = $4, outcome = 'answered'
             where provider_id = $1",
            id,
            person as TenantId,
            turn as Option<TurnId>,
            self.clock.now(),
        )
        .execute(&self.db)
        .await
        .unwrap();
    }

    pub async fn turn(&self, person: TenantId, sandbox: SandboxId, state: &str) -> TurnId {
        let (id, now) = (TurnId::new(), self.clock.now());
        let done_at = (state != "active").then_some(now);
        sqlx::query!(
            "insert into turn (id, tenant_id, sandbox_id, trigger, state, created_at, deadline_at, done_at)
             values ($1, $2, $3, 'message', $4, $5, $5, $6)",
            id as TurnId,
            person as TenantId,
            sandbox as SandboxId,
            state,
            now,
            done_at,
        )
        .execute(&self.db)
        .await
        .unwrap();
        id
    }

    pub async fn message(&self, person: TenantId, turn: Option<TurnId>, key: &str, state: &str) {
        let now = self.clock.now();
        let done_at = ["accepted", "failed"].contains(&state).then_some(now);
        sqlx::query!(
            "insert into outbox (id, tenant_id, turn_id, key, class, type, body, key_id, state, run_after,
                                 created_at, sent_at, done_at, expires_at)
             values ($1, $2, $3, $4, 'reply', 'text', 'sealed', 1, $5, $6, $6, $6, $7, $6)",
            OutboxId::new() as OutboxId,
            person as TenantId,
            turn as Option<TurnId>,
            key,
            state,
            now,
            done_at,
        )
        .execute(&self.db)
        .await
        .unwrap();
    }

    /// Rows with a body, and rows, of inbox and outbox.
    pub async fn left(&self) -> [(i64, i64); 2] {
        let left = sqlx::query!(
            r#"select (select count(body) from inbox) as "in_bodies!", (select count(*) from inbox) as "in_rows!",
                      (select count(body) from outbox) as "out_bodies!", (select count(*) from outbox) as "out_rows!""#
        )
        .fetch_one(&self.db)
        .await
        .unwrap();
        [
            (left.in_bodies, left.in_rows),
            (left.out_bodies, left.out_rows),
        ]
    }

    pub async fn turns(&self) -> Vec<TurnId> {
        sqlx::query_scalar!(r#"select id as "id: TurnId" from turn order by id"#)
            .fetch_all(&self.db)
            .await
            .unwrap()
    }
}

/// A worker that sweeps, with bodies kept for a week.
async fn worker(db: &PgPool, clock: &Clock) -> Sweeping {
    let host = InboxId::new().to_string();
    let lease = Lease::acquire(db, &host, &Shutdown::default()).await;
    Sweeping {
        db: db.clone(),
        clock: clock.clone(),
        lease: lease.unwrap().0,
        retention: TimeDelta::days(7),
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn bodies_are_gone_a_week_after_they_were_done_with_and_not_before(db: PgPool) {
    let story = Story::new(db).await;
    let anna = story.person("active").await;
    let sandbox = story.sandbox(anna).await;
    story.receives("wamid.1").await;
    story.clock.advance(TimeDelta::days(3));
    let turn = story.turn(anna, sandbox, "done").await;
    story.done("wamid.1", anna, Some(turn)).await;
    story.message(anna, Some(turn), "1/a/0", "accepted").await;

    story.days_later(7).await;
    assert_eq!(
        story.left().await,
        [(1, 1), (1, 1)],
        "ten days after it came"
    );
    story.clock.advance(TimeDelta::seconds(1));
    story.sweeping.pass().await.unwrap();
    assert_eq!(
        story.left().await,
        [(0, 1), (0, 1)],
        "a week after it was done"
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_repeat_two_weeks_later_is_a_repeat_and_the_row_goes_after_that(db: PgPool) {
    let story = Story::new(db).await;
    let anna = story.person("active").await;
    assert_eq!(story.receives("wamid.1").await, 1);
    story.done("wamid.1", anna, None).await;

    story.days_later(14).await;
    assert_eq!(
        story.receives("wamid.1").await,
        0,
        "Meta posts it once more"
    );
    assert_eq!(story.left().await[0], (0, 1));

    story.days_later(2).await;
    assert_eq!(story.left().await[0], (0, 0));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_is_open_stays_however_old_it_is_also_of_an_erased_person(db: PgPool) {
    let story = Story::new(db).await;
    story.receives("unrouted").await;
    for (name, status) in [("anna", "active"), ("ben", "erased")] {
        let person = story.person(status).await;
        let sandbox = story.sandbox(person).await;
        let turn = story.turn(person, sandbox, "active").await;
        story.receives(name).await;
        sqlx::query!(
            "update inbox set tenant_id = $2, turn_id = $3 where provider_id = $1",
            name,
            person as TenantId,
            turn as TurnId,
        )
        .execute(&story.db)
        .await
        .unwrap();
        for state in ["queued", "sending", "unknown", "held"] {
            story.message(person, Some(turn), state, state).await;
        }
    }
    story.days_later(400).await;
    assert_eq!(story.left().await, [(3, 3), (8, 8)]);
    assert_eq!(story.turns().await.len(), 2);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_an_erased_person_said_goes_at_once_and_every_trace_of_it_after_the_repeats(
    db: PgPool,
) {
    let story = Story::new(db).await;
    let ben = story.person("active").await;
    let sandbox = story.sandbox(ben).await;
    let turn = story.turn(ben, sandbox, "done").await;
    story.receives("wamid.1").await;
    story.done("wamid.1", ben, Some(turn)).await;
    for key in ["first-contact", "1/a/0"] {
        story.message(ben, Some(turn), key, "accepted").await;
    }
    sqlx::query!(
        "update tenant set status = 'erased' where id = $1",
        ben as TenantId
    )
    .execute(&story.db)
    .await
    .unwrap();

    story.days_later(0).await;
    assert_eq!(story.left().await, [(0, 1), (0, 2)]);
    assert_eq!(story.receives("wamid.1").await, 0, "a repeat");
    story.days_later(16).await;
    assert_eq!(story.left().await, [(0, 0), (0, 0)]);
    assert!(story.turns().await.is_empty());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_next_worker_goes_on_where_one_died_between_two_batches(db: PgPool) {
    let story = Story::new(db).await;
    let anna = story.person("active").await;
    for n in 0..30 {
        let id = format!("wamid.{n}");
        story.receives(&id).await;
        story.done(&id, anna, None).await;
    }
    story.clock.advance(TimeDelta::days(20));
    let now = story.clock.now();
    let cleared = inbox::forget::clear_bodies(&story.db, now - TimeDelta::days(7), 10).await;
    assert_eq!(
        cleared.unwrap(),
        10,
        "a batch, and then the process is gone"
    );
    let deleted = inbox::forget::forget(&story.db, now - TimeDelta::days(15), 10).await;
    assert_eq!(deleted.unwrap(), 10);

    let next = worker(&story.db, &story.clock).await;
    next.pass().await.unwrap();
    assert_eq!(story.left().await[0], (0, 0));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_worker_without_the_lease_sweeps_nothing(db: PgPool) {
    let story = Story::new(db).await;
    let anna = story.person("active").await;
    story.receives("wamid.1").await;
    story.done("wamid.1", anna, None).await;
    story.sweeping.lease.release(&story.db).await;
    story.days_later(20).await;
    assert_eq!(story.left().await[0], (1, 1));
}
