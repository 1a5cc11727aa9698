//! One socket to one sandbox's gateway, owned by one task.
//!
//! [`Connection`] is the handle; clones share the socket. It ends when the socket does, when the
//! gateway is silent for two of its ticks, when it is told that the container is gone, and when no
//! handle is left. A sandbox can make us do work only as fast as [`MAX_FRAMES`] allows, and can
//! make us remember only what the bounded queues hold.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{SinkExt, StreamExt};
use serde_json::value::RawValue;
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::{
    dial::Socket,
    hello::Hello,
    protocol::{self, Chat, Frame, Rejection, Request, Subscribe},
    transcript::{self, Row},
};
use crate::lifecycle::Shutdown;

/// A `chat.history` on a machine full of booting sandboxes took 2.5 s (measured). A gateway that
/// needs longer than this is of no use to the person waiting.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A frame of ours is small; it fits into the kernel's buffers unless nobody reads.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_REQUESTS: usize = 32;
/// Who listens too slowly misses events and reads the transcript instead.
const EVENTS: usize = 64;
/// A turn streams some dozens of frames a second. Beyond these we stop reading until the second is over.
const MAX_FRAMES: u32 = 1_000;
const MAX_BYTES: usize = 2 * protocol::MAX_FRAME_BYTES;
/// How often a stopping process looks whether the last turn is over.
const STOP_LOOK: Duration = Duration::from_millis(100);

/// The socket is gone, or as good as gone. What was asked may or may not have happened.
#[derive(Debug, thiserror::Error)]
#[error("the connection to the sandbox is lost")]
pub struct Lost;

/// What a request came to.
pub type Answer = Result<Box<RawValue>, Rejection>;

struct Question {
    id: u64,
    frame: String,
    reply: oneshot::Sender<Answer>,
}

/// What happened in a session.
#[derive(Clone, Debug)]
pub enum Event {
    Chat(Chat),
    /// A row was added to a transcript we listen to: its session, and the row.
    Row(String, Row),
}

#[derive(Clone)]
pub struct Connection {
    next_id: Arc<AtomicU64>,
    questions: mpsc::Sender<Question>,
    events: broadcast::Sender<Event>,
    /// The one session whose rows are told to us.
    listens_to: Arc<Mutex<Option<String>>>,
    /// Its container is paused, so that it says nothing.
    frozen: Arc<AtomicBool>,
    closed: CancellationToken,
}

impl Connection {
    /// Starts the task. `on_ended` is called for every run that ends; it must not wait.
    pub fn start(
        socket: Socket,
        hello: &Hello,
        shutdown: &Shutdown,
        on_ended: impl Fn() + Send + 'static,
    ) -> Self {
        let (questions, incoming) = mpsc::channel(MAX_REQUESTS);
        let (events, _) = broadcast::channel(EVENTS);
        let closed = CancellationToken::new();
        let frozen = Arc::new(AtomicBool::new(false));
        let task = Task {
            frozen: frozen.clone(),
            socket,
            waiting: HashMap::new(),
            events: events.clone(),
            max_silence: 2 * hello.tick,
            on_ended: Box::new(on_ended),
        };
        let running = task.run(incoming, closed.clone(), shutdown.clone());
        let ended = closed.clone().drop_guard();
        shutdown.spawn(async move {
            running.await;
            drop(ended);
        });
        Self {
            next_id: Arc::new(AtomicU64::new(1)),
            questions,
            events,
            listens_to: Arc::default(),
            frozen,
            closed,
        }
    }

    /// Asks and waits for the answer.
    pub async fn call(&self, request: &Request<'_>) -> Result<Answer, Lost> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let frame = request.encode(id);
        let (reply, answer) = oneshot::channel();
        let asked = async {
            let question = Question { id, frame, reply };
            self.questions.send(question).await.map_err(|_| Lost)?;
            answer.await.map_err(|_| Lost)
        };
        match timeout(REQUEST_TIMEOUT, asked).await {
            Ok(answer) => answer,
            Err(_) => {
                self.close();
                Err(Lost)
            }
        }
    }

