//! A number's webhooks are sent to where we are reached now.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::{line::Folder, noon, types};
use crate::tests::provider::{Provider, SECRET, TOKEN, WORD};

/// Adds a number: of Meta's with its word, of Kapso's with its secret.
async fn added(db: &PgPool, provider: &Provider, whose: &str) {
    let folder = Folder::new();
    let (token, secret, word) = (folder.of(TOKEN), folder.of(SECRET), folder.of(WORD));
    let [meta, kapso] = provider.settings();
    let secrets = match whose {
        "meta" => vec![
            "--access-token-file",
            &token,
            "--app-secret-file",
            &secret,
            "--verification-token-file",
            &word,
        ],
        _ => vec!["--api-key-file", &token, "--webhook-secret-file", &secret],
    };
    let number = [
        "line",
        "add",
        "--provider",
        whose,
        "--phone-number-id",
        "222",
    ];
    let words = [&number[..], &secrets, &[&meta, &kapso]].concat();
    let said = types(db, &words, noon()).await;
    assert!(said.good, "{}", said.text);
}

async fn told(db: &PgPool, provider: &Provider, url: &str) -> Result<Value, String> {
    let [meta, kapso] = provider.settings();
    let words = [
        "line", "webhook", "222", "--url", url, "--as", "ana", &meta, &kapso,
    ];
    let said = types(db, &words, noon()).await;
    assert!(!said.text.contains(SECRET) && !said.text.contains(WORD));
    match said.good {
        true => Ok(said.json),
        false => Err(said.text),
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn meta_posts_a_numbers_webhooks_where_it_is_told_to(db: PgPool) {
    let provider = Provider::start().await;
    added(&db, &provider, "meta").await;
    let done = told(&db, &provider, "https://a.example").await.unwrap();
    assert_eq!(done["url"], "https://a.example/whatsapp/webhook");
    let expected = json!({ "override_callback_uri": "https://a.example/whatsapp/webhook",
                           "verify_token": WORD });
    assert_eq!(provider.webhooks(), [expected]);
    let kind = sqlx::query_scalar!("select kind from event order by id desc limit 1");
    assert_eq!(kind.fetch_one(&db).await.unwrap(), "line_webhook");

    let why = told(&db, &provider, "http://a.example").await.unwrap_err();
    assert!(why.contains("/whatsapp/webhook"), "{why}");
    assert_eq!(provider.webhooks().len(), 1);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn kapso_has_one_webhook_for_an_address_however_often_it_is_told(db: PgPool) {
    let provider = Provider::start().await;
    added(&db, &provider, "kapso").await;
    for changed in [false, true] {
        let done = told(&db, &provider, "https://a.example/kapso/webhook").await;
        assert_eq!(done.unwrap()["changed"], changed);
    }
    let webhooks = provider.webhooks();
    assert_eq!(webhooks.len(), 1);
    assert_eq!(webhooks[0]["url"], "https://a.example/kapso/webhook");
    assert_eq!(webhooks[0]["secret_key"], SECRET);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_provider_that_does_not_reach_the_address_says_so(db: PgPool) {
    let provider = Provider::start().await;
    added(&db, &provider, "meta").await;
    let folder = Folder::new();
    let other = folder.of("another-word");
    let [meta, kapso] = provider.settings();
    let words = ["line", "webhook", "222", "--url", "https://a.example"];
    let words = [
        &words[..],
        &["--verification-token-file", &other, &meta, &kapso],
    ]
    .concat();
    let said = types(&db, &words, noon()).await;
    assert!(!said.good && said.text.contains("2200"), "{}", said.text);
    assert!(provider.webhooks().is_empty());
}
