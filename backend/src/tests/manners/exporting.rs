//! Whoever wants to have what we hold of them. That they get it is shown end to end (`e2e/tests/manners.rs`).

use chrono::TimeDelta;
use sqlx::PgPool;

use super::Office;
use crate::{copy, tenant::export};

impl Office {
    async fn is_to_be_handed_over(&self) -> bool {
        let now = self.desk.routing.clock.now();
        let wish = export::next(self.db(), now).await.unwrap();
        wish.is_some_and(|wish| wish.by == now + TimeDelta::hours(1))
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nothing_is_handed_over_without_the_word_that_was_asked_for(db: PgPool) {
    let office = Office::open(&db).await;
    assert_eq!(office.writes("EXPORT").await, "waiting", "nobody asked");
    assert_eq!(office.writes("export my data").await, "export_asked");
    assert_eq!(office.desk.said().await, [copy::confirm_export()]);
    assert_eq!(office.writes("DELETE").await, "waiting", "another word");
    assert_eq!(office.writes("export").await, "waiting");
    office.later(TimeDelta::minutes(10));
    assert_eq!(office.writes("EXPORT").await, "waiting", "too late");
    assert!(!office.is_to_be_handed_over().await);

    office.writes("Export my data.").await;
    assert_eq!(office.writes("EXPORT").await, "export_confirmed");
    assert!(office.is_to_be_handed_over().await);
    assert_eq!(office.writes("EXPORT").await, "waiting", "once");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn each_word_answers_its_own_question(db: PgPool) {
    let office = Office::open(&db).await;
    office.writes("delete my data").await;
    office.writes("export my data").await;
    assert_eq!(office.writes("EXPORT").await, "export_confirmed");
    assert_eq!(office.status().await, "active");
    assert_eq!(office.writes("DELETE").await, "delete_confirmed");
    assert!(!office.is_to_be_handed_over().await, "they are gone");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn who_wants_to_hear_nothing_more_is_sent_nothing_more(db: PgPool) {
    let office = Office::open(&db).await;
    office.writes("export my data").await;
    office.writes("EXPORT").await;
    office.writes("STOP").await;
    assert!(!office.is_to_be_handed_over().await);
    office.writes("START").await;
    assert!(!office.is_to_be_handed_over().await);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_was_given_up_or_done_meanwhile_is_not_done_again(db: PgPool) {
    let office = Office::open(&db).await;
    office.writes("export my data").await;
    office.writes("EXPORT").await;
    let now = office.desk.routing.clock.now();
    let wish = export::next(&db, now).await.unwrap().unwrap();
    export::put_off(&db, wish.tenant, now + TimeDelta::seconds(1))
        .await
        .unwrap();
    assert!(export::next(&db, now).await.unwrap().is_none());
    assert!(export::end(&db, wish).await.unwrap());
    assert!(!export::end(&db, wish).await.unwrap());
    let later = now + TimeDelta::hours(2);
    assert!(export::next(&db, later).await.unwrap().is_none());
}
