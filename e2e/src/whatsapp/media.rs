//! Files that people sent: `GET /{id}` says what and where one is, and its address gives the bytes, to
//! who shows our token and names a User-Agent (Meta docs: media). A test says what is wrong with one.

use std::sync::Arc;

use axum::{
    Json,
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse as _, Redirect, Response},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{Inner, Message, Person, Through, Whatsapp, error::GraphError, graph::token, kapso};

/// Something a person sends.
#[derive(Clone, Debug)]
pub struct Enclosed {
    /// `image`, `audio`, `video`, `document` or `sticker`.
    pub kind: &'static str,
    pub mime: &'static str,
    pub bytes: Vec<u8>,
    pub caption: Option<String>,
    pub name: Option<String>,
    pub voice: bool,
    pub trick: Trick,
}

/// What is wrong with a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Trick {
    #[default]
    None,
    /// Its address is this one.
    At(String),
    /// Its address leads on to this one.
    RedirectTo(String),
    /// Other bytes come than were announced.
    OtherBytes,
    /// So large it says it is.
    Says(u64),
    /// It says that it is small, and does not end.
    Endless,
    /// WhatsApp does not have it any more.
    Gone,
}

/// One that can be fetched.
#[derive(Clone, Debug)]
pub struct Kept {
    id: String,
    enclosed: Enclosed,
    /// How often its bytes were asked for.
    pub fetched: u32,
}

impl Enclosed {
    pub fn new(kind: &'static str, mime: &'static str, bytes: &[u8]) -> Self {
        Self {
            kind,
            mime,
            bytes: bytes.to_vec(),
            caption: None,
            name: None,
            voice: false,
            trick: Trick::None,
        }
    }

    pub fn captioned(self, caption: &str) -> Self {
        let caption = Some(caption.to_owned());
        Self { caption, ..self }
    }

    pub fn named(self, name: &str) -> Self {
        let name = Some(name.to_owned());
        Self { name, ..self }
    }

    pub fn spoken(self) -> Self {
        Self {
            voice: true,
            ..self
        }
    }

    pub fn but(self, trick: Trick) -> Self {
        Self { trick, ..self }
    }

    fn digest(&self) -> [u8; 32] {
        Sha256::digest(&self.bytes).into()
    }
}

impl Whatsapp {
    /// A message with a file, which is there to be fetched from now on.
    pub fn enclose(&self, person: &Person, enclosed: Enclosed) -> Message {
        let mut id = String::new();
        self.change(|state| {
            id = format!("{}", 1_103_600_000_000_000 + state.media.len());
            state.media.push(Kept {
                id: id.clone(),
                enclosed: enclosed.clone(),
                fetched: 0,
            });
        });
        let mut file = json!({
            "id": id,
            "mime_type": enclosed.mime,
            "sha256": BASE64_STANDARD.encode(enclosed.digest()),
        });
        if let Some(caption) = &enclosed.caption {
            file["caption"] = json!(caption);
        }
        if let Some(name) = &enclosed.name {
            file["filename"] = json!(name);
        }
        if enclosed.kind == "audio" {
            file["voice"] = json!(enclosed.voice);
        }
        Message::of(person, enclosed.kind, file)
    }
}

/// Kapso must be told of which number a file is (Kapso docs: media). Meta says that the parameter is
/// optional, and with it fails for files that people sent (chatwoot, pull request 13319).
pub(super) fn is_asked_well(sim: &Inner, number: Option<&String>) -> Result<(), GraphError> {
    let ours = number.is_some_and(|number| *number == sim.settings.phone_number_id);
    match sim.settings.through {
        Through::Kapso if !ours => Err(GraphError::missing("phone_number_id")),
        Through::Meta if number.is_some() => Err(GraphError::parameter(
            "Param phone_number_id is not a valid whatsapp business phone number id.",
        )),
        _ => Ok(()),
    }
}

/// What is known of a file; nothing when there is none of this id.
pub(super) fn describe(sim: &Inner, id: &str, headers: &HeaderMap) -> Option<Response> {
    let kept = find(sim, id)?;
    let Enclosed {
        trick, mime, bytes, ..
    } = &kept.enclosed;
    if *trick == Trick::Gone {
        return Some(StatusCode::NOT_FOUND.into_response());
    }
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let path = match sim.settings.through {
        Through::Meta => "",
        Through::Kapso => kapso::PROXY,
    };
    let mut address = format!("http://{}{path}/media/{id}", host.unwrap_or_default());
    if let Trick::At(other) = trick {
        address.clone_from(other);
    }
    let size = match trick {
        Trick::Says(size) => *size,
        Trick::Endless => 1_000,
        _ => bytes.len() as u64,
    };
    let mut told = json!({
        "messaging_product": "whatsapp",
        "id": id,
        "mime_type": mime,
        "sha256": hex::encode(kept.enclosed.digest()),
        "file_size": size,
    });
    let key = match sim.settings.through {
        Through::Meta => "url",
        // Meta's address needs Meta's token; this one needs none.
        Through::Kapso => "download_url",
    };
    told["url"] = json!("https://lookaside.fbsbx.com/whatsapp_business/attachments/?mid=1");
    told[key] = json!(address);
    Some(Json::<Value>(told).into_response())
}

pub(super) async fn bytes(
    State(sim): State<Arc<Inner>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let named = headers.contains_key(header::USER_AGENT);
    if token(&sim, &headers) != sim.settings.access_token || !named {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let Some(kept) = find(&sim, &id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    sim.state.send_modify(|state| {
        let kept = state.media.iter_mut().find(|kept| kept.id == id);
        kept.into_iter().for_each(|kept| kept.fetched += 1);
    });
    let bytes = match kept.enclosed.trick {
        Trick::RedirectTo(address) => return Redirect::temporary(&address).into_response(),
        Trick::Endless => return endless(),
        Trick::OtherBytes => kept.enclosed.bytes.iter().rev().copied().collect(),
        _ => kept.enclosed.bytes,
    };
    ([(header::CONTENT_TYPE, kept.enclosed.mime)], bytes).into_response()
}

fn endless() -> Response {
    let piece = || Ok::<_, std::convert::Infallible>(vec![0_u8; 64 << 10]);
    let pieces = futures_util::stream::repeat_with(piece);
    Body::from_stream(pieces).into_response()
}

fn find(sim: &Inner, id: &str) -> Option<Kept> {
    let state = sim.state.borrow();
    state.media.iter().find(|kept| kept.id == id).cloned()
}
