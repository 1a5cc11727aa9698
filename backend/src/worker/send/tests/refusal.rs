//! Every kind of no: who waits, for how long, and what is lost.

use super::{graph::Reply, *};

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_pair_rate_holds_one_person_only(db: PgPool) {
    let story = Story::new(db).await;
    let (ann, bob) = (story.person().await, story.person().await);
    story.queue(ann, &["a1", "a2"]).await;
    story.queue(bob, &["b1"]).await;
    story.graph.refuse([131056]);
    assert_eq!(story.settle().await, ["a1", "b1"]);
    story.graph.refuse([131056]);
    assert_eq!(story.after(2).await, ["a1", "b1", "a1"], "4^0 s and a bit");
    assert_eq!(story.after(3).await.len(), 3, "4^1 s are not over");
    assert_eq!(story.after(3).await, ["a1", "b1", "a1", "a1"]);
    assert_eq!(story.after(2).await.last().unwrap(), "a2");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_throttle_holds_the_whole_line_for_as_long_as_it_says(db: PgPool) {
    let story = Story::new(db).await;
    let (ann, bob) = (story.person().await, story.person().await);
    story.queue(ann, &["a"]).await;
    story.queue(bob, &["b"]).await;
    story.graph.will([Reply::Refuse {
        status: 429,
        code: 130429,
        retry_after: Some(30),
    }]);
    assert_eq!(story.settle().await, ["a"]);
    assert_eq!(story.after(29).await, ["a"]);
    assert_eq!(story.after(1).await, ["a", "a", "b"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_refused_token_stops_the_line_and_nothing_is_lost(db: PgPool) {
    let story = Story::new(db.clone()).await;
    let (ann, bob) = (story.person().await, story.person().await);
    story.queue(ann, &["a"]).await;
    story.queue(bob, &["b"]).await;
    story.graph.will([Reply::Refuse {
        status: 401,
        code: 190,
        retry_after: None,
    }]);
    assert_eq!(story.settle().await, ["a"]);
    assert_eq!(story.after(3600).await, ["a"]);
    line::unblock(&db, story.line).await.unwrap();
    assert_eq!(story.settle().await, ["a", "a", "b"]);

    // The same again, over a weekend: too old for free texts, so they wait for the people.
    story.queue(ann, &["a2"]).await;
    line::block_until(
        &db,
        story.line,
        line::Until::Unblocked,
        "190",
        story.clock.now(),
    )
    .await
    .unwrap();
    story.after(3 * 86_400).await;
    line::unblock(&db, story.line).await.unwrap();
    assert_eq!(story.settle().await.len(), 3);
    outbox::release_held(&db, ann, story.clock.now())
        .await
        .unwrap();
    assert_eq!(story.settle().await.last().unwrap(), "a2");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn trouble_with_the_account_pauses_the_line_and_loses_nothing(db: PgPool) {
    let story = Story::new(db).await;
    let (ann, bob) = (story.person().await, story.person().await);
    story.queue(ann, &["a"]).await;
    story.queue(bob, &["b"]).await;
    story.graph.refuse([131042]);
    assert_eq!(story.settle().await, ["a"]);
    assert_eq!(story.after(299).await, ["a"]);
    assert_eq!(story.after(1).await, ["a", "a", "b"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_closed_window_holds_everything_until_the_person_writes(db: PgPool) {
    let story = Story::new(db.clone()).await;
    let (ann, bob) = (story.person().await, story.person().await);
    story.queue(ann, &["a1", "a2"]).await;
    story.queue(bob, &["b"]).await;
    story.graph.refuse([131047]);
    assert_eq!(story.settle().await, ["a1", "b"]);
    assert_eq!(story.after(2 * 86_400).await, ["a1", "b"]);
    outbox::release_held(&db, ann, story.clock.now())
        .await
        .unwrap();
    assert_eq!(story.settle().await, ["a1", "b", "a1"]);
    assert_eq!(story.after(2).await, ["a1", "b", "a1", "a2"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_window_that_opened_during_the_post_is_not_waited_for(db: PgPool) {
    let story = Story::new(db.clone()).await;
    let ann = story.person().await;
    story.queue(ann, &["a"]).await;
    sqlx::query!("update tenant set last_inbound_at = $1", noon())
        .execute(&db)
        .await
        .unwrap();
    story.graph.refuse([131047]);
    assert_eq!(story.settle().await, ["a"]);
    assert_eq!(story.states().await, [State::Queued]);
    assert_eq!(story.after(2).await, ["a", "a"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_is_held_too_long_is_dropped(db: PgPool) {
    let story = Story::new(db).await;
    let ann = story.person().await;
    story.queue(ann, &["a"]).await;
    story.graph.refuse([131047]);
    story.settle().await;
    story.after(7 * 86_400).await;
    assert_eq!(story.states().await, [State::Failed]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_final_no_fails_one_message_and_the_next_goes_out(db: PgPool) {
    for code in [131026, 100, 131030] {
        let story = Story::new(db.clone()).await;
        let ann = story.person().await;
        story.queue(ann, &["a1", "a2"]).await;
        story.graph.refuse([code]);
        assert_eq!(story.settle().await, ["a1", "a2"], "{code}");
        assert_eq!(
            story.states().await,
            [State::Failed, State::Accepted],
            "{code}"
        );
        sqlx::query!("delete from outbox")
            .execute(&db)
            .await
            .unwrap();
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_passing_illness_is_waited_out(db: PgPool) {
    let story = Story::new(db).await;
    let ann = story.person().await;
    story.queue(ann, &["a"]).await;
    story.graph.refuse([131000, 2, 131016]);
    for _ in 0..3 {
        story.after(10).await;
    }
    assert_eq!(story.graph.texts(), ["a", "a", "a"]);
    assert_eq!(story.after(10).await, ["a", "a", "a", "a"]);
    assert_eq!(story.states().await, [State::Accepted]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn without_a_connection_it_tries_again_at_once_and_then_slower(db: PgPool) {
    let mut story = Story::new(db).await;
    let ann = story.person().await;
    story.queue(ann, &["a"]).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nowhere = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    story.sending.lines = lines(story.line, graph::api_at(nowhere.parse().unwrap()));
    story.settle().await;
    let (_, attempts) = story.last_post().await;
    assert_eq!(
        attempts, 2,
        "once more at once, then not before a second has passed"
    );
    assert_eq!(story.states().await, [State::Queued]);
    story.sending.lines = lines(story.line, story.graph.api());
    assert_eq!(story.after(2).await, ["a"]);
}
