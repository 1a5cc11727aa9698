//! WhatsApp's own list of people who cannot write to a number: who is on it does not reach us at all.
//!
//! Called by `clawkaka block sync`. WhatsApp takes only who wrote within the last 24 hours, at most 64,000 in
//! all; putting somebody on it twice changes nothing (Meta docs: Block users). Kapso's proxy has the same path.

use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{
    account::{self, Trouble},
    client::Recipient,
    provider::Api,
};

/// The code that comes back where one of several was not taken, and so where the only one was not.
const NOT_TAKEN: i64 = 139100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Block,
    Unblock,
}

/// One at a time: an answer about several is a refusal of all of them where one was refused.
pub async fn ask(
    http: &reqwest::Client,
    api: &Api,
    (number, token): (&str, &SecretString),
    whom: &Recipient,
    wish: Wish,
) -> Result<(), Trouble> {
    let user = match whom {
        Recipient::Phone(digits) => json!({ "user": format!("+{digits}") }),
        Recipient::UserId(id) => json!({ "user_id": id }),
        Recipient::Group(_) => return Err(Trouble::Refused { code: NOT_TAKEN }),
    };
    let url = api.url(&[number, "block_users"]);
    let url = url.ok_or_else(|| Trouble::Unreachable("its address takes no path".to_owned()))?;
    let method = match wish {
        Wish::Block => Method::POST,
        Wish::Unblock => Method::DELETE,
    };
    let body = json!({ "messaging_product": "whatsapp", "block_users": [user] });
    let request = api.authorize(http.request(method, url).json(&body), token);
    let answer = account::ask(api.provider, request).await?;
    let failed = answer.pointer("/block_users/failed_users");
    match failed
        .and_then(Value::as_array)
        .is_some_and(|failed| !failed.is_empty())
    {
        true => Err(Trouble::Refused { code: NOT_TAKEN }),
        false => Ok(()),
    }
}
