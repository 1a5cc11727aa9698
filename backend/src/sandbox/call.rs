//! How Docker is called: bounded in time, with "not found" and "already so" as facts.

use std::time::Duration;

use anyhow::{Context, bail};
use bollard::errors::Error;

/// For what only reads. A healthy engine answers in milliseconds.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// For what changes something. A start waits for disks and for the kernel's network locks.
pub const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);

/// Docker's "no such thing" as `None`.
pub async fn found<T>(call: impl Future<Output = Result<T, Error>>) -> Result<Option<T>, Error> {
    match call.await {
        Ok(value) => Ok(Some(value)),
        Err(Error::DockerResponseServerError {
            status_code: 404, ..
        }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Docker's "it is already so" (or is no longer running) as success: the next pass sees which.
pub async fn already(call: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    match call.await {
        Err(Error::DockerResponseServerError {
            status_code: 409, ..
        }) => Ok(()),
        other => other,
    }
}

/// As [`bounded`], for callers that take some of Docker's refusals for facts.
pub async fn timed<T>(
    what: &'static str,
    limit: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> anyhow::Result<Result<T, Error>> {
    match tokio::time::timeout(limit, call).await {
        Ok(answer) => Ok(answer),
        Err(_) => bail!("{what}: Docker did not answer within {limit:?}"),
    }
}

/// A call with a limit in time.
pub async fn bounded<T>(
    what: &'static str,
    limit: Duration,
    call: impl Future<Output = Result<T, Error>>,
) -> anyhow::Result<T> {
    timed(what, limit, call).await?.context(what)
}
