//! Our own ports: web takes what is signed and refuses what is not; the broker listens.

use std::net::Ipv4Addr;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use serde_json::Value;
use sha2::Sha256;

use super::{
    facts::Facts,
    finding::{Found, fail, ok, skip},
    number::Number,
};
use crate::{app, http::secrets, line::stored, seal::Opener, whatsapp::provider::Provider};

/// A webhook about nothing. Always the same, so that it is stored once however often this runs.
const NOTHING: &str = r#"{"object":"whatsapp_business_account","entry":[]}"#;
const CHALLENGE: &str = "1158201444";
const START: &str = "Start it; if it does not stay up, its log says why.";

fn url(facts: &Facts, path: &str) -> String {
    format!(
        "http://{}:{}{path}",
        Ipv4Addr::LOCALHOST,
        facts.config.ports.web
    )
}

async fn is_up(facts: &Facts) -> Result<(), Found> {
    let asked = facts.local.get(url(facts, "/healthz")).send().await;
    match asked {
        Ok(answer) if answer.status().is_success() => Ok(()),
        _ => Err(skip("web is not reached.")),
    }
}

pub async fn web(facts: &Facts) -> Result<Found, Found> {
    let port = facts.config.ports.web;
    let asked = facts.local.get(url(facts, "/readyz")).send().await;
    let Ok(answer) = asked else {
        return Ok(fail(format!("web does not answer on port {port}."), START));
    };
    if answer.status().is_success() {
        return Ok(ok(format!("web is ready on port {port}.")));
    }
    let why = answer.text().await.unwrap_or_default();
    Ok(fail(
        format!("web is not ready: {why}."),
        "Look at `postgres`.",
    ))
}

/// Whether web can read what the webhooks of lines that were added are signed with.
pub async fn key(facts: &Facts) -> Result<Found, Found> {
    let lines = stored::all(facts.db().await?).await;
    let mut lines = lines.map_err(|error| skip(format!("The lines cannot be read: {error:#}.")))?;
    lines.retain(|line| !line.removed && line.webhook_secret.is_some());
    let todo = "Give web the CLAWKAKA_WEBHOOK_KEY that `clawkaka keys` prints where the worker runs (./infra/deploy.sh does), and restart it.";
    let Some(key) = facts.config.keys.webhook_key() else {
        return Ok(match lines.len() {
            0 => ok("No line was added, so web needs no key to their secrets."),
            count => fail(
                format!(
                    "web cannot verify the webhooks of the {count} lines that were added: it has no key to their secrets."
                ),
                todo,
            ),
        });
    };
    let opener = Opener::with(key);
    let shut = lines
        .iter()
        .find(|line| secrets::open(&opener, line).is_err());
    Ok(match shut {
        None => ok(format!(
            "web can verify the webhooks of the {} lines that were added.",
            lines.len()
        )),
        Some(line) => fail(
            format!(
                "web's key does not open the webhook secret of line {}.",
                line.phone_number_id
            ),
            todo,
        ),
    })
}

pub async fn verification(facts: &Facts, number: &Number) -> Result<Found, Found> {
    is_up(facts).await?;
    let token = number.verification_token.expose_secret();
    if token.is_empty() {
        return Err(skip("This process does not know its verification token."));
    }
    let mut address = url::Url::parse(&url(facts, Provider::Meta.webhook_path()))
        .map_err(|error| skip(format!("The address is none: {error}.")))?;
    address
        .query_pairs_mut()
        .append_pair("hub.mode", "subscribe")
        .append_pair("hub.verify_token", token)
        .append_pair("hub.challenge", CHALLENGE);
    let todo = match number.is_added {
        true => "See `web-key`; web learns of a line within seconds.",
        false => {
            "Restart web with the WHATSAPP_VERIFICATION_TOKEN that is typed into Meta's dashboard."
        }
    };
    let Ok(answer) = facts.local.get(address).send().await else {
        return Err(skip("web does not answer."));
    };
    let echoed = answer.text().await.unwrap_or_default() == CHALLENGE;
    Ok(match echoed {
        true => ok("web answers Meta's question when the webhook is registered."),
        false => fail(
            "web does not know the verification token of these settings.",
            todo,
        ),
    })
}

pub async fn signature(facts: &Facts, number: &Number) -> Result<Found, Found> {
    is_up(facts).await?;
    if !number.knows_webhook_secret() {
        return Err(skip(
            "This process does not know what its webhooks are signed with.",
        ));
    }
    let provider = number.provider();
    let todo = match (number.is_added, provider) {
        (true, _) => "See `web-key`; web learns of a line within seconds.",
        (_, Provider::Meta) => "web runs with another WHATSAPP_APP_SECRET: restart it.",
        (_, Provider::Kapso) => "web runs with another KAPSO_WEBHOOK_SECRET: restart it.",
    };
    let secret = number.webhook_secret.expose_secret();
    let right = post(facts, provider, &sign(secret)).await?;
    let forged = post(facts, provider, &sign(&format!("{secret}, but not quite"))).await?;
    Ok(match (right, forged) {
        (200, 403) => ok("web takes what is signed and refuses what is forged."),
        (403, _) => fail("web refuses what is signed with its secret.", todo),
        (right, 403) => fail(
            format!("web answers a signed webhook with {right}."),
            "Look in its log; what is not answered with 200 is posted again.",
        ),
        (_, forged) => fail(
            format!("web answers a forged webhook with {forged}."),
            "Stop it: something else than our web listens on this port.",
        ),
    })
}

async fn post(facts: &Facts, provider: Provider, signature: &str) -> Result<u16, Found> {
    let request = facts.local.post(url(facts, provider.webhook_path()));
    let request = request
        .header(provider.signature_header(), signature)
        .body(NOTHING);
    let answer = request.send().await;
    let answer = answer.map_err(|_| skip("web does not answer."))?;
    Ok(answer.status().as_u16())
}

fn sign(secret: &str) -> String {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(NOTHING.as_bytes());
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// Asked for what it does not have: it says so, in its own words. That something accepts the
/// connection shows nothing, where a firewall answers for everybody.
pub async fn broker(facts: &Facts) -> Result<Found, Found> {
    let url = app::layout(&facts.config).broker_url();
    let Ok(answer) = facts.local.get(&url).send().await else {
        return Ok(fail(format!("The broker is not reached on {url}."), START));
    };
    let status = answer.status().as_u16();
    let said: Option<Value> = answer.json().await.ok();
    let is_ours = said.is_some_and(|said| said["error"]["type"].is_string());
    Ok(match (status, is_ours) {
        (404, true) => ok(format!("The broker listens on {url}.")),
        _ => fail(
            format!("What answers on {url} is not our broker (status {status})."),
            "Stop whatever listens there, or give BROKER_PORT another port and put the walls up again.",
        ),
    })
}
