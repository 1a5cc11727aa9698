//! The same deployment without a domain: this machine's name in a tailnet is its address. Tailscale is a script here
//! that remembers what it was asked to serve, for its network is nothing that a test can reach.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use e2e::{PATIENCE, command::try_now};
use serde_json::Value;

use super::{deployment::Deployment, roles};

const NAME: &str = "box.tail1.ts.net";
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// As far as it is asked (Tailscale docs: CLI, status and funnel).
const TAILSCALE: &str = r#"#!/bin/bash
case "$1 ${2:-}" in
  "status --json") echo '{"BackendState": "Running", "Self": {"DNSName": "box.tail1.ts.net."}}' ;;
  "funnel status") cat "${0%/*}/serves.json" ;;
  "funnel --bg") cat >"${0%/*}/serves.json" <<END
{"TCP": {"443": {"HTTPS": true}}, "AllowFunnel": {"box.tail1.ts.net:443": true},
 "Web": {"box.tail1.ts.net:443": {"Handlers": {"/": {"Proxy": "${*: -1}"}}}}}
END
    ;;
  "funnel --https=443") echo '{}' >"${0%/*}/serves.json" ;;
  *) exit 2 ;;
esac
"#;

struct Tailscale {
    serves: PathBuf,
    /// The process that keeps the funnel open says here which it is.
    watcher: PathBuf,
}

impl Tailscale {
    /// On the deployment's path, before any that is there.
    fn install(deployment: &mut Deployment) -> anyhow::Result<Self> {
        let folder = deployment.place.folder.join("tailscale");
        fs::create_dir_all(&folder)?;
        let program = folder.join("tailscale");
        fs::write(&program, TAILSCALE)?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        let path = std::env::var("PATH").context("there is no PATH")?;
        deployment.set("PATH", &format!("{}:{path}", folder.display()));
        let tailscale = Self {
            serves: folder.join("serves.json"),
            watcher: deployment.place.folder.join("state/run/funnel.pid"),
        };
        tailscale.forget()?;
        Ok(tailscale)
    }

    fn forget(&self) -> anyhow::Result<()> {
        fs::write(&self.serves, "{}").context("write what Tailscale serves")
    }

    /// Where what comes in from the internet is passed on to.
    fn target(&self) -> anyhow::Result<Option<String>> {
        let text = fs::read(&self.serves).context("read what Tailscale serves")?;
        let serves: Value = serde_json::from_slice(&text).unwrap_or_default();
        let proxy = &serves["Web"][format!("{NAME}:443")]["Handlers"]["/"]["Proxy"];
        Ok(proxy.as_str().map(str::to_owned))
    }
}

impl Drop for Tailscale {
    fn drop(&mut self) {
        // Only where the story broke off: nuke ends it.
        let said = fs::read_to_string(&self.watcher).unwrap_or_default();
        if let Some(pid) = said.split(' ').next().filter(|pid| !pid.is_empty()) {
            try_now("kill", &[pid]);
        }
    }
}

/// Deploys it so, and leaves it so.
pub async fn without_a_domain_tailscale_is_the_way_in(
    deployment: &mut Deployment,
    remove: impl AsyncFnOnce(&Deployment) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let tailscale = Tailscale::install(deployment)?;
    deployment.set("CLAWKAKA_FUNNEL", "tailscale");
    let said = deployment.deploy().await?;
    let address = format!("https://{NAME}/whatsapp/webhook");
    anyhow::ensure!(said.contains(&address), "{address} is not named:\n{said}");

    let target = tailscale.target()?.context("nothing was opened")?;
    for (host, path, expected) in [
        (NAME, "/healthz", 200),
        (NAME, "/readyz", 404),
        ("elsewhere.example", "/healthz", 404),
    ] {
        let url = format!("{target}{path}");
        let write = [
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "--noproxy",
            "*",
        ];
        let host = format!("Host: {host}");
        let status = try_now("curl", &[&write[..], &["-H", &host, &url]].concat());
        anyhow::ensure!(status == expected.to_string(), "{host}{path}: {status}");
    }

    roles::caddy_is_open_at("127.0.0.1", deployment).await?;

    tailscale.forget()?;
    let started = Instant::now();
    while tailscale.target()?.as_deref() != Some(&target) {
        anyhow::ensure!(started.elapsed() < PATIENCE, "it is not opened again");
        tokio::time::sleep(LOOK_EVERY).await;
    }
    remove(deployment).await?;
    anyhow::ensure!(tailscale.target()?.is_none(), "it is still open");
    Ok(())
}
