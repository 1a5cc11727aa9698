//! Kapso refuses, is away, or says what cannot be: polling waits a bounded time, and loses nothing.

use super::{
    kapso::{Reply, inbound},
    *,
};

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn odd_answers_end_in_a_bounded_wait_and_cost_nothing(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    story.kapso.has(inbound("wamid.1", later(1)));
    story.pass(2);
    let odd = [
        Reply::Text(200, "<html>"),
        Reply::Text(200, "{}"),
        Reply::Text(200, r#"{"data":{}}"#),
        Reply::Text(200, r#"{"data":[{"id":"wamid.1"},7]}"#),
        Reply::Text(500, "oh"),
        Reply::Text(404, "{}"),
        Reply::Text(302, ""),
    ];
    // Each list of messages fails; that of receipts is not asked for then.
    let count = odd.len();
    story.kapso.replies(odd);
    for number in 0..count {
        let pause = story.look().await;
        let bounds = Duration::from_secs(5)..=Duration::from_secs(75);
        assert!(bounds.contains(&pause), "{number}: {pause:?}");
        assert!(story.stored("message").await.is_empty(), "{number}");
    }
    assert_eq!(story.look().await, Duration::from_secs(5));
    assert_eq!(story.stored("message").await, ["wamid.1"]);
    assert!(
        !line::is_blocked(&story.db, story.line, later(2))
            .await
            .unwrap(),
        "it can send all the while"
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn it_waits_as_long_as_it_is_told_but_not_for_ever(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    let throttled = [
        Reply::Wait(60),
        Reply::Wait(3_000_000),
        Reply::Text(429, ""),
    ];
    story.kapso.replies(throttled);
    assert_eq!(story.look().await, Duration::from_secs(60));
    assert_eq!(story.look().await, Duration::from_secs(300));
    assert_eq!(story.look().await, Duration::from_secs(60));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_refused_key_stops_the_line_as_a_send_does(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    story
        .kapso
        .replies([Reply::Text(401, r#"{"error":"Unauthorized"}"#)]);
    assert_eq!(story.look().await, Duration::from_secs(60));
    let ever = noon() + TimeDelta::days(999);
    assert!(line::is_blocked(&story.db, story.line, ever).await.unwrap());
    assert_eq!(line::blocked(&story.db, noon()).await.unwrap(), ["token"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_list_that_goes_round_in_circles_is_left(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    story.kapso.replies([Reply::Circle]);
    assert!(story.look().await >= Duration::from_secs(5));
    assert_eq!(story.kapso.asked("inbound").len(), 2);
    assert!(story.stored("message").await.is_empty());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_list_without_end_is_halved_and_then_left(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    story.kapso.replies([Reply::Endless]);
    let mut looks = 0;
    while story.look().await.is_zero() {
        looks += 1;
    }
    // A minute is halved five times, into a second; each look reads no more than 20 pages.
    assert!((4..10).contains(&looks), "{looks}");
    assert_eq!(story.kapso.asked("inbound").len(), 20 * (looks + 1));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn messages_come_also_while_receipts_do_not(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    story.kapso.has(inbound("wamid.1", later(1)));
    story.pass(2);
    story.kapso.refuses_outbound();
    assert_eq!(story.look().await, Duration::from_secs(5));
    assert_eq!(story.stored("message").await, ["wamid.1"]);
    assert_eq!(story.polling.receipts.asked(story.line), None);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_came_in_a_long_absence_is_fetched_in_parts_the_oldest_first(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    story.look().await;
    for number in 0..5_000 {
        let at = later(60 + number * 4);
        story.kapso.has(inbound(&format!("wamid.{number:04}"), at));
    }
    story.pass(21_000);
    story.pace = Pace::default();
    story.look_all().await;
    let expected: Vec<_> = (0..5_000)
        .map(|number| format!("wamid.{number:04}"))
        .collect();
    assert_eq!(story.stored("message").await, expected);
    assert_eq!(story.cursor().await.seen, later(60 + 4_999 * 4));
    let bounded = story.kapso.asked("inbound").len();
    assert!(bounded < 200, "{bounded} requests");
}
