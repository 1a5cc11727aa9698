//! What to do about a send that did not succeed. Pure: a refusal in, a decision out.
//!
//! The same for an answer of the POST and for a `failed` receipt that comes minutes later, so that
//! the two cannot disagree. Called by `worker/send` and `receipt`.

use std::time::Duration;

use crate::{
    backoff,
    id::OutboxId,
    line::Pause,
    whatsapp::failure::{Class, SendError},
};

/// Trouble with the account is looked at again this often while nobody has mended it.
const OPERATOR_PAUSE: Duration = Duration::from_secs(300);

/// What becomes of the row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Certainly not delivered: POST it again after this long.
    Retry(Duration),
    /// It may have been taken: wait for a receipt.
    Unknown,
    /// The 24-hour window is closed: wait for the person.
    Hold,
    Fail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    pub row: Verdict,
    pub line: Option<Pause>,
    /// Whether a person should look at this row today.
    pub alert: bool,
}

/// A send that did not succeed, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    pub class: Class,
    pub code: Option<i64>,
    pub retry_after: Option<Duration>,
}

impl From<&SendError> for Refusal {
    fn from(error: &SendError) -> Self {
        Self {
            class: error.class,
            code: error.code,
            retry_after: error.retry_after,
        }
    }
}

impl Refusal {
    /// From a `failed` receipt. A code we do not know is not worth a guess: a message that can never
    /// arrive would be POSTed for a day.
    pub fn of_receipt(code: Option<i64>) -> Self {
        let class = code
            .and_then(Class::of_code)
            .unwrap_or(Class::Undeliverable);
        Self {
            class,
            code,
            retry_after: None,
        }
    }

    /// We never tried: the same as a connection that could not be made.
    pub fn not_sent() -> Self {
        Self {
            class: Class::NotConnected,
            code: None,
            retry_after: None,
        }
    }

    /// For the error column and the log: the provider's code, or our word where there is none.
    pub fn reason(&self) -> String {
        self.code
            .map_or_else(|| format!("{:?}", self.class), |code| code.to_string())
    }

    /// `attempt` is the one that was refused.
    pub fn decide(&self, row: OutboxId, attempt: i32) -> Decision {
        let after = |schedule: backoff::Schedule| {
            schedule
                .after(attempt, row.0)
                .max(self.retry_after.unwrap_or_default())
        };
        let retry = |schedule| Decision {
            row: Verdict::Retry(after(schedule)),
            line: None,
            alert: false,
        };
        let wait_for_line = |pause| Decision {
            row: Verdict::Retry(Duration::ZERO),
            line: Some(pause),
            alert: false,
        };
        let just = |row| Decision {
            row,
            line: None,
            alert: false,
        };
        match self.class {
            Class::NotConnected => retry(backoff::NOT_CONNECTED),
            Class::Unclear => just(Verdict::Unknown),
            Class::Transient => retry(backoff::TRANSIENT),
            Class::PairRate => retry(backoff::PAIR_RATE),
            Class::Throttled => wait_for_line(Pause::Throttle(after(backoff::THROTTLED))),
            Class::TokenRejected => wait_for_line(Pause::Token),
            Class::WindowClosed => just(Verdict::Hold),
            Class::Undeliverable => just(Verdict::Fail),
            Class::BadRequest => Decision {
                alert: true,
                ..just(Verdict::Fail)
            },
            // These name the person, not the account: a test number's list (131030), a country we
            // may not write to (130497), a kind of message (131063). Others must not wait for them.
            Class::Operator if matches!(self.code, Some(130497 | 131030 | 131063)) => Decision {
                alert: true,
                ..just(Verdict::Fail)
            },
            // The row steps back further than the line, so that somebody else's message is the
            // next probe, should it be this row's fault after all.
            Class::Operator => Decision {
                line: Some(Pause::Operator(OPERATOR_PAUSE)),
                ..retry(backoff::OPERATOR)
            },
            // Whoever else is refused finds out alone: how far it reaches is Meta's secret.
            Class::Spam => Decision {
                alert: true,
                ..retry(backoff::SPAM)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn decide(class: Class, code: Option<i64>) -> Decision {
        let retry_after = None;
        Refusal {
            class,
            code,
            retry_after,
        }
        .decide(OutboxId(Uuid::nil()), 1)
    }

    #[test]
    fn only_what_certainly_was_not_delivered_is_sent_again() {
        for class in [
            Class::NotConnected,
            Class::Transient,
            Class::PairRate,
            Class::Throttled,
        ] {
            assert!(
                matches!(decide(class, None).row, Verdict::Retry(_)),
                "{class:?}"
            );
        }
        assert_eq!(decide(Class::Unclear, None).row, Verdict::Unknown);
        for class in [Class::Undeliverable, Class::BadRequest] {
            assert_eq!(decide(class, None).row, Verdict::Fail, "{class:?}");
        }
    }

    #[test]
    fn one_persons_trouble_never_stops_the_line() {
        for code in [
            131056, 131047, 131026, 131030, 130497, 131049, 100, 131048, 131016,
        ] {
            let class = Class::of_code(code).unwrap();
            assert_eq!(decide(class, Some(code)).line, None, "{code}");
        }
        for code in [190, 0, 4, 80007, 130429, 131042, 10, 131031] {
            let class = Class::of_code(code).unwrap();
            assert!(decide(class, Some(code)).line.is_some(), "{code}");
        }
    }

    #[test]
    fn a_longer_retry_after_wins() {
        let refusal = |seconds| Refusal {
            class: Class::Throttled,
            code: None,
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let pause = |seconds| refusal(seconds).decide(OutboxId(Uuid::nil()), 1).line;
        assert_eq!(pause(60), Some(Pause::Throttle(Duration::from_secs(60))));
        assert_eq!(pause(1), Some(Pause::Throttle(Duration::from_secs(2))));
    }
}
