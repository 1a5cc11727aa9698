//! One after another for a person, side by side for several, never twice.

use super::{graph::Reply, *};

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_next_part_waits_for_sent_or_two_seconds(db: PgPool) {
    let story = Story::new(db).await;
    let ann = story.person().await;
    story.queue(ann, &["one", "two", "three"]).await;
    assert_eq!(story.settle().await, ["one"]);
    assert_eq!(story.after(1).await, ["one"]);
    story.receipt(0, Delivery::Sent, None).await;
    assert_eq!(story.settle().await, ["one", "two"]);
    assert_eq!(story.after(1).await.len(), 2);
    assert_eq!(story.after(1).await, ["one", "two", "three"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_delivered_that_skips_sent_is_as_good(db: PgPool) {
    let story = Story::new(db).await;
    let ann = story.person().await;
    story.queue(ann, &["one", "two"]).await;
    story.settle().await;
    story.receipt(0, Delivery::Delivered, None).await;
    assert_eq!(story.settle().await, ["one", "two"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_same_key_is_queued_once_per_person(db: PgPool) {
    let story = Story::new(db).await;
    let (ann, bob) = (story.person().await, story.person().await);
    for person in [ann, bob, ann] {
        story.queue(person, &["hello"]).await;
    }
    assert_eq!(story.settle().await, ["hello", "hello"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_send_that_hangs_holds_up_nobody_else_and_keeps_its_own_order(db: PgPool) {
    let story = Story::new(db).await;
    let (ann, bob) = (story.person().await, story.person().await);
    story.queue(ann, &["a1", "a2"]).await;
    story.graph.will([Reply::Hold]);
    tokio::select! {
        _ = story.sending.step() => panic!("Graph does not answer"),
        () = async {
            story.graph.posted().await;
            story.queue(bob, &["b1"]).await;
            assert_eq!(story.settle().await, ["a1", "b1"]);
        } => {}
    }
    assert_eq!(
        story.states().await,
        [State::Sending, State::Queued, State::Accepted]
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn two_workers_never_claim_the_same_row(db: PgPool) {
    let story = Story::new(db.clone()).await;
    let mut texts = Vec::new();
    for number in 0..20 {
        let text = format!("m{number}");
        story.queue(story.person().await, &[&text]).await;
        texts.push(text);
    }
    let other = WorkerId::new();
    sqlx::query!(
        "insert into worker (host, id, lease_until) values ('there', $1, now() + interval '1 h')",
        other as WorkerId,
    )
    .execute(&db)
    .await
    .unwrap();
    let race = (0..40).map(|turn| {
        let worker = if turn % 2 == 0 {
            story.sending.worker
        } else {
            other
        };
        let (db, line) = (db.clone(), story.line);
        async move {
            let mut tx = db.begin().await.unwrap();
            let next = claim::next(&mut *tx, worker, &[line], noon())
                .await
                .unwrap()?;
            claim::start(&mut *tx, worker, next.post, noon())
                .await
                .unwrap();
            tx.commit().await.unwrap();
            Some(next.post.id.0)
        }
    });
    let claimed = futures_util::future::join_all(race).await;
    let mut ids: Vec<_> = claimed.into_iter().flatten().collect();
    let got = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), got, "a row was claimed twice");
    assert_eq!(got, texts.len());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_row_under_way_in_another_transaction_hides_the_persons_next_one(db: PgPool) {
    let story = Story::new(db.clone()).await;
    let ann = story.person().await;
    story.queue(ann, &["one", "two"]).await;
    let (worker, lines) = (story.sending.worker, [story.line]);
    let mut first = db.begin().await.unwrap();
    let one = claim::next(&mut *first, worker, &lines, noon())
        .await
        .unwrap()
        .unwrap();
    assert!(
        claim::next(&db, worker, &lines, noon())
            .await
            .unwrap()
            .is_none(),
        "locked"
    );
    claim::start(&mut *first, worker, one.post, noon())
        .await
        .unwrap();
    assert!(
        claim::next(&db, worker, &lines, noon())
            .await
            .unwrap()
            .is_none(),
        "not committed"
    );
    first.commit().await.unwrap();
    assert!(
        claim::next(&db, worker, &lines, noon())
            .await
            .unwrap()
            .is_none(),
        "being sent"
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_person_gets_sixty_an_hour_and_the_rest_later(db: PgPool) {
    let story = Story::new(db).await;
    let (ann, bob) = (story.person().await, story.person().await);
    let texts: Vec<_> = (0..61).map(|number| number.to_string()).collect();
    story
        .queue(ann, &texts.iter().map(String::as_str).collect::<Vec<_>>())
        .await;
    sqlx::query!(
        "update outbox set state = 'accepted', rank = 1, sent_at = $1, done_at = $1
         where key <> '59' and key <> '60'",
        noon(),
    )
    .execute(&story.db)
    .await
    .unwrap();
    assert_eq!(story.after(60).await, ["59"]);
    assert_eq!(story.after(60).await, ["59"]);
    story.queue(bob, &["hello"]).await;
    assert_eq!(
        story.settle().await,
        ["59", "hello"],
        "others are not held up"
    );
    assert_eq!(story.after(3479).await.len(), 2);
    assert_eq!(story.after(1).await.last().unwrap(), "60");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_worker_without_a_lease_sends_nothing(db: PgPool) {
    let mut story = Story::new(db).await;
    let ann = story.person().await;
    story.queue(ann, &["one"]).await;
    let living = std::mem::replace(&mut story.sending.worker, WorkerId::new());
    assert!(story.settle().await.is_empty());
    story.sending.worker = living;
    assert_eq!(story.settle().await, ["one"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_row_that_cannot_be_read_or_addressed_stops_nobody(db: PgPool) {
    let story = Story::new(db.clone()).await;
    let (ann, bob, cid) = (
        story.person().await,
        story.person().await,
        story.person().await,
    );
    story.queue(ann, &["damaged"]).await;
    sqlx::query!("update outbox set body = 'x'")
        .execute(&db)
        .await
        .unwrap();
    story.queue(bob, &["nowhere"]).await;
    sqlx::query!(
        "delete from tenant_address where tenant_id = $1",
        bob as TenantId
    )
    .execute(&db)
    .await
    .unwrap();
    story.queue(cid, &["fine"]).await;
    assert_eq!(story.settle().await, ["fine"]);
    assert_eq!(
        story.states().await,
        [State::Queued, State::Failed, State::Accepted]
    );
}
