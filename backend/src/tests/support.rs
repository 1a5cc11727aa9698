//! What the stories share: a web role on a port of its own, signed bodies, a clock that stands.

use std::{sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::SecretString;
use serde_json::{Value, json};
use sha2::Sha256;
use sqlx::PgPool;

use crate::{
    clock::Clock,
    config::{Limits, Named, Timing},
    http::{self, Web, batch, secrets::Secrets},
    id::LineId,
    line::{
        Delivery,
        group::{self, Groups},
        policy::{Consent, Notice, Policy, Signup},
        template::Templates,
    },
    seal::{MasterKey, Opener, Sealer},
    whatsapp::provider::{Api, Provider},
};

pub const APP_SECRET: &str = "app-secret";
const KAPSO_SECRET: &str = "kapso-secret";
pub const NUMBER: &str = "106540352242922";

/// The defaults of the settings.
pub const LIMITS: Limits = Limits {
    signups_per_hour: 20,
    signup_burst: 5,
    tenants: 500,
    inbound_per_minute: 10,
    inbound_per_day: 200,
    waiting: 20,
    media_per_day: 100 << 20,
    messages_per_turn: 5,
    unasked_per_day: 4,
};

/// Likewise, but that messages wait for no others.
pub const TIMING: Timing = Timing {
    debounce: Duration::ZERO,
    still_working_after: Duration::from_secs(45),
    sandbox_pause_after: Duration::from_secs(300),
    sandbox_stop_after: Duration::from_secs(1_800),
    heartbeat_every: Duration::from_secs(1800),
    time_zone: Tz::UTC,
    turn_deadline: Duration::from_secs(600),
    turn_idle: Duration::from_secs(20),
    send_unknown_wait: Duration::from_secs(90),
    retention: Duration::from_secs(7 * 24 * 3600),
};

/// The defaults, too, but that new people are told nothing first.
pub fn policy() -> Policy {
    Policy {
        signup: Signup::Open,
        notice: Notice::Off,
        operator: None,
        policy_url: None,
        consent: Consent::None,
        default_role: None,
        groups: Groups::default(),
        group_prefix: group::PREFIX.to_owned(),
    }
}

pub fn master() -> MasterKey {
    MasterKey::parse(&SecretString::from(STANDARD.encode([7; 32]))).unwrap()
}

pub fn opener() -> Arc<Opener> {
    Arc::new(Opener::new(&master()))
}

pub fn sealer() -> Arc<Sealer> {
    Arc::new(Sealer::new(master().sealing_key()))
}

pub fn noon() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

/// Our number's row.
pub async fn seed_line(db: &PgPool) -> LineId {
    seed_line_of(db, Provider::Meta).await
}

pub async fn seed_line_of(db: &PgPool, provider: Provider) -> LineId {
    let id = LineId::new();
    sqlx::query!(
        "insert into line (id, provider, phone_number_id, source, key_id)
         values ($1, $3, $2, 'env', 1)",
        id as LineId,
        NUMBER,
        provider.as_str(),
    )
    .execute(db)
    .await
    .unwrap();
    id
}

/// The public routes on a port of their own.
pub struct Site {
    pub url: String,
    pub secrets: Secrets,
    client: reqwest::Client,
}

impl Site {
    pub async fn start(db: &PgPool) -> Self {
        Self::at(db, Clock::manual(noon())).await
    }

    pub async fn at(db: &PgPool, clock: Clock) -> Self {
        Self::open(db, clock, [APP_SECRET, KAPSO_SECRET, "verify-me"]).await
    }

    pub async fn with_secrets(db: &PgPool, secrets: [&str; 3]) -> Self {
        Self::open(db, Clock::manual(noon()), secrets).await
    }

    /// Meta's app's, Kapso's webhook's, and the word of the webhook's registration.
    #[expect(clippy::disallowed_methods, reason = "a test's own client and server")]
    async fn open(db: &PgPool, clock: Clock, secrets: [&str; 3]) -> Self {
        let [app_secret, kapso_secret, word] = secrets.map(SecretString::from);
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (batches, lanes) = batch::batches(db.clone(), clock, Arc::default());
        tokio::spawn(lanes.run());
        let apis = [Provider::Meta, Provider::Kapso].map(|provider| Api {
            provider,
            base_url: "http://127.0.0.1:9".parse().unwrap(),
            version: "v24.0".to_owned(),
        });
        let templates = Templates::default();
        let named = |api, webhook_secret, verification_token| Named {
            api,
            number: NUMBER,
            access_token: &word,
            webhook_secret,
            verification_token,
            delivery: Delivery::Webhook,
            poll_every: None,
            templates: &templates,
        };
        let named = [
            named(&apis[0], &app_secret, Some(&word)),
            named(&apis[1], &kapso_secret, None),
        ];
        let opener = Opener::with(master().webhook_key());
        let known = Secrets::of(named.into_iter(), Some(opener));
        let web = Web {
            db: db.clone(),
            batches,
            sealer: sealer(),
            secrets: known.clone(),
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/whatsapp/webhook", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, http::public(web)).await });
        Self {
            url,
            secrets: known,
            client: reqwest::Client::new(),
        }
    }

    pub async fn verify(&self, query: &[(&str, &str)]) -> (u16, String) {
        let url = url::Url::parse_with_params(&self.url, query).unwrap();
        let answer = self.client.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    /// Posts a body under a signature of the caller's choice.
    pub async fn post(&self, body: impl Into<Vec<u8>>, signature: Option<&str>) -> u16 {
        let mut request = self.client.post(&self.url).body(body.into());
        if let Some(signature) = signature {
            request = request.header("x-hub-signature-256", signature);
        }
        request.send().await.unwrap().status().as_u16()
    }

    /// Posts a body as its provider would; `event` is what Kapso's header names.
    pub async fn receive_as(&self, provider: Provider, event: Option<&str>, body: Vec<u8>) -> u16 {
        let url = url::Url::parse(&self.url).unwrap();
        let url = url.join(provider.webhook_path()).unwrap();
        let secret = match provider {
            Provider::Meta => APP_SECRET,
            Provider::Kapso => KAPSO_SECRET,
        };
        let signature = sign_with(secret, &body);
        let mut request = self
            .client
            .post(url)
            .header(provider.signature_header(), signature);
        if let Some(event) = event {
            request = request.header("x-webhook-event", event);
        }
        let answer = request.body(body).send().await.unwrap();
        answer.status().as_u16()
    }

    /// Posts a body as Meta would.
    pub async fn receive(&self, body: impl Into<Vec<u8>>) -> u16 {
        let body = body.into();
        let signature = sign(&body);
        self.post(body, Some(&signature)).await
    }
}

pub fn sign(body: &[u8]) -> String {
    sign_with(APP_SECRET, body)
}

pub fn sign_with(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(body);
    format!("sha256={}", hex::encode(mac.finalize().into_bytes()))
}

/// A webhook with these messages.
pub fn webhook(messages: &[Value]) -> Vec<u8> {
    let value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "display_phone_number": "15550783881", "phone_number_id": NUMBER },
        "messages": messages,
    });
    let entry = json!({ "id": "1", "changes": [{ "field": "messages", "value": value }] });
    serde_json::to_vec(&json!({ "object": "whatsapp_business_account", "entry": [entry] })).unwrap()
}

/// A text message.
pub fn text(id: &str, body: &str) -> Value {
    json!({ "from": "16505551234", "from_user_id": "US.1349", "id": id,
            "timestamp": "1790000000", "type": "text", "text": { "body": body } })
}

/// A message of the same person with a body of its type.
pub fn of_type(id: &str, kind: &str, body: Value) -> Value {
    json!({ "from": "16505551234", "from_user_id": "US.1349", "id": id,
            "timestamp": "1790000000", "type": kind, kind: body })
}