    /// Has the rows of a session told as [`Event::Row`], for as long as the connection lives.
    pub async fn listen_to(&self, session: &str) -> Result<(), Lost> {
        let listened = || {
            self.listens_to
                .lock()
                .expect("nothing panics while holding it")
        };
        if listened().as_deref() == Some(session) {
            return Ok(());
        }
        // Refused: then rows are read instead of told, which is slower and nothing else.
        if self
            .call(&Request::Subscribe(Subscribe { key: session }))
            .await?
            .is_ok()
        {
            *listened() = Some(session.to_owned());
        }
        Ok(())
    }

    /// What happens in its sessions from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// A paused gateway's silence does not end the socket; any other's does.
    pub fn expect_silence(&self, frozen: bool) {
        self.frozen.store(frozen, Ordering::Relaxed);
    }

    /// Ends the socket; requests under way are lost.
    pub fn close(&self) {
        self.closed.cancel();
    }

    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Resolves when the socket is gone.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }
}

struct Task {
    socket: Socket,
    frozen: Arc<AtomicBool>,
    waiting: HashMap<u64, oneshot::Sender<Answer>>,
    events: broadcast::Sender<Event>,
    max_silence: Duration,
    on_ended: Box<dyn Fn() + Send>,
}

impl Task {
    async fn run(
        mut self,
        mut incoming: mpsc::Receiver<Question>,
        closed: CancellationToken,
        shutdown: Shutdown,
    ) {
        let mut silent_at = Instant::now() + self.max_silence;
        let mut flow = Flow::new();
        loop {
            tokio::select! {
                () = closed.cancelled() => break,
                () = sleep_until(silent_at) => match self.frozen.load(Ordering::Relaxed) {
                    true => silent_at = Instant::now() + self.max_silence,
                    false => break,
                },
                // Turns that still run keep their connection while the process stops; nobody else does.
                () = sleep(STOP_LOOK), if shutdown.is_stopping() => {
                    if incoming.sender_strong_count() <= 1 {
                        break;
                    }
                }
                () = shutdown.stopping(), if !shutdown.is_stopping() => {}
                question = incoming.recv() => match question {
                    Some(question) => if self.ask(question).await.is_none() { break },
                    None => break,
                },
                message = self.socket.next() => {
                    let Some(Ok(message)) = message else { break };
                    silent_at = Instant::now() + self.max_silence;
                    flow.hold_back(message.len()).await;
                    if let Message::Text(text) = message {
                        self.take(protocol::decode(&text));
                    }
                }
            }
        }
        // First, or callers would be handed this connection while it says goodbye.
        closed.cancel();
        let _ = timeout(STOP_LOOK, self.socket.close(None)).await;
    }

    async fn ask(&mut self, question: Question) -> Option<()> {
        // Who gave up waiting needs no place any more.
        self.waiting.retain(|_, reply| !reply.is_closed());
        self.waiting.insert(question.id, question.reply);
        let written = self.socket.send(Message::text(question.frame));
        timeout(WRITE_TIMEOUT, written).await.ok()?.ok()
    }

    fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Response(Some(id), answer) => {
                if let Some(reply) = self.waiting.remove(&id) {
                    // Its asker may have given up; then nobody wants to know.
                    let _ = reply.send(answer);
                }
            }
            Frame::Chat(chat) => {
                if chat.ended {
                    (self.on_ended)();
                }
                // An error only says that nobody listens.
                let _ = self.events.send(Event::Chat(chat));
            }
            Frame::Message(session, row) => {
                if let Some(row) = transcript::row(&row) {
                    let _ = self.events.send(Event::Row(session, row));
                }
            }
            Frame::Response(None, _) | Frame::Challenge(_) | Frame::Other => {}
        }
    }
}

/// How much was read within the current second.
struct Flow {
    since: Instant,
    frames: u32,
    bytes: usize,
}

impl Flow {
    fn new() -> Self {
        Self {
            since: Instant::now(),
            frames: 0,
            bytes: 0,
        }
    }

    /// Counts a frame; after too many, waits until the second is over. TCP makes the sender wait, too.
    async fn hold_back(&mut self, bytes: usize) {
        let second_ends = self.since + Duration::from_secs(1);
        if Instant::now() >= second_ends {
            *self = Self::new();
        }
        self.frames += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if self.frames > MAX_FRAMES || self.bytes > MAX_BYTES {
            sleep_until(second_ends).await;
            *self = Self::new();
        }
    }
}
