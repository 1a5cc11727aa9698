//! What a failed send means for the next step. Pure: numbers in, a decision out.
//!
//! `client` makes it from an answer of the Graph API, `worker/route` from the code in a `failed`
//! receipt; the outbox branches on `Class`. Decided by the error's code and not by its title or the
//! HTTP status, which Meta says may change (Meta docs: Cloud API, error codes).
//! Never carries Meta's words: they may quote the recipient, the text or the token.

use std::fmt;
use std::time::Duration;

/// One variant per thing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// No byte of the request left us. Retry at once.
    NotConnected,
    /// It may have been sent. Wait for a receipt before a second try.
    Unclear,
    /// Refused for a while: retry with backoff, bounded.
    Transient,
    /// Too many to this person: only they wait, 4^n seconds.
    PairRate,
    /// Too many in all: the whole number waits.
    Throttled,
    /// The token no longer works: the whole number waits for the operator.
    TokenRejected,
    /// Over 24 hours since the person wrote: a template, or hold it until they write.
    WindowClosed,
    /// Not to this person, whatever we do.
    Undeliverable,
    /// The account or its settings: a person must look, and every send will fail alike.
    Operator,
    /// A mistake of ours in this one request. Never retried.
    BadRequest,
    /// Held back for quality or volume. No automatic retry for hours.
    Spam,
}

impl Class {
    /// The meaning of a Graph error code; `None` for one we do not know.
    pub fn of_code(code: i64) -> Option<Self> {
        Some(match code {
            0 | 190 => Self::TokenRejected,
            // 131057: the number is being upgraded to a higher throughput, about a minute.
            1 | 2 | 131000 | 131016 | 131057 | 133004 => Self::Transient,
            4 | 80007 | 130429 => Self::Throttled,
            131056 => Self::PairRate,
            131047 => Self::WindowClosed,
            131048 | 131064 => Self::Spam,
            // 131049 and 130472: Meta chose not to; 131050: the person opted out; 131062: not to a
            // user id; 137000: somebody else may hold the phone now.
            130472 | 131026 | 131049 | 131050 | 131052 | 131062 | 137000 => Self::Undeliverable,
            // 131030: a test number may only write to its list.
            3
            | 10
            | 200..=299
            | 368
            | 130497
            | 131005
            | 131030
            | 131031
            | 131037
            | 131042
            | 131045
            | 131063
            | 133000..=133999 => Self::Operator,
            33
            | 100
            | 131008
            | 131009
            | 131021
            | 131051
            | 131053
            | 132000..=132999
            | 135000
            | 138000..=138999
            | 139100..=139103 => Self::BadRequest,
            _ => return None,
        })
    }

    /// For metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotConnected => "not_connected",
            Self::Unclear => "unclear",
            Self::Transient => "transient",
            Self::PairRate => "pair_rate",
            Self::Throttled => "throttled",
            Self::TokenRejected => "token_rejected",
            Self::WindowClosed => "window_closed",
            Self::Undeliverable => "undeliverable",
            Self::Operator => "operator",
            Self::BadRequest => "bad_request",
            Self::Spam => "spam",
        }
    }

    /// Refused with a code we do not know, or with none: the status has to do.
    pub(super) fn of_status(status: u16) -> Self {
        match status {
            401 => Self::TokenRejected,
            429 => Self::Throttled,
            // Kapso: another message of this conversation is under way.
            409 => Self::Transient,
            // A gateway gave up waiting for us or for Meta.
            408 | 500..=599 => Self::Unclear,
            // A redirect is never followed: it would carry the text and token somewhere else.
            300..=399 | 403 | 407 => Self::Operator,
            _ => Self::BadRequest,
        }
    }
}

