//! Quick messages in a row.

use std::time::Duration;

use chrono::TimeDelta;
use sqlx::PgPool;

use super::Office;
use crate::{inbox, tests::support::opener, turn::End, worker::exchange::asked::Reading};

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn quick_messages_in_a_row_wait_for_each_other_but_not_for_ever(db: PgPool) {
    let mut office = Office::open(&db).await;
    office.desk.routing.timing.debounce = Duration::from_millis(1_500);
    office.writes("I was thinking").await;
    assert_eq!(office.turn_comes_in().await, Some(1_500));
    office.later(TimeDelta::seconds(1));
    office.writes("about dinner").await;
    assert_eq!(office.turn_comes_in().await, Some(1_500), "from the latest");
    office.later(TimeDelta::milliseconds(1_499));
    assert_eq!(office.turn_comes_in().await, Some(1));
    office.later(TimeDelta::milliseconds(1));
    assert_eq!(office.turn_comes_in().await, Some(0));
    let turn = office.opens_a_turn().await;
    let taken = inbox::of_turn(&db, turn.tenant, turn.id).await.unwrap();
    assert_eq!(taken.len(), 2, "one question");
    assert!(office.ends(&turn, End::Answered).await);

    for _ in 0..7 {
        assert_eq!(office.writes("and another thing").await, "waiting");
        office.later(TimeDelta::milliseconds(1_400));
    }
    assert_eq!(office.writes("and one more").await, "waiting");
    assert_eq!(
        office.turn_comes_in().await,
        Some(200),
        "ten seconds from the first, and no more"
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_question_is_in_the_order_in_which_it_was_written(db: PgPool) {
    let office = Office::open(&db).await;
    let at = |words: &str, second: i64| {
        let mut message = office.next(words);
        message["timestamp"] = (1_790_000_000 + second).to_string().into();
        message
    };
    let (third, first, second) = (at("three", 3), at("one", 1), at("two", 2));
    office.receives(&[&third, &first, &second]).await;
    let turn = office.opens_a_turn().await;
    let reading = Reading {
        db: &db,
        opener: &opener(),
        book: &office.desk.routing.book,
    };
    let asked = reading.asked(&turn).await.unwrap();
    assert_eq!(asked.text(), "one\n\ntwo\n\nthree");
}
