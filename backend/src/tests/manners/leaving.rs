//! STOP and START, and whoever has all of theirs deleted.

use chrono::TimeDelta;
use sqlx::PgPool;

use super::Office;
use crate::{copy, id::SandboxId, inbox, outbox::overdue, tenant, turn::End};

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_person_who_writes_stop_in_capitals_hears_one_word_and_nothing_more(db: PgPool) {
    let office = Office::open(&db).await;
    office.writes("hello").await;
    let turn = office.opens_a_turn().await;
    office.writes("and this").await;
    office.queues("your train leaves").await;

    assert_eq!(office.writes("STOP").await, "opt_out");
    assert_eq!(office.status().await, "opted_out");
    assert!(office.is_to_stop(&turn).await);
    assert!(office.ends(&turn, End::Stopped).await);
    office.queues("a late answer").await;
    assert_eq!(office.sends().await, [copy::OPTED_OUT]);

    for words in ["hello?", "/help", "/stop", "STOP", "delete my data"] {
        assert_eq!(office.writes(words).await, "opted_out", "{words}");
    }
    let now = office.desk.routing.clock.now();
    let waiting = inbox::waiting_tenants(&db, &[], now, 10).await.unwrap();
    assert!(waiting.is_empty() && office.sends().await.is_empty());
    assert_eq!(overdue::silence(&db, now).await.unwrap(), 1);

    assert_eq!(office.writes("START").await, "opt_in");
    assert_eq!(office.status().await, "active");
    assert_eq!(
        office.sends().await,
        [copy::OPTED_IN],
        "and nothing of before"
    );
    assert_eq!(office.writes("hello again").await, "waiting");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_heartbeat_that_runs_when_its_person_leaves_says_nothing(db: PgPool) {
    let office = Office::open(&db).await;
    office.writes("hello").await;
    let turn = office.opens_a_turn().await;
    sqlx::query!("update turn set trigger = 'heartbeat'")
        .execute(&db)
        .await
        .unwrap();
    assert_eq!(office.writes("/stop").await, "stop");
    assert!(!office.is_to_stop(&turn).await, "nobody knows of it");
    office.writes("STOP").await;
    assert!(office.is_to_stop(&turn).await);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_suspended_person_commands_nothing(db: PgPool) {
    let office = Office::open(&db).await;
    office.writes("hello").await;
    tenant::suspend(&db, office.person().await).await.unwrap();
    for words in ["/help", "STOP", "START", "/stop", "delete my data"] {
        assert_eq!(office.writes(words).await, "refused", "{words}");
    }
    assert!(office.desk.said().await.is_empty());
    assert_eq!(office.status().await, "suspended");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nothing_is_deleted_without_the_word_that_was_asked_for(db: PgPool) {
    let office = Office::open(&db).await;
    assert_eq!(office.writes("DELETE").await, "waiting", "nobody asked");
    assert_eq!(office.writes("delete my data").await, "delete_asked");
    assert_eq!(office.desk.said().await, [copy::confirm_deletion()]);
    assert_eq!(office.writes("yes").await, "waiting");
    assert_eq!(office.writes("delete").await, "waiting");
    office.later(TimeDelta::minutes(10));
    assert_eq!(office.writes("DELETE").await, "waiting", "too late");
    office.lets_go().await;
    assert_eq!(office.status().await, "active");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn who_has_it_all_deleted_hears_so_is_gone_and_may_come_anew(db: PgPool) {
    let office = Office::open(&db).await;
    office.writes("remember the milk").await;
    let turn = office.opens_a_turn().await;
    office.writes("Delete my data.").await;
    office.queues("your train leaves").await;
    assert_eq!(office.writes("DELETE").await, "delete_confirmed");
    let (person, sandbox) = (office.person().await, turn.sandbox);
    assert!(office.is_to_stop(&turn).await);
    assert_eq!(office.writes("START").await, "opted_out", "it is decided");

    office.lets_go().await;
    assert_eq!(
        office.status().await,
        "opted_out",
        "our last word is not out"
    );
    assert_eq!(office.sends().await, [copy::DELETED]);
    office.lets_go().await;
    assert_eq!(office.status().await, "opted_out", "the agent still works");
    assert!(office.ends(&turn, End::Stopped).await);
    office.lets_go().await;

    assert_eq!(office.status().await, "erased");
    let left = sqlx::query_scalar!(
        r#"select (select count(*) from tenant_address) + (select count(*) from outbox)
                + (select count(*) from turn) + (select count(*) from reminder)
                + (select count(*) from inbox where body is not null) as "left!""#
    );
    assert_eq!(left.fetch_one(&db).await.unwrap(), 0);
    assert_eq!(intent(&db, sandbox).await, "gone");
    let event = sqlx::query!("select kind, actor, tenant_id from event");
    let event = event.fetch_one(&db).await.unwrap();
    assert_eq!(
        (event.kind.as_str(), event.actor.as_str()),
        ("erase", "the person")
    );
    assert_eq!(event.tenant_id, Some(person.0));

    assert_eq!(office.writes("hello").await, "waiting");
    assert_ne!(office.person().await, person, "somebody new");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn whatsapp_being_away_keeps_nobody_who_wants_to_go(db: PgPool) {
    let office = Office::open(&db).await;
    office.writes("delete my data").await;
    office.writes("DELETE").await;
    office.later(TimeDelta::minutes(9));
    office.lets_go().await;
    assert_eq!(office.status().await, "opted_out");
    office.later(TimeDelta::minutes(1));
    office.lets_go().await;
    assert_eq!(office.status().await, "erased");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn who_left_under_a_new_name_has_left_under_the_old_one_too(db: PgPool) {
    let office = Office::open(&db).await;
    office.writes("hello").await;
    let older = office.person().await;
    let mut stop = office.next("STOP");
    stop["from_user_id"] = "US.2".into();
    stop["from"] = "".into();
    office.receives(&[&stop]).await;
    let newer = office.person().await;
    assert_ne!(newer, older);
    let mut conn = db.acquire().await.unwrap();
    tenant::close_into(&mut conn, newer, older).await.unwrap();
    assert_eq!(office.writes("hello?").await, "opted_out");
}

async fn intent(db: &PgPool, sandbox: SandboxId) -> String {
    let intent = sqlx::query_scalar!("select intent from sandbox where id = $1", sandbox.0);
    intent.fetch_one(db).await.unwrap()
}