/// The codes that metrics tell apart: what an operator acts upon differently. Any other is `other`, so
/// that no answer of WhatsApp's can make a new series.
const COUNTED: [(i64, &str); 24] = [
    (0, "0"),
    (4, "4"),
    (10, "10"),
    (100, "100"),
    (190, "190"),
    (368, "368"),
    (80007, "80007"),
    (130429, "130429"),
    (130497, "130497"),
    (131000, "131000"),
    (131005, "131005"),
    (131016, "131016"),
    (131026, "131026"),
    (131030, "131030"),
    (131031, "131031"),
    (131037, "131037"),
    (131042, "131042"),
    (131045, "131045"),
    (131047, "131047"),
    (131048, "131048"),
    (131049, "131049"),
    (131056, "131056"),
    (131057, "131057"),
    (133010, "133010"),
];

/// Counts a send that failed, once, where it is told: by the POST's answer or by a receipt.
pub fn count(told_by: &'static str, class: Class, code: Option<i64>) {
    let code = code.map_or("none", |code| {
        let known = COUNTED.iter().find(|(known, _)| *known == code);
        known.map_or("other", |(_, text)| text)
    });
    metrics::counter!("clawkaka_send_errors_total",
        "told_by" => told_by, "class" => class.as_str(), "code" => code)
    .increment(1);
}

/// A send that did not succeed, as a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendError {
    pub class: Class,
    /// What `Retry-After` asked for. The longer of this and our own backoff counts.
    pub retry_after: Option<Duration>,
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Graph's `error.code` and `error.error_subcode`.
    pub code: Option<i64>,
    pub subcode: Option<i64>,
    /// Graph's `fbtrace_id`: what Meta's support asks for.
    pub trace: Option<String>,
}

impl SendError {
    pub(super) fn new(class: Class) -> Self {
        let (retry_after, status, code, subcode, trace) = Default::default();
        Self {
            class,
            retry_after,
            status,
            code,
            subcode,
            trace,
        }
    }
}

impl std::error::Error for SendError {}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WhatsApp send: {:?}", self.class)?;
        if let Some(status) = self.status {
            write!(f, ", HTTP {status}")?;
        }
        if let Some(code) = self.code {
            write!(f, ", code {code}")?;
        }
        if let Some(subcode) = self.subcode {
            write!(f, "/{subcode}")?;
        }
        if let Some(trace) = &self.trace {
            write!(f, ", trace {trace}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Class::{self, *};

    #[test]
    fn every_documented_code_has_its_decision() {
        let rows: &[(&[i64], Class)] = &[
            (&[0, 190], TokenRejected),
            (&[3, 10, 200, 250, 299, 131005], Operator),
            (&[1, 2, 131000, 131016, 133004, 131057], Transient),
            (&[4, 80007, 130429], Throttled),
            (&[131056], PairRate),
            (&[131048, 131064], Spam),
            (
                &[33, 100, 131008, 131009, 131021, 131051, 135000],
                BadRequest,
            ),
            (&[131026], Undeliverable),
            (&[131030, 131037, 131042, 131045, 133010], Operator),
            (&[131047], WindowClosed),
            (&[131049, 131050, 130472, 131052], Undeliverable),
            (&[131053], BadRequest),
            (&[130497, 131031, 368], Operator),
            (&[131062], Undeliverable),
            (&[131063], Operator),
            (
                &[132000, 132001, 132005, 132007, 132012, 132015, 132016],
                BadRequest,
            ),
            (&[132018, 132068, 132069, 139100, 139103], BadRequest),
            (&[137000], Undeliverable),
        ];
        for (codes, class) in rows {
            for code in *codes {
                assert_eq!(Class::of_code(*code), Some(*class), "{code}");
            }
        }
        assert_eq!(Class::of_code(999_999), None);
    }

    #[test]
    fn without_a_code_the_status_decides() {
        let rows = [
            (302, Operator),
            (400, BadRequest),
            (401, TokenRejected),
            (403, Operator),
            (404, BadRequest),
            (429, Throttled),
            (500, Unclear),
            (502, Unclear),
            (504, Unclear),
        ];
        for (status, class) in rows {
            assert_eq!(Class::of_status(status), class, "{status}");
        }
    }
}
