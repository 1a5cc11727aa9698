//! A line whose receipts are asked for: what is unclear is sent again only when Kapso, asked late enough
//! about the time in which it was sent, knows nothing of it.

use super::{crash::die_during_the_post, *};
use crate::presence::Asked;

async fn polled(db: PgPool) -> Story {
    let mut story = Story::new(db).await;
    story.sending.lines = Lines::of([Line {
        delivery: line::Delivery::Poll,
        ..line_of(story.line, story.graph.api())
    }]);
    die_during_the_post(&mut story, "one").await;
    story
}

/// Kapso was asked `at`, in seconds after noon, what became of messages sent `from` and `to` then.
fn asked(story: &Story, line: LineId, [at, from, to]: [i64; 3]) {
    let [at, from, to] = [at, from, to].map(|seconds| noon() + TimeDelta::seconds(seconds));
    let asked = Asked { at, from, to };
    story.sending.receipts.note(line, asked);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_web_that_lives_proves_nothing_of_a_line_that_is_polled(db: PgPool) {
    let story = polled(db).await;
    story.clock.advance(TimeDelta::seconds(1_000));
    story.web_since(0).await;
    assert_eq!(story.settle().await, ["one"]);
    asked(&story, story.line, [1_000, -600, 1_000]);
    assert_eq!(story.settle().await, ["one", "one"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn it_is_sent_again_only_when_kapso_was_asked_late_enough_about_that_time(db: PgPool) {
    let story = polled(db).await;
    story.clock.advance(TimeDelta::seconds(1_000));
    for (looked, why) in [
        ([89, -600, 89], "too soon after it was sent"),
        ([1_000, 10, 1_000], "about later ones"),
        ([1_000, -600, -10], "about earlier ones"),
    ] {
        asked(&story, story.line, looked);
        assert_eq!(story.settle().await, ["one"], "asked {why}");
    }
    asked(&story, LineId::new(), [1_000, -600, 1_000]);
    assert_eq!(story.settle().await, ["one"], "asked about another line");
    asked(&story, story.line, [90, -600, 90]);
    assert_eq!(story.settle().await, ["one", "one"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_receipt_that_was_found_settles_it(db: PgPool) {
    let story = polled(db).await;
    story.clock.advance(TimeDelta::seconds(1_000));
    assert_eq!(story.settle().await, ["one"]);
    story.receipt(0, Delivery::Delivered, None).await;
    asked(&story, story.line, [1_000, -600, 1_000]);
    assert_eq!(story.settle().await, ["one", "next"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn of_a_line_that_was_removed_nothing_is_known_until_kapso_is_asked_again(db: PgPool) {
    let mut story = polled(db).await;
    story.clock.advance(TimeDelta::seconds(1_000));
    story.web_since(0).await;
    let lines = std::mem::take(&mut story.sending.lines);
    assert_eq!(story.settle().await, ["one"]);
    story.sending.lines = lines;
    assert_eq!(story.settle().await, ["one"], "it was not even queued");
    asked(&story, story.line, [1_000, -600, 1_000]);
    assert_eq!(story.settle().await, ["one", "one"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn asking_for_one_line_says_nothing_of_those_that_webhooks_serve(db: PgPool) {
    let mut story = Story::new(db).await;
    die_during_the_post(&mut story, "one").await;
    story.clock.advance(TimeDelta::seconds(1_000));
    asked(&story, story.line, [1_000, -600, 1_000]);
    assert_eq!(story.settle().await, ["one"]);
    story.web_since(0).await;
    assert_eq!(story.settle().await, ["one", "one"]);
}
