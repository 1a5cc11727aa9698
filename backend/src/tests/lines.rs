//! Several lines at once: whose webhooks are heard, and who may speak for whom.

use chrono::TimeDelta;
use secrecy::SecretString;
use sqlx::PgPool;

use super::support::{
    NUMBER, Site, master, noon, opener, seed_line, sign, sign_with, text, webhook,
};
use crate::{
    app,
    http::secrets::Secrets,
    id::LineId,
    lifecycle::Shutdown,
    line::{
        self, Line, Lines,
        stored::{self, Added},
        template::Templates,
    },
    seal::Sealer,
    whatsapp::provider::{Api, Provider},
};

const OTHER: &str = "222";
const OTHER_SECRET: &str = "other-app-secret";

/// As `clawkaka line add` stores it.
async fn add(db: &PgPool, number: &str, secret: &str) -> LineId {
    let web = Sealer::new(master().webhook_key().sealing_key());
    let worker = Sealer::new(master().sealing_key());
    let mut tx = db.begin().await.unwrap();
    stored::change(&mut tx).await.unwrap();
    let line = Added {
        provider: Provider::Meta,
        phone_number_id: number,
        access_token: worker.seal(b"token"),
        webhook_secret: Some(web.seal(secret.as_bytes())),
        verification_token: Some(web.seal(b"other word")),
        delivery: line::Delivery::Webhook,
    };
    let id = stored::add(&mut *tx, line).await.unwrap();
    tx.commit().await.unwrap();
    id
}

async fn remove(db: &PgPool, line: LineId) {
    let mut tx = db.begin().await.unwrap();
    stored::change(&mut tx).await.unwrap();
    assert!(stored::remove(&mut *tx, line, noon()).await.unwrap());
    tx.commit().await.unwrap();
}

/// A message to the other number.
fn to_other(id: &str) -> Vec<u8> {
    let body = String::from_utf8(webhook(&[text(id, "hello")])).unwrap();
    body.replace(NUMBER, OTHER).into_bytes()
}

