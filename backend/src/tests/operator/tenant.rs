//! The people, as an operator sees them: by id, unless who they are is asked for.

use sqlx::PgPool;

use super::Desk;
use crate::tests::support::text;

const NAME: &str = "Zebulon Quixley";
const PHONE: &str = "16505551234";

/// Somebody wrote, with a name in their profile.
async fn with_somebody(db: &PgPool) -> Desk {
    let desk = Desk::new(db).await;
    let body = crate::tests::support::webhook(&[text("wamid.1", "hello")]);
    let mut body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    body["entry"][0]["changes"][0]["value"]["contacts"] = serde_json::json!([
        { "profile": { "name": NAME }, "wa_id": PHONE, "user_id": "US.1349" }]);
    let body = serde_json::to_vec(&body).unwrap();
    assert_eq!(desk.site.receive(body).await, 200);
    desk.route().await;
    desk
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn lists_and_pages_name_nobody(db: PgPool) {
    let desk = with_somebody(&db).await;
    let id = desk.tenant().await.to_string();
    desk.queue(desk.tenant().await, None, "confidential").await;
    for words in [&["tenant", "list"][..], &["tenant", "show", &id]] {
        let said = desk.types(words).await;
        assert!(said.text.contains(&id), "{}", said.text);
        let all = format!("{}{}", said.text, said.json);
        for private in [NAME, PHONE, "US.1349", "hello", "confidential"] {
            assert!(!all.contains(private), "{private} is in: {all}");
        }
    }
    let said = desk.types(&["tenant", "list"]).await;
    let one = &said.json["tenants"][0];
    assert_eq!(one["status"], "active");
    assert_eq!(one["waiting_messages"], 1);
    assert_eq!(one["queued_answers"], 1);
    assert!(
        desk.events().await.is_empty(),
        "looking at ids is no action"
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn who_somebody_is_can_be_seen_and_that_is_put_on_record(db: PgPool) {
    let desk = with_somebody(&db).await;
    let id = desk.tenant().await.to_string();
    let said = desk
        .types(&["tenant", "show", &id, "--reveal", "--as", "ana"])
        .await;
    assert_eq!(said.json["revealed"]["name"], NAME);
    assert_eq!(said.json["revealed"]["address"], format!("+{PHONE}"));
    assert!(said.text.contains(NAME), "{}", said.text);
    let events = desk.events().await;
    assert_eq!(
        (events[0].0.as_str(), events[0].1.as_str()),
        ("reveal", "ana")
    );
    assert_eq!(said.json["events"][0]["kind"], "reveal");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_suspended_are_refused_silently_until_they_are_resumed(db: PgPool) {
    let desk = with_somebody(&db).await;
    let person = desk.tenant().await;
    let id = person.to_string();
    desk.open_turn(person).await;
    desk.receive(text("wamid.2", "and this")).await;
    desk.route().await;
    desk.queue(person, None, "an answer").await;

    let said = desk
        .types(&["tenant", "suspend", &id, "--why", "abuse", "--as", "ana"])
        .await;
    assert!(said.good, "{}", said.text);
    assert_eq!(said.json["refused_messages"], 1, "what waited for a turn");
    assert_eq!(said.json["changed"], true);
    assert_eq!(intent(&db).await, "stopped");
    assert_eq!(desk.next_to_go().await, None, "queued answers wait");
    desk.receive(text("wamid.3", "hello?")).await;
    desk.route().await;
    assert!(desk.next_turns().await.is_empty());
    let refused =
        sqlx::query_scalar!(r#"select count(*) as "count!" from inbox where outcome = 'refused'"#);
    assert_eq!(refused.fetch_one(&db).await.unwrap(), 2);
    let queued = sqlx::query_scalar!(r#"select count(*) as "count!" from outbox"#);
    assert_eq!(
        queued.fetch_one(&db).await.unwrap(),
        1,
        "nothing is said to them"
    );

    let again = desk.types(&["tenant", "suspend", &id]).await;
    assert_eq!(again.json["changed"], false);
    let said = desk.types(&["tenant", "resume", &id, "--as", "ben"]).await;
    assert_eq!(said.json["status"], "active", "{}", said.text);
    assert_eq!(intent(&db).await, "auto");
    assert_eq!(
        desk.next_to_go().await,
        Some(person),
        "the answer goes out now"
    );
    let events = desk.events().await;
    let kinds: Vec<_> = events.iter().map(|event| event.0.as_str()).collect();
    assert_eq!(kinds, ["suspend", "resume"]);
    assert_eq!(events[0].2["why"], "abuse");
}

async fn intent(db: &PgPool) -> String {
    sqlx::query_scalar!("select intent from sandbox")
        .fetch_one(db)
        .await
        .unwrap()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_id_that_is_nobodys_is_refused_by_a_code(db: PgPool) {
    let desk = Desk::new(&db).await;
    let nobody = "01234567-89ab-7def-8123-456789abcdef";
    for words in [
        &["tenant", "show", nobody][..],
        &["tenant", "suspend", nobody],
        &["tenant", "resume", nobody],
        &["freeze", "--tenant", nobody],
    ] {
        let said = desk.types(words).await;
        assert!(!said.good, "{words:?}");
        assert_eq!(said.json["error"]["code"], "no-such-tenant", "{words:?}");
        assert!(said.json["error"]["do"].is_string(), "{words:?}");
    }
    assert!(desk.events().await.is_empty());
    let list = desk.types(&["tenant", "list"]).await;
    assert_eq!(list.text, "Nobody has written yet.");
}
