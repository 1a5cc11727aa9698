//! Has a provider post the webhooks of a number to us.
//!
//! Kapso makes a webhook for it (Kapso docs: Platform API, webhooks). Meta posts where its app's dashboard
//! says, unless a number says otherwise (Meta docs: webhooks, overrides).

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use url::Url;

use super::{
    account::{Trouble, ask},
    provider::Api,
};

/// What people write, and what becomes of what we send.
pub const EVENTS: [&str; 5] = [
    "whatsapp.message.received",
    "whatsapp.message.sent",
    "whatsapp.message.delivered",
    "whatsapp.message.read",
    "whatsapp.message.failed",
];

/// What was done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    New,
    /// One with the same address was there.
    Changed,
}

/// `http` comes from `client::http_builder`. Twice is as good as once: the address tells which
/// webhook is ours.
pub async fn register(
    http: &reqwest::Client,
    api: &Api,
    number: &str,
    key: &SecretString,
    address: &Url,
    secret: &SecretString,
) -> Result<Registered, Trouble> {
    let list = url(api, &["phone_numbers", number, "webhooks"])?;
    let all = ask(api.provider, api.authorize(http.get(list.clone()), key)).await?;
    let wish = json!({ "whatsapp_webhook": {
        "url": address.as_str(),
        "secret_key": secret.expose_secret(),
        "events": EVENTS,
        "active": true,
        "kind": "kapso",
        "payload_version": "v2",
    } });
    let (request, done) = match ours(&all, address) {
        Some(id) => {
            let one = url(api, &["phone_numbers", number, "webhooks", &id])?;
            (http.patch(one), Registered::Changed)
        }
        None => (http.post(list), Registered::New),
    };
    ask(api.provider, api.authorize(request, key).json(&wish)).await?;
    Ok(done)
}

/// Meta asks the address for the word before it answers.
pub async fn redirect(
    http: &reqwest::Client,
    api: &Api,
    number: &str,
    token: &SecretString,
    address: &Url,
    word: &SecretString,
) -> Result<Registered, Trouble> {
    let unusable = || Trouble::Unreachable("its address takes no path".to_owned());
    let url = api.url(&[number]).ok_or_else(unusable)?;
    let wish = json!({ "webhook_configuration": {
        "override_callback_uri": address.as_str(),
        "verify_token": word.expose_secret(),
    } });
    ask(
        api.provider,
        api.authorize(http.post(url), token).json(&wish),
    )
    .await?;
    Ok(Registered::Changed)
}

fn url(api: &Api, path: &[&str]) -> Result<Url, Trouble> {
    let unusable = || Trouble::Unreachable("its address takes no path".to_owned());
    api.platform_url(path).ok_or_else(unusable)
}

/// The id of the webhook that posts to this address. Kapso's forwarding of Meta's own bodies is of
/// another kind, and somebody else's.
fn ours(all: &Value, address: &Url) -> Option<String> {
    let all = all["data"].as_array()?;
    let one = all.iter().find(|one| {
        let same = one["url"].as_str().and_then(|url| Url::parse(url).ok());
        same.as_ref() == Some(address) && one["kind"] != "meta"
    })?;
    one["id"].as_str().map(str::to_owned)
}
