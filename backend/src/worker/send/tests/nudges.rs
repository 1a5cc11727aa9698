//! Somebody has not written for a day and something is held: a template says so, now and then.

use super::*;
use crate::line::policy::{self, Own};

const NUDGE: &str = "[assistant_waiting]";

/// A line that has a template, and somebody who wrote at noon.
async fn story(db: &PgPool) -> (Story, TenantId) {
    let story = Story::new(db.clone()).await;
    let own = Own {
        templates: Some("de=wartet,en_US=assistant_waiting".parse().unwrap()),
        ..Own::default()
    };
    policy::set(db, story.line, &own).await.unwrap();
    let ann = story.person().await;
    wrote(&story, ann).await;
    (story, ann)
}

async fn wrote(story: &Story, person: TenantId) {
    let now = story.clock.now();
    crate::tenant::heard_from(&story.db, person, now)
        .await
        .unwrap();
    outbox::release_held(&story.db, person, now).await.unwrap();
}

/// A day passes, and WhatsApp takes no more of our own words.
async fn a_day_later(story: &Story, person: TenantId, words: &[&str]) -> Vec<String> {
    story.clock.advance(TimeDelta::hours(25));
    story.graph.refuse([131047]);
    story.queue(person, words).await;
    story.settle().await
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_template_passes_what_is_held_and_that_goes_out_when_they_write(db: PgPool) {
    let (story, ann) = story(&db).await;
    assert_eq!(a_day_later(&story, ann, &["a1", "a2"]).await, ["a1", NUDGE]);
    assert_eq!(story.after(60).await.len(), 2, "one is enough");
    wrote(&story, ann).await;
    assert_eq!(story.after(2).await, ["a1", NUDGE, "a1"]);
    assert_eq!(story.after(2).await, ["a1", NUDGE, "a1", "a2"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_closed_window_that_a_status_tells_of_is_one(db: PgPool) {
    let (story, ann) = story(&db).await;
    story.clock.advance(TimeDelta::hours(25));
    story.queue(ann, &["a1"]).await;
    assert_eq!(story.settle().await, ["a1"]);
    story.receipt(0, Delivery::Failed, Some(131047)).await;
    assert_eq!(story.settle().await, ["a1", NUDGE]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn without_a_template_words_wait_in_silence(db: PgPool) {
    let (story, ann) = story(&db).await;
    policy::set(&db, story.line, &Own::default()).await.unwrap();
    assert_eq!(a_day_later(&story, ann, &["a1"]).await, ["a1"]);
    assert_eq!(story.after(3_600).await, ["a1"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn whoever_ignores_three_is_left_alone_until_they_write(db: PgPool) {
    let (story, ann) = story(&db).await;
    let mut seen = a_day_later(&story, ann, &["a1"]).await.len();
    assert_eq!(seen, 2);
    assert_eq!(
        story.after(25 * 3_600).await.len(),
        2,
        "nothing new is held"
    );
    for (n, expected) in [(2, true), (3, true), (4, false)] {
        // What comes behind something held is itself held once it has waited for a day.
        story.queue(ann, &[&format!("a{n}")]).await;
        let all = story.after(25 * 3_600).await;
        assert_eq!(all.len() > seen, expected, "number {n}: {all:?}");
        seen = all.len();
    }
    assert_eq!(story.graph.texts(), ["a1", NUDGE, NUDGE, NUDGE]);
    wrote(&story, ann).await;
    story.settle().await;
    for _ in 0..4 {
        story.after(2).await;
    }
    let texts = story.graph.texts();
    assert_eq!(texts[4..], ["a1", "a2", "a3", "a4"]);
    assert_eq!(
        a_day_later(&story, ann, &["a5"]).await[8..],
        ["a5", NUDGE],
        "they wrote, so it begins anew"
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nobody_is_nudged_at_night_or_who_left_or_is_shut_out(db: PgPool) {
    let (story, ann) = story(&db).await;
    sqlx::query!("update tenant set quiet_from = '00:00', quiet_to = '23:59:59'")
        .execute(&db)
        .await
        .unwrap();
    assert_eq!(a_day_later(&story, ann, &["a1"]).await, ["a1"], "at night");
    sqlx::query!("update tenant set quiet_to = '00:00'")
        .execute(&db)
        .await
        .unwrap();
    for status in ["suspended", "opted_out", "refused", "undecided"] {
        sqlx::query!("update tenant set status = $1", status)
            .execute(&db)
            .await
            .unwrap();
        // Held again, for who left has nothing waiting.
        sqlx::query!("update outbox set state = 'held', done_at = null")
            .execute(&db)
            .await
            .unwrap();
        story.sending.nudge().await.unwrap();
        assert_eq!(story.states().await, [State::Held], "{status}");
    }
    sqlx::query!("update tenant set status = 'active'")
        .execute(&db)
        .await
        .unwrap();
    assert_eq!(story.settle().await, ["a1", NUDGE]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_group_is_not_nudged_and_hears_what_is_held_when_it_speaks_to_us(db: PgPool) {
    let (story, group) = story(&db).await;
    sqlx::query!("update tenant_address set kind = 'group'")
        .execute(&db)
        .await
        .unwrap();
    assert_eq!(a_day_later(&story, group, &["a1"]).await, ["a1"]);
    assert_eq!(story.after(3_600).await, ["a1"]);
    wrote(&story, group).await;
    assert_eq!(story.after(2).await, ["a1", "a1"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_template_is_never_held_and_not_sent_to_somebody_who_has_written(db: PgPool) {
    let (story, ann) = story(&db).await;
    story.clock.advance(TimeDelta::hours(25));
    story.graph.refuse([131047, 131047]);
    story.queue(ann, &["a1"]).await;
    assert_eq!(story.settle().await, ["a1", NUDGE]);
    assert_eq!(story.states().await, [State::Held, State::Failed]);
    // One that is still queued when they write.
    let waiting = "update outbox set state = 'queued', done_at = null where type = 'template'";
    sqlx::raw_sql(waiting).execute(&db).await.unwrap();
    wrote(&story, ann).await;
    assert_eq!(story.states().await, [State::Queued, State::Failed]);
    assert_eq!(story.after(2).await, ["a1", NUDGE, "a1"]);
    // And one that nothing lets out.
    let waiting = "update outbox set state = 'queued', done_at = null, run_after = 'infinity'
                   where type = 'template'";
    sqlx::raw_sql(waiting).execute(&db).await.unwrap();
    story.after(2 * 86_400).await;
    assert_eq!(story.states().await[1], State::Failed);
}

/// As `clawkaka send --template` queues it.
async fn command(story: &Story, person: TenantId) {
    let draft = Draft {
        key: "command/back".to_owned(),
        class: Class::Ours,
        message: Outgoing::Template {
            name: "we_are_back".to_owned(),
            language: "en".to_owned(),
        },
    };
    let (mut db, now) = (story.db.acquire().await.unwrap(), story.clock.now());
    outbox::enqueue(&mut db, &story.sealer, person, None, &[draft], now)
        .await
        .unwrap();
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_operators_template_passes_what_is_held_and_nothing_else(db: PgPool) {
    let (story, ann) = story(&db).await;
    story.graph.refuse([131056]);
    story.queue(ann, &["a1"]).await;
    command(&story, ann).await;
    assert_eq!(story.settle().await, ["a1"], "they are asked to wait");
    assert_eq!(story.after(2).await, ["a1", "a1"]);
    // It is not in vain if they write meanwhile, unlike one that says that something is held.
    wrote(&story, ann).await;
    assert_eq!(story.after(2).await, ["a1", "a1", "[we_are_back]"]);
    for statement in ["delete from receipt", "delete from outbox"] {
        sqlx::raw_sql(statement).execute(&db).await.unwrap();
    }
    policy::set(&db, story.line, &Own::default()).await.unwrap();
    let texts = a_day_later(&story, ann, &["a2", "a3"]).await;
    assert_eq!(texts[3..], ["a2"]);
    command(&story, ann).await;
    assert_eq!(story.settle().await[3..], ["a2", "[we_are_back]"]);
}
