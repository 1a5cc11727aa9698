//! A call of somebody we know: it opens their 24 hours, and what is held goes out.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sqlx::PgPool;

use super::{
    desk::Desk,
    support::{LIMITS, NUMBER, noon, sealer, text},
};
use crate::{
    id::TenantId,
    outbox::{self, Class, Draft},
    whatsapp::outgoing::Outgoing,
    worker::Progress,
};

async fn rings(desk: &Desk, id: &str, from: &str, at: DateTime<Utc>) {
    let call = json!({ "id": id, "from": from, "to": "15550783881", "event": "connect",
                       "direction": "USER_INITIATED", "timestamp": at.timestamp().to_string() });
    let value = json!({ "metadata": { "phone_number_id": NUMBER }, "calls": [call] });
    let entry = json!({ "id": "1", "changes": [{ "field": "calls", "value": value }] });
    let body = json!({ "object": "whatsapp_business_account", "entry": [entry] });
    let body = serde_json::to_vec(&body).unwrap();
    assert_eq!(desk.site.receive(body).await, 200);
    while desk.routing.step().await.unwrap() == Progress::Worked {}
}

async fn state(db: &PgPool) -> String {
    let state = sqlx::query_scalar!("select state from outbox");
    state.fetch_one(db).await.unwrap()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_call_releases_what_is_held_and_begins_no_turn(db: PgPool) {
    let desk = Desk::new(&db, LIMITS).await;
    desk.receive(&[text("wamid.1", "hello")]).await;
    let person = sqlx::query_scalar!(r#"select id as "id: TenantId" from tenant"#);
    let person = person.fetch_one(&db).await.unwrap();
    let draft = Draft {
        key: "reminder".to_owned(),
        class: Class::Proactive,
        message: Outgoing::text("your train leaves"),
    };
    let mut conn = db.acquire().await.unwrap();
    let queued = outbox::enqueue(&mut conn, &sealer(), person, None, &[draft], noon()).await;
    assert_eq!(queued.unwrap(), 1);
    drop(conn);
    sqlx::query!("update outbox set state = 'held'")
        .execute(&db)
        .await
        .unwrap();
    desk.routing.clock.advance(TimeDelta::days(2));
    let now = desk.routing.clock.now();

    rings(&desk, "wacid.0", "16505550000", now).await;
    assert_eq!(state(&db).await, "held", "that was somebody else");
    assert_eq!(desk.tenants("active").await, 1, "and nobody is made");
    rings(&desk, "wacid.1", "16505551234", now).await;
    assert_eq!(state(&db).await, "queued");
    let heard = sqlx::query_scalar!("select last_inbound_at from tenant");
    assert_eq!(heard.fetch_one(&db).await.unwrap(), Some(now));
    let expected = [("call".to_owned(), 2), ("waiting".to_owned(), 1)];
    assert_eq!(desk.outcomes().await, expected);
}
