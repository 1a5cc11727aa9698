//! Webhooks in great number, over HTTP/1.1 on connections that stay, signed as Meta signs.
//!
//! It shares the machine with what it measures, so that it does no more than it must: a body is a
//! template with a new message id, an answer is read as far as its status and length.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use futures_util::future::try_join_all;
use memchr::memmem;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::{Mutex, mpsc},
};

use crate::{
    Whatsapp,
    crowd::person,
    whatsapp::{Message, SIGNATURE_HEADER, signature},
};

/// Connections for a constant rate: more than the product can have in hand before it is too slow.
const CONNECTIONS: usize = 64;
/// A response of the webhook has no body to speak of.
const MAX_RESPONSE: usize = 16 << 10;
const ID_DIGITS: usize = 20;

/// One line, and everybody's messages to it.
pub struct Load {
    address: SocketAddr,
    app_secret: String,
    /// A body around a message id of [`ID_DIGITS`] digits.
    before: Vec<u8>,
    after: Vec<u8>,
    next: AtomicU64,
}

impl Load {
    /// Webhooks as this WhatsApp writes them, to a port of this machine.
    pub fn new(whatsapp: &Whatsapp, port: u16) -> anyhow::Result<Self> {
        let placeholder = "#".repeat(ID_DIGITS);
        let mut message =
            Message::text(&person(1), "Would you remind me to call my sister at six?");
        message.wamid = format!("wamid.{placeholder}");
        let body = whatsapp.body(&[message]);
        let at = memmem::find(&body, placeholder.as_bytes()).context("find the id in a body")?;
        Ok(Self {
            address: (Ipv4Addr::LOCALHOST, port).into(),
            app_secret: whatsapp.settings().app_secret.clone(),
            before: body[..at].to_vec(),
            after: body[at + ID_DIGITS..].to_vec(),
            next: AtomicU64::new(1),
        })
    }

    /// How many different messages were made.
    pub fn made(&self) -> u64 {
        self.next.load(Ordering::Relaxed) - 1
    }

    pub fn body_bytes(&self) -> usize {
        self.before.len() + ID_DIGITS + self.after.len()
    }

    /// Posts at a constant rate whatever comes back. The samples, in milliseconds, count from the
    /// moment at which each was to be posted: what waits behind a slow answer is as late as it is.
    pub async fn at_rate(
        self: &Arc<Self>,
        per_second: u32,
        lasting: Duration,
    ) -> anyhow::Result<Vec<f64>> {
        let (due, posts) = mpsc::unbounded_channel();
        let posts = Arc::new(Mutex::new(posts));
        let connections = (0..CONNECTIONS).map(|_| Wire::open(self.address));
        let connections = try_join_all(connections).await?;
        let pace = std::thread::spawn(move || pace(per_second, lasting, &due));
        let posting = connections.into_iter().map(|mut wire| {
            let (load, posts) = (self.clone(), posts.clone());
            tokio::spawn(async move {
                let mut samples = Vec::new();
                loop {
                    // One at a time waits for the next; the others wait for the lock.
                    let due: Option<Instant> = posts.lock().await.recv().await;
                    let Some(due) = due else { return Ok(samples) };
                    load.post(&mut wire).await?;
                    samples.push(due.elapsed().as_secs_f64() * 1000.0);
                }
            })
        });
        let mut samples = Vec::new();
        for ended in try_join_all(posting).await? {
            let ended: anyhow::Result<Vec<f64>> = ended;
            samples.extend(ended?);
        }
        pace.join()
            .map_err(|_| anyhow::anyhow!("keep the pace of the load"))?;
        Ok(samples)
    }

    /// Posts as fast as answers come, from so many clients. Returns how many a second were taken.
    pub async fn at_once(
        self: &Arc<Self>,
        clients: usize,
        lasting: Duration,
    ) -> anyhow::Result<f64> {
        let connections = (0..clients).map(|_| Wire::open(self.address));
        let connections = try_join_all(connections).await?;
        let started = Instant::now();
        let posting = connections.into_iter().map(|mut wire| {
            let load = self.clone();
            tokio::spawn(async move {
                let mut taken = 0_u64;
                while started.elapsed() < lasting {
                    load.post(&mut wire).await?;
                    taken += 1;
                }
                anyhow::Ok(taken)
            })
        });
        let mut taken = 0;
        for ended in try_join_all(posting).await? {
            taken += ended?;
        }
        Ok(taken as f64 / started.elapsed().as_secs_f64())
    }

    /// Posts a message that nobody posted before; anything but 200 is the end of the benchmark.
    async fn post(&self, wire: &mut Wire) -> anyhow::Result<()> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let id = format!("{number:0ID_DIGITS$}");
        let body = [&self.before, id.as_bytes(), &self.after].concat();
        let status = wire
            .post(&body, &signature(&self.app_secret, &body))
            .await?;
        anyhow::ensure!(status == 200, "a webhook was answered with {status}");
        Ok(())
    }
}

/// Says when each post is due. A thread of its own: the runtime's timers count in milliseconds.
fn pace(per_second: u32, lasting: Duration, due: &mpsc::UnboundedSender<Instant>) {
    let every = Duration::from_secs(1) / per_second;
    let started = Instant::now();
    let mut at = Duration::ZERO;
    while at < lasting {
        std::thread::sleep((started + at).saturating_duration_since(Instant::now()));
        if due.send(started + at).is_err() {
            return;
        }
        at += every;
    }
}

/// One connection.
struct Wire {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    async fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("connect")?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            read: Vec::new(),
        })
    }

    async fn post(&mut self, body: &[u8], signature: &str) -> anyhow::Result<u16> {
        let head = format!(
            "POST /whatsapp/webhook HTTP/1.1\r\nHost: localhost\r\nUser-Agent: facebookexternalua\r\n\
             Content-Type: application/json\r\n{SIGNATURE_HEADER}: {signature}\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        self.stream.write_all(&request).await.context("post")?;
        self.read.clear();
        loop {
            let read = self.stream.read_buf(&mut self.read).await?;
            anyhow::ensure!(read > 0, "the connection was closed");
            anyhow::ensure!(self.read.len() < MAX_RESPONSE, "a long answer");
            if let Some(status) = status(&self.read)? {
                return Ok(status);
            }
        }
    }
}

/// The status of a whole response; nothing while more is to come.
fn status(response: &[u8]) -> anyhow::Result<Option<u16>> {
    let Some(end) = memmem::find(response, b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&response[..end])?.to_ascii_lowercase();
    let status = head.split(' ').nth(1).context("read a status")?.parse()?;
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.context("read a length")?.trim().parse()?;
    Ok((response.len() >= end + 4 + length).then_some(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_over_when_its_body_is() {
        let whole = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 3\r\n\r\nnot";
        assert_eq!(status(&whole[..20]).unwrap(), None);
        assert_eq!(status(&whole[..whole.len() - 1]).unwrap(), None);
        assert_eq!(status(whole).unwrap(), Some(503));
    }

    #[test]
    fn the_pace_is_kept_and_ends() {
        let (due, mut posts) = mpsc::unbounded_channel();
        pace(1000, Duration::from_millis(20), &due);
        drop(due);
        let mut times = Vec::new();
        while let Some(at) = posts.blocking_recv() {
            times.push(at);
        }
        assert_eq!(times.len(), 20);
        assert_eq!(times[19] - times[0], Duration::from_millis(19));
    }
}
