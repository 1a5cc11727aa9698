//! Stories of polling, against a small Kapso that does as it is told.

mod follow;
mod kapso;
mod recovered;
mod trouble;

use chrono::TimeDelta;
use secrecy::SecretString;
use serde_json::json;

use super::*;
use crate::{
    lifecycle::Shutdown,
    line::template::Templates,
    tests::support::{noon, opener, sealer},
    whatsapp::client,
};
use kapso::{Kapso, inbound};

struct Story {
    db: PgPool,
    clock: Clock,
    kapso: Kapso,
    line: LineId,
    polling: Polling,
    pace: Pace,
}

impl Story {
    async fn new(db: PgPool, delivery: Delivery) -> Self {
        let kapso = Kapso::start().await;
        let id = line::seed(&db, Provider::Kapso, "2").await.unwrap();
        let clock = Clock::manual(noon());
        let line = Line {
            id,
            api: kapso.api.clone(),
            phone_number_id: "2".to_owned(),
            access_token: SecretString::from("key"),
            delivery,
            poll_every: Some(Duration::from_secs(5)),
            templates: Templates::default(),
        };
        let host = kapso.api.base_url.to_string();
        let lease = Lease::acquire(&db, &host, &Shutdown::default())
            .await
            .unwrap();
        let http = client::http_builder().no_proxy().build().unwrap();
        let polling = Polling {
            db: db.clone(),
            clock: clock.clone(),
            sealer: sealer(),
            lister: Lister {
                http,
                between_pages: Duration::ZERO,
            },
            lines: Lines::of([line]),
            lease: lease.0,
            wakes: Wakes::default(),
            receipts: Receipts::default(),
        };
        Self {
            db,
            clock,
            kapso,
            line: id,
            polling,
            pace: Pace::default(),
        }
    }

    async fn look(&mut self) -> Duration {
        let line = self.polling.lines.get(self.line).unwrap();
        self.polling.look(&line, &mut self.pace).await
    }

    /// Looks until nothing is left to do at once.
    async fn look_all(&mut self) {
        while self.look().await.is_zero() {}
    }

    fn pass(&self, seconds: i64) {
        self.clock.advance(TimeDelta::seconds(seconds));
    }

    /// What is stored of a kind, in the order in which it is routed.
    async fn stored(&self, kind: &str) -> Vec<String> {
        sqlx::query_scalar!(
            "select provider_id from inbox where kind = $1 order by id",
            kind
        )
        .fetch_all(&self.db)
        .await
        .unwrap()
    }

    async fn cursor(&self) -> Cursor {
        cursor::read(&self.db, self.line).await.unwrap().unwrap()
    }
}

