//! A message is found at each of its stages, from its arrival to the blue ticks of its answer.

use chrono::TimeDelta;
use sqlx::PgPool;

use super::Desk;
use crate::{
    id::{OutboxId, TenantId},
    outbox::{Post, claim, overdue, verdict::Verdict},
    receipt::{self, Callback},
    tests::support::{NUMBER, text},
    turn::{self, End},
    whatsapp::event::{Delivery, Sender, Status},
};

/// As long as real ones, and beginning with a number as real ones do.
const WAMID: &str = "wamid.HBgLMTY1MDU1NTEyMzQVAgASGBQzQTdCRjJDMUY5";
const ANSWER: &str = "wamid.HBgLMTY1MDU1NTEyMzQVAgARGBI5QTNCMUQ3RTJG";

impl Desk {
    /// The stage, after looking that nothing private is told.
    async fn stage(&self, id: &str) -> String {
        let said = self.types(&["trace", id]).await;
        assert!(said.good, "{}", said.text);
        let all = format!("{}{}", said.text, said.json);
        for private in [WAMID, ANSWER, "hello", "an answer", "16505551234"] {
            assert!(!all.contains(private), "{private} is in: {all}");
        }
        assert!(said.json["do"].is_string(), "{all}");
        said.json["stage"].as_str().unwrap().to_owned()
    }

    async fn receipt(&self, answer: OutboxId, state: Delivery) {
        let status = Status {
            wamid: ANSWER.to_owned(),
            state,
            at: Some(self.routing.clock.now()),
            callback: Some(
                Callback {
                    id: answer,
                    attempt: 1,
                }
                .to_string(),
            ),
            error: None,
            recipient: Sender::default(),
        };
        let mut db = self.db.acquire().await.unwrap();
        let now = self.routing.clock.now();
        receipt::record(&mut db, self.line, &status, now)
            .await
            .unwrap();
    }

    async fn post(&self, id: OutboxId, tenant: TenantId) -> Post {
        let post = Post {
            id,
            tenant,
            attempt: 1,
        };
        let now = self.routing.clock.now();
        claim::start(&self.db, self.worker, post, now)
            .await
            .unwrap();
        post
    }

