//! What the product under test is set to: secrets of its own, short waits, wide limits.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use uuid::Uuid;

use crate::{Simulators, place::Place, postgres::Postgres, whatsapp::Through};

/// By name: those of the webhook, of WhatsApp's API and of the model's, in this order, and the rest.
pub fn secrets(through: Through, postgres: &Postgres) -> Vec<(&'static str, String)> {
    let secret = || Uuid::new_v4().simple().to_string();
    let master = [Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat();
    let (webhook, token) = match through {
        Through::Meta => ("WHATSAPP_APP_SECRET", "WHATSAPP_ACCESS_TOKEN"),
        Through::Kapso => ("KAPSO_WEBHOOK_SECRET", "KAPSO_API_KEY"),
    };
    vec![
        (webhook, secret()),
        (token, secret()),
        ("LLM_API_KEY", secret()),
        ("WHATSAPP_VERIFICATION_TOKEN", secret()),
        ("CLAWKAKA_MASTER_KEY", BASE64_STANDARD.encode(master)),
        ("DATABASE_URL", postgres.url()),
    ]
}

/// All that is no secret.
pub fn settings(place: &Place, simulators: &Simulators) -> Vec<(String, String)> {
    let image = std::env::var("SANDBOX_IMAGE").unwrap_or("clawkaka-sandbox:dev".to_owned());
    let disks = format!("{}/disks", place.folder.display());
    let whatsapp = &simulators.whatsapp;
    let (api, number) = match whatsapp.settings().through {
        Through::Meta => ("WHATSAPP_API_BASE_URL", "WHATSAPP_SENDER_PHONE_NUMBER_ID"),
        Through::Kapso => ("KAPSO_API_BASE_URL", "KAPSO_PHONE_NUMBER_ID"),
    };
    let settings = [
        ("CLAWKAKA_DEPLOYMENT", place.deployment.clone()),
        ("PORT", place.port.to_string()),
        ("SANDBOX_SUBNET", place.subnet.clone()),
        ("SANDBOX_UID_BASE", place.uid_base.to_string()),
        ("SANDBOX_IMAGE", image),
        ("SANDBOX_POOL_SIZE", "0".to_owned()),
        ("SANDBOX_DISK_FOLDER", disks),
        ("LOG_FORMAT", "json".to_owned()),
        (api, whatsapp.url()),
        (number, whatsapp.settings().phone_number_id.clone()),
        ("LLM_BASE_URL", simulators.model.url()),
        ("LLM_MODEL", "simulated".to_owned()),
        ("SEND_UNKNOWN_WAIT", "15s".to_owned()),
        ("LIMIT_SIGNUP_BURST", "1000".to_owned()),
        ("LIMIT_INBOUND_PER_MINUTE", "100000".to_owned()),
        ("LIMIT_INBOUND_PER_DAY", "100000".to_owned()),
        ("LIMIT_WAITING", "100000".to_owned()),
        // Stories count turns and what people hear, and benchmarks measure how fast a turn begins.
        ("DEBOUNCE", "0s".to_owned()),
        ("STILL_WORKING_AFTER", "0s".to_owned()),
        ("NOTICE", "off".to_owned()),
    ];
    // The engine that the docker command uses.
    let engine = std::env::var("DOCKER_HOST").map(|host| ("DOCKER_HOST", host));
    let all = settings.into_iter().chain(engine);
    all.map(|(name, value)| (name.to_owned(), value)).collect()
}
