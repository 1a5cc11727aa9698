//! What is frozen waits, comes in as ever, and goes out after the thaw.

use chrono::TimeDelta;
use serde_json::json;
use sqlx::PgPool;

use super::Desk;
use crate::{
    freeze,
    outbox::{State, overdue},
    tests::support::{NUMBER, text},
};

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nothing_goes_out_to_the_frozen_and_everything_after_the_thaw(db: PgPool) {
    let desk = Desk::new(&db).await;
    desk.receive(text("wamid.1", "hello")).await;
    desk.route().await;
    let person = desk.tenant().await;
    desk.queue(person, None, "an answer").await;
    let id = person.to_string();
    for scope in [&[][..], &["--line", NUMBER], &["--tenant", &id]] {
        assert_eq!(desk.next_to_go().await, Some(person));
        assert_eq!(desk.next_turns().await, [person]);

        let said = desk
            .types(&[&["freeze", "--as", "ana"], scope].concat())
            .await;
        assert!(said.good, "{}", said.text);
        assert_eq!(said.json["changed"], true);
        assert_eq!(said.json["queued_answers"], 1);
        assert_eq!(said.json["waiting_messages"], 1);
        assert_eq!(desk.next_to_go().await, None, "{scope:?}");
        assert!(desk.next_turns().await.is_empty(), "{scope:?}");
        assert!(freeze::is_frozen(&db, person).await.unwrap(), "{scope:?}");

        let said = desk
            .types(&[&["unfreeze", "--as", "ana"], scope].concat())
            .await;
        assert_eq!(said.json["changed"], true, "{}", said.text);
        assert!(!freeze::is_frozen(&db, person).await.unwrap(), "{scope:?}");
    }
    assert_eq!(desk.next_to_go().await, Some(person));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn messages_to_the_frozen_are_stored_and_routed_and_others_go_on(db: PgPool) {
    let desk = Desk::new(&db).await;
    desk.receive(text("wamid.1", "hello")).await;
    desk.route().await;
    let frozen = desk.tenant().await;
    desk.types(&["freeze", "--tenant", &frozen.to_string()])
        .await;

    let mut other = text("wamid.2", "me too");
    other["from"] = json!("16505550000");
    other["from_user_id"] = json!("US.2");
    desk.receive(other).await;
    desk.receive(text("wamid.3", "are you there?")).await;
    desk.route().await;
    let turns = desk.next_turns().await;
    assert_eq!(turns.len(), 1, "the other one's");
    assert_ne!(turns[0], frozen);

    let listed = desk.types(&["tenant", "show", &frozen.to_string()]).await;
    assert_eq!(listed.json["waiting_messages"], 2, "both are kept");
    assert_eq!(listed.json["frozen"], true);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn frozen_time_makes_no_message_expire(db: PgPool) {
    let desk = Desk::new(&db).await;
    desk.receive(text("wamid.1", "hello")).await;
    desk.route().await;
    let person = desk.tenant().await;
    desk.queue(person, None, "an answer").await;
    desk.types(&["freeze"]).await;

    desk.after(TimeDelta::days(30));
    let now = desk.routing.clock.now();
    assert!(overdue::expire(&db, now).await.unwrap().is_empty());

    let said = desk.types(&["unfreeze"]).await;
    assert_eq!(said.json["late_answers"], 1);
    assert!(
        said.text.contains("wait until the person writes"),
        "{}",
        said.text
    );
    let expired = overdue::expire(&db, now).await.unwrap();
    assert_eq!(expired.len(), 1);
    assert_eq!(
        expired[0].1,
        State::Held,
        "WhatsApp's 24 hours are over, but it is not lost"
    );

    // A second freeze, longer than what is held is kept.
    desk.types(&["freeze"]).await;
    desk.after(TimeDelta::days(30));
    desk.types(&["unfreeze"]).await;
    let now = desk.routing.clock.now();
    assert!(overdue::expire(&db, now).await.unwrap().is_empty());
    let mut again = text("wamid.2", "hello again");
    again["timestamp"] = json!(now.timestamp().to_string());
    desk.receive(again).await;
    desk.route().await;
    assert_eq!(
        desk.next_to_go().await,
        Some(person),
        "the person wrote: it goes out"
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_second_freeze_changes_nothing_and_a_smaller_thaw_leaves_the_larger_one(db: PgPool) {
    let desk = Desk::new(&db).await;
    desk.types(&["freeze", "--why", "nonsense", "--as", "ana"])
        .await;
    let again = desk
        .types(&["freeze", "--why", "because", "--as", "ben"])
        .await;
    assert_eq!(again.json["changed"], false);
    assert_eq!(again.json["all_freezes"][0]["why"], "nonsense");

    let smaller = desk.types(&["unfreeze", "--line", NUMBER]).await;
    assert_eq!(smaller.json["changed"], false);
    assert!(
        smaller.text.contains("Still frozen: the whole deployment"),
        "{}",
        smaller.text
    );

    let unknown = desk.types(&["freeze", "--line", "999"]).await;
    assert!(!unknown.good);
    assert_eq!(unknown.json["error"]["code"], "no-such-line");
    let kinds: Vec<_> = desk
        .events()
        .await
        .into_iter()
        .map(|event| event.0)
        .collect();
    assert_eq!(
        kinds,
        ["freeze"],
        "only what changed something is on record"
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_was_done_is_on_record_and_stays_there(db: PgPool) {
    let desk = Desk::new(&db).await;
    desk.types(&["freeze", "--as", "ana", "--why", "nonsense"])
        .await;
    desk.types(&["unfreeze", "--as", "ben"]).await;
    let events = desk.events().await;
    assert_eq!(events.len(), 2);
    assert_eq!(
        (events[0].0.as_str(), events[0].1.as_str()),
        ("freeze", "ana")
    );
    assert_eq!(events[0].2["why"], "nonsense");
    assert_eq!(
        (events[1].0.as_str(), events[1].1.as_str()),
        ("unfreeze", "ben")
    );

    let changes = [
        sqlx::query!("update event set actor = 'nobody'")
            .execute(&db)
            .await,
        sqlx::query!("delete from event").execute(&db).await,
        sqlx::query!("truncate event").execute(&db).await,
    ];
    for change in changes {
        let refused = change.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{refused}");
    }
    assert_eq!(desk.events().await.len(), 2);
}
