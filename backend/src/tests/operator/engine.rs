//! As much of a Docker engine as the operator's commands ask for, over HTTP, with all that it holds
//! in a test's hand. The real one is looked at by the end-to-end tests.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Json, Router,
    extract::State as Shared,
    http::{Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::{id::SandboxId, sandbox::layout::Layout};

/// What an operator's commands are told by default.
const DEPLOYMENT: &str = "clawkaka";

pub struct Engine {
    /// As DOCKER_HOST names it.
    pub host: String,
    state: Arc<Mutex<State>>,
    looks: watch::Receiver<usize>,
}

#[derive(Default)]
pub struct State {
    pub containers: Vec<Held>,
    pub volumes: Vec<SandboxId>,
    pub has_network: bool,
    /// What the configured image is by now.
    pub image: String,
    /// How often somebody asked for one container.
    looks: watch::Sender<usize>,
}

#[derive(Clone)]
pub struct Held {
    /// None: a probe of the walls.
    pub sandbox: Option<SandboxId>,
    pub status: &'static str,
    /// Pieces as Docker frames them: of stdout (1) or stderr (2).
    pub log: Vec<(u8, Vec<u8>)>,
}

impl Held {
    pub fn running(sandbox: SandboxId) -> Self {
        Self {
            sandbox: Some(sandbox),
            status: "running",
            log: Vec::new(),
        }
    }

    fn id(&self) -> String {
        match self.sandbox {
            Some(sandbox) => format!("c{}", sandbox.0.simple()),
            None => "probe".to_owned(),
        }
    }
}

fn layout() -> Layout {
    Layout::new(DEPLOYMENT, Ipv4Addr::new(10, 77, 0, 0), 200_000, 3005)
}

impl Engine {
    #[expect(clippy::disallowed_methods, reason = "a test's own server")]
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            image: "sha256:abc".to_owned(),
            ..State::default()
        }));
        let looks = state.lock().unwrap().looks.subscribe();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("--docker-host=tcp://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(state.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { host, state, looks }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Somebody looks at a container again and again.
    pub async fn is_watched(&self) {
        let mut looks = self.looks.clone();
        let enough = *looks.borrow() + 2;
        looks.wait_for(|&looks| looks >= enough).await.unwrap();
    }

    /// The only container becomes this.
    pub fn set(&self, status: &'static str) {
        self.state().containers[0].status = status;
    }
}

async fn answer(Shared(state): Shared<Arc<Mutex<State>>>, method: Method, uri: Uri) -> Response {
    let mut state = state.lock().unwrap();
    let path = uri.path().trim_start_matches('/');
    let mut parts: Vec<_> = path.split('/').collect();
    if parts[0].starts_with("v1.") {
        parts.remove(0);
    }
    let query = uri.query().unwrap_or_default();
    let found = match (method.as_str(), parts.as_slice()) {
        ("GET", ["version"]) => Some(json!({ "ApiVersion": "1.41", "Version": "20.10.24" })),
        ("GET", ["containers", "json"]) => Some(listed(&state, query)),
        ("GET", ["volumes"]) => {
            let volumes: Vec<_> = state.volumes.iter().map(|&id| volume(id)).collect();
            Some(json!({ "Volumes": volumes, "Warnings": [] }))
        }
        ("GET", ["volumes", name]) => {
            let mut volumes = state.volumes.iter();
            volumes
                .find(|&&id| layout().name(id) == *name)
                .map(|&id| volume(id))
        }
        ("DELETE", ["volumes", name]) => {
            state.volumes.retain(|&id| layout().name(id) != *name);
            return StatusCode::NO_CONTENT.into_response();
        }
        ("GET", ["networks", _]) if state.has_network => {
            Some(json!({ "Labels": { "clawkaka.deployment": DEPLOYMENT } }))
        }
        ("DELETE", ["networks", _]) => {
            assert!(state.containers.is_empty(), "a network that is in use");
            state.has_network = false;
            return StatusCode::NO_CONTENT.into_response();
        }
        ("GET", ["images", ..]) => Some(json!({ "Id": state.image })),
        ("DELETE", ["containers", name]) => {
            state.containers.retain(|held| !is_named(held, name));
            return StatusCode::NO_CONTENT.into_response();
        }
        ("GET", ["containers", name, what]) => {
            state.looks.send_modify(|looks| *looks += 1);
            let held = state.containers.iter().find(|held| is_named(held, name));
            match (held, *what) {
                (Some(held), "json") => Some(inspected(held)),
                (Some(_), "stats") => Some(json!({ "memory_stats": {
                    "usage": 700 << 20, "limit": 2_u64 << 30,
                    "stats": { "inactive_file": 60 << 20 } } })),
                (Some(held), "logs") => return framed(held).into_response(),
                _ => None,
            }
        }
        _ => None,
    };
    match found {
        Some(body) => Json(body).into_response(),
        None => (
            StatusCode::NOT_FOUND,
            Json(json!({ "message": "no such thing" })),
        )
            .into_response(),
    }
}

fn is_named(held: &Held, name: &str) -> bool {
    held.id() == name || held.sandbox.is_some_and(|id| layout().name(id) == name)
}

fn listed(state: &State, query: &str) -> Value {
    let probes = query.contains("clawkaka.probe");
    let wanted = state.containers.iter();
    let wanted = wanted.filter(|held| held.sandbox.is_none() == probes);
    wanted.map(|held| json!({ "Id": held.id() })).collect()
}

fn labels(sandbox: Option<SandboxId>) -> Value {
    match sandbox {
        Some(id) => {
            json!({ "clawkaka.deployment": DEPLOYMENT, "clawkaka.sandbox": id.to_string() })
        }
        None => json!({ "clawkaka.deployment": DEPLOYMENT, "clawkaka.probe": "" }),
    }
}

fn inspected(held: &Held) -> Value {
    json!({
        "Id": held.id(),
        "Name": format!("/{}", held.sandbox.map_or("probe".to_owned(), |id| layout().name(id))),
        "Image": "sha256:abc",
        "State": { "Status": held.status, "StartedAt": "2026-09-21T14:00:00Z" },
        "Config": { "Labels": labels(held.sandbox) },
        "NetworkSettings": { "Networks": {} },
    })
}

fn volume(id: SandboxId) -> Value {
    json!({ "Name": layout().name(id), "Driver": "local", "Mountpoint": "/there", "Scope": "local",
            "Labels": labels(Some(id)), "Options": {} })
}

fn framed(held: &Held) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (stream, piece) in &held.log {
        bytes.extend([*stream, 0, 0, 0]);
        bytes.extend((piece.len() as u32).to_be_bytes());
        bytes.extend(piece);
    }
    bytes
}
