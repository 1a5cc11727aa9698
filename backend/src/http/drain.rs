//! The end of a listener behind a proxy: nothing that was let in is lost.
//!
//! Closing a listener resets the connections that wait in its queue, and a graceful shutdown closes
//! those on which nothing was read yet. The proxy may have written a webhook on either, and cannot
//! know whether it was stored. So first nobody new gets in: the kernel ignores whoever knocks, and
//! the proxy knocks elsewhere or again. Those inside get a moment to say what they came for. Then
//! we close.

use std::time::Duration;

use anyhow::Context;
use socket2::{SockFilter, SockRef};
use tokio::net::TcpListener;

/// A proxy on this machine writes its request within milliseconds; a busy machine takes longer.
const MOMENT: Duration = Duration::from_secs(1);

/// A second handle of a listener, to shut its door while it serves.
pub struct Door(std::net::TcpListener);

impl Door {
    pub fn of(listener: TcpListener) -> anyhow::Result<(TcpListener, Self)> {
        let listener = listener.into_std().context("share a listener")?;
        let door = listener.try_clone().context("share a listener")?;
        let listener = TcpListener::from_std(listener).context("share a listener")?;
        Ok((listener, Self(door)))
    }

    /// Lets nobody in any more, and waits until whoever is inside has spoken.
    pub async fn shut(self) {
        match SockRef::from(&self.0).attach_filter(&ignore_who_knocks()) {
            Ok(()) => tokio::time::sleep(MOMENT).await,
            // Closing at once is what happens without this.
            Err(error) => tracing::warn!("the door cannot be shut before it is closed: {error}"),
        }
    }
}

/// Classic BPF over the TCP header: a first packet (SYN without ACK) is dropped, all others pass.
fn ignore_who_knocks() -> [SockFilter; 5] {
    const LOAD_BYTE: u16 = 0x30;
    const AND: u16 = 0x54;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const FLAGS_AT: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS_AT),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc};

    use axum::{Router, routing::get};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpStream,
        sync::{Semaphore, oneshot},
        task::JoinSet,
        time::timeout,
    };

    use super::*;

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: us\r\nConnection: close\r\n\r\n";

    async fn listen() -> (TcpListener, Door, SocketAddr) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (listener, door) = Door::of(listener).unwrap();
        (listener, door, address)
    }

    #[tokio::test]
    async fn whoever_was_let_in_is_served_and_whoever_knocks_later_finds_nobody() {
        let (listener, door, address) = listen().await;
        // In the queue, not yet accepted, and silent so far.
        let mut inside = TcpStream::connect(address).await.unwrap();
        // The filter is set at the first poll of `shut`, which comes before the others.
        let knocking = timeout(MOMENT / 2, TcpStream::connect(address));
        let serving = async {
            let (mut accepted, _) = listener.accept().await.unwrap();
            let mut said = [0; 5];
            inside.write_all(b"hello").await.unwrap();
            accepted.read_exact(&mut said).await.unwrap();
            said
        };
        let ((), late, said) = tokio::join!(biased; door.shut(), knocking, serving);
        assert_eq!(&said, b"hello");
        assert!(late.is_err(), "somebody got in: {late:?}");
    }

    /// Asks again and again, on a connection each time, until it is not let in any more.
    async fn ask_until_shut_out(address: SocketAddr, answers: Arc<Semaphore>) {
        while let Ok(Ok(mut stream)) = timeout(MOMENT / 2, TcpStream::connect(address)).await {
            stream.write_all(REQUEST).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert!(
                answer.ends_with("hello"),
                "let in, but answered: {answer:?}"
            );
            answers.add_permits(1);
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn everybody_who_is_let_in_is_answered_however_many_come_while_it_stops() {
        let (listener, door, address) = listen().await;
        let (stop, stopping) = oneshot::channel::<()>();
        let router = Router::new().route("/", get(async || "hello"));
        let last_one_is_in = async move {
            stopping.await.unwrap();
            door.shut().await;
        };
        let mut tasks = JoinSet::new();
        let serving = axum::serve(listener, router).with_graceful_shutdown(last_one_is_in);
        tasks.spawn(async move { serving.await.unwrap() });
        let answers = Arc::new(Semaphore::new(0));
        for _ in 0..64 {
            tasks.spawn(ask_until_shut_out(address, answers.clone()));
        }
        // In full swing.
        let _ = answers.acquire_many(2000).await.unwrap();
        stop.send(()).unwrap();
        tasks.join_all().await;
    }
}
