//! A word of ours reaches somebody who is there, once, by whatever name they are called.

use chrono::TimeDelta;
use serde_json::json;
use sqlx::PgPool;

use super::Desk;
use crate::{
    id::{LineId, TenantId},
    line,
    tests::support::{opener, text},
    whatsapp::provider::Provider,
};

/// A desk to which somebody has written.
async fn desk(db: &PgPool) -> (Desk, TenantId) {
    let desk = Desk::new(db).await;
    let mut hello = text("wamid.1", "hello");
    hello["timestamp"] = json!(desk.routing.clock.now().timestamp().to_string());
    desk.receive(hello).await;
    desk.route().await;
    let person = desk.tenant().await;
    (desk, person)
}

/// Everything that is queued, in order.
async fn queued(db: &PgPool) -> Vec<(String, String)> {
    let rows = sqlx::query!(r#"select key, class, body as "body!" from outbox order by seq"#)
        .fetch_all(db)
        .await
        .unwrap();
    let read = |body: Vec<u8>| String::from_utf8(opener().open(&body).unwrap()).unwrap();
    assert!(rows.iter().all(|row| row.class == "ours"));
    rows.into_iter()
        .map(|row| (row.key, read(row.body)))
        .collect()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_key_makes_it_one_message_however_often_and_by_whatever_name(db: PgPool) {
    let (desk, person) = desk(&db).await;
    let id = person.to_string();
    let mut changed = Vec::new();
    for to in [id.as_str(), "+1 650 555-1234", "16505551234", "US.1349"] {
        let words = [
            "send",
            "--to",
            to,
            "--text",
            "We are back.",
            "--key",
            "back",
            "--as",
            "ana",
        ];
        let said = desk.types(&words).await;
        assert!(said.good, "{to}: {}", said.text);
        assert_eq!(said.json["tenant"], json!(person.0), "{to}");
        assert!(!said.text.contains("5551234"), "{}", said.text);
        changed.push(said.json["changed"] == true);
    }
    assert_eq!(changed, [true, false, false, false]);
    let all = queued(&db).await;
    assert_eq!(
        all,
        [("command/back".to_owned(), "We are back.".to_owned())]
    );
    assert_eq!(desk.next_to_go().await, Some(person));
    let events = desk.events().await;
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].0.as_str(), events[0].1.as_str()),
        ("send", "ana")
    );
    assert!(
        !events[0].2.to_string().contains("back."),
        "no content on record"
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_key_that_means_another_text_is_refused_and_no_key_is_a_new_one(db: PgPool) {
    let (desk, person) = desk(&db).await;
    let to = person.to_string();
    let send = async |words: &[&str]| {
        desk.types(&[&["send", "--to", &to, "--text"], words].concat())
            .await
    };
    assert!(send(&["one", "--key", "k"]).await.good);
    let other = send(&["two", "--key", "k"]).await;
    assert_eq!(
        other.json["error"]["code"], "key-of-another-text",
        "{}",
        other.text
    );
    let first = send(&["one"]).await;
    let second = send(&["one"]).await;
    assert_ne!(first.json["key"], second.json["key"]);
    assert_eq!(queued(&db).await.len(), 3);
    for (words, code) in [
        (["", "--key", "x"], "no-text"),
        (["x", "--key", "a/1"], "bad-key"),
    ] {
        assert_eq!(send(&words).await.json["error"]["code"], code);
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_long_text_is_several_messages_in_order_and_once(db: PgPool) {
    let (desk, person) = desk(&db).await;
    let (to, long) = (person.to_string(), "word ".repeat(2_000));
    let words = ["send", "--to", &to, "--text", &long, "--key", "long"];
    for changed in [true, false] {
        let said = desk.types(&words).await;
        assert_eq!(said.json["changed"], changed, "{}", said.text);
        assert_eq!(said.json["outbox"].as_array().unwrap().len(), 3);
    }
    let all = queued(&db).await;
    let keys: Vec<_> = all.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["command/long", "command/long/1", "command/long/2"]);
    let words = all.iter().map(|(_, text)| text.split_whitespace().count());
    assert_eq!(words.sum::<usize>(), 2_000);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_template_goes_out_after_a_day_of_silence_once_and_unlike_a_text(db: PgPool) {
    let (desk, person) = desk(&db).await;
    desk.after(TimeDelta::hours(25));
    let to = person.to_string();
    let send = async |words: &[&str]| desk.types(&[&["send", "--to", &to], words].concat()).await;
    let back = ["--template", "de=wir_sind_zurueck", "--key", "back"];
    for changed in [true, false] {
        let said = send(&back).await;
        assert!(said.good, "{}", said.text);
        assert_eq!(said.json["changed"], changed);
        assert_eq!(said.json["waits_because"], json!(null), "{}", said.text);
    }
    let other = send(&["--template", "en=we_are_back", "--key", "back"]).await;
    assert_eq!(other.json["error"]["code"], "key-of-another-text");
    let text = send(&["--text", "back", "--key", "back"]).await;
    assert_eq!(text.json["error"]["code"], "key-of-another-text");
    let row = sqlx::query!(r#"select type as kind, body as "body!" from outbox"#);
    let row = row.fetch_one(&db).await.unwrap();
    assert_eq!(row.kind, "template");
    let body = String::from_utf8(opener().open(&row.body).unwrap()).unwrap();
    assert!(body.contains("wir_sind_zurueck"), "{body}");
    assert_eq!(desk.next_to_go().await, Some(person));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nobody_new_is_made_and_who_must_not_be_written_to_is_not(db: PgPool) {
    let (desk, person) = desk(&db).await;
    let id = person.to_string();
    let code = async |to: &str| {
        let said = desk.types(&["send", "--to", to, "--text", "hello"]).await;
        said.json["error"]["code"]
            .as_str()
            .unwrap_or("queued")
            .to_owned()
    };
    assert_eq!(code("+43 660 0000000").await, "no-such-person");
    assert_eq!(
        code("0198c0de-0000-7000-8000-000000000000").await,
        "no-such-tenant"
    );
    desk.types(&["tenant", "suspend", &id]).await;
    assert_eq!(code(&id).await, "not-to-be-written-to");
    desk.types(&["tenant", "resume", &id]).await;
    desk.types(&["line", "remove", &desk.line.to_string(), "--yes"])
        .await;
    assert_eq!(code(&id).await, "not-on-this-line");
    assert!(queued(&db).await.is_empty());
    let people = sqlx::query_scalar!("select count(*) from tenant").fetch_one(&db);
    assert_eq!(people.await.unwrap(), Some(1));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn who_writes_to_two_numbers_is_told_apart_by_the_line(db: PgPool) {
    let (desk, person) = desk(&db).await;
    let other = line::seed(&db, Provider::Kapso, "222").await.unwrap();
    let twin = twin(&db, person, other).await;
    let send = async |words: &[&str]| {
        let said = ["send", "--to", "16505551234", "--text", "hello"];
        desk.types(&[&said[..], words].concat()).await
    };
    let said = send(&[]).await;
    assert_eq!(
        said.json["error"]["code"], "on-several-lines",
        "{}",
        said.text
    );
    let said = send(&["--line", "222"]).await;
    assert_eq!(said.json["tenant"], json!(twin.0), "{}", said.text);
    let said = send(&["--line", "999"]).await;
    assert_eq!(said.json["error"]["code"], "no-such-line");
}

/// The same number of theirs on another line: somebody else, as far as we are concerned.
async fn twin(db: &PgPool, person: TenantId, line: LineId) -> TenantId {
    let status = crate::tenant::Status::Active;
    let twin = crate::tenant::create(db, line, status, chrono_tz::UTC, super::noon())
        .await
        .unwrap();
    sqlx::query!(
        "insert into tenant_address (line_id, kind, value, address, key_id, tenant_id)
         select $3, kind, value, address, key_id, $2 from tenant_address where tenant_id = $1",
        person as TenantId,
        twin.id as TenantId,
        line as LineId,
    )
    .execute(db)
    .await
    .unwrap();
    twin.id
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn it_is_said_when_a_message_has_to_wait(db: PgPool) {
    let (desk, person) = desk(&db).await;
    let to = person.to_string();
    let why = async |key: &str| {
        let words = ["send", "--to", &to, "--text", "hello", "--key", key];
        let said = desk.types(&words).await;
        assert!(said.good, "{}", said.text);
        said.json["waits_because"]
            .as_str()
            .unwrap_or("-")
            .to_owned()
    };
    assert_eq!(why("1").await, "-");
    desk.types(&["freeze", "--tenant", &to]).await;
    assert!(why("2").await.contains("unfreeze"));
    desk.types(&["unfreeze", "--tenant", &to]).await;
    desk.after(TimeDelta::hours(25));
    assert!(why("3").await.contains("24 hours"));
}
