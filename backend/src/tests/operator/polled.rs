//! A number that is asked about, added by command: no webhook, no secret of one.

use sqlx::PgPool;

use super::{line::Folder, noon, types};
use crate::{
    clock::Clock,
    http::secrets::Secrets,
    line::{
        Delivery, Line,
        cursor::{self, Cursor},
        stored,
    },
    operator::answer::Answer,
    seal::Opener,
    tests::{
        provider::{Provider, TOKEN},
        support::{master, opener},
    },
    whatsapp::provider::Api,
};

async fn add(db: &PgPool, provider: &Provider, more: &[&str]) -> Answer {
    let folder = Folder::new();
    let (key, [meta, kapso]) = (folder.of(TOKEN), provider.settings());
    let words = [
        &["line", "add", "--provider", "kapso", &meta, &kapso][..],
        &["--phone-number-id", "333", "--api-key-file", &key],
        more,
    ];
    types(db, &words.concat(), noon()).await
}

const POLL: &[&str] = &["--delivery", "poll"];

/// The only line there is, as `line list` shows it, and what else it says.
async fn listed(db: &PgPool) -> (serde_json::Value, String) {
    let said = types(db, &["line", "list"], Clock::System.now()).await;
    (said.json["lines"][0].clone(), said.text)
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn it_needs_a_key_only_and_is_polled_from_then_on(db: PgPool) {
    let provider = Provider::start().await;
    let said = add(&db, &provider, POLL).await;
    assert!(said.good, "{}", said.text);
    assert_eq!(said.json["delivery"], "poll");
    assert!(said.text.contains("needs no webhook"), "{}", said.text);
    assert!(provider.webhooks().is_empty());

    let all = stored::all(&db).await.unwrap();
    assert!(all[0].webhook_secret.is_none());
    let api = Api {
        provider: crate::whatsapp::provider::Provider::Kapso,
        base_url: provider.url.parse().unwrap(),
        version: "v24.0".to_owned(),
    };
    let line = Line::open(&opener(), &api, &all[0]).unwrap();
    assert_eq!(line.delivery, Delivery::Poll);
    // Web has nothing to take for it, whatever is signed with nothing.
    let secrets = Secrets::of(
        std::iter::empty(),
        Some(Opener::with(master().webhook_key())),
    );
    secrets.set_added(&all);
    let signature = crate::tests::support::sign_with("", b"{}");
    assert!(
        secrets
            .prove(api.provider, Some(&signature), b"{}")
            .is_none()
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn list_and_test_say_when_it_was_polled(db: PgPool) {
    let provider = Provider::start().await;
    assert!(add(&db, &provider, POLL).await.good);
    let (line, text) = listed(&db).await;
    assert_eq!(line["messages"]["by"], "poll");
    assert!(line["messages"]["path"].is_null() && line["messages"]["polled_at"].is_null());
    assert!(text.contains("not asked for yet"), "{text}");

    let [meta, kapso] = provider.settings();
    let test = ["line", "test", "333", "--roles=worker", &meta, &kapso];
    let polling = async || {
        let said = types(&db, &test, noon()).await;
        let checks = said.json["checks"].as_array().unwrap().clone();
        let found = checks.iter().find(|one| one["code"] == "kapso-polling");
        (said.good, found.unwrap()["result"].clone())
    };
    assert_eq!(polling().await, (true, "warn".into()));
    let id = stored::all(&db).await.unwrap()[0].id;
    let now = Clock::System.now();
    for (minutes, good, result) in [(6, false, "fail"), (0, true, "ok")] {
        let at = now - chrono::TimeDelta::minutes(minutes);
        cursor::looked(&db, id, at).await.unwrap();
        assert_eq!(polling().await, (good, result.into()));
    }
    let (line, text) = listed(&db).await;
    assert!(line["messages"]["polled_at"].is_string());
    assert!(
        text.contains("asked for ") && text.contains(" s ago"),
        "{text}"
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn it_stays_polled_when_its_key_changes_until_it_gets_a_webhook(db: PgPool) {
    let provider = Provider::start().await;
    assert!(add(&db, &provider, POLL).await.good);
    let again = add(&db, &provider, &[]).await;
    assert!(again.good, "{}", again.text);
    assert_eq!(again.json["delivery"], "poll");
    let url = ["--webhook-url", "https://assistant.example"];
    let brought = add(&db, &provider, &url).await;
    assert_eq!(brought.json["delivery"], "webhook", "{}", brought.text);
    let says = |said: &Answer| said.text.contains("No web is at work");
    assert!(says(&brought) && !says(&again), "{}", brought.text);
    assert_eq!(provider.webhooks().len(), 1);

    // What Kapso posts until its webhook is deleted there is taken all the same.
    assert!(add(&db, &provider, POLL).await.good);
    let all = stored::all(&db).await.unwrap();
    assert_eq!(all[0].delivery, Delivery::Poll);
    assert!(all[0].webhook_secret.is_some());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_cannot_be_is_refused(db: PgPool) {
    let provider = Provider::start().await;
    let url = ["--webhook-url", "https://assistant.example"];
    let both = add(&db, &provider, &[POLL, &url].concat()).await;
    assert_eq!(both.json["error"]["code"], "foreign-option");
    let meta = [
        "line",
        "add",
        "--provider",
        "meta",
        "--phone-number-id",
        "222",
    ];
    let meta = types(&db, &[&meta[..], POLL].concat(), noon()).await;
    assert_eq!(meta.json["error"]["code"], "not-polled", "{}", meta.text);
    assert!(stored::list(&db).await.unwrap().is_empty());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn once_removed_it_begins_anew_when_it_is_added_again(db: PgPool) {
    let provider = Provider::start().await;
    assert!(add(&db, &provider, POLL).await.good);
    let id = stored::all(&db).await.unwrap()[0].id;
    let cursor = Cursor::beginning(noon());
    cursor::write(&db, id, cursor).await.unwrap();
    let removed = types(&db, &["line", "remove", "333", "--yes"], noon()).await;
    assert!(
        removed.text.contains("333 --delivery poll"),
        "{}",
        removed.text
    );
    assert!(stored::all(&db).await.unwrap().is_empty());
    // A look that was under way comes to its end.
    cursor::write(&db, id, cursor).await.unwrap();
    cursor::looked(&db, id, noon()).await.unwrap();
    assert!(add(&db, &provider, POLL).await.good);
    assert_eq!(stored::all(&db).await.unwrap()[0].id, id);
    assert_eq!(cursor::read(&db, id).await.unwrap(), None);
    assert!(listed(&db).await.0["messages"]["polled_at"].is_null());
}
