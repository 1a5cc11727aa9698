//! Runs the tools of the machine (docker, nft, initdb) and keeps what they print for the error.

use std::{ffi::OsStr, process::Stdio, time::Duration};

use anyhow::Context as _;
use tokio::{io::AsyncWriteExt as _, process::Command};

/// Nothing we run takes this long on a machine that works.
const WITHIN: Duration = Duration::from_secs(120);

/// Runs to the end and returns standard output. A failure quotes standard error.
pub async fn run<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> anyhow::Result<String> {
    let bytes = bytes(program, arguments, b"").await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// As [`run`], with something on standard input and the output as it is.
pub async fn bytes<A: AsRef<OsStr>>(
    program: &str,
    arguments: &[A],
    input: &[u8],
) -> anyhow::Result<Vec<u8>> {
    let mut command = Command::new(program);
    command.args(arguments);
    output(command, input).await
}

/// Runs a prepared command.
pub async fn output(mut command: Command, input: &[u8]) -> anyhow::Result<Vec<u8>> {
    let name = format!("{:?}", command.as_std());
    let running = async {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input).await?;
        }
        child.wait_with_output().await
    };
    let ended = tokio::time::timeout(WITHIN, running)
        .await
        .with_context(|| format!("{name} did not end within {WITHIN:?}"))?
        .with_context(|| format!("run {name}"))?;
    anyhow::ensure!(
        ended.status.success(),
        "{name}: {}: {}",
        ended.status,
        String::from_utf8_lossy(&ended.stderr).trim()
    );
    Ok(ended.stdout)
}

/// For clean-up in `Drop`, which cannot wait for a future. A failure is no reason to fail.
pub fn try_now<A: AsRef<OsStr>>(program: &str, arguments: &[A]) -> String {
    let ended = std::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    ended.map_or_else(
        |_| String::new(),
        |ended| String::from_utf8_lossy(&ended.stdout).into_owned(),
    )
}
