//! Opening a socket to a gateway: connect, answer the challenge, be let in.
//!
//! Every step has a time-out: a paused container accepts a TCP connection and then says nothing.
//! A gateway that is starting answers `UNAVAILABLE`, one that is being introduced to our device
//! `NOT_PAIRED`; both are tried again here, for a while. Everything else is the caller's to retry.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use secrecy::ExposeSecret;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use super::{
    device::Device,
    hello::{self, Hello},
    protocol::{self, Connect, Frame, Rejection, Request, SCOPES},
};

use crate::sandbox::Endpoint;

pub type Socket = WebSocketStream<TcpStream>;

/// How often we knock while it starts or approves us.
const KNOCK_EVERY: Duration = Duration::from_millis(150);
/// Most frames are short; the default of 128 KiB per socket would be most of our memory.
const READ_BUFFER_BYTES: usize = 16 << 10;

/// How long we wait for a gateway.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// To connect. On the same machine; more means that it is paused or gone.
    pub tcp: Duration,
    /// For the upgrade, the challenge and the answer to ours, each: a gateway that just started on
    /// a busy machine took 2 s (measured).
    pub step: Duration,
    /// For being let in. A boot takes about 8 s, and over two minutes on a machine that has far
    /// more to do than it can (measured). Given up too early, it begins from nothing and makes that
    /// worse; what takes longer is broken.
    pub knocking: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            tcp: Duration::from_secs(2),
            step: Duration::from_secs(10),
            knocking: Duration::from_secs(240),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Worth another try in a while.
    #[error("the gateway did not answer: {0}")]
    Unreachable(&'static str),
    /// It answers, and does not know us: its state does not fit our keys.
    #[error("the gateway refused us: {} {}", .0.code, .0.reason)]
    Refused(Rejection),
}

/// Dials until let in. Retries what passes by itself at boot: nobody listens yet, it is starting,
/// it is being introduced to our device.
pub async fn dial(
    endpoint: &Endpoint,
    device: &Device,
    patience: Patience,
) -> Result<(Socket, Hello), DialError> {
    let give_up_at = Instant::now() + patience.knocking;
    loop {
        let (error, wait) = match knock(endpoint, device, patience).await {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(rejection)) => match rejection.code.as_str() {
                "UNAVAILABLE" => {
                    let wait = rejection.retry_after.unwrap_or(KNOCK_EVERY);
                    (DialError::Refused(rejection), wait)
                }
                "NOT_PAIRED" => (DialError::Refused(rejection), KNOCK_EVERY),
                _ => return Err(DialError::Refused(rejection)),
            },
            Err(error) => (error, KNOCK_EVERY),
        };
        if Instant::now() > give_up_at {
            return Err(error);
        }
        // The sandbox proposes the pause, so it is kept within reason.
        sleep(wait.clamp(KNOCK_EVERY, Duration::from_secs(1))).await;
    }
}

async fn knock(
    endpoint: &Endpoint,
    device: &Device,
    patience: Patience,
) -> Result<Result<(Socket, Hello), Rejection>, DialError> {
    let mut socket = open(endpoint.address, patience).await?;
    let Frame::Challenge(challenge) = first_frame(&mut socket, patience).await? else {
        return Err(DialError::Unreachable("it opened with something else"));
    };
    let token = endpoint.gateway_token.expose_secret();
    let request = Request::Connect(Connect::new(device, token, &challenge)).encode(0);
    let sent = timeout(patience.step, socket.send(Message::text(request))).await;
    if !matches!(sent, Ok(Ok(()))) {
        return Err(DialError::Unreachable("it takes no request"));
    }
    let answer = timeout(patience.step, answer(&mut socket)).await;
    let payload = match answer {
        Ok(Some(Ok(payload))) => payload,
        Ok(Some(Err(rejection))) => return Ok(Err(rejection)),
        Ok(None) => return Err(DialError::Unreachable("it hung up")),
        Err(_) => return Err(DialError::Unreachable("it keeps us waiting")),
    };
    let hello = hello::read_hello(&payload).ok_or(DialError::Unreachable("no hello-ok"))?;
    if SCOPES
        .iter()
        .all(|scope| hello.scopes.iter().any(|granted| granted == scope))
    {
        return Ok(Ok((socket, hello)));
    }
    // What a client without a proven device gets: let in, and allowed nothing.
    Ok(Err(Rejection {
        code: "NOT_PAIRED".into(),
        ..Rejection::default()
    }))
}

async fn open(address: SocketAddr, patience: Patience) -> Result<Socket, DialError> {
    let Ok(Ok(stream)) = timeout(patience.tcp, TcpStream::connect(address)).await else {
        return Err(DialError::Unreachable("no connection"));
    };
    // Our frames are small and each is waited for.
    let _ = stream.set_nodelay(true);
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(protocol::MAX_FRAME_BYTES))
        .max_frame_size(Some(protocol::MAX_FRAME_BYTES));
    let upgrade = client_async_with_config(format!("ws://{address}/"), stream, Some(config));
    match timeout(patience.step, upgrade).await {
        Ok(Ok((socket, _))) => Ok(socket),
        Ok(Err(_)) => Err(DialError::Unreachable("no WebSocket")),
        Err(_) => Err(DialError::Unreachable("paused, or still starting")),
    }
}

async fn first_frame(socket: &mut Socket, patience: Patience) -> Result<Frame, DialError> {
    match timeout(patience.step, socket.next()).await {
        Ok(Some(Ok(Message::Text(text)))) if text.len() <= protocol::MAX_FIRST_FRAME_BYTES => {
            Ok(protocol::decode(&text))
        }
        Ok(Some(Ok(_))) => Ok(Frame::Other),
        Ok(_) => Err(DialError::Unreachable("it hung up")),
        Err(_) => Err(DialError::Unreachable("no challenge")),
    }
}

/// The answer to `connect`, whatever else is said before. None: the socket ended.
async fn answer(
    socket: &mut Socket,
) -> Option<Result<Box<serde_json::value::RawValue>, Rejection>> {
    while let Some(Ok(message)) = socket.next().await {
        if let Message::Text(text) = message
            && let Frame::Response(Some(0), result) = protocol::decode(&text)
        {
            return Some(result);
        }
    }
    None
}
