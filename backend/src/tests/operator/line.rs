//! A number is added once its provider takes its secrets, is listed and tried, and goes again without
//! anybody on it.

use std::path::PathBuf;

use serde_json::json;
use sqlx::PgPool;

use super::{Desk, noon, types};
use crate::{
    http::secrets,
    line::{
        self, Until,
        stored::{self, MAX_LINES},
    },
    operator::answer::Answer,
    outbox::claim,
    seal::Opener,
    tests::{
        provider::{Provider, SECRET, TOKEN},
        support::{NUMBER, master, opener, text},
    },
};
use secrecy::ExposeSecret;

/// Files of secrets, gone with the test.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let folder = std::env::temp_dir().join(uuid::Uuid::now_v7().to_string());
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    /// The path of a file with this in it.
    pub fn of(&self, secret: &str) -> String {
        let file = self.0.join(uuid::Uuid::now_v7().to_string());
        std::fs::write(&file, format!("{secret}\n")).unwrap();
        file.display().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A line of Meta's.
async fn add(db: &PgPool, provider: &Provider, token: &str, secret: &str) -> Answer {
    let folder = Folder::new();
    let [meta, kapso] = provider.settings();
    let (token, secret) = (folder.of(token), folder.of(secret));
    let words = [
        &[
            "line",
            "add",
            "--provider",
            "meta",
            "--phone-number-id",
            "222",
        ][..],
        &["--access-token-file", &token, "--app-secret-file", &secret],
        &["--as", "ana", &meta, &kapso],
    ];
    types(db, &words.concat(), noon()).await
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nothing_is_stored_that_the_provider_refuses(db: PgPool) {
    let provider = Provider::start().await;
    for (token, secret, code) in [("bad", SECRET, "token"), (TOKEN, "bad", "app-secret")] {
        let said = add(&db, &provider, token, secret).await;
        assert!(!said.good, "{}", said.text);
        assert!(said.text.contains("Nothing was stored"), "{}", said.text);
        let checks = said.json["checks"].as_array().unwrap();
        let failed = checks.iter().find(|one| one["result"] == "fail").unwrap();
        assert_eq!(failed["code"], code, "{}", said.text);
        assert!(failed["do"].as_str().unwrap().contains("clawkaka line add"));
    }
    let nowhere = Provider {
        url: "http://127.0.0.1:9".to_owned(),
        ..provider
    };
    assert!(
        !add(&db, &nowhere, TOKEN, SECRET).await.good,
        "nobody was asked"
    );
    assert!(stored::list(&db).await.unwrap().is_empty());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_added_line_lies_sealed_and_each_role_opens_its_own(db: PgPool) {
    let provider = Provider::start().await;
    let said = add(&db, &provider, TOKEN, SECRET).await;
    assert!(said.good, "{}", said.text);
    assert_eq!(said.json["new"], true);
    let word = said.json["verification_token"].as_str().unwrap();
    assert!(
        said.text.contains(word),
        "the dashboard asks for it: {}",
        said.text
    );

    let line = stored::all(&db).await.unwrap().remove(0);
    let web = Opener::with(master().webhook_key());
    let (secret, known) = secrets::open(&web, &line).unwrap();
    assert_eq!(secret.expose_secret(), SECRET);
    assert_eq!(known.unwrap().expose_secret(), word);
    let token = line.access_token.clone().unwrap();
    assert_eq!(opener().open(&token).unwrap(), TOKEN.as_bytes());
    assert!(web.open(&token).is_err(), "web cannot send");
    let all = [
        token,
        line.webhook_secret.unwrap(),
        line.verification_token.unwrap(),
    ]
    .concat();
    let all = String::from_utf8_lossy(&all).into_owned();
    assert!(
        ![TOKEN, SECRET, word]
            .iter()
            .any(|secret| all.contains(secret))
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn adding_again_gives_a_line_other_secrets_and_opens_it(db: PgPool) {
    let provider = Provider::start().await;
    let first = add(&db, &provider, TOKEN, SECRET).await;
    let before = stored::all(&db).await.unwrap().remove(0);
    line::block_until(&db, before.id, Until::Unblocked, "190", noon())
        .await
        .unwrap();
    let again = add(&db, &provider, TOKEN, SECRET).await;
    assert!(again.good, "{}", again.text);
    assert_eq!(again.json["new"], false);
    assert_eq!(
        again.json["verification_token"], first.json["verification_token"],
        "Meta's dashboard has it"
    );
    let all = stored::all(&db).await.unwrap();
    assert_eq!(all.len(), 1);
    assert_eq!(all[0].id, before.id);
    assert!(all[0].access_token != before.access_token);
    assert!(!line::is_blocked(&db, before.id, noon()).await.unwrap());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn kapso_is_told_once_where_to_post_however_often_the_line_is_added(db: PgPool) {
    let provider = Provider::start().await;
    let folder = Folder::new();
    let (key, [meta, kapso]) = (folder.of(TOKEN), provider.settings());
    let words = [
        &[
            "line",
            "add",
            "--provider",
            "kapso",
            "--phone-number-id",
            "333",
        ][..],
        &[
            "--api-key-file",
            &key,
            "--webhook-url",
            "https://assistant.example",
        ],
        &[&meta, &kapso],
    ]
    .concat();
    let first = types(&db, &words, noon()).await;
    assert_eq!(first.json["webhook"], "registered", "{}", first.text);
    let second = types(&db, &words, noon()).await;
    assert_eq!(second.json["webhook"], "changed", "{}", second.text);

    let webhooks = provider.webhooks();
    assert_eq!(webhooks.len(), 1, "{webhooks:?}");
    let line = stored::all(&db).await.unwrap().remove(0);
    let web = Opener::with(master().webhook_key());
    let (secret, _) = secrets::open(&web, &line).unwrap();
    assert_eq!(webhooks[0]["secret_key"], secret.expose_secret());
    assert_eq!(
        webhooks[0]["url"],
        "https://assistant.example/kapso/webhook"
    );
    assert_eq!(webhooks[0]["payload_version"], "v2");
    assert_eq!(webhooks[0]["events"].as_array().unwrap().len(), 5);
    for said in [&first, &second] {
        let all = format!("{}{}", said.text, said.json);
        assert!(!all.contains(secret.expose_secret()), "{all}");
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_line_of_the_environment_is_changed_there_and_not_by_command(db: PgPool) {
    let desk = Desk::new(&db).await;
    let named = format!("--whatsapp-sender-phone-number-id={NUMBER}");
    let add = [
        "line",
        "add",
        "--provider",
        "meta",
        "--phone-number-id",
        NUMBER,
        &named,
    ];
    let remove = ["line", "remove", NUMBER, "--yes", &named];
    for words in [&add[..], &remove] {
        let said = desk.types(words).await;
        assert!(!said.good);
        assert_eq!(
            said.json["error"]["code"], "line-of-the-environment",
            "{}",
            said.text
        );
    }
    let listed = desk.types(&["line", "list", &named]).await;
    assert_eq!(listed.json["lines"][0]["source"], "environment");
    assert_eq!(listed.json["lines"][0]["removed_at"], json!(null));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn there_is_an_end_to_how_many_secrets_web_tries(db: PgPool) {
    let provider = Provider::start().await;
    for number in 0..MAX_LINES {
        line::seed(
            &db,
            crate::whatsapp::provider::Provider::Kapso,
            &number.to_string(),
        )
        .await
        .unwrap();
    }
    let said = add(&db, &provider, TOKEN, SECRET).await;
    assert_eq!(
        said.json["error"]["code"], "too-many-lines",
        "{}",
        said.text
    );
    assert!(stored::all(&db).await.unwrap().is_empty());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_people_of_a_removed_line_stay_and_hear_nothing_more(db: PgPool) {
    let desk = Desk::new(&db).await;
    desk.receive(text("wamid.1", "hello")).await;
    desk.route().await;
    let person = desk.tenant().await;
    desk.queue(person, None, "an answer").await;
    // One more has come and nobody has looked at it yet.
    desk.receive(text("wamid.2", "are you there?")).await;
    let said = desk
        .types(&["line", "remove", NUMBER, "--yes", "--as", "ana"])
        .await;
    assert!(said.good, "{}", said.text);
    let found = (
        &said.json["people"],
        &said.json["refused_messages"],
        &said.json["queued_answers"],
    );
    assert_eq!(found, (&json!(1), &json!(1), &json!(1)), "{}", said.text);

    desk.route().await;
    let now = desk.routing.clock.now();
    let open = line::list_open(&db, &[desk.line], now).await.unwrap();
    let next = claim::next(&db, desk.worker, &open, now).await.unwrap();
    assert!(next.is_none(), "its answer must not go out");
    assert!(desk.next_turns().await.is_empty());
    let outcomes = sqlx::query_scalar!("select outcome from inbox order by id")
        .fetch_all(&db)
        .await
        .unwrap();
    assert_eq!(
        outcomes,
        [Some("refused".to_owned()), Some("unknown_line".to_owned())]
    );
    assert!(
        desk.next_to_go().await.is_some(),
        "nothing of it is deleted"
    );

    let again = desk.types(&["line", "remove", NUMBER, "--yes"]).await;
    assert_eq!((again.good, &again.json["changed"]), (true, &json!(false)));
    let listed = desk.types(&["line", "list"]).await;
    assert_eq!(listed.json["lines"][0]["source"], "removed");
    assert_eq!(listed.json["lines"][0]["people"], 1);
    assert_eq!(desk.events().await.len(), 1, "only what changed something");
    let unknown = desk.types(&["line", "remove", "999", "--yes"]).await;
    assert_eq!(unknown.json["error"]["code"], "no-such-line");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_line_is_tried_with_its_own_secrets_and_sends_one_sentence_when_asked(db: PgPool) {
    let provider = Provider::start().await;
    assert!(add(&db, &provider, TOKEN, SECRET).await.good);
    let [meta, kapso] = provider.settings();
    let test = ["line", "test", "222", "--roles=worker", &meta, &kapso];
    let said = types(&db, &test, noon()).await;
    assert!(said.good, "{}", said.text);
    let codes = |said: &Answer| {
        let checks = said.json["checks"].as_array().unwrap().iter();
        let codes = checks.map(|one| one["code"].as_str().unwrap().to_owned());
        codes.collect::<Vec<_>>()
    };
    let all = [
        "graph",
        "token",
        "token-expiry",
        "number",
        "webhook-subscription",
        "app-secret",
        "templates",
        "line",
    ];
    assert_eq!(codes(&said), all);

    let sent = [&test[..], &["--to", "+43 660 1234567"]].concat();
    let sent = types(&db, &sent, noon()).await;
    assert!(sent.good, "{}", sent.text);
    assert_eq!(codes(&sent).last().map(String::as_str), Some("send"));
    assert!(!sent.text.contains("1234567"), "{}", sent.text);

    let id = stored::all(&db).await.unwrap()[0].id;
    line::block_until(&db, id, Until::Unblocked, "190", noon())
        .await
        .unwrap();
    let said = types(&db, &test, noon()).await;
    assert!(!said.good, "{}", said.text);
    assert!(
        said.text.contains("clawkaka line add --provider meta"),
        "{}",
        said.text
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn doctor_finds_a_web_that_cannot_verify_what_was_added(db: PgPool) {
    let provider = Provider::start().await;
    assert!(add(&db, &provider, TOKEN, SECRET).await.good);
    let of_web = |key: Option<String>| {
        let url = sqlx::ConnectOptions::to_url_lossy(&*db.connect_options());
        let sealing = master().sealing_key().to_base64();
        let words = [
            "clawkaka doctor --json --roles=web --only=web-key".to_owned(),
            "--whatsapp-sender-phone-number-id=1 --whatsapp-app-secret=s".to_owned(),
            format!("--whatsapp-verification-token=v --database-url={url}"),
            format!("--sealing-key={sealing}"),
            key.map_or(String::new(), |key| format!("--webhook-key={key}")),
        ];
        let words = words.join(" ");
        let words = words.split_whitespace().map(str::to_owned);
        <super::Cli as clap::Parser>::try_parse_from(words.collect::<Vec<_>>()).unwrap()
    };
    let right = master().webhook_key().to_base64();
    let wrong = {
        use base64::{Engine, engine::general_purpose::STANDARD};
        STANDARD.encode([9; 32])
    };
    for (key, good) in [(None, false), (Some(wrong), false), (Some(right), true)] {
        let command = of_web(key).command;
        let said = crate::operator::answer(command, Vec::new(), noon());
        let said = said.await.unwrap();
        assert_eq!(said.good, good, "{}", said.text);
        assert_eq!(said.json["checks"][0]["code"], "web-key", "{}", said.text);
    }
}
