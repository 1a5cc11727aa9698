//! Who is answered, and with what.

use axum::http::StatusCode;

use super::*;

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_wrong_token_is_refused_and_nothing_is_forwarded(db: PgPool) {
    let mut world = World::new(db).await;
    for token in ["", "token-9", KEY] {
        let answer = post_from(world.address, 1, token, request().to_string()).await;
        assert_eq!(answer.status(), 401);
    }
    assert!(world.nothing_was_forwarded());
    assert!(world.usage().await.is_empty());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_token_works_only_from_its_own_sandbox(db: PgPool) {
    let mut world = World::new(db).await;
    let answer = post_from(world.address, 1, "token-2", request().to_string()).await;
    assert_eq!(answer.status(), 401);
    assert!(world.nothing_was_forwarded());

    world.will_answer("");
    assert_eq!(
        post_from(world.address, 2, "token-2", request().to_string())
            .await
            .status(),
        200
    );
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_token_of_a_removed_sandbox_is_worth_nothing(db: PgPool) {
    let world = World::new(db).await;
    sqlx::query!("update sandbox set gone_at = now() where slot = 1")
        .execute(&world.db)
        .await
        .unwrap();
    assert_eq!(world.call(request()).await.status(), 401);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn only_allowed_fields_reach_the_provider(db: PgPool) {
    let mut world = World::new(db).await;
    world.will_answer("");
    let mut body = request();
    body["plugins"] = json!([{"id": "web"}]);
    body["provider"] = json!({"order": ["dear"]});
    body["n"] = json!(20);
    world.call(body).await;
    let mut expected = request();
    expected["n"] = json!(1);
    expected["stream_options"] = json!({"include_usage": true});
    assert_eq!(world.seen.recv().await.unwrap().body, expected);

    let mut body = request();
    body["messages"][0]["content"] =
        json!([{"type": "image_url", "image_url": {"url": "http://169.254.169.254/"}}]);
    assert_eq!(error_of(world.call(body).await).await.1, "not_allowed");
    assert!(world.nothing_was_forwarded());
    assert_eq!(world.usage().await.len(), 1);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn the_key_reaches_the_provider_and_never_the_sandbox(db: PgPool) {
    let mut world = World::new(db).await;
    world.will_answer((
        [
            ("content-type", "text/event-stream"),
            ("x-key", KEY),
            ("set-cookie", KEY),
        ],
        USAGE,
    ));
    let answer = world.call(request()).await;
    let seen = world.seen.recv().await.unwrap();
    assert_eq!(seen.headers["authorization"], format!("Bearer {KEY}"));
    assert!(!format!("{:?}", seen.headers).contains("token-1"));
    let mut names: Vec<_> = answer.headers().keys().map(ToString::to_string).collect();
    names.sort();
    assert_eq!(names, ["content-type", "date", "transfer-encoding"]);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    assert_eq!(answer.text().await.unwrap(), USAGE);

    let said =
        json!({"error": {"message": format!("Incorrect API key provided: {KEY}")}}).to_string();
    // A 401 or 403 would stop every session of the sandbox for minutes.
    for (status, passed_on) in [(400_u16, 400), (401, 400), (403, 400), (500, 500)] {
        let status = StatusCode::from_u16(status).unwrap();
        world.will_answer((status, [("x-key", KEY)], said.clone()));
        let answer = world.call(request()).await;
        assert_eq!(answer.status(), passed_on);
        assert!(!format!("{:?}", answer.headers()).contains(KEY));
        assert!(!answer.text().await.unwrap().contains(KEY));
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_stream_is_passed_on_piece_by_piece_and_settled_exactly(db: PgPool) {
    let world = World::new(db).await;
    let feed = world.will_stream();
    let mut answer = world.call(request()).await;
    // Each piece is sent when the one before has arrived, so nobody waits for more.
    for piece in [
        ": thinking\n\n",
        "data: {\"choices\":[{\"del",
        "ta\":{}}]}\n\n",
        &USAGE[..40],
        &USAGE[40..],
    ] {
        feed.send(Ok(Bytes::from(piece.to_owned()))).unwrap();
        assert_eq!(answer.chunk().await.unwrap().unwrap(), piece);
    }
    assert_eq!(world.usage().await[0].1, "reserved");
    drop(feed);
    assert_eq!(answer.chunk().await.unwrap(), None);
    assert_eq!(world.usage().await, [(15, "final".to_owned())]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_plain_answer_is_settled_too(db: PgPool) {
    let world = World::new(db).await;
    let said = json!({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}});
    world.will_answer(axum::Json(said.clone()));
    let mut body = request();
    body["stream"] = json!(false);
    assert_eq!(world.call(body).await.json::<Value>().await.unwrap(), said);
    assert_eq!(world.usage().await, [(7, "final".to_owned())]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_sandbox_that_hangs_up_ends_the_call_upstream(db: PgPool) {
    let mut world = World::new(db).await;
    let feed = world.will_stream();
    let mut answer = world.call(request()).await;
    feed.send(Ok(Bytes::from_static(b"data: 12345678901234567890\n\n")))
        .unwrap();
    answer.chunk().await.unwrap();
    drop(answer);
    feed.closed().await;

    // Before the first byte as well: it may have been thinking, and costs the worst case.
    world.seen.recv().await.unwrap();
    let seen = tokio::select! {
        _ = post_from(world.address, 1, "token-1", request().to_string()) => unreachable!(),
        seen = world.seen.recv() => seen.unwrap(),
    };
    seen.gone.await.unwrap_err();

    world.stop().await;
    let usage = world.usage().await;
    assert!(usage.iter().all(|(_, state)| state == "final"));
    let passed = b"data: 12345678901234567890\n\n".len() as i64 / 4;
    assert_eq!(usage[1].0 - usage[0].0, 100 - passed);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_error_of_the_provider_is_passed_on_short_and_costs_nothing(db: PgPool) {
    let world = World::new(db).await;
    let message = "ü".repeat(5_000);
    let said = json!({"error": {"message": message, "metadata": {"account": "ours"}}}).to_string();
    for status in [400, 429, 500, 503] {
        world.will_answer((StatusCode::from_u16(status).unwrap(), said.clone()));
        let error = error_of(world.call(request()).await).await;
        assert_eq!(
            error,
            (status, "upstream".to_owned(), message[..2048].to_owned())
        );
    }
    world.will_answer((StatusCode::BAD_GATEWAY, "<html>nginx</html>"));
    let error = error_of(world.call(request()).await).await;
    assert_eq!(error.2, "the model provider answered 502");
    world.will_answer((StatusCode::FOUND, [("location", "/api/v1/elsewhere")]));
    assert_eq!(world.call(request()).await.status(), 502);
    assert_eq!(world.usage().await, vec![(0, "final".to_owned()); 6]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_answer_that_breaks_off_breaks_off_for_the_sandbox_too(db: PgPool) {
    let world = World::new(db).await;
    let feed = world.will_stream();
    let mut answer = world.call(request()).await;
    feed.send(Ok(Bytes::from_static(b"data: {}\n\n"))).unwrap();
    answer.chunk().await.unwrap();
    feed.send(Err(std::io::Error::other("gone"))).unwrap();
    answer.chunk().await.unwrap_err();
    assert_eq!(world.usage().await[0].1, "final");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_silent_provider_is_given_up_and_may_have_cost_the_worst(db: PgPool) {
    let silence = Duration::from_millis(300);
    let world = World::with(db, |_, timeouts| timeouts.silence = silence).await;
    assert_eq!(
        error_of(world.call(request()).await).await.1,
        "upstream_timed_out"
    );
    let (tokens, state) = world.usage().await.remove(0);
    assert!(tokens > 100 && state == "final", "{tokens} {state}");

    let feed = world.will_stream();
    let mut answer = world.call(request()).await;
    feed.send(Ok(Bytes::from_static(b"data: {}\n\n"))).unwrap();
    answer.chunk().await.unwrap();
    answer.chunk().await.unwrap_err();
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_provider_that_is_not_there_costs_nothing(db: PgPool) {
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{closed}").parse().unwrap();
    let world = World::with(db, |llm, _| llm.base_url = url).await;
    assert_eq!(
        error_of(world.call(request()).await).await.1,
        "upstream_unreachable"
    );
    assert_eq!(world.usage().await, [(0, "final".to_owned())]);
}
