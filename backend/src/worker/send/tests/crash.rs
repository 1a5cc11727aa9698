//! Death at every line, and answers nobody understands: at most one message too many, and only
//! when no receipt came although we listened.

use super::{graph::Reply, *};

/// Sends `text` to somebody and dies when Graph has the POST but has not answered.
pub(super) async fn die_during_the_post(story: &mut Story, text: &str) {
    let person = story.person().await;
    story.queue(person, &[text, "next"]).await;
    story.graph.will([Reply::Hold]);
    tokio::select! {
        _ = story.sending.step() => panic!("Graph does not answer"),
        () = story.graph.posted() => {}
    }
    story.restart().await;
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn death_between_the_claim_and_the_post_costs_a_wait_and_nothing_else(db: PgPool) {
    let mut story = Story::new(db).await;
    let ann = story.person().await;
    story.queue(ann, &["one"]).await;
    story.web_since(0).await;
    assert!(matches!(
        story.sending.claim().await.unwrap(),
        Claimed::Letter(_)
    ));
    assert!(
        story.settle().await.is_empty(),
        "its worker may still be at it"
    );
    story.restart().await;
    assert!(story.settle().await.is_empty(), "it may have been sent");
    assert_eq!(story.states().await, [State::Unknown]);
    story.clock.advance(TimeDelta::seconds(90));
    story.web_since(0).await;
    assert_eq!(story.settle().await, ["one"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_receipt_settles_what_died_between_the_post_and_its_storing(db: PgPool) {
    let mut story = Story::new(db).await;
    die_during_the_post(&mut story, "one").await;
    story.web_since(0).await;
    assert_eq!(story.settle().await, ["one"]);
    story.receipt(0, Delivery::Sent, None).await;
    assert_eq!(story.states().await[0], State::Accepted);
    story.clock.advance(TimeDelta::seconds(900));
    story.web_since(0).await;
    assert_eq!(story.settle().await, ["one", "next"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_receipt_may_come_even_before_the_dead_worker_is_noticed(db: PgPool) {
    let mut story = Story::new(db).await;
    die_during_the_post(&mut story, "one").await;
    story.receipt(0, Delivery::Read, None).await;
    assert_eq!(story.settle().await, ["one", "next"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_graph_dropped_is_sent_once_more_and_never_a_third_time(db: PgPool) {
    let mut story = Story::new(db).await;
    die_during_the_post(&mut story, "one").await;
    story.graph.will([Reply::BreakOff]);
    story.web_since(0).await;
    story.clock.advance(TimeDelta::seconds(89));
    story.web_since(0).await;
    assert_eq!(story.settle().await, ["one"]);
    story.clock.advance(TimeDelta::seconds(1));
    story.web_since(0).await;
    assert_eq!(story.settle().await, ["one", "one"]);
    assert_eq!(story.states().await, [State::Unknown, State::Queued]);
    story.clock.advance(TimeDelta::seconds(90));
    story.web_since(0).await;
    assert_eq!(
        story.settle().await,
        ["one", "one", "next"],
        "given up, and the person goes on"
    );
    for hour in 1..30 {
        story.clock.advance(TimeDelta::hours(hour));
        story.web_since(0).await;
        story.settle().await;
    }
    assert_eq!(story.graph.texts(), ["one", "one", "next"]);
    // Whichever of the two arrived, a late receipt corrects the record.
    assert_eq!(story.states().await[0], State::Failed);
    story.receipt(0, Delivery::Sent, None).await;
    assert_eq!(story.states().await[0], State::Accepted);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nothing_is_repeated_for_a_time_in_which_nobody_listened(db: PgPool) {
    let mut story = Story::new(db).await;
    die_during_the_post(&mut story, "one").await;
    assert_eq!(story.after(500).await, ["one"], "web has never been there");
    story.web_since(450).await;
    assert_eq!(story.settle().await, ["one"], "it came back 50 s ago");
    story.clock.advance(TimeDelta::seconds(300));
    assert_eq!(story.settle().await, ["one"], "and has not been seen since");
    story.web_since(750).await;
    assert_eq!(story.settle().await, ["one"], "a gap starts the wait anew");
    story.clock.advance(TimeDelta::seconds(40));
    story.web_since(750).await;
    assert_eq!(story.settle().await, ["one", "one"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn nothing_is_repeated_while_receipts_lie_unread(db: PgPool) {
    let mut story = Story::new(db.clone()).await;
    die_during_the_post(&mut story, "one").await;
    sqlx::query!(
        "insert into inbox (id, kind, provider_id, received_at, key_id, run_after)
         values (gen_random_uuid(), 'status', 'w:sent', $1, 1, $1)",
        noon() + TimeDelta::seconds(3),
    )
    .execute(&db)
    .await
    .unwrap();
    story.clock.advance(TimeDelta::seconds(600));
    story.web_since(0).await;
    assert_eq!(story.settle().await, ["one"]);
    // Tried and put off over and over: nobody will ever read that one.
    sqlx::query!("update inbox set run_after = received_at + interval '1 m'")
        .execute(&db)
        .await
        .unwrap();
    assert_eq!(story.settle().await, ["one"]);
    assert_eq!(story.after(3).await, ["one", "one"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_receipt_of_the_first_post_stops_the_second_before_it_is_made(db: PgPool) {
    let mut story = Story::new(db).await;
    die_during_the_post(&mut story, "one").await;
    story.clock.advance(TimeDelta::seconds(90));
    story.web_since(0).await;
    story.sending.tend().await.unwrap();
    story.sending.tend().await.unwrap();
    assert_eq!(story.states().await, [State::Queued, State::Queued]);
    story.receipt(0, Delivery::Sent, None).await;
    assert_eq!(story.settle().await, ["one", "next"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_dead_workers_bad_news_changes_nothing_and_its_good_news_does(db: PgPool) {
    let mut story = Story::new(db.clone()).await;
    let ann = story.person().await;
    story.queue(ann, &["one"]).await;
    let Claimed::Letter(letter) = story.sending.claim().await.unwrap() else {
        panic!()
    };
    let dead = story.sending.worker;
    story.restart().await;
    story.settle().await;

    let mut conn = db.acquire().await.unwrap();
    let late = result::finish(&mut conn, dead, letter.post, Verdict::Fail, "100", noon());
    assert!(!late.await.unwrap());
    assert_eq!(story.states().await, [State::Unknown]);
    drop(conn);
    let taken = Ok(Accepted {
        wamid: "wamid.x".to_owned(),
    });
    story.sending.store(&letter, &taken).await.unwrap();
    assert_eq!(story.states().await, [State::Accepted]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_living_worker_that_could_not_store_the_answer_is_not_trusted_for_ever(db: PgPool) {
    let story = Story::new(db).await;
    let ann = story.person().await;
    story.queue(ann, &["one"]).await;
    assert!(matches!(
        story.sending.claim().await.unwrap(),
        Claimed::Letter(_)
    ));
    story.after(74).await;
    assert_eq!(story.states().await, [State::Sending]);
    story.after(1).await;
    assert_eq!(story.states().await, [State::Unknown]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_claim_that_grew_old_before_the_post_is_put_back(db: PgPool) {
    let story = Story::new(db).await;
    let ann = story.person().await;
    story.queue(ann, &["one"]).await;
    let Claimed::Letter(mut letter) = story.sending.claim().await.unwrap() else {
        panic!()
    };
    letter.claimed -= STALE * 2;
    story.sending.send(letter).await;
    assert!(story.graph.texts().is_empty());
    assert_eq!(story.settle().await, ["one"]);
}
