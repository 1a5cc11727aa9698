//! How Docker is called: bounded in time, with "not found" and "already so" as facts.

use std::time::Duration;

use anyhow::{Context, bail};
use bollard::errors::Error;

/// For what only reads. A healthy engine answers in milliseconds.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// For what changes something. A start waits for disks and for the kernel's network locks.
pub const CHANGE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a pause is tried before it has failed. Each takes runc about a third of a second.
const FREEZE_TRIES: usize = 4;

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

/// A pause, tried again where the kernel did not freeze everything in time. With control groups of
/// version 1 that happens to a container which starts processes just then, and runc leaves it to
/// its callers to try again (opencontainers/runc, pull request 4388).
pub async fn frozen<F>(pause: impl Fn() -> F) -> Result<(), Error>
where
    F: Future<Output = Result<(), Error>>,
{
    for _ in 1..FREEZE_TRIES {
        match already(pause()).await {
            Err(Error::DockerResponseServerError { message, .. })
                if message.contains("unable to freeze") =>
            {
                tracing::warn!("did not freeze, tried again: {message}");
            }
            other => return other,
        }
    }
    already(pause()).await
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

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    async fn tries_until_it_pauses(at: usize, message: &str) -> (usize, bool) {
        let tried = Cell::new(0);
        let paused = frozen(|| async {
            tried.set(tried.get() + 1);
            if tried.get() >= at {
                return Ok(());
            }
            Err(Error::DockerResponseServerError {
                status_code: 500,
                message: message.to_owned(),
            })
        });
        let paused = paused.await.is_ok();
        (tried.get(), paused)
    }

    #[tokio::test]
    async fn a_container_that_did_not_freeze_is_paused_again_a_few_times() {
        let message =
            "Cannot pause container 1: OCI runtime pause failed: unable to freeze: unknown";
        assert_eq!(tries_until_it_pauses(1, message).await, (1, true));
        assert_eq!(tries_until_it_pauses(3, message).await, (3, true));
        assert_eq!(tries_until_it_pauses(99, message).await, (4, false));
        assert_eq!(tries_until_it_pauses(2, "out of sorts").await, (1, false));
    }
}
