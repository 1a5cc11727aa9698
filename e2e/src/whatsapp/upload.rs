//! `POST /{version}/{phone_number_id}/media`: takes a file that is to be sent, of the types and sizes that
//! Meta takes (Meta docs: media, supported types).

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::{Multipart, Path, Query, State},
    http::HeaderMap,
    response::{IntoResponse as _, Response},
};
use serde_json::json;

use super::{Inner, error::GraphError, graph};

/// A file that WhatsApp has from the product.
#[derive(Clone, Debug)]
pub struct Uploaded {
    pub id: String,
    pub mime: String,
    pub name: String,
    pub bytes: Vec<u8>,
}

const MEGABYTE: usize = 1 << 20;
const TYPES: [(&str, usize); 17] = [
    ("image/jpeg", 5 * MEGABYTE),
    ("image/png", 5 * MEGABYTE),
    ("image/webp", MEGABYTE / 2),
    ("audio/aac", 16 * MEGABYTE),
    ("audio/amr", 16 * MEGABYTE),
    ("audio/mp4", 16 * MEGABYTE),
    ("audio/mpeg", 16 * MEGABYTE),
    ("audio/ogg", 16 * MEGABYTE),
    ("video/3gpp", 16 * MEGABYTE),
    ("video/mp4", 16 * MEGABYTE),
    ("text/plain", 100 * MEGABYTE),
    ("application/pdf", 100 * MEGABYTE),
    ("application/msword", 100 * MEGABYTE),
    ("application/vnd.ms-excel", 100 * MEGABYTE),
    (
        "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        100 * MEGABYTE,
    ),
    (
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        100 * MEGABYTE,
    ),
    (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        100 * MEGABYTE,
    ),
];

pub(super) async fn take(
    State(sim): State<Arc<Inner>>,
    Path((version, phone_number_id)): Path<(String, String)>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    form: Multipart,
) -> Response {
    let taken = match graph::check(&sim, &version, &phone_number_id, &headers) {
        Ok(()) => read(query, form).await,
        Err(error) => Err(error),
    };
    match taken {
        Err(error) => error.into_response(),
        Ok(mut file) => {
            let mut id = String::new();
            sim.state.send_modify(|state| {
                file.id = format!("{}", 2_207_200_000_000_000 + state.uploads.len());
                id.clone_from(&file.id);
                state.uploads.push(file.clone());
            });
            Json(json!({ "id": id })).into_response()
        }
    }
}

/// Graph takes a parameter from the address as well as from the form, and `type` is in its table of
/// parameters and not in its examples: where it is missing, the file's own part says what it is.
async fn read(
    mut query: BTreeMap<String, String>,
    mut form: Multipart,
) -> Result<Uploaded, GraphError> {
    let broken = |_| GraphError::parameter("The form breaks off.");
    let (mut product, mut kind) = (query.remove("messaging_product"), query.remove("type"));
    let mut file = None;
    while let Some(field) = form.next_field().await.map_err(broken)? {
        match field.name().unwrap_or_default() {
            "messaging_product" => product = field.text().await.ok(),
            "type" => kind = field.text().await.ok(),
            "file" => {
                let mime = field.content_type().unwrap_or_default().to_owned();
                let name = field.file_name().unwrap_or_default().to_owned();
                let bytes = field.bytes().await.map_err(broken)?;
                file = Some((mime, name, bytes));
            }
            other => {
                return Err(GraphError::parameter(format!(
                    "Unexpected key \"{other}\"."
                )));
            }
        }
    }
    if product.as_deref() != Some("whatsapp") {
        return Err(GraphError::missing("messaging_product"));
    }
    let (mime, name, bytes) = file.ok_or_else(|| GraphError::missing("file"))?;
    let most = TYPES.iter().find(|(known, _)| *known == mime);
    let fits = most.is_some_and(|(_, most)| (1..=*most).contains(&bytes.len()));
    if !fits || kind.is_some_and(|kind| kind != mime) || name.is_empty() {
        return Err(GraphError::parameter(
            "Param file must be a file of a supported type and size, and named.",
        ));
    }
    Ok(Uploaded {
        id: String::new(),
        mime,
        name,
        bytes: bytes.to_vec(),
    })
}
