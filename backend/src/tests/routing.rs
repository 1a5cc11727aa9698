//! From the inbox to a person, and who is let in.

use chrono::TimeDelta;
use serde_json::{Value, json};
use sqlx::PgPool;

use super::{
    desk::Desk,
    support::{LIMITS, NUMBER, of_type, text, webhook},
};
use crate::{config::Limits, copy};

/// A message of stranger number `n`.
fn stranger(n: usize) -> Value {
    let mut message = text(&format!("wamid.{n}"), "hi");
    message["from"] = json!(format!("1650{n:07}"));
    message["from_user_id"] = json!(format!("US.{n}"));
    message
}

fn outcomes(expected: &[(&str, i64)]) -> Vec<(String, i64)> {
    expected
        .iter()
        .map(|(outcome, count)| ((*outcome).to_owned(), *count))
        .collect()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_strangers_text_waits_for_a_turn_of_their_own(db: PgPool) {
    let desk = Desk::new(&db, LIMITS).await;
    desk.receive(&[text("wamid.1", "hello")]).await;
    assert_eq!(desk.outcomes().await, outcomes(&[("waiting", 1)]));
    assert_eq!(desk.tenants("active").await, 1);
    assert!(desk.said().await.is_empty());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_flood_of_a_thousand_strangers_lets_in_exactly_the_burst_and_tells_the_rest_once(
    db: PgPool,
) {
    let desk = Desk::new(&db, LIMITS).await;
    let flood: Vec<_> = (0..1_000).map(stranger).collect();
    desk.receive(&flood).await;
    assert_eq!(desk.tenants("active").await, 5);
    assert_eq!(
        desk.outcomes().await,
        outcomes(&[("refused", 995), ("waiting", 5)])
    );
    assert_eq!(desk.said().await, vec![copy::NO_ROOM; 995]);

    let mut again = stranger(999);
    again["id"] = json!("wamid.again");
    desk.receive(&[again.clone()]).await;
    assert_eq!(
        desk.said().await.len(),
        995,
        "told once a day, then silence"
    );

    // Twenty an hour: one more place every three minutes.
    desk.routing.clock.advance(TimeDelta::minutes(3));
    again["id"] = json!("wamid.later");
    desk.receive(&[again]).await;
    assert_eq!(desk.tenants("active").await, 6);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_full_house_takes_nobody_else(db: PgPool) {
    let desk = Desk::new(
        &db,
        Limits {
            tenants: 2,
            ..LIMITS
        },
    )
    .await;
    desk.receive(&(0..4).map(stranger).collect::<Vec<_>>())
        .await;
    assert_eq!(desk.tenants("active").await, 2);
    assert_eq!(desk.tenants("refused").await, 2);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn who_writes_too_much_is_told_once_and_what_is_over_is_left_out(db: PgPool) {
    let desk = Desk::new(&db, LIMITS).await;
    let many: Vec<_> = (0..25).map(|n| text(&format!("wamid.{n}"), "hi")).collect();
    desk.receive(&many).await;
    assert_eq!(
        desk.outcomes().await,
        outcomes(&[("over_limit", 15), ("waiting", 10)])
    );
    assert_eq!(desk.said().await, [copy::SLOW_DOWN]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn times_that_cannot_be_do_not_get_anybody_round_a_limit(db: PgPool) {
    const LONG_AGO: i64 = 1_000_000_000;
    const NEXT_YEAR: i64 = 1_830_000_000;
    let desk = Desk::new(&db, LIMITS).await;
    for (run, begins) in [LONG_AGO, NEXT_YEAR].into_iter().enumerate() {
        let hours = (0..25_i64).map(|n| {
            let mut message = stranger(run);
            message["id"] = json!(format!("wamid.{run}.{n}"));
            message["timestamp"] = json!((begins + n * 3_600).to_string());
            message
        });
        desk.receive(&hours.collect::<Vec<_>>()).await;
        let runs = run as i64 + 1;
        let expected = outcomes(&[("over_limit", 15 * runs), ("waiting", 10 * runs)]);
        assert_eq!(desk.outcomes().await, expected);
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_cannot_be_read_gets_one_polite_sentence(db: PgPool) {
    let desk = Desk::new(&db, LIMITS).await;
    let poll = of_type("wamid.1", "unsupported", json!({ "type": "poll" }));
    desk.receive(&[poll, text("wamid.2", "   "), text("wamid.3", "and text")])
        .await;
    let expected = [("empty", 1), ("unsupported", 1), ("waiting", 1)];
    assert_eq!(desk.outcomes().await, outcomes(&expected));
    let said = desk.said().await;
    assert_eq!(said, ["I cannot open a poll yet. Please write it to me."]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_calls_for_no_answer_starts_no_turn(db: PgPool) {
    let desk = Desk::new(&db, LIMITS).await;
    let back = |id: &str, of: &str| of_type(id, "revoke", json!({ "original_message_id": of }));
    let reaction = json!({ "message_id": "wamid.9", "emoji": "" });
    desk.receive(&[
        text("wamid.1", "by mistake"),
        back("wamid.2", "wamid.1"),
        back("wamid.3", "wamid.long-ago"),
        of_type("wamid.4", "reaction", reaction),
    ])
    .await;
    let expected = outcomes(&[("noted", 2), ("taken_back", 2)]);
    assert_eq!(desk.outcomes().await, expected);
    let liked = json!({ "message_id": "wamid.9", "emoji": "👍" });
    desk.receive(&[of_type("wamid.5", "reaction", liked)]).await;
    let expected = outcomes(&[("noted", 2), ("taken_back", 2), ("waiting", 1)]);
    assert_eq!(desk.outcomes().await, expected);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn unknown_updates_and_other_numbers_are_finished_and_hold_nobody_up(db: PgPool) {
    let desk = Desk::new(&db, LIMITS).await;
    assert_eq!(desk.site.receive("rubbish").await, 200);
    let elsewhere = String::from_utf8(webhook(&[text("wamid.0", "hi")])).unwrap();
    desk.site.receive(elsewhere.replace(NUMBER, "999")).await;
    desk.receive(&[text("wamid.1", "hello")]).await;
    let outcome = desk.outcomes().await;
    assert_eq!(outcome, outcomes(&[("unknown_line", 2), ("waiting", 1)]));
}
