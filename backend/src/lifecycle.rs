//! Start and stop of everything that runs in the background.
//!
//! Stop order: listeners stop accepting, workers stop claiming, running work gets
//! [`GRACE`], then the process exits; leases cover what is left.

use std::{future::Future, process::ExitCode, time::Duration};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// What running work gets after a stop signal: under Docker's usual 30 s before SIGKILL.
pub const GRACE: Duration = Duration::from_secs(25);

/// The stop signal and the list of all tasks. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    stopping: CancellationToken,
    ended: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// Runs a task for the life of the process; if it ever returns or panics, the process stops too.
    pub fn run_forever(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let stop_all = self.stopping.clone().drop_guard();
        let stopping = self.stopping.clone();
        self.tasks.spawn(async move {
            task.await;
            if !stopping.is_cancelled() {
                tracing::error!(task = name, "task {name} ended, so the process stops");
            }
            drop(stop_all);
        });
    }

    /// Runs a task that other tasks need until the last of them has ended; a stop does not end it. If
    /// it ever returns or panics, the process stops.
    #[expect(clippy::disallowed_methods, reason = "a stop must not wait for it")]
    pub fn run_to_the_end(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let stop_all = self.stopping.clone().drop_guard();
        let ended = self.ended.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = ended.cancelled() => {}
                () = task => tracing::error!(task = name, "task {name} ended, so the process stops"),
            }
            drop(stop_all);
        });
    }

    /// Runs a task that is expected to end; a stop waits for it.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Resolves when the process is to stop.
    pub async fn stopping(&self) {
        self.stopping.cancelled().await;
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// Tells everything to stop.
    pub fn stop(&self) {
        self.stopping.cancel();
    }

    /// Waits for a signal or for the death of a task, then for running work.
    /// Success only when it was a signal.
    pub async fn wait(self) -> anyhow::Result<ExitCode> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let code = tokio::select! {
            _ = terminate.recv() => ExitCode::SUCCESS,
            _ = interrupt.recv() => ExitCode::SUCCESS,
            () = self.stopping.cancelled() => ExitCode::FAILURE,
        };
        tracing::info!("stopping");
        self.stop();
        self.tasks.close();
        if tokio::time::timeout(GRACE, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!(
                left = self.tasks.len(),
                "stopped with work under way; leases cover it"
            );
        }
        self.ended.cancel();
        Ok(code)
    }
}
