//! People who are asked first: nothing is made and nothing read until they agree.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{
    desk::Desk,
    support::{LIMITS, noon, of_type, opener, text},
};
use crate::{
    copy,
    id::TenantId,
    inbox,
    line::policy::{Consent, Notice},
    outbox::Body,
    tenant,
};

/// A desk that asks, and has its notice in the question.
async fn desk(db: &PgPool) -> Desk {
    let mut desk = Desk::new(db, LIMITS).await;
    desk.routing.policy.consent = Consent::Button;
    desk.routing.policy.notice = Notice::On;
    desk
}

fn tap(id: &str, title: &str) -> Value {
    let reply = json!({ "type": "button_reply", "button_reply": { "id": "0", "title": title } });
    of_type(id, "interactive", reply)
}

async fn status(db: &PgPool) -> String {
    let status = sqlx::query_scalar!("select status from tenant");
    status.fetch_one(db).await.unwrap()
}

async fn person(db: &PgPool) -> TenantId {
    let person = sqlx::query_scalar!(r#"select id as "id: TenantId" from tenant"#);
    person.fetch_one(db).await.unwrap()
}

/// What we said, as words.
async fn said(db: &PgPool) -> Vec<String> {
    let rows = sqlx::query_as!(
        Body,
        r#"select type as kind, body as "sealed!" from outbox order by seq"#
    );
    let rows = rows.fetch_all(db).await.unwrap();
    let told = rows.iter().map(|body| body.open(&opener()).unwrap().told());
    told.collect()
}

fn question() -> String {
    format!(
        "{}\n[Buttons] {} | {}",
        copy::ask_consent(None, None),
        copy::AGREE,
        copy::DECLINE
    )
}

async fn due(desk: &Desk) -> usize {
    let now = desk.routing.clock.now();
    let due = inbox::waiting_tenants(&desk.db, &[], now, 10).await;
    due.unwrap().len()
}

async fn count(db: &PgPool, query: &'static str) -> i64 {
    let row = sqlx::raw_sql(query).fetch_one(db).await.unwrap();
    sqlx::Row::get(&row, 0)
}

const BODIES: &str = "select count(*) from inbox where body is not null and done_at is null";

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nothing_is_made_until_they_agree_and_then_what_they_wrote_is_asked(db: PgPool) {
    let desk = desk(&db).await;
    desk.receive(&[text("wamid.1", "hello"), text("wamid.2", "are you there?")])
        .await;
    assert_eq!(status(&db).await, "undecided");
    assert_eq!(said(&db).await, [question()], "asked once");
    assert_eq!(due(&desk).await, 0);
    let made = "select (select count(*) from sandbox) + (select count(*) from reminder)
                     + (select count(*) from tenant where name is not null)";
    assert_eq!(count(&db, made).await, 0);
    assert_eq!(tenant::count(&db).await.unwrap(), 0, "they take no place");
    let queues = inbox::figures::queues(&db).await.unwrap();
    assert_eq!(queues.waiting, 0, "nobody waits for us");

    desk.receive(&[tap("wamid.3", copy::AGREE)]).await;
    assert_eq!(status(&db).await, "active");
    assert_eq!(due(&desk).await, 1);
    assert_eq!(count(&db, BODIES).await, 2, "both messages");
    assert_eq!(
        said(&db).await.len(),
        1,
        "their answer is what they hear next"
    );
    assert_eq!(count(&db, "select count(*) from reminder").await, 1);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn their_own_words_do_as_well_as_the_button_and_others_do_not(db: PgPool) {
    let desk = desk(&db).await;
    desk.receive(&[text("wamid.0", "hello")]).await;
    for (n, words) in ["yes", "I agree with you", "no", "ok"].iter().enumerate() {
        desk.receive(&[text(&format!("wamid.x{n}"), words)]).await;
        assert_eq!(status(&db).await, "undecided", "{words}");
    }
    let mut passed_on = text("wamid.f", copy::AGREE);
    passed_on["context"] = json!({ "forwarded": true });
    desk.receive(&[passed_on]).await;
    assert_eq!(status(&db).await, "undecided", "somebody else's words");
    desk.receive(&[text("wamid.y", " i agree. ")]).await;
    assert_eq!(status(&db).await, "active");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_somebody_wrote_who_declines_is_gone_and_they_may_think_again(db: PgPool) {
    let desk = desk(&db).await;
    desk.receive(&[text("wamid.1", "hello")]).await;
    desk.receive(&[tap("wamid.2", copy::DECLINE)]).await;
    assert_eq!(count(&db, BODIES).await, 0);
    let kept = "select count(*) from inbox where provider_id = 'wamid.1' and body is not null";
    assert_eq!(count(&db, kept).await, 0);
    desk.receive(&[text("wamid.3", "and yet")]).await;
    assert_eq!(said(&db).await, [question(), copy::DECLINED.to_owned()]);
    let kept = "select count(*) from inbox where provider_id = 'wamid.3' and body is not null";
    assert_eq!(count(&db, kept).await, 0, "they said no");
    desk.receive(&[tap("wamid.4", copy::DECLINE)]).await;
    assert_eq!(said(&db).await.len(), 2, "told once a day");

    desk.routing.clock.advance(TimeDelta::days(1));
    desk.receive(&[text("wamid.5", "hello again")]).await;
    assert_eq!(said(&db).await.len(), 3, "another day, asked again");
    desk.receive(&[tap("wamid.6", copy::AGREE)]).await;
    assert_eq!(
        (status(&db).await.as_str(), due(&desk).await),
        ("active", 1)
    );
    assert_eq!(count(&db, BODIES).await, 1);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_old_button_counts_after_a_no(db: PgPool) {
    let desk = desk(&db).await;
    desk.receive(&[text("wamid.1", "hello")]).await;
    desk.receive(&[tap("wamid.2", copy::DECLINE)]).await;
    desk.receive(&[tap("wamid.3", copy::AGREE)]).await;
    assert_eq!(status(&db).await, "active");
    assert_eq!(
        said(&db).await[2],
        copy::AGREED,
        "nothing waits to be asked"
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_waits_too_long_for_a_yes_is_thrown_away(db: PgPool) {
    let desk = desk(&db).await;
    desk.receive(&[text("wamid.1", "hello")]).await;
    let (before, now) = (noon(), noon() + TimeDelta::days(7));
    let ended = inbox::leave::end_undecided(&db, before, now, 10).await;
    assert_eq!(ended.unwrap(), 0, "not yet");
    let before = noon() + TimeDelta::seconds(1);
    let ended = inbox::leave::end_undecided(&db, before, now, 10).await;
    assert_eq!(ended.unwrap(), 1);
    assert_eq!(
        count(&db, "select count(*) from inbox where body is not null").await,
        0
    );
    assert_eq!(desk.outcomes().await, [("undecided".to_owned(), 1)]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn neither_stop_and_start_nor_an_operator_agrees_for_them(db: PgPool) {
    let desk = desk(&db).await;
    desk.receive(&[text("wamid.1", "hello")]).await;
    desk.receive(&[text("wamid.2", "STOP")]).await;
    assert_eq!(status(&db).await, "opted_out");
    desk.receive(&[text("wamid.3", "START")]).await;
    assert_eq!(status(&db).await, "undecided");
    let id = person(&db).await;
    assert!(tenant::suspend(&db, id).await.unwrap());
    assert!(tenant::resume(&db, id).await.unwrap());
    assert_eq!(status(&db).await, "undecided");
    desk.receive(&[text("wamid.4", "I agree")]).await;
    assert!(tenant::suspend(&db, id).await.unwrap());
    assert!(tenant::resume(&db, id).await.unwrap());
    assert_eq!(status(&db).await, "active");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn who_agreed_under_a_new_name_has_agreed(db: PgPool) {
    let desk = desk(&db).await;
    desk.receive(&[text("wamid.1", "hello")]).await;
    let older = person(&db).await;
    let mut yes = text("wamid.2", copy::AGREE);
    yes["from_user_id"] = json!("US.2");
    yes["from"] = json!("");
    let mut hello = yes.clone();
    hello["id"] = json!("wamid.3");
    hello["text"]["body"] = json!("hello");
    desk.receive(&[hello, yes]).await;
    let newer =
        sqlx::query_scalar!(r#"select id as "id: TenantId" from tenant where status = 'active'"#);
    let newer = newer.fetch_one(&db).await.unwrap();
    let mut conn = db.acquire().await.unwrap();
    tenant::close_into(&mut conn, newer, older).await.unwrap();
    let one = tenant::find(&db, older).await.unwrap().unwrap();
    assert_eq!(one.status, tenant::Status::Active);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_house_that_has_filled_up_meanwhile_says_so(db: PgPool) {
    let mut desk = desk(&db).await;
    desk.receive(&[text("wamid.1", "hello")]).await;
    desk.routing.limits.tenants = 0;
    desk.routing.clock.advance(TimeDelta::days(1));
    desk.receive(&[tap("wamid.2", copy::AGREE)]).await;
    assert_eq!(status(&db).await, "undecided");
    assert_eq!(said(&db).await[1], copy::NO_ROOM);
}
