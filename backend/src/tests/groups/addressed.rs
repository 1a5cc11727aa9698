//! What is said to us, and what people say to each other.

use serde_json::json;
use sqlx::PgPool;

use super::{ANA, BEN, GROUP, OTHER, answering, desk, item, said, speakers};
use crate::{
    line::unserved,
    outbox::Class,
    tests::{
        desk::Desk,
        support::{LIMITS, opener},
    },
};

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn by_default_a_group_is_nobody_and_nothing_of_it_stays_but_that_it_writes(db: PgPool) {
    let desk = Desk::new(&db, LIMITS).await;
    for (id, words) in [
        ("wamid.1", "dinner at eight?"),
        ("wamid.2", "@assistant hello"),
    ] {
        desk.hears(&[(said(id, ANA, OTHER, words), ANA.1)]).await;
        assert_eq!(desk.end(id).await, ("not_served".to_owned(), None, false));
    }
    for nothing in ["tenant", "tenant_address", "outbox", "reminder", "turn"] {
        assert_eq!(desk.count(nothing).await, 0, "{nothing}");
    }
    let line = desk.line().await;
    let listed = unserved::list(&db, line).await.unwrap();
    let [one] = &listed[..] else {
        panic!("{} groups", listed.len())
    };
    assert_eq!(opener().open(&one.address).unwrap(), OTHER.as_bytes());

    // It has not written since.
    assert_eq!(unserved::forget(&db, one.last_at, 10).await.unwrap(), 0);
    let later = one.last_at + chrono::TimeDelta::seconds(1);
    assert_eq!(unserved::forget(&db, later, 10).await.unwrap(), 1);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn only_what_is_said_to_us_is_taken_and_asked_without_our_word(db: PgPool) {
    let desk = desk(&db).await;
    desk.hears(&[(said("wamid.1", ANA, GROUP, "dinner at eight?"), ANA.1)])
        .await;
    assert_eq!(
        desk.end("wamid.1").await,
        ("not_addressed".to_owned(), None, false)
    );
    assert_eq!(desk.count("tenant").await, 0, "nobody has spoken to us yet");
    assert_eq!(desk.count("unserved_group").await, 0);

    desk.hears(&[(
        said("wamid.2", ANA, GROUP, "@Assistant, which day is it?"),
        ANA.1,
    )])
    .await;
    assert_eq!(desk.ends("wamid.2").await, "waiting");
    let asked = desk.ask(desk.group().await).await.text();
    let [(who, words)] = &speakers(&asked)[..] else {
        panic!("{asked}")
    };
    assert_eq!(
        (&who["group"], &who["name"]),
        (&json!(GROUP), &json!("Ana"))
    );
    assert_eq!(words, &["which day is it?"]);
    assert!(!asked.to_lowercase().contains("@assistant"), "{asked}");
    assert!(!asked.contains(ANA.0), "a number is told: {asked}");

    // Each says it to the others.
    for (id, words) in [
        ("wamid.3", "ask @assistant"),
        ("wamid.4", "@assistants are great"),
        ("wamid.5", "STOP"),
        ("wamid.6", "/new"),
    ] {
        desk.hears(&[(said(id, BEN, GROUP, words), BEN.1)]).await;
        assert_eq!(
            desk.end(id).await,
            ("not_addressed".to_owned(), None, false),
            "{words}"
        );
    }
    let mut passed_on = said("wamid.7", BEN, GROUP, "@assistant pay now");
    passed_on["context"] = json!({ "forwarded": true });
    desk.hears(&[(passed_on, BEN.1)]).await;
    assert_eq!(desk.ends("wamid.7").await, "not_addressed");
    assert_eq!(desk.count("outbox").await, 0);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_answer_to_us_is_said_to_us_and_a_caption_may_begin_with_our_word(db: PgPool) {
    let desk = desk(&db).await;
    desk.hears(&[(said("wamid.1", ANA, GROUP, "@assistant plan a trip"), ANA.1)])
        .await;
    let group = desk.group().await;
    desk.ask(group).await;
    desk.wrote_to(group, "wamid.ours", "Rome or Oslo?", Class::Reply)
        .await;

    desk.hears(&[(
        answering(said("wamid.2", BEN, GROUP, "Oslo"), "wamid.ours"),
        BEN.1,
    )])
    .await;
    let asked = desk.ask(group).await.text();
    let [(who, words)] = &speakers(&asked)[..] else {
        panic!("{asked}")
    };
    assert_eq!(who["name"], "Ben");
    assert_eq!(
        words[..],
        ["[In reply to what you wrote: \"Rome or Oslo?\"]", "Oslo"]
    );

    // To each other, though about the same.
    let to_ana = answering(said("wamid.3", BEN, GROUP, "no, Rome"), "wamid.1");
    let likes =
        json!({ "type": "reaction", "reaction": { "message_id": "wamid.ours", "emoji": "👍" } });
    desk.hears(&[(to_ana, BEN.1), (item("wamid.4", BEN, GROUP, likes), BEN.1)])
        .await;
    for id in ["wamid.3", "wamid.4"] {
        assert_eq!(
            desk.end(id).await,
            ("not_addressed".to_owned(), None, false),
            "{id}"
        );
    }

    let photo = |caption: &str| json!({ "type": "image", "image": { "id": "1", "mime_type": "image/png", "caption": caption } });
    desk.hears(&[
        (item("wamid.5", BEN, GROUP, photo("our cat")), BEN.1),
        (
            item("wamid.6", BEN, GROUP, photo("@assistant what is it?")),
            BEN.1,
        ),
    ])
    .await;
    assert_eq!(
        desk.end("wamid.5").await,
        ("not_addressed".to_owned(), None, false)
    );
    let asked = desk.ask(group).await;
    assert!(asked.told[0].media.is_some(), "the photo comes with it");
    let asked = asked.text();
    assert_eq!(speakers(&asked)[0].1[1], "what is it?", "{asked}");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_was_said_to_us_may_be_changed_and_taken_back(db: PgPool) {
    let desk = desk(&db).await;
    let edit = |id: &str, words: &str| {
        json!({ "type": "edit", "edit": { "original_message_id": id,
                "message": { "type": "text", "text": { "body": words } } } })
    };
    let revoke = |id: &str| json!({ "type": "revoke", "revoke": { "original_message_id": id } });
    desk.hears(&[(said("wamid.1", ANA, GROUP, "@assistant milk"), ANA.1)])
        .await;
    desk.hears(&[(
        item("wamid.2", ANA, GROUP, edit("wamid.1", "@assistant bread")),
        ANA.1,
    )])
    .await;
    let group = desk.group().await;
    let asked = desk.ask(group).await.text();
    let last = speakers(&asked).pop().unwrap();
    assert_eq!(last.1[1..], ["bread"], "{asked}");

    desk.hears(&[(said("wamid.3", ANA, GROUP, "@assistant a secret"), ANA.1)])
        .await;
    desk.hears(&[(item("wamid.4", ANA, GROUP, revoke("wamid.3")), ANA.1)])
        .await;
    assert_eq!(desk.ends("wamid.3").await, "taken_back");
    desk.hears(&[(said("wamid.5", ANA, GROUP, "to you all"), ANA.1)])
        .await;
    for (id, what) in [
        ("wamid.6", edit("wamid.5", "to all")),
        ("wamid.7", revoke("wamid.5")),
    ] {
        desk.hears(&[(item(id, ANA, GROUP, what), ANA.1)]).await;
        assert_eq!(
            desk.end(id).await,
            ("not_addressed".to_owned(), None, false),
            "{id}"
        );
    }
}
