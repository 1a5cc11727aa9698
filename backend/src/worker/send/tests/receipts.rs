//! Receipts in every order, before and after the POST's own answer.

use super::{graph::Reply, *};

/// One message, claimed and not yet answered.
async fn under_way(story: &Story) -> Letter {
    let ann = story.person().await;
    story.queue(ann, &["one"]).await;
    match story.sending.claim().await.unwrap() {
        Claimed::Letter(letter) => letter,
        _ => panic!("nothing to claim"),
    }
}

fn callback(letter: &Letter) -> Option<String> {
    Some(
        Callback {
            id: letter.post.id,
            attempt: letter.post.attempt,
        }
        .to_string(),
    )
}

async fn row(story: &Story) -> (State, Option<String>, i16) {
    let row = sqlx::query!(r#"select state as "state: State", wamid, rank from outbox"#)
        .fetch_one(&story.db)
        .await
        .unwrap();
    (row.state, row.wamid, row.rank)
}

/// What may happen to a message that is under way.
#[derive(Clone, Copy, Debug)]
enum Event {
    Answer,
    Receipt(Delivery),
}

/// Plays `events` in this order and says what the row has become.
async fn play(story: &Story, events: &[Event], named: bool) -> (State, i16) {
    let letter = under_way(story).await;
    let wamid = format!("wamid.{}", letter.post.id);
    for event in events {
        match event {
            Event::Answer => {
                let taken = Ok(Accepted {
                    wamid: wamid.clone(),
                });
                story.sending.store(&letter, &taken).await.unwrap();
            }
            Event::Receipt(state) => {
                let code = (*state == Delivery::Failed).then_some(131026);
                let callback = callback(&letter).filter(|_| named);
                story.record(wamid.clone(), callback, *state, code).await;
            }
        }
    }
    let (state, _, rank) = row(story).await;
    sqlx::query!("delete from outbox")
        .execute(&story.db)
        .await
        .unwrap();
    (state, rank)
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn receipts_and_the_answer_commute_in_every_order(db: PgPool) {
    use Delivery::{Delivered, Failed, Sent};
    use Event::{Answer, Receipt};
    let story = Story::new(db).await;
    let cases: [(&[Event], (State, i16)); 3] = [
        (
            &[Answer, Receipt(Sent), Receipt(Delivered)],
            (State::Accepted, 2),
        ),
        (
            &[Answer, Receipt(Sent), Receipt(Failed)],
            (State::Failed, 0),
        ),
        (
            &[Answer, Receipt(Failed), Receipt(Delivered)],
            (State::Accepted, 2),
        ),
    ];
    for (events, end) in cases {
        let [a, b, c] = *events else { unreachable!() };
        for order in [
            [a, b, c],
            [a, c, b],
            [b, a, c],
            [b, c, a],
            [c, a, b],
            [c, b, a],
        ] {
            for named in [true, false] {
                assert_eq!(
                    play(&story, &order, named).await,
                    end,
                    "{order:?}, named: {named}"
                );
            }
        }
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_delivered_before_the_answer_gives_the_row_its_wamid(db: PgPool) {
    let story = Story::new(db).await;
    let letter = under_way(&story).await;
    story
        .record(
            "wamid.early".to_owned(),
            callback(&letter),
            Delivery::Delivered,
            None,
        )
        .await;
    assert_eq!(
        row(&story).await,
        (State::Accepted, Some("wamid.early".to_owned()), 2)
    );
    let taken = Ok(Accepted {
        wamid: "wamid.early".to_owned(),
    });
    story.sending.store(&letter, &taken).await.unwrap();
    assert_eq!(
        row(&story).await,
        (State::Accepted, Some("wamid.early".to_owned()), 2)
    );
    assert!(story.settle().await.is_empty());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_receipt_with_a_broken_off_answer_settles_it(db: PgPool) {
    let story = Story::new(db).await;
    let ann = story.person().await;
    story.queue(ann, &["one", "two"]).await;
    story.graph.will([Reply::BreakOff]);
    assert_eq!(story.settle().await, ["one"]);
    assert_eq!(story.states().await, [State::Unknown, State::Queued]);
    story.receipt(0, Delivery::Sent, None).await;
    assert_eq!(story.settle().await, ["one", "two"]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_message_that_failed_for_a_while_is_sent_again_once_per_failure(db: PgPool) {
    let story = Story::new(db).await;
    let ann = story.person().await;
    story.queue(ann, &["one"]).await;
    story.settle().await;
    story.receipt(0, Delivery::Failed, Some(131056)).await;
    assert_eq!(story.settle().await, ["one"], "not before its time");
    assert_eq!(story.after(2).await, ["one", "one"]);
    // Late, repeated and out of order: all of it is about the first one.
    story.receipt(0, Delivery::Failed, Some(131056)).await;
    story.receipt(0, Delivery::Sent, None).await;
    assert_eq!(story.after(60).await, ["one", "one"]);
    assert_eq!(story.states().await, [State::Accepted]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_failure_in_a_receipt_has_its_code_and_its_consequence(db: PgPool) {
    let story = Story::new(db.clone()).await;
    for (code, state) in [
        (131026, State::Failed),
        (131047, State::Held),
        (131000, State::Queued),
        (130429, State::Queued),
        (999_999, State::Failed),
    ] {
        let ann = story.person().await;
        story.queue(ann, &["x"]).await;
        let post = story.settle().await.len() - 1;
        story.receipt(post, Delivery::Failed, Some(code)).await;
        let found = sqlx::query!(r#"select state as "state: State", error from outbox"#)
            .fetch_one(&db)
            .await
            .unwrap();
        assert_eq!(
            (found.state, found.error),
            (state, Some(code.to_string())),
            "{code}"
        );
        let blocked = line::is_blocked(&db, story.line, story.clock.now())
            .await
            .unwrap();
        assert_eq!(blocked, code == 130429, "{code}");
        line::unblock(&db, story.line).await.unwrap();
        sqlx::query!("delete from outbox")
            .execute(&db)
            .await
            .unwrap();
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn receipts_of_another_line_or_of_nothing_change_nothing(db: PgPool) {
    let mut story = Story::new(db.clone()).await;
    let letter = under_way(&story).await;
    let ours = std::mem::replace(
        &mut story.line,
        line::seed(&db, Provider::Meta, "2").await.unwrap(),
    );
    story
        .record(
            "wamid.a".to_owned(),
            callback(&letter),
            Delivery::Read,
            None,
        )
        .await;
    story.line = ours;
    for strange in ["", ":", "x:1", "1:1", "not ours at all"] {
        story
            .record(
                strange.to_owned(),
                Some(strange.to_owned()),
                Delivery::Read,
                None,
            )
            .await;
    }
    assert_eq!(row(&story).await, (State::Sending, None, 0));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_failure_of_the_first_post_says_nothing_about_the_second(db: PgPool) {
    let story = Story::new(db).await;
    let ann = story.person().await;
    story.queue(ann, &["one"]).await;
    story.graph.will([Reply::BreakOff]);
    story.settle().await;
    story.clock.advance(TimeDelta::seconds(90));
    story.web_since(0).await;
    story.sending.tend().await.unwrap();
    assert!(matches!(
        story.sending.claim().await.unwrap(),
        Claimed::Letter(_)
    ));
    story.receipt(0, Delivery::Failed, Some(131026)).await;
    assert_eq!(story.states().await, [State::Sending]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_answer_waits_for_an_unnamed_receipt_that_is_being_stored(db: PgPool) {
    let story = Story::new(db.clone()).await;
    let letter = under_way(&story).await;
    let error = Some(ApiError {
        code: 131026,
        title: None,
        details: None,
    });
    let (wamid, state) = ("wamid.x".to_owned(), Delivery::Failed);
    let (at, callback, recipient) = (None, None, Sender::default());
    let status = Status {
        wamid: wamid.clone(),
        state,
        at,
        callback,
        error,
        recipient,
    };
    let mut tx = db.begin().await.unwrap();
    receipt::record(&mut tx, story.line, &status, noon())
        .await
        .unwrap();

    let taken = Ok(Accepted { wamid });
    let until_it_waits = async {
        let waiting = || {
            sqlx::query_scalar!(
                r#"select exists (
                       select from pg_locks l join pg_database d on d.oid = l.database
                       where d.datname = current_database() and not l.granted) as "waits!""#
            )
            .fetch_one(&db)
        };
        while !waiting().await.unwrap() {}
        tx.commit().await.unwrap();
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        stored = story.sending.store(&letter, &taken) => stored.unwrap(),
        () = until_it_waits => {}
    }
    assert_eq!(row(&story).await.0, State::Failed);
}
