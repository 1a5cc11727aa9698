//! /stop, /new, /help, and what only resembles them.

use chrono::TimeDelta;
use sqlx::PgPool;

use super::Office;
use crate::{copy, sandbox::row::conversation, tests::support::LIMITS, turn::End};

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn help_is_ours_to_give_and_every_other_slash_is_the_agents(db: PgPool) {
    let office = Office::open(&db).await;
    assert_eq!(office.writes("/help").await, "help");
    assert_eq!(office.writes("/status").await, "waiting");
    assert_eq!(office.writes("/new tyres, please").await, "waiting");
    assert_eq!(office.writes("START").await, "waiting");
    assert_eq!(office.desk.said().await, [copy::HELP]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_turn_that_its_person_stopped_ends_so_and_in_no_other_way(db: PgPool) {
    let office = Office::open(&db).await;
    office.writes("do something long").await;
    let turn = office.opens_a_turn().await;
    office.writes("and then this").await;
    assert!(!office.is_to_stop(&turn).await);

    let rung = office.desk.routing.wakes.stops.notified();
    tokio::pin!(rung);
    rung.as_mut().enable();
    assert_eq!(office.writes("/stop").await, "stop");
    rung.await;
    assert_eq!(office.desk.said().await, [copy::STOPPED]);
    assert!(office.is_to_stop(&turn).await);
    assert!(!office.ends(&turn, End::Answered).await, "it was stopped");
    assert!(office.ends(&turn, End::Stopped).await);
    assert!(!office.is_to_stop(&turn).await, "it is over");

    office.later(TimeDelta::seconds(1));
    let next = office.opens_a_turn().await;
    assert!(!office.is_to_stop(&next).await, "what waited goes on");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn to_stop_what_has_not_begun_is_to_take_it_back(db: PgPool) {
    let office = Office::open(&db).await;
    assert_eq!(office.writes("/stop").await, "stop");
    assert_eq!(office.desk.said().await, [copy::NOTHING_RUNS]);
    office.writes("do something").await;
    office.writes("/stop").await;
    let outcomes = office.desk.outcomes().await;
    assert_eq!(
        outcomes,
        [("stop".to_owned(), 2), ("stopped".to_owned(), 1)]
    );
    let expected = [copy::NOTHING_RUNS, copy::STOPPED];
    assert_eq!(office.desk.said().await, expected);
    office.writes("/stop").await;
    assert_eq!(office.desk.said().await, expected, "once a minute");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn who_is_over_the_limit_can_still_stop_and_leave(db: PgPool) {
    let office = Office::open(&db).await;
    for _ in 0..LIMITS.inbound_per_minute {
        office.writes("hi").await;
    }
    assert_eq!(office.writes("hi").await, "over_limit");
    assert_eq!(office.writes("/help").await, "over_limit");
    let turn = office.opens_a_turn().await;
    assert_eq!(office.writes("/stop").await, "stop");
    assert!(office.is_to_stop(&turn).await);
    assert_eq!(office.writes("STOP").await, "opt_out");
    assert_eq!(office.status().await, "opted_out");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_fresh_conversation_ends_the_one_before_with_its_turn(db: PgPool) {
    let office = Office::open(&db).await;
    assert_eq!(office.writes("/new").await, "fresh", "nothing to leave yet");
    office.writes("hello").await;
    let turn = office.opens_a_turn().await;
    assert_eq!(office.writes("/NEW").await, "fresh");
    assert!(office.is_to_stop(&turn).await);
    let (session_no, cursor) = conversation::session(&db, turn.sandbox).await.unwrap();
    assert_eq!((session_no, cursor), (2, None));
    assert_eq!(office.desk.said().await, [copy::FRESH, copy::FRESH]);
}
