//! Lines that come, change and go while they are asked about.

use std::pin::pin;

use futures_util::FutureExt;

use super::{kapso::inbound, *};

/// As `clawkaka line add` makes them known: without a pace of their own.
fn added(story: &Story, id: LineId, number: &str, key: &str) -> Line {
    Line {
        id,
        api: story.kapso.api.clone(),
        phone_number_id: number.to_owned(),
        access_token: SecretString::from(key),
        delivery: Delivery::Poll,
        poll_every: None,
        templates: Templates::default(),
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_line_is_asked_about_from_when_it_is_added_until_it_is_removed(db: PgPool) {
    let mut story = Story::new(db.clone(), Delivery::Poll).await;
    let lines = Lines::default();
    story.polling.lines = lines.clone();
    let (shutdown, wakes) = (Shutdown::default(), story.polling.wakes.clone());
    story.kapso.has(inbound("wamid.1", later(1)));
    story.pass(2);
    let line = added(&story, story.line, "2", "key");
    let run = story.polling.run(shutdown.clone());
    let operator = async {
        lines.set_added([line]);
        wakes.inbox.notified().await;
        shutdown.stop();
    };
    tokio::join!(run, operator);
    let stored = sqlx::query_scalar!("select provider_id from inbox where kind = 'message'")
        .fetch_all(&db)
        .await
        .unwrap();
    assert_eq!(stored, ["wamid.1"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nobody_asks_for_a_line_that_was_removed(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    let lines = Lines::default();
    story.polling.lines = lines.clone();
    lines.set_added([added(&story, story.line, "2", "key")]);
    story.kapso.has(inbound("wamid.1", later(1)));
    story.pass(2);
    let operator = async {
        story.polling.wakes.inbox.notified().await;
        lines.set_added([]);
    };
    // It ends, although its next look would be due.
    let (ended, ()) = tokio::join!(story.polling.keep(story.line), operator);
    assert_eq!(ended, story.line);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn asking_begins_anew_with_another_key_and_with_nothing_else(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    let lines = Lines::default();
    story.polling.lines = lines.clone();
    let line = |key| added(&story, story.line, "2", key);
    let other = || added(&story, LineId::new(), "3", "key");
    let mut changes = lines.changes();
    lines.set_added([line("key")]);
    let before = line("key");
    let mut ended = pin!(story.polling.is_another(&before, &mut changes));
    assert!((&mut ended).now_or_never().is_none());
    lines.set_added([line("key"), other()]);
    assert!((&mut ended).now_or_never().is_none(), "another line came");
    lines.set_added([line("other key"), other()]);
    assert!((&mut ended).now_or_never().is_some());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn lines_that_share_a_key_ask_for_no_more_together_than_one_alone(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    let four: Vec<_> = (0..4)
        .map(|number| added(&story, LineId::new(), &format!("shared-{number}"), "shared"))
        .collect();
    let ids: Vec<_> = four.iter().map(|line| line.id).collect();
    let alone = added(&story, LineId::new(), "alone", "key");
    let of_alone = alone.id;
    let lines = Lines::of([Line {
        poll_every: Some(Duration::from_secs(5)),
        ..added(&story, story.line, "2", "key")
    }]);
    lines.set_added(four.into_iter().chain([alone]));
    story.polling.lines = lines.clone();
    let every = |id| story.polling.every(&lines.get(id).unwrap()).as_secs();
    assert_eq!(ids.into_iter().map(every).collect::<Vec<_>>(), [60; 4]);
    assert_eq!(every(of_alone), 15);
    assert_eq!(every(story.line), 5, "the environment says so");
}
