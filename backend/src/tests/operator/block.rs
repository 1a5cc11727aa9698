//! People from whom nothing is taken, here and at WhatsApp.

use serde_json::json;
use sqlx::PgPool;

use super::Desk;
use crate::{
    operator::answer::Answer,
    tests::{
        provider::{LONG_SILENT, Provider, TOKEN},
        support::{NUMBER, text},
    },
};

const PHONE: &str = "+16505551234";

async fn outcome(db: &PgPool, id: &str) -> Option<String> {
    let outcome = sqlx::query_scalar!("select outcome from inbox where provider_id = $1", id);
    outcome.fetch_one(db).await.unwrap()
}

async fn syncs(desk: &Desk, provider: &Provider) -> Answer {
    let [meta, _] = provider.settings();
    let (number, token) = (
        format!("--whatsapp-sender-phone-number-id={NUMBER}"),
        format!("--whatsapp-access-token={TOKEN}"),
    );
    desk.types(&["block", "sync", &meta, &number, &token, "--as", "ana"])
        .await
}

/// What became of the addresses, in the order of the words.
fn results(said: &Answer) -> Vec<&str> {
    let all = said.json["addresses"].as_array().unwrap();
    let all = all.iter().map(|one| one["result"].as_str().unwrap());
    let mut all: Vec<_> = all.collect();
    all.sort_unstable();
    all
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nothing_is_taken_from_the_blocked_under_any_of_their_names(db: PgPool) {
    let desk = Desk::new(&db).await;
    desk.receive(text("wamid.1", "hello")).await;
    desk.route().await;
    let said = desk
        .types(&["block", "add", PHONE, "--why", "threats", "--as", "ana"])
        .await;
    assert!(said.good, "{}", said.text);
    assert!(!said.text.contains("555"), "{}", said.text);
    assert_eq!(
        (&said.json["addresses"], &said.json["suspended"]),
        (&json!(2), &json!(true)),
        "their user id, too"
    );
    let mut hidden = text("wamid.2", "it is me");
    hidden["from"] = json!("");
    desk.receive(hidden).await;
    let mut other = text("wamid.3", "hello");
    other["from"] = json!("16505550000");
    other["from_user_id"] = json!("US.2");
    desk.receive(other).await;
    desk.route().await;
    assert_eq!(outcome(&db, "wamid.2").await.as_deref(), Some("refused"));
    assert_eq!(outcome(&db, "wamid.3").await, None, "others are taken");
    let said_to = sqlx::query_scalar!(r#"select count(*) as "n!" from outbox"#);
    assert_eq!(said_to.fetch_one(&db).await.unwrap(), 0, "told nothing");

    let again = desk.types(&["block", "add", PHONE]).await;
    assert_eq!(again.json["changed"], false, "{}", again.text);
    let list = desk.types(&["block", "list"]).await;
    assert!(!format!("{}{}", list.text, list.json).contains("6505551234"));
    assert_eq!(list.json["blocked"][0]["why"], "threats");
    let shown = desk
        .types(&["block", "list", "--reveal", "--as", "ben"])
        .await;
    assert!(shown.text.contains("16505551234"), "{}", shown.text);

    let id = list.json["blocked"][0]["tenant"].as_str().unwrap();
    assert!(desk.types(&["block", "remove", id]).await.good);
    assert!(desk.types(&["tenant", "resume", id]).await.good);
    desk.receive(text("wamid.4", "thank you")).await;
    desk.route().await;
    assert_eq!(outcome(&db, "wamid.4").await, None);
    let kinds: Vec<_> = desk.events().await.into_iter().map(|one| one.0).collect();
    assert_eq!(kinds, ["block", "reveal", "unblock", "resume"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_stranger_who_is_blocked_is_nobody_to_us(db: PgPool) {
    let desk = Desk::new(&db).await;
    assert!(desk.types(&["block", "add", PHONE]).await.good);
    desk.receive(text("wamid.1", "hello")).await;
    desk.route().await;
    assert_eq!(outcome(&db, "wamid.1").await.as_deref(), Some("refused"));
    let people = sqlx::query_scalar!(r#"select count(*) as "n!" from tenant"#);
    assert_eq!(people.fetch_one(&db).await.unwrap(), 0);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn whatsapps_list_follows_ours_however_often_it_is_asked(db: PgPool) {
    let provider = Provider::start().await;
    let desk = Desk::new(&db).await;
    for who in [PHONE, LONG_SILENT, "US.2"] {
        assert!(desk.types(&["block", "add", who]).await.good);
    }
    let said = syncs(&desk, &provider).await;
    assert!(!said.good, "one was not taken: {}", said.text);
    assert_eq!(results(&said), ["blocked", "blocked", "not taken"]);
    assert!(said.text.contains("139100"), "{}", said.text);
    assert_eq!(*provider.blocked.lock().unwrap(), [PHONE, "US.2"]);

    let again = syncs(&desk, &provider).await;
    assert_eq!(results(&again), ["not taken"], "only what is left");
    assert!(desk.types(&["block", "remove", PHONE]).await.good);
    assert!(desk.types(&["block", "remove", LONG_SILENT]).await.good);
    let lifted = syncs(&desk, &provider).await;
    assert!(lifted.good, "{}", lifted.text);
    assert_eq!(results(&lifted), ["unblocked"]);
    assert_eq!(*provider.blocked.lock().unwrap(), ["US.2"]);
    let list = desk.types(&["block", "list"]).await;
    assert_eq!(list.json["blocked"].as_array().unwrap().len(), 1);
    let nothing = syncs(&desk, &provider).await;
    assert!(nothing.good && results(&nothing).is_empty());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn who_is_erased_stays_blocked_by_a_hash(db: PgPool) {
    let desk = Desk::new(&db).await;
    desk.receive(text("wamid.1", "hello")).await;
    desk.route().await;
    assert!(desk.types(&["block", "add", PHONE]).await.good);
    let id = desk.tenant().await.to_string();
    let erase = ["tenant", "erase", &id, "--yes", "--no-wait"];
    assert!(desk.types(&erase).await.good);
    let left =
        sqlx::query_scalar!(r#"select count(*) as "n!" from blocked where address is not null"#);
    assert_eq!(left.fetch_one(&db).await.unwrap(), 0);
    desk.receive(text("wamid.2", "hello")).await;
    desk.route().await;
    assert_eq!(outcome(&db, "wamid.2").await.as_deref(), Some("refused"));
    assert!(desk.types(&["block", "remove", PHONE]).await.good);
    desk.receive(text("wamid.3", "hello")).await;
    desk.route().await;
    assert_eq!(outcome(&db, "wamid.3").await, None);
}
