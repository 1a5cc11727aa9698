//! The six ways in which a send most often fails, each as the POST's answer and as a status that comes later:
//! each ends as it should, and what was to come after it comes after it.

use super::{graph::Reply, *};

/// How WhatsApp says no.
#[derive(Clone, Copy, Debug)]
enum Way {
    Answer,
    Status,
}

/// Everybody else on the line, meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Others {
    GoOn,
    Wait,
}

/// What there is to do until it goes on.
#[derive(Clone, Copy, Debug)]
enum Cure {
    /// Nothing but wait, this long.
    Wait(i64),
    /// An operator gives another token.
    Unblock,
    /// The person writes.
    Write,
    /// Nothing helps this message; the next one goes out.
    None,
}

async fn ends_so(db: &PgPool, code: i64, others: Others, cure: Cure) {
    for way in [Way::Answer, Way::Status] {
        ends_so_by(db, code, way, others, cure).await;
    }
}

async fn ends_so_by(db: &PgPool, code: i64, way: Way, others: Others, cure: Cure) {
    let what = format!("{code} as {way:?}");
    let story = Story::new(db.clone()).await;
    let (ann, bob) = (story.person().await, story.person().await);
    if matches!(way, Way::Answer) {
        story.graph.refuse([code]);
    }
    story.queue(ann, &["a1", "a2"]).await;
    assert_eq!(story.settle().await[..1], ["a1"], "{what}");
    if matches!(way, Way::Status) {
        story.receipt(0, Delivery::Failed, Some(code)).await;
    }
    story.queue(bob, &["b"]).await;
    let went_on = story.settle().await.contains(&"b".to_owned());
    assert_eq!(went_on, others == Others::GoOn, "{what}: somebody else's");
    match cure {
        Cure::Wait(seconds) => {
            assert_eq!(hers(&story), ["a1"], "{what}: not at once");
            story.after(seconds).await;
        }
        Cure::Unblock => {
            story.after(3_600).await;
            assert_eq!(hers(&story), ["a1"], "{what}: not by itself");
            line::unblock(db, story.line).await.unwrap();
        }
        Cure::Write => {
            story.after(3_600).await;
            assert_eq!(hers(&story), ["a1"], "{what}: not by itself");
            let now = story.clock.now();
            outbox::release_held(db, ann, now).await.unwrap();
        }
        Cure::None => {}
    }
    story.settle().await;
    // Nobody confirms one message, so the next waits a moment.
    let texts = story.after(2).await;
    let (first, expected) = match cure {
        Cure::None => (State::Failed, vec!["a1", "a2"]),
        _ => (State::Accepted, vec!["a1", "a1", "a2"]),
    };
    assert_eq!(hers(&story), expected, "{what}");
    let his = texts.iter().filter(|text| *text == "b").count();
    assert_eq!(his, 1, "{what}: {texts:?}");
    let states = [first, State::Accepted, State::Accepted];
    assert_eq!(story.states().await, states, "{what}");
    line::unblock(db, story.line).await.unwrap();
    for statement in ["delete from receipt", "delete from outbox"] {
        sqlx::raw_sql(statement).execute(db).await.unwrap();
    }
}

/// What Graph got for the first of the two, as often as it was tried.
fn hers(story: &Story) -> Vec<String> {
    let all = story.graph.texts().into_iter();
    all.filter(|text| text.starts_with('a')).collect()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_pair_rate_makes_that_person_wait_and_keeps_their_order(db: PgPool) {
    ends_so(&db, 131056, Others::GoOn, Cure::Wait(2)).await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_throttle_makes_the_whole_line_wait_and_keeps_the_order(db: PgPool) {
    ends_so(&db, 130429, Others::Wait, Cure::Wait(10)).await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_expired_token_stops_the_line_until_there_is_another_and_costs_no_message(db: PgPool) {
    ends_so(&db, 190, Others::Wait, Cure::Unblock).await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_closed_window_holds_what_is_said_in_order_until_the_person_writes(db: PgPool) {
    ends_so(&db, 131047, Others::GoOn, Cure::Write).await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_is_undeliverable_is_given_up_and_the_next_goes_out(db: PgPool) {
    // No WhatsApp there; Meta chose not to; they want none of it.
    for code in [131026, 131049, 131050] {
        ends_so(&db, code, Others::GoOn, Cure::None).await;
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_ambiguous_time_out_is_settled_by_a_status_or_by_one_more_try_in_order(db: PgPool) {
    let story = Story::new(db.clone()).await;
    let ann = story.person().await;
    story.queue(ann, &["a1", "a2", "a3"]).await;
    story.graph.will([Reply::BreakOff]);
    assert_eq!(story.settle().await, ["a1"]);
    assert_eq!(story.after(60).await, ["a1"], "it may have been taken");
    story.receipt(0, Delivery::Delivered, None).await;
    assert_eq!(story.settle().await, ["a1", "a2"], "it was");
    // And one of which nothing is heard, while a receipt would have been.
    story.receipt(1, Delivery::Sent, None).await;
    story.graph.will([Reply::BreakOff]);
    assert_eq!(story.settle().await, ["a1", "a2", "a3"]);
    story.queue(ann, &["a4"]).await;
    story.clock.advance(TimeDelta::seconds(90));
    story.web_since(0).await;
    assert_eq!(story.settle().await, ["a1", "a2", "a3", "a3"]);
    assert_eq!(story.after(2).await.last().unwrap(), "a4");
}
