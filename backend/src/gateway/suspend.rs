//! The handshake before a sandbox falls asleep, and after it woke.
//!
//! A gateway that says `ready` has finished what it had begun and takes on nothing new, so that it
//! may be frozen or stopped at any moment. The request has a fixed name: whoever asks again, also
//! after our death, is told of the same suspension. It ends by itself after two minutes of the
//! gateway's time. OpenClaw docs: gateway/external-apps.md, "Cooperative host suspension".

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::time::sleep;

use super::{
    connection::{Answer, Connection, Lost},
    protocol::Request,
    wire::{lenient, read, word},
};
use crate::sandbox::sleep::IsNeeded;

/// One host operation for all times.
const REQUEST: &str = "clawkaka-sleep";
/// How often a draining gateway is asked how far it is. It proposes 20 s, and mostly needs one.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What we ask of a suspension.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Suspension<'a> {
    #[serde(rename_all = "camelCase")]
    Prepare {
        request_id: &'static str,
        drain: bool,
    },
    #[serde(rename_all = "camelCase")]
    Status { suspension_id: &'a str },
    #[serde(rename_all = "camelCase")]
    Resume { suspension_id: &'a str },
}

impl Suspension<'_> {
    pub const PREPARE: Self = Self::Prepare {
        request_id: REQUEST,
        drain: true,
    };

    pub fn method(&self) -> &'static str {
        match self {
            Self::Prepare { .. } => "gateway.suspend.prepare",
            Self::Status { .. } => "gateway.suspend.status",
            Self::Resume { .. } => "gateway.suspend.resume",
        }
    }
}

/// How it answered.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct State {
    #[serde(default, deserialize_with = "lenient")]
    status: String,
    #[serde(default, deserialize_with = "lenient")]
    suspension_id: String,
}

/// Asks the gateway to come to rest. False when it has still work to do after `patience`, or when
/// `is_needed` says meanwhile that somebody wants it: then it goes on as before.
pub async fn suspend(
    connection: &Connection,
    patience: Duration,
    mut is_needed: IsNeeded<'_>,
) -> Result<bool, Lost> {
    let asked = connection.call(&Request::Suspension(Suspension::PREPARE));
    let Some(mut state) = state(asked.await?) else {
        return Ok(false);
    };
    let Some(id) = word(&state.suspension_id) else {
        return Ok(false);
    };
    let looks = patience.as_millis() / LOOK_EVERY.as_millis();
    for _ in 0..looks {
        match state.status.as_str() {
            _ if is_needed().await => break,
            "ready" => return Ok(true),
            "draining" => sleep(LOOK_EVERY).await,
            // It was taken back by somebody else, or it ended.
            _ => return Ok(false),
        }
        let status = Suspension::Status { suspension_id: &id };
        state =
            self::state(connection.call(&Request::Suspension(status)).await?).unwrap_or_default();
    }
    end(connection, &id).await?;
    Ok(false)
}

/// Lets the gateway take on work again, whoever suspended it and whenever. One that is busy was not
/// suspended.
pub async fn resume(connection: &Connection) -> Result<(), Lost> {
    let asked = connection.call(&Request::Suspension(Suspension::PREPARE));
    match state(asked.await?).and_then(|state| word(&state.suspension_id)) {
        Some(id) => end(connection, &id).await,
        None => Ok(()),
    }
}

async fn end(connection: &Connection, id: &str) -> Result<(), Lost> {
    let resume = Suspension::Resume { suspension_id: id };
    if let Err(rejection) = connection.call(&Request::Suspension(resume)).await? {
        // It ends by itself within two minutes.
        tracing::warn!(
            code = rejection.code,
            reason = rejection.reason,
            "a gateway did not resume"
        );
    }
    Ok(())
}

/// `None`: it refused.
fn state(answer: Answer) -> Option<State> {
    let payload: Box<RawValue> = answer.ok()?;
    read(Some(&payload))
}
