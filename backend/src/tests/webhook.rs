//! 200 means stored, once, sealed; a forged body stores nothing; authentic rubbish is kept.

use serde_json::json;
use sqlx::PgPool;

use super::support::{NUMBER, Site, opener, seed_line, sign, sign_with, text, webhook};
use crate::http::MAX_BODY_BYTES;

struct Stored {
    kind: String,
    provider_id: String,
    has_line: bool,
    body: String,
}

/// Every row, in order, with its body opened.
async fn stored(db: &PgPool) -> Vec<Stored> {
    let rows = sqlx::query!("select kind, provider_id, line_id, body from inbox order by id")
        .fetch_all(db)
        .await
        .unwrap();
    let open = |sealed: Option<Vec<u8>>| opener().open(&sealed.unwrap()).unwrap();
    rows.into_iter()
        .map(|row| Stored {
            kind: row.kind,
            provider_id: row.provider_id,
            has_line: row.line_id.is_some(),
            body: String::from_utf8_lossy(&open(row.body)).into_owned(),
        })
        .collect()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn meta_registers_the_webhook_only_with_our_word(db: PgPool) {
    let site = Site::start(&db).await;
    let ask = |token| {
        [
            ("hub.mode", "subscribe"),
            ("hub.verify_token", token),
            ("hub.challenge", "1158201444"),
        ]
    };
    assert_eq!(
        site.verify(&ask("verify-me")).await,
        (200, "1158201444".to_owned())
    );
    assert_eq!(site.verify(&ask("guess")).await.0, 403);
    assert_eq!(site.verify(&ask("")).await.0, 403);
    assert_eq!(site.verify(&[]).await.0, 403);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn without_a_line_of_metas_there_is_no_word_that_lets_anybody_in(db: PgPool) {
    let site = Site::with_secrets(&db, ["", "kapso-secret", ""]).await;
    let asked = [("hub.mode", "subscribe"), ("hub.challenge", "1158201444")];
    assert_eq!(site.verify(&asked).await.0, 403);
    let body = webhook(&[text("wamid.1", "hello")]);
    let of_no_secret = sign_with("", &body);
    assert_eq!(site.post(body, Some(&of_no_secret)).await, 403);
    assert!(stored(&db).await.is_empty());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_repeated_webhook_is_answered_but_stored_once(db: PgPool) {
    seed_line(&db).await;
    let site = Site::start(&db).await;
    let body = webhook(&[text("wamid.1", "hello"), text("wamid.2", "again")]);
    let five = (0..5).map(|_| site.receive(body.clone()));
    assert_eq!(futures_util::future::join_all(five).await, [200; 5]);

    let rows = stored(&db).await;
    assert_eq!(
        rows.iter()
            .map(|row| &row.provider_id[..])
            .collect::<Vec<_>>(),
        ["wamid.1", "wamid.2"]
    );
    assert!(rows.iter().all(|row| row.has_line && row.kind == "message"));
    assert!(rows[0].body.contains("hello"), "{}", rows[0].body);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_is_stored_cannot_be_read_in_the_database(db: PgPool) {
    seed_line(&db).await;
    Site::start(&db)
        .await
        .receive(webhook(&[text("wamid.1", "my secret")]))
        .await;
    let row = sqlx::query!("select body from inbox")
        .fetch_one(&db)
        .await
        .unwrap();
    assert!(!String::from_utf8_lossy(&row.body.unwrap()).contains("my secret"));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_forged_body_stores_nothing(db: PgPool) {
    seed_line(&db).await;
    let site = Site::start(&db).await;
    let body = webhook(&[text("wamid.1", "hell\u{f6}")]);
    let good = sign(&body);
    let digest = &good["sha256=".len()..];
    let re_encoded = sign(
        String::from_utf8(body.clone())
            .unwrap()
            .replace('\u{f6}', "\\u00f6")
            .as_bytes(),
    );
    let forged = [
        String::new(),
        "sha256=".to_owned(),
        digest.to_owned(),
        format!("sha1={digest}"),
        format!("sha256={}", digest.to_uppercase()),
        format!("sha256={}", &digest[..62]),
        format!("sha256={digest}00"),
        format!("sha256={}", "0".repeat(64)),
        re_encoded,
    ];
    assert_eq!(
        site.post(body.clone(), None).await,
        403,
        "without a signature"
    );
    for signature in &forged {
        assert_eq!(
            site.post(body.clone(), Some(signature)).await,
            403,
            "{signature}"
        );
    }
    assert!(stored(&db).await.is_empty());
    assert_eq!(site.post(body, Some(&good)).await, 200);
    assert_eq!(stored(&db).await.len(), 1);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn three_megabytes_are_taken_and_one_byte_more_is_not(db: PgPool) {
    seed_line(&db).await;
    let site = Site::start(&db).await;
    let sized = |size: usize| {
        let mut body = webhook(&[text("wamid.1", "big")]);
        body.resize(size, b' ');
        body
    };
    assert_eq!(site.receive(sized(MAX_BODY_BYTES + 1)).await, 413);
    assert!(stored(&db).await.is_empty());
    assert_eq!(site.receive(sized(MAX_BODY_BYTES)).await, 200);
    assert_eq!(stored(&db).await.len(), 1);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn authentic_rubbish_is_answered_200_and_kept_beside_its_good_siblings(db: PgPool) {
    seed_line(&db).await;
    let site = Site::start(&db).await;
    for rubbish in [
        &b"{"[..],
        b"",
        b"[]",
        b"null",
        b"\xff\xfe",
        br#"{"entry":7}"#,
    ] {
        assert_eq!(site.receive(rubbish).await, 200);
    }
    let kept = stored(&db).await;
    assert!(kept.iter().all(|row| row.kind == "unknown"));
    assert_eq!(kept.len(), 6);

    let bad = json!({ "id": 7, "type": ["x"], "text": { "body": 1 } });
    let mixed = webhook(&[bad, text("wamid.\u{0}", "nul"), text("wamid.3", "good")]);
    let lone = String::from_utf8(mixed)
        .unwrap()
        .replace("good", "good \\ud83d");
    assert_eq!(site.receive(lone).await, 200);
    let rows = stored(&db).await;
    assert_eq!(rows.len(), 9);
    assert!(
        rows.iter()
            .any(|row| row.provider_id == "wamid.3" && row.body.contains("good"))
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_thousand_updates_in_one_body_are_all_stored(db: PgPool) {
    seed_line(&db).await;
    let messages: Vec<_> = (0..1_000)
        .map(|n| text(&format!("wamid.{n}"), "hi"))
        .collect();
    assert_eq!(
        Site::start(&db).await.receive(webhook(&messages)).await,
        200
    );
    let rows = stored(&db).await;
    let ids: Vec<_> = rows.iter().map(|row| row.provider_id.clone()).collect();
    assert_eq!(
        ids,
        (0..1_000).map(|n| format!("wamid.{n}")).collect::<Vec<_>>()
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_update_for_a_number_that_is_not_ours_is_kept_without_a_line(db: PgPool) {
    seed_line(&db).await;
    let body = String::from_utf8(webhook(&[text("wamid.1", "hi")])).unwrap();
    let site = Site::start(&db).await;
    assert_eq!(site.receive(body.replace(NUMBER, "999")).await, 200);
    assert!(!stored(&db).await[0].has_line);
}