/// On which lines there is something, in order of arrival.
async fn on_lines(db: &PgPool) -> Vec<Option<LineId>> {
    sqlx::query_scalar!(r#"select line_id as "line: LineId" from inbox order by id"#)
        .fetch_all(db)
        .await
        .unwrap()
}

async fn refresh(site: &Site, db: &PgPool) {
    site.secrets.set_added(&stored::all(db).await.unwrap());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_added_line_is_heard_and_a_removed_one_answered_for_a_week_without_waking_anybody(
    db: PgPool,
) {
    seed_line(&db).await;
    let site = Site::start(&db).await;
    let post = async |id: &str| {
        let body = to_other(id);
        let signature = sign_with(OTHER_SECRET, &body);
        site.post(body, Some(&signature)).await
    };
    let asked = [
        ("hub.mode", "subscribe"),
        ("hub.verify_token", "other word"),
        ("hub.challenge", "1158201444"),
    ];
    assert_eq!(post("wamid.1").await, 403, "nobody knows it yet");
    assert_eq!(site.verify(&asked).await.0, 403);

    let line = add(&db, OTHER, OTHER_SECRET).await;
    refresh(&site, &db).await;
    assert_eq!(post("wamid.1").await, 200);
    assert_eq!(on_lines(&db).await, [Some(line)]);
    assert_eq!(site.verify(&asked).await.0, 200);

    remove(&db, line).await;
    refresh(&site, &db).await;
    assert_eq!(post("wamid.2").await, 200, "or Meta repeats it for days");
    assert_eq!(on_lines(&db).await, [Some(line), None]);
    assert_eq!(site.verify(&asked).await.0, 403);
    let row = sqlx::query!(
        "select access_token from line where id = $1",
        line as LineId
    )
    .fetch_one(&db)
    .await
    .unwrap();
    assert!(
        row.access_token.is_none(),
        "what it sent with is gone at once"
    );

    let later = noon() + TimeDelta::days(7);
    assert_eq!(stored::forget(&db, later).await.unwrap(), 0);
    assert_eq!(
        stored::forget(&db, later + TimeDelta::days(1))
            .await
            .unwrap(),
        1
    );
    refresh(&site, &db).await;
    assert_eq!(post("wamid.3").await, 403);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_owner_of_one_app_cannot_write_as_somebody_on_a_line_of_another(db: PgPool) {
    let ours = seed_line(&db).await;
    let site = Site::start(&db).await;
    let line = add(&db, OTHER, OTHER_SECRET).await;
    refresh(&site, &db).await;

    // Either way round, and beside a message of their own.
    assert_eq!(site.receive(to_other("wamid.1")).await, 200);
    let body = webhook(&[text("wamid.2", "hello")]);
    let of_other = sign_with(OTHER_SECRET, &body);
    assert_eq!(site.post(body, Some(&of_other)).await, 200);
    assert_eq!(on_lines(&db).await, [None, None], "kept, as of no line");

    let body = to_other("wamid.1");
    let right = sign_with(OTHER_SECRET, &body);
    assert_eq!(site.post(body, Some(&right)).await, 200);
    assert_eq!(
        site.receive(webhook(&[text("wamid.2", "hello")])).await,
        200
    );
    let all = on_lines(&db).await;
    assert_eq!(
        all[2..],
        [Some(line), Some(ours)],
        "the forgery is not taken for a repeat"
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn two_numbers_of_one_app_are_both_heard(db: PgPool) {
    let ours = seed_line(&db).await;
    let site = Site::start(&db).await;
    let body = to_other("wamid.1");
    let signature = sign(&body);
    let line = add(&db, OTHER, super::support::APP_SECRET).await;
    refresh(&site, &db).await;
    assert_eq!(site.post(body, Some(&signature)).await, 200);
    assert_eq!(
        site.receive(webhook(&[text("wamid.2", "hello")])).await,
        200
    );
    assert_eq!(on_lines(&db).await, [Some(line), Some(ours)]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn without_its_key_web_knows_the_lines_of_the_environment_only(db: PgPool) {
    add(&db, OTHER, OTHER_SECRET).await;
    let secrets = Secrets::of(std::iter::empty(), None);
    secrets.set_added(&stored::all(&db).await.unwrap());
    let body = to_other("wamid.1");
    let signature = sign_with(OTHER_SECRET, &body);
    assert!(
        secrets
            .prove(Provider::Meta, Some(&signature), &body)
            .is_none()
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_worker_follows_what_is_added_changed_and_removed_without_a_restart(db: PgPool) {
    let named = seed_line(&db).await;
    let api = Api {
        provider: Provider::Meta,
        base_url: "http://127.0.0.1:9".parse().unwrap(),
        version: "v24.0".to_owned(),
    };
    let lines = Lines::of([Line {
        id: named,
        api: api.clone(),
        phone_number_id: NUMBER.to_owned(),
        access_token: SecretString::from("of the environment"),
        delivery: line::Delivery::Webhook,
        poll_every: None,
        templates: Templates::default(),
    }]);
    let shutdown = Shutdown::default();
    let (held, opener) = (lines.clone(), opener());
    app::follow_lines(&db, &shutdown, move |stored| {
        let stored = stored.iter().filter(|line| !line.removed);
        held.set_added(stored.map(|line| Line::open(&opener, &api, line).unwrap()));
    })
    .await
    .unwrap();
    let mut changes = lines.changes();

    let line = add(&db, OTHER, OTHER_SECRET).await;
    changes.next().await;
    assert_eq!(lines.get(line).unwrap().phone_number_id, OTHER);
    assert_eq!(lines.ids().len(), 2);

    remove(&db, line).await;
    // At once, whatever this process knows by now.
    let open = line::list_open(&db, &[named, line], noon()).await.unwrap();
    assert_eq!(open, [named]);
    changes.next().await;
    assert!(lines.get(line).is_none());
    assert_eq!(lines.ids(), [named]);
    shutdown.stop();
}
