//! From the inbox to a person, and who is let in.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::support::{
    LIMITS, Site, TIMING, master, noon, opener, sealer, seed_line, text, webhook,
};
use crate::{
    clock::Clock,
    config::Limits,
    copy,
    tenant::address::AddressBook,
    wake::Wakes,
    worker::{Progress, route::Routing},
};

struct Desk {
    db: PgPool,
    site: Site,
    routing: Routing,
}

impl Desk {
    async fn new(db: &PgPool, limits: Limits) -> Self {
        seed_line(db).await;
        let routing = Routing {
            db: db.clone(),
            clock: Clock::manual(noon()),
            opener: opener(),
            sealer: sealer(),
            book: AddressBook::new(&master(), sealer()),
            limits,
            timing: TIMING,
            wakes: Wakes::default(),
        };
        Self {
            db: db.clone(),
            site: Site::start(db).await,
            routing,
        }
    }

    /// A webhook arrives and everything in the inbox is routed.
    async fn receive(&self, messages: &[Value]) {
        assert_eq!(self.site.receive(webhook(messages)).await, 200);
        while self.routing.step().await.unwrap() == Progress::Worked {}
    }

    /// What we ourselves said, in order.
    async fn said(&self) -> Vec<String> {
        let rows = sqlx::query_scalar!(r#"select body as "body!" from outbox order by seq"#)
            .fetch_all(&self.db)
            .await
            .unwrap();
        rows.into_iter()
            .map(|body| String::from_utf8(opener().open(&body).unwrap()).unwrap())
            .collect()
    }

    /// How many rows ended how.
    async fn outcomes(&self) -> Vec<(String, i64)> {
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

    async fn tenants(&self, status: &str) -> i64 {
        sqlx::query_scalar!(
            r#"select count(*) as "count!" from tenant where status = $1"#,
            status
        )
        .fetch_one(&self.db)
        .await
        .unwrap()
    }
}

/// A message of stranger number `n`.
fn stranger(n: usize) -> Value {
    let mut message = text(&format!("wamid.{n}"), "hi");
    message["from"] = json!(format!("1650{n:07}"));
    message["from_user_id"] = json!(format!("US.{n}"));
    message
}

fn outcomes(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    expected
        .iter()
        .map(|(outcome, count)| ((*outcome).to_owned(), *count))
        .collect()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_strangers_text_waits_for_a_turn_of_their_own(db: PgPool) {
    let desk = Desk::new(&db, LIMITS).await;
    desk.receive(&[text("wamid.1", "hello")]).await;
    assert_eq!(desk.outcomes().await, outcomes(&[("waiting", 1)]));
    assert_eq!(desk.tenants("active").await, 1);
    assert!(desk.said().await.is_empty());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_flood_of_a_thousand_strangers_lets_in_exactly_the_burst_and_tells_the_rest_once(
    db: PgPool,
) {
    let desk = Desk::new(&db, LIMITS).await;
    let flood: Vec<_> = (0..1_000).map(stranger).collect();
    desk.receive(&flood).await;
    assert_eq!(desk.tenants("active").await, 5);
    assert_eq!(
        desk.outcomes().await,
        outcomes(&[("refused", 995), ("waiting", 5)])
    );
    assert_eq!(desk.said().await, vec![copy::NO_ROOM; 995]);

    let mut again = stranger(999);
    again["id"] = json!("wamid.again");
    desk.receive(&[again.clone()]).await;
    assert_eq!(
        desk.said().await.len(),
        995,
        "told once a day, then silence"
    );

    // Twenty an hour: one more place every three minutes.
    desk.routing.clock.advance(TimeDelta::minutes(3));
    again["id"] = json!("wamid.later");
    desk.receive(&[again]).await;
    assert_eq!(desk.tenants("active").await, 6);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_full_house_takes_nobody_else(db: PgPool) {
    let desk = Desk::new(
        &db,
        Limits {
            tenants: 2,
            ..LIMITS
        },
    )
    .await;
    desk.receive(&(0..4).map(stranger).collect::<Vec<_>>())
        .await;
    assert_eq!(desk.tenants("active").await, 2);
    assert_eq!(desk.tenants("refused").await, 2);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn who_writes_too_much_is_told_once_and_what_is_over_is_left_out(db: PgPool) {
    let desk = Desk::new(&db, LIMITS).await;
    let many: Vec<_> = (0..25).map(|n| text(&format!("wamid.{n}"), "hi")).collect();
    desk.receive(&many).await;
    assert_eq!(
        desk.outcomes().await,
        outcomes(&[("over_limit", 15), ("waiting", 10)])
    );
    assert_eq!(desk.said().await, [copy::SLOW_DOWN]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_is_no_text_gets_one_polite_sentence(db: PgPool) {
    let desk = Desk::new(&db, LIMITS).await;
    let mut image = text("wamid.1", "");
    image["type"] = json!("image");
    image["image"] = json!({ "id": "7", "mime_type": "image/jpeg" });
    desk.receive(&[image, text("wamid.2", "   "), text("wamid.3", "and text")])
        .await;
    let expected = [("empty", 1), ("unsupported", 1), ("waiting", 1)];
    assert_eq!(desk.outcomes().await, outcomes(&expected));
    let said = desk.said().await;
    assert_eq!(said.len(), 1);
    assert!(said[0].contains("only read text"), "{}", said[0]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn unknown_updates_and_other_numbers_are_finished_and_hold_nobody_up(db: PgPool) {
    let desk = Desk::new(&db, LIMITS).await;
    assert_eq!(desk.site.receive("rubbish").await, 200);
    let elsewhere = String::from_utf8(webhook(&[text("wamid.0", "hi")])).unwrap();
    desk.site
        .receive(elsewhere.replace(super::support::NUMBER, "999"))
        .await;
    desk.receive(&[text("wamid.1", "hello")]).await;
    let outcome = desk.outcomes().await;
    assert_eq!(outcome, outcomes(&[("unknown_line", 2), ("waiting", 1)]));
}
