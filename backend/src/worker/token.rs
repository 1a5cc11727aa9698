//! How long WhatsApp will take our access token, asked once an hour: an operator learns of its end
//! while there is time, and not from the messages that stay behind.
//!
//! Only the end is asked for. That a token was refused is told by what it was refused for
//! (`worker/send`), and every other doubt about it by `doctor`.

use std::{collections::HashSet, mem, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use crate::{
    lease::Lease,
    lifecycle::Shutdown,
    line::{Line, Lines},
    whatsapp::{
        account::{Account, Token, Trouble},
        provider::Provider,
    },
};

/// A token ends on a day that is known weeks ahead.
const EVERY: Duration = Duration::from_secs(3600);
/// After an error, mostly of WhatsApp being away.
const AGAIN_AFTER: Duration = Duration::from_secs(300);
/// Another process may become the one that acts.
const LEASE_TICK: Duration = Duration::from_secs(5);

pub struct Expiry {
    pub account: Account,
    pub lines: Lines,
    pub lease: Lease,
    /// The lines of whose tokens something was told.
    pub told: HashSet<String>,
}

impl Expiry {
    pub async fn run(mut self, shutdown: Shutdown) {
        let mut changes = self.lines.changes();
        loop {
            let pause = match self.lease.is_held() {
                true => self.ask_for_all().await,
                false => LEASE_TICK,
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = changes.next() => {}
                () = shutdown.stopping() => return,
            }
        }
    }

    /// Asks for every line; how long to wait before the next time.
    async fn ask_for_all(&mut self) -> Duration {
        let mut pause = EVERY;
        let before = mem::take(&mut self.told);
        for id in self.lines.ids() {
            // A key of Kapso's has no end that could be asked for.
            let of_meta = |line: &Arc<Line>| line.api.provider == Provider::Meta;
            let Some(line) = self.lines.get(id).filter(of_meta) else {
                continue;
            };
            self.told.insert(line.phone_number_id.clone());
            match self.account.token(&line.access_token).await {
                Ok(token) => tell(&line.phone_number_id, end_of(&token)),
                // A refusal is told where a message met it, and does not pass by itself.
                Err(Trouble::Refused { code }) => {
                    tracing::warn!(line.id = %id, code, "WhatsApp does not describe the access token");
                }
                Err(trouble) => {
                    tracing::warn!(line.id = %id, "failed to ask for the access token's end: {trouble}");
                    metrics::counter!("clawkaka_step_errors_total", "station" => "token")
                        .increment(1);
                    pause = AGAIN_AFTER;
                }
            }
        }
        // The end of a removed line's token is nobody's worry.
        for gone in before.difference(&self.told) {
            tell(gone, f64::INFINITY);
        }
        pause
    }
}

fn tell(number: &str, end: f64) {
    let line = number.to_owned();
    metrics::gauge!("clawkaka_token_expires_timestamp_seconds", "line" => line).set(end);
}

/// Seconds since 1970; infinite for a token that does not end, 0 for one that is not valid now.
fn end_of(token: &Token) -> f64 {
    match token.expires_at {
        _ if !token.is_valid => 0.0,
        Some(end) => DateTime::<Utc>::timestamp(&end) as f64,
        None => f64::INFINITY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_at_its_time_never_or_has_ended() {
        let token = |is_valid, seconds: Option<i64>| Token {
            app_id: "1".to_owned(),
            is_valid,
            expires_at: seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0)),
            scopes: Vec::new(),
            business_accounts: Vec::new(),
        };
        let end = |is_valid, seconds| end_of(&token(is_valid, seconds));
        assert_eq!(end(true, Some(1_800_000_000)), 1_800_000_000.0);
        assert_eq!(end(true, None), f64::INFINITY);
        assert_eq!(end(false, Some(1_800_000_000)), 0.0);
    }
}
