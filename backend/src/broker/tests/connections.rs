//! What the socket itself bears.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
};

use super::*;

const SOON: Duration = Duration::from_millis(300);

async fn read_to_end(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    _ = stream.read_to_end(&mut said).await;
    String::from_utf8(said).unwrap()
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn there_is_one_route_and_nothing_else(db: PgPool) {
    let world = World::new(db).await;
    for path in [
        "/",
        "/llm/v1/models",
        "/llm/v1/chat/completions/",
        "/llm/v1/chat/completions",
    ] {
        let answer = reqwest::get(format!("http://{}{path}", world.address))
            .await
            .unwrap();
        assert_eq!(error_of(answer).await.0, 404);
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn four_megabytes_pass_and_one_byte_more_does_not(db: PgPool) {
    let mut world = World::new(db).await;
    let mut body = request();
    let rest = (4 << 20) - body.to_string().len();
    body["messages"][0]["content"] = json!(format!("hi{}", "x".repeat(rest)));
    let body = body.to_string();
    assert_eq!(body.len(), 4 << 20);
    world.will_answer("");
    let passed = post_from(world.address, 1, "token-1", body.clone()).await;
    assert_eq!(passed.status(), 200);
    world.seen.recv().await.unwrap();
    let refused = post_from(world.address, 1, "token-1", body + " ").await;
    assert_eq!(error_of(refused).await.0, 413);
    assert!(world.nothing_was_forwarded());
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_connection_that_says_nothing_or_too_little_is_closed(db: PgPool) {
    let world = World::with(db, |_, timeouts| timeouts.head = SOON).await;
    for said in ["", "POST /llm/v1/chat/completions HTTP/1.1\r\nx: "] {
        let mut stream = TcpStream::connect(world.address).await.unwrap();
        stream.write_all(said.as_bytes()).await.unwrap();
        assert!(!read_to_end(&mut stream).await.contains("200"));
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_body_that_does_not_come_is_not_waited_for(db: PgPool) {
    let world = World::with(db, |_, timeouts| timeouts.body = SOON).await;
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let head = "POST /llm/v1/chat/completions HTTP/1.1\r\nhost: b\r\nauthorization: Bearer token-1\r\ncontent-length: 100\r\n\r\n{";
    stream.write_all(head.as_bytes()).await.unwrap();
    assert!(read_to_end(&mut stream).await.starts_with("HTTP/1.1 408"));
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn one_sandbox_cannot_take_all_connections(db: PgPool) {
    let world = World::new(db).await;
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS_PER_ADDRESS {
        held.push(TcpStream::connect(world.address).await.unwrap());
    }
    let mut refused = TcpStream::connect(world.address).await.unwrap();
    assert_eq!(read_to_end(&mut refused).await, "");
    world.will_answer("");
    let other = post_from(world.address, 2, "token-2", request().to_string()).await;
    assert_eq!(other.status(), 200);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_sandbox_that_stops_reading_is_let_go_and_never_buffered_for(db: PgPool) {
    let mut world = World::with(db, |_, timeouts| timeouts.write = SOON).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(world.address).await.unwrap();
    let body = request().to_string();
    let head = format!(
        "POST /llm/v1/chat/completions HTTP/1.1\r\nhost: b\r\nauthorization: Bearer token-1\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    // The provider would send without end.
    world.will_answer(Body::from_stream(stream::repeat_with(|| {
        Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 16 * 1024]))
    })));
    stream.write_all(head.as_bytes()).await.unwrap();
    world.seen.recv().await.unwrap();
    world.stop().await;
    assert_eq!(world.usage().await[0].1, "final");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_stop_lets_a_call_under_way_end(db: PgPool) {
    let world = World::new(db).await;
    let feed = world.will_stream();
    let mut answer = world.call(request()).await;
    world.broker.stop();
    feed.send(Ok(Bytes::from_static(USAGE.as_bytes()))).unwrap();
    drop(feed);
    assert_eq!(answer.chunk().await.unwrap().unwrap(), USAGE);
    world.stop().await;
    assert_eq!(world.usage().await, [(15, "final".to_owned())]);
}

#[tokio::test]
async fn the_address_need_not_exist_when_we_start() {
    // A block that is reserved for documentation, so no machine has it.
    let listener = bind(Ipv4Addr::new(192, 0, 2, 1), 0).unwrap();
    assert_eq!(
        listener.local_addr().unwrap().ip(),
        Ipv4Addr::new(192, 0, 2, 1)
    );
}
