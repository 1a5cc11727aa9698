//! What one check found: a code, a verdict, a sentence, and what to do.

use std::time::Duration;

use futures_util::{FutureExt, future::BoxFuture};
use serde::Serialize;

use super::number::Number;

/// A check that takes longer hangs, and that is a finding, too.
const WITHIN: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    /// It works, and something should be done before it does not.
    Warn,
    Fail,
    /// Could not be looked at, because of something else that is reported.
    Skip,
}

/// What a check says, without its code.
#[derive(Debug)]
pub struct Found {
    pub verdict: Verdict,
    pub what: String,
    pub todo: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Finding {
    /// Stable, for scripts.
    pub code: &'static str,
    /// The number it is about, by the provider's id, if one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    pub result: Verdict,
    pub what: String,
    #[serde(rename = "do")]
    pub todo: Option<String>,
}

pub fn ok(what: impl Into<String>) -> Found {
    Found {
        verdict: Verdict::Ok,
        what: what.into(),
        todo: None,
    }
}

pub fn warn(what: impl Into<String>, todo: impl Into<String>) -> Found {
    Found {
        verdict: Verdict::Warn,
        what: what.into(),
        todo: Some(todo.into()),
    }
}

pub fn fail(what: impl Into<String>, todo: impl Into<String>) -> Found {
    Found {
        verdict: Verdict::Fail,
        ..warn(what, todo)
    }
}

pub fn skip(what: impl Into<String>) -> Found {
    Found {
        verdict: Verdict::Skip,
        ..ok(what)
    }
}

impl Found {
    pub fn of(self, code: &'static str) -> Finding {
        Finding {
            code,
            line: None,
            result: self.verdict,
            what: self.what,
            todo: self.todo,
        }
    }
}

/// A check that has not begun.
pub struct Check<'a> {
    pub code: &'static str,
    pub look: BoxFuture<'a, Finding>,
}

impl<'a> Check<'a> {
    /// About this line.
    pub fn about(self, number: &'a Number) -> Self {
        let look = async move { number.about(self.look.await) };
        Self {
            look: look.boxed(),
            ..self
        }
    }
}

/// A check with its code and its limit in time.
pub fn check<'a>(
    code: &'static str,
    look: impl Future<Output = Result<Found, Found>> + Send + 'a,
) -> Check<'a> {
    check_within(WITHIN, code, look)
}

pub fn check_within<'a>(
    within: Duration,
    code: &'static str,
    look: impl Future<Output = Result<Found, Found>> + Send + 'a,
) -> Check<'a> {
    let look = async move {
        let found = match tokio::time::timeout(within, look).await {
            Ok(Ok(found) | Err(found)) => found,
            Err(_) => fail(
                format!("This check did not end within {within:?}."),
                "Whatever it asks hangs: look whether that process is alive and the machine not overloaded.",
            ),
        };
        found.of(code)
    };
    Check {
        code,
        look: look.boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_check_that_hangs_fails_by_its_code() {
        let hangs = check_within(
            Duration::from_millis(1),
            "model",
            std::future::pending::<Result<Found, Found>>(),
        );
        let found = hangs.look.await;
        assert_eq!((found.code, found.result), ("model", Verdict::Fail));
        assert!(found.todo.is_some());
    }
}