    async fn turn_ends(&self, turn: &turn::Turn, end: End) {
        let mut db = self.db.acquire().await.unwrap();
        let now = self.routing.clock.now();
        assert!(
            turn::finish(&mut db, self.worker, turn, end, now)
                .await
                .unwrap()
        );
        crate::inbox::finish_turn(&mut db, turn.tenant, turn.id, end.outcome(), now)
            .await
            .unwrap();
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_message_is_explained_from_the_webhook_to_the_blue_ticks(db: PgPool) {
    let desk = Desk::new(&db).await;
    desk.receive(text(WAMID, "hello")).await;
    assert_eq!(desk.stage(WAMID).await, "received");
    desk.route().await;
    assert_eq!(desk.stage(WAMID).await, "waiting");
    desk.types(&["freeze"]).await;
    assert_eq!(desk.stage(WAMID).await, "frozen");
    desk.types(&["unfreeze"]).await;

    let person = desk.tenant().await;
    let turn = desk.open_turn(person).await;
    assert_eq!(desk.stage(WAMID).await, "waking");
    let now = desk.routing.clock.now();
    turn::submitted(&db, &turn, "main-1", now).await.unwrap();
    assert_eq!(desk.stage(WAMID).await, "asked");
    assert_eq!(desk.stage(&turn.id.to_string()).await, "asked");

    let answer = desk.queue(person, Some(turn.id), "an answer").await;
    desk.turn_ends(&turn, End::Answered).await;
    assert_eq!(desk.stage(WAMID).await, "queued");
    let post = desk.post(answer, person).await;
    assert_eq!(desk.stage(WAMID).await, "sending");

    let mut conn = db.acquire().await.unwrap();
    receipt::accepted(&mut conn, desk.line, post, ANSWER, now)
        .await
        .unwrap();
    assert_eq!(desk.stage(WAMID).await, "accepted");
    for (state, stage) in [
        (Delivery::Sent, "sent"),
        (Delivery::Delivered, "delivered"),
        (Delivery::Read, "read"),
    ] {
        desk.receipt(answer, state).await;
        assert_eq!(desk.stage(WAMID).await, stage);
        // By every id that it has.
        assert_eq!(desk.stage(ANSWER).await, stage);
        assert_eq!(desk.stage(&answer.to_string()).await, stage);
        assert_eq!(desk.stage(&turn.id.to_string()).await, stage);
    }
    let said = desk.types(&["trace", WAMID]).await;
    let receipts = said.json["answers"][0]["receipts"].as_array().unwrap();
    assert_eq!(receipts.len(), 3);
    assert_eq!(said.json["turn"]["outcome"], "answered");
    let inbox = said.json["received"][0]["inbox"].as_str().unwrap();
    assert_eq!(desk.stage(inbox).await, "read");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_stands_in_the_way_is_named(db: PgPool) {
    let desk = Desk::new(&db).await;
    desk.receive(text(WAMID, "hello")).await;
    desk.fire().await;
    let said = desk.types(&["trace", WAMID]).await;
    assert!(said.text.contains("no worker is running"), "{}", said.text);
    desk.hire().await;
    desk.route().await;
    let person = desk.tenant().await;
    let turn = desk.open_turn(person).await;

    desk.receive(text("wamid.next", "one more")).await;
    desk.route().await;
    let said = desk.types(&["trace", "wamid.next"]).await;
    assert_eq!(said.json["stage"], "waiting");
    assert!(said.text.contains("running turn"), "{}", said.text);

    let answer = desk.queue(person, Some(turn.id), "an answer").await;
    let second = desk.queue(person, Some(turn.id), "a second one").await;
    desk.turn_ends(&turn, End::Answered).await;
    let said = desk.types(&["trace", &second.to_string()]).await;
    assert!(said.text.contains("behind an earlier one"), "{}", said.text);

    let now = desk.routing.clock.now();
    let forever = crate::line::Until::Unblocked;
    crate::line::block_until(&db, desk.line, forever, "190", now)
        .await
        .unwrap();
    let said = desk.types(&["trace", &answer.to_string()]).await;
    assert_eq!(said.json["stage"], "line_blocked");
    assert!(
        said.json["do"]
            .as_str()
            .unwrap()
            .contains("WHATSAPP_ACCESS_TOKEN")
    );
    crate::line::unblock(&db, desk.line).await.unwrap();

    desk.types(&["tenant", "suspend", &person.to_string()])
        .await;
    assert_eq!(desk.stage(&answer.to_string()).await, "suspended");
    assert_eq!(desk.stage("wamid.next").await, "refused");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_answer_that_cannot_go_out_says_why(db: PgPool) {
    let desk = Desk::new(&db).await;
    desk.receive(text(WAMID, "hello")).await;
    desk.route().await;
    let person = desk.tenant().await;
    let turn = desk.open_turn(person).await;
    desk.turn_ends(&turn, End::Answered).await;
    let now = desk.routing.clock.now();
    let later = std::time::Duration::from_secs(60);
    for (verdict, stage) in [
        (Verdict::Retry(later), "retrying"),
        (Verdict::Unknown, "unknown"),
        (Verdict::Fail, "failed"),
    ] {
        let answer = desk
            .queue(person, Some(turn.id), &format!("an answer: {stage}"))
            .await;
        let post = desk.post(answer, person).await;
        let mut conn = db.acquire().await.unwrap();
        crate::outbox::result::finish(&mut conn, desk.worker, post, verdict, "131016", now)
            .await
            .unwrap();
        assert_eq!(desk.stage(&answer.to_string()).await, stage);
        sqlx::query!("delete from outbox")
            .execute(&db)
            .await
            .unwrap();
    }
    let answer = desk.queue(person, Some(turn.id), "an answer").await;
    desk.after(TimeDelta::hours(24));
    overdue::expire(&db, desk.routing.clock.now())
        .await
        .unwrap();
    assert_eq!(desk.stage(&answer.to_string()).await, "held");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_turn_without_an_answer_says_how_it_ended(db: PgPool) {
    let desk = Desk::new(&db).await;
    for (end, stage) in [(End::Silent, "silent"), (End::Buried("deadline"), "buried")] {
        desk.receive(text(&format!("wamid.{stage}"), "hello")).await;
        desk.route().await;
        let turn = desk.open_turn(desk.tenant().await).await;
        desk.turn_ends(&turn, end).await;
        assert_eq!(desk.stage(&format!("wamid.{stage}")).await, stage);
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_was_never_routed_or_never_came_is_told_apart(db: PgPool) {
    let desk = Desk::new(&db).await;
    let unknown = desk.types(&["trace", "wamid.nobody-knows"]).await;
    assert!(!unknown.good);
    assert_eq!(unknown.json["error"]["code"], "no-such-message");

    let elsewhere = crate::tests::support::webhook(&[text(WAMID, "hello")]);
    let elsewhere = String::from_utf8(elsewhere).unwrap().replace(NUMBER, "999");
    assert_eq!(desk.site.receive(elsewhere).await, 200);
    desk.route().await;
    assert_eq!(desk.stage(WAMID).await, "unknown_line");
}
