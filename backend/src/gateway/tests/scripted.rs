//! A gateway that plays a script: what it says and when is each test's.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt, future::BoxFuture};
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

use crate::{
    gateway::{
        connection::Connection,
        device::Device,
        dial::{Patience, dial},
    },
    id::SandboxId,
    lifecycle::Shutdown,
    sandbox::Endpoint,
    seal::MasterKey,
};

/// Short, so that a test of patience is quick.
pub const PATIENCE: Patience = Patience {
    tcp: Duration::from_secs(5),
    step: Duration::from_millis(400),
    knocking: Duration::from_secs(20),
};

pub fn master() -> MasterKey {
    let key = SecretString::from("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    MasterKey::parse(&key).unwrap()
}

/// Accepts for ever; `play` gets each connection and its number, counted from 0.
pub async fn gateway(
    play: impl Fn(usize, Server) -> BoxFuture<'static, ()> + Send + 'static,
) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tasks = Shutdown::default();
    tasks.clone().spawn(async move {
        for number in 0.. {
            let (stream, _) = listener.accept().await.unwrap();
            let socket = accept_async(stream).await.unwrap();
            tasks.spawn(play(number, Server { socket }));
        }
    });
    endpoint(address)
}

pub fn endpoint(address: SocketAddr) -> Endpoint {
    Endpoint {
        sandbox: SandboxId::new(),
        address,
        container_id: "container".into(),
        started_at: "once".into(),
        gateway_token: SecretString::from("token"),
    }
}

pub async fn connect(endpoint: &Endpoint) -> Connection {
    let device = Device::of(&master(), endpoint.sandbox);
    let (socket, hello) = dial(endpoint, &device, PATIENCE).await.unwrap();
    Connection::start(socket, &hello, &Shutdown::default(), || {})
}

/// The gateway's end of one connection.
pub struct Server {
    socket: WebSocketStream<TcpStream>,
}

impl Server {
    pub async fn say(&mut self, text: impl Into<String>) {
        // The client may have hung up; then the test sees that on its side.
        let _ = self.socket.send(Message::text(text.into())).await;
    }

    pub async fn event(&mut self, name: &str, payload: Value) {
        let frame = json!({ "type": "event", "event": name, "payload": payload });
        self.say(frame.to_string()).await;
    }

    pub async fn chat(&mut self, run: &str, state: &str) {
        let payload =
            json!({ "sessionKey": "agent:main:main-1", "runId": run, "state": state, "seq": 1 });
        self.event("chat", payload).await;
    }

    /// The next request: its id, method and parameters; a subscription is answered at once. Never,
    /// once the client is gone.
    pub async fn asked(&mut self) -> (String, String, Value) {
        while let Some(Ok(message)) = self.socket.next().await {
            if let Message::Text(text) = message {
                let frame: Value = serde_json::from_str(&text).unwrap();
                let word = |name: &str| frame[name].as_str().unwrap().to_owned();
                if word("method") == "sessions.messages.subscribe" {
                    let id = word("id");
                    self.answer(&id, json!({ "subscribed": true })).await;
                    continue;
                }
                return (word("id"), word("method"), frame["params"].clone());
            }
        }
        std::future::pending().await
    }

    pub async fn answer(&mut self, id: &str, payload: Value) {
        let frame = json!({ "type": "res", "id": id, "ok": true, "payload": payload });
        self.say(frame.to_string()).await;
    }

    pub async fn refuse(&mut self, id: &str, error: Value) {
        let frame = json!({ "type": "res", "id": id, "ok": false, "error": error });
        self.say(frame.to_string()).await;
    }

    /// Challenge and `connect`; returns the id to answer.
    pub async fn meet(&mut self) -> String {
        self.event("connect.challenge", json!({ "nonce": "n", "ts": 1 }))
            .await;
        let (id, method, _) = self.asked().await;
        assert_eq!(method, "connect");
        id
    }

    pub async fn let_in(&mut self) {
        let id = self.meet().await;
        self.welcome(&id, &["operator.admin", "operator.read", "operator.write"])
            .await;
    }

    pub async fn welcome(&mut self, id: &str, scopes: &[&str]) {
        let policy = json!({ "tickIntervalMs": 1 });
        self.answer(
            id,
            json!({ "auth": { "scopes": scopes }, "policy": policy }),
        )
        .await;
    }

    /// Keeps the socket open and says nothing.
    pub async fn hold(self) {
        let _socket = self.socket;
        std::future::pending().await
    }
}