fn later(seconds: i64) -> DateTime<Utc> {
    noon() + TimeDelta::seconds(seconds)
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("wamid.{number:03}")).collect()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_lay_there_before_the_first_look_is_nobodys_question(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    story.kapso.has(inbound("wamid.old", later(-3_600)));
    story.kapso.has(inbound("wamid.new", later(2)));
    story.pass(3);
    assert_eq!(story.look().await, Duration::from_secs(5));
    assert_eq!(story.stored("message").await, ["wamid.new"]);
    // Not even where Kapso does not look at times, nor in a wide look.
    *story.kapso.inner.timeless.lock().unwrap() = true;
    for _ in 0..3 {
        story.pass(1_000);
        story.look_all().await;
    }
    assert_eq!(story.stored("message").await, ["wamid.new"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_flood_of_one_second_over_pages_is_stored_once_in_its_order(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    story.look().await;
    for name in names(0..250) {
        story.kapso.has(inbound(&name, later(10)));
    }
    story.pass(12);
    for _ in 0..3 {
        story.look_all().await;
        assert_eq!(story.stored("message").await, names(0..250));
        story.pass(5);
    }
    // One that came in the same second, when that had been listed already.
    story.kapso.has(inbound("wamid.250", later(10)));
    story.look_all().await;
    assert_eq!(story.stored("message").await, names(0..251));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_order_is_that_of_time_whichever_way_kapso_lists(db: PgPool) {
    for ascending in [false, true] {
        let name = |number: i64| format!("wamid.{ascending}.{number:03}");
        let mut story = Story::new(db.clone(), Delivery::Poll).await;
        *story.kapso.inner.ascending.lock().unwrap() = ascending;
        story.pass(500);
        for number in 0..150 {
            // Three in a second.
            story
                .kapso
                .has(inbound(&name(number), later(450 + number / 3)));
        }
        story.look_all().await;
        let stored = story.stored("message").await;
        let ours: Vec<_> = stored
            .into_iter()
            .filter(|one| one.contains(&ascending.to_string()))
            .collect();
        assert_eq!(ours, (0..150).map(name).collect::<Vec<_>>());
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_worker_that_died_before_the_cursor_moved_stores_nothing_twice(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    story.look().await;
    let before = story.cursor().await;
    for name in names(0..120) {
        story.kapso.has(inbound(&name, later(10)));
    }
    story.pass(12);
    story.look().await;
    assert_eq!(story.cursor().await.seen, later(10));

    // As if only a part had been stored: those rows are gone, and nothing else is known.
    sqlx::query!("delete from inbox where provider_id > 'wamid.039'")
        .execute(&story.db)
        .await
        .unwrap();
    cursor::write(&story.db, story.line, before).await.unwrap();
    story.pace = Pace::default();
    story.look().await;
    assert_eq!(story.stored("message").await, names(0..120));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_whatsapp_could_not_hand_over_for_a_while_is_found_by_a_wide_look(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    story.look().await;
    story.kapso.has(inbound("wamid.1", later(1_000)));
    story.pass(1_000);
    story.look().await;
    // Older than the cursor by more than looks overlap.
    story.kapso.has(inbound("wamid.2", later(700)));
    story.pass(5);
    story.look().await;
    assert_eq!(story.stored("message").await, ["wamid.1"]);
    story.pass(600);
    story.look().await;
    assert_eq!(story.stored("message").await, ["wamid.1", "wamid.2"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn history_and_the_owners_own_words_are_not_stored(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    for (number, (origin, direction)) in [
        ("history_sync", "inbound"),
        ("business_app", "inbound"),
        ("business_app", "outbound"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut message = inbound(&format!("wamid.{number}"), later(1));
        message["kapso"]["origin"] = json!(origin);
        message["kapso"]["direction"] = json!(direction);
        story.kapso.has(message);
    }
    story.pass(2);
    story.look_all().await;
    assert!(story.stored("message").await.is_empty());
    assert!(story.stored("unknown").await.is_empty());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn beside_a_webhook_only_what_it_had_its_time_for_is_taken(db: PgPool) {
    let mut story = Story::new(db, Delivery::Webhook).await;
    story.look().await;
    for (name, at) in [
        ("wamid.brought", 10),
        ("wamid.lost", 11),
        ("wamid.late", 100),
    ] {
        story.kapso.has(inbound(name, later(at)));
    }
    // What the webhook brought of them.
    let body = json!({
        "message": inbound("wamid.brought", later(10)),
        "conversation": { "phone_number": "+15551234567" },
        "phone_number_id": "2",
    });
    let event = Some("whatsapp.message.received");
    let mut updates = Provider::Kapso.cut(event, body.to_string().as_bytes());
    let brought = Sealed::new(&sealer(), Provider::Kapso, updates.remove(0));
    inbox::accept(&story.db, &[&brought], later(10))
        .await
        .unwrap();

    story.pass(155);
    story.look().await;
    assert_eq!(story.stored("message").await, ["wamid.brought"]);
    story.pass(20);
    story.look().await;
    let stored = story.stored("message").await;
    assert_eq!(stored, ["wamid.brought", "wamid.lost"]);
    assert_eq!(story.cursor().await.seen, later(11));
    story.pass(80);
    story.look().await;
    let stored = story.stored("message").await;
    assert_eq!(stored, ["wamid.brought", "wamid.lost", "wamid.late"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_listed_message_is_read_as_the_webhooks_would_be(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    story.kapso.has(inbound("wamid.1", later(1)));
    story.pass(2);
    story.look().await;
    let row = sqlx::query!(r#"select line_id, body as "body!", provider_at from inbox"#)
        .fetch_one(&story.db)
        .await
        .unwrap();
    assert_eq!(row.line_id, Some(story.line.0));
    assert_eq!(row.provider_at, Some(later(1)));
    use crate::whatsapp::event::{Content, InboundEvent, parse};
    let InboundEvent::Message(message) = parse("message", &opener().open(&row.body).unwrap())
    else {
        panic!("no message");
    };
    assert_eq!(message.content, Content::Text("wamid.1".to_owned()));
    assert_eq!(message.name.as_deref(), Some("John"));
    assert_eq!(message.sender.phone.as_deref(), Some("15551234567"));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_became_of_our_messages_is_asked_for_and_stored_once(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    let ours = json!({
        "id": "wamid.ours", "timestamp": later(1).timestamp().to_string(), "type": "text",
        "to": "15551234567", "text": { "body": "Hello" },
        "kapso": { "direction": "outbound", "status": "delivered", "origin": "cloud_api", "statuses": [
            { "id": "wamid.ours", "status": "sent", "timestamp": "1790000001" },
            { "id": "wamid.ours", "status": "delivered", "timestamp": "1790000002" },
        ]},
    });
    let mut bare = ours.clone();
    bare["id"] = json!("wamid.bare");
    bare["kapso"] = json!({ "direction": "outbound", "status": "read" });
    let mut pending = ours.clone();
    pending["id"] = json!("wamid.pending");
    pending["kapso"] = json!({ "direction": "outbound", "status": "pending" });
    for message in [ours, bare, pending] {
        story.kapso.has(message);
    }
    for seconds in [2, 5, 20] {
        story.pass(seconds);
        story.look().await;
    }
    let stored = story.stored("status").await;
    let expected = ["wamid.ours:sent", "wamid.ours:delivered", "wamid.bare:read"];
    let mut sorted = stored.clone();
    sorted.sort();
    assert_eq!(
        sorted,
        ["wamid.bare:read", "wamid.ours:delivered", "wamid.ours:sent"]
    );
    assert!(
        expected
            .iter()
            .all(|key| stored.contains(&(*key).to_owned()))
    );
    let asked = story.polling.receipts.asked(story.line).unwrap();
    assert_eq!((asked.at, asked.to), (later(27), later(27)));
    assert_eq!(asked.from, later(27) - RECEIPTS_OF);
    // Not at each look: twice in these 27 seconds, and each time an empty page besides.
    assert_eq!(story.kapso.asked("outbound").len(), 4);
}
