//! One call under way: what it may cost, what it has cost so far, and its settling, which happens
//! however it ends. A call that is dropped has been hung up on.

use std::time::{Duration, Instant};

use super::{
    Shared, caller::Caller, meter::Meter, places::Place, refusal::Refusal, request::Rebuilt, usage,
};
use crate::id::{CallId, SandboxId};

/// Bytes of a stream for a token, at least: a token seldom comes alone and never without its frame.
const BYTES_PER_TOKEN: u64 = 4;

/// Postgres restarts within seconds; the sum stays below what a stopping process waits.
const SETTLE_AGAIN_AFTER: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

pub struct Call {
    shared: Shared,
    caller: Caller,
    id: CallId,
    began: Instant,
    request_bytes: usize,
    input_tokens: i64,
    output_tokens: i64,
    meter: Meter,
    outcome: &'static str,
    settled: bool,
    _place: Place<SandboxId>,
}

impl Call {
    pub fn new(
        shared: Shared,
        caller: Caller,
        id: CallId,
        request: &Rebuilt,
        place: Place<SandboxId>,
    ) -> Self {
        Self {
            shared,
            caller,
            id,
            began: Instant::now(),
            request_bytes: request.body.len(),
            input_tokens: request.input_tokens,
            output_tokens: request.output_tokens,
            meter: Meter::new(request.streamed),
            outcome: "hung_up",
            settled: false,
            _place: place,
        }
    }

    /// A piece of the answer goes to the sandbox.
    pub fn passed(&mut self, piece: &[u8]) {
        self.meter.feed(piece);
    }

    /// The answer is complete. Settled before the sandbox learns of it, so that its next call is
    /// measured against true figures.
    pub async fn ended(mut self) {
        self.meter.finish();
        self.outcome = "answered";
        self.settle().await;
    }

    /// The answer broke off.
    pub async fn broke(mut self) {
        self.outcome = "broken";
        self.settle().await;
    }

    /// There was no answer.
    pub async fn failed(mut self, refusal: &Refusal) {
        self.outcome = refusal.reason();
        if !matches!(refusal, Refusal::UpstreamTimedOut) {
            // Nobody charges for an error.
            (self.input_tokens, self.output_tokens) = (0, 0);
        }
        self.settle().await;
    }

    async fn settle(&mut self) {
        settle(&self.shared, self.id, self.tokens()).await;
        self.settled = true;
    }

    /// What it cost, or an estimate if upstream has not said: the input and what has come of the
    /// output. Before anything came it may have been thinking all the time, so the worst.
    fn tokens(&self) -> i64 {
        let came = match self.meter.bytes() {
            0 => self.output_tokens,
            bytes => (bytes / BYTES_PER_TOKEN) as i64,
        };
        let estimate = self.input_tokens + came.min(self.output_tokens);
        self.meter.tokens().unwrap_or(estimate)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let tokens = self.tokens();
        if !self.settled {
            let (shared, id) = (self.shared.clone(), self.id);
            self.shared
                .shutdown
                .spawn(async move { settle(&shared, id, tokens).await });
        }
        let (outcome, duration) = (self.outcome, self.began.elapsed());
        metrics::counter!("clawkaka_broker_calls_total", "outcome" => outcome).increment(1);
        metrics::counter!("clawkaka_broker_tokens_total").increment(tokens.unsigned_abs());
        metrics::histogram!("clawkaka_broker_call_seconds").record(duration);
        tracing::info!(
            sandbox.id = %self.caller.sandbox,
            tenant.id = self.caller.tenant.map(tracing::field::display),
            call.id = %self.id,
            request_bytes = self.request_bytes,
            response_bytes = self.meter.bytes(),
            tokens,
            duration_ms = duration.as_millis() as u64,
            outcome,
            "model call {outcome}"
        );
    }
}

/// Settles now, or in the background when Postgres is away for a moment. Until then the call stays
/// reserved, which counts its worst case.
async fn settle(shared: &Shared, id: CallId, tokens: i64) {
    let Err(error) = usage::settle(&shared.broker.db, id, tokens).await else {
        return;
    };
    tracing::warn!(call.id = %id, "failed to settle a model call, trying again: {error:#}");
    let again = shared.clone();
    shared.shutdown.spawn(async move {
        for wait in SETTLE_AGAIN_AFTER {
            tokio::time::sleep(wait).await;
            if usage::settle(&again.broker.db, id, tokens).await.is_ok() {
                return;
            }
        }
        tracing::error!(call.id = %id, "a model call stays counted at its worst case for a day");
    });
}
