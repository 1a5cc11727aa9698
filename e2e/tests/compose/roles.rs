//! Who reaches what: the internet three routes, each container its own secrets and powers.

use std::fs;

use anyhow::Context as _;
use e2e::logs::{contains, has_none_of};
use serde_json::json;

use crate::deployment::Deployment;

/// What one container may have, as seen from inside it.
struct Allowed {
    service: &'static str,
    uid: &'static str,
    /// The kernel's bits of the powers of root.
    capabilities: &'static str,
    files: &'static [&'static str],
    /// Of the secrets below, those whose words it may hold.
    holds: &'static [&'static str],
    networks: &'static [&'static str],
    docker: bool,
    socket: bool,
}

const NONE: &str = "0000000000000000";

const ALLOWED: [Allowed; 6] = [
    web("web-a"),
    web("web-b"),
    Allowed {
        service: "broker",
        uid: "10001",
        capabilities: NONE,
        files: &["database-url", "model-key"],
        holds: &["database-password", "model-key"],
        networks: &["host"],
        docker: false,
        socket: true,
    },
    Allowed {
        service: "worker",
        uid: "0",
        // NET_ADMIN
        capabilities: "0000000000001000",
        files: &[
            "access-token",
            "backup-key",
            "backup-session",
            "database-url",
            "kapso-key",
            "master-key",
            "transcription-key",
        ],
        holds: &["access-token", "database-password", "master-key"],
        networks: &["host"],
        docker: true,
        socket: true,
    },
    Allowed {
        service: "caddy",
        uid: "0",
        // NET_BIND_SERVICE
        capabilities: "0000000000000400",
        files: &[],
        holds: &[],
        networks: &["front", "inside"],
        docker: false,
        socket: false,
    },
    Allowed {
        service: "postgres",
        uid: "999",
        capabilities: NONE,
        files: &["database-password"],
        holds: &["database-password"],
        networks: &["none"],
        docker: false,
        socket: true,
    },
];

const fn web(service: &'static str) -> Allowed {
    Allowed {
        service,
        uid: "10001",
        capabilities: NONE,
        files: &[
            "app-secret",
            "database-url",
            "kapso-secret",
            "sealing-key",
            "verification-token",
            "webhook-key",
        ],
        holds: &[
            "app-secret",
            "database-password",
            "sealing-key",
            "verification-token",
            "webhook-key",
        ],
        networks: &["inside"],
        docker: false,
        socket: true,
    }
}

pub async fn each_holds_its_own_and_nothing_else(deployment: &Deployment) -> anyhow::Result<()> {
    let folder = deployment.place.folder.join("state/secrets");
    let mut secrets = Vec::new();
    for name in [
        "access-token",
        "app-secret",
        "database-password",
        "master-key",
        "model-key",
        "sealing-key",
        "verification-token",
        "webhook-key",
    ] {
        let word = fs::read_to_string(folder.join(name)).with_context(|| name.to_owned())?;
        anyhow::ensure!(word.trim().len() >= 16, "{name} is empty");
        secrets.push((name, word.trim().to_owned()));
    }
    for allowed in &ALLOWED {
        inside(deployment, allowed, &secrets)
            .await
            .with_context(|| format!("look into {}", allowed.service))?;
        outside(deployment, allowed, &secrets)
            .await
            .with_context(|| format!("look at {}", allowed.service))?;
    }
    Ok(())
}

/// From inside the container, as the user it runs as.
async fn inside(
    deployment: &Deployment,
    allowed: &Allowed,
    secrets: &[(&str, String)],
) -> anyhow::Result<()> {
    let see = async |script: &str| {
        let seen = deployment.sh(allowed.service, script).await?;
        anyhow::Ok(seen.trim().to_owned())
    };
    let is = |what: &str, seen: &str, expected: &str| {
        anyhow::ensure!(seen == expected, "{what}: {seen} instead of {expected}");
        Ok(())
    };
    is("uid", &see("id -u").await?, allowed.uid)?;
    let status = see("cat /proc/1/status").await?;
    for bits in ["CapEff", "CapPrm", "CapBnd"] {
        is(bits, field(&status, bits)?, allowed.capabilities)?;
    }
    is("no new privileges", field(&status, "NoNewPrivs")?, "1")?;
    let files = see("ls /run/secrets 2>/dev/null || true").await?;
    is("secrets", &files, &allowed.files.join("\n"))?;

    // Every word it can read: its secrets, and the environment of its first process.
    let read = "cat /run/secrets/* /proc/1/environ 2>/dev/null || true";
    let readable = see(read).await?;
    for (name, word) in secrets {
        let held = contains(readable.as_bytes(), word.as_bytes());
        let may = allowed.holds.contains(name);
        anyhow::ensure!(held == may, "{name}: held is {held}, allowed is {may}");
    }
    let environment = see("cat /proc/1/environ").await?;
    has_none_of("the environment", environment.as_bytes(), &words(secrets))?;

    let there = |path: &str| format!("if test -S {path}; then echo yes; else echo no; fi");
    let yes = |expected: bool| if expected { "yes" } else { "no" };
    let docker = see(&there("/var/run/docker.sock")).await?;
    is("Docker's socket", &docker, yes(allowed.docker))?;
    let postgres = see(&there("/run/postgresql/.s.PGSQL.5432")).await?;
    is("Postgres' socket", &postgres, yes(allowed.socket))?;
    let write = "if touch /written 2>/dev/null; then echo yes; else echo no; fi";
    is("a root that can be written", &see(write).await?, "no")
}

/// What Docker shows: nothing secret, and the limits that cannot be seen from inside.
async fn outside(
    deployment: &Deployment,
    allowed: &Allowed,
    secrets: &[(&str, String)],
) -> anyhow::Result<()> {
    let facts = deployment.inspect(allowed.service).await?;
    has_none_of(
        "docker inspect",
        facts.to_string().as_bytes(),
        &words(secrets),
    )?;
    let log = deployment
        .docker
        .logs(&deployment.container(allowed.service))
        .await?;
    has_none_of("its log", log.as_bytes(), &words(secrets))?;
    let networks = facts["NetworkSettings"]["Networks"].as_object();
    let mut networks: Vec<_> = networks.into_iter().flat_map(|all| all.keys()).collect();
    networks.sort();
    let own = format!("{}-", deployment.place.deployment);
    let networks: Vec<_> = networks
        .iter()
        .map(|name| name.strip_prefix(&own).unwrap_or(name))
        .collect();
    anyhow::ensure!(networks == allowed.networks, "networks: {networks:?}");
    let logs = &facts["HostConfig"]["LogConfig"];
    let limited = json!({"Type": "json-file", "Config": {"max-file": "2", "max-size": "10m"}});
    anyhow::ensure!(*logs == limited, "logs: {logs}");
    let restart = &facts["HostConfig"]["RestartPolicy"]["Name"];
    anyhow::ensure!(restart == "unless-stopped", "at boot: {restart}");
    let published = facts["HostConfig"]["PortBindings"].as_object();
    let published = published.is_some_and(|ports| !ports.is_empty());
    anyhow::ensure!(
        published == (allowed.service == "caddy"),
        "published: {published}"
    );
    let label = &facts["Config"]["Labels"]["clawkaka.deployment"];
    anyhow::ensure!(
        label.as_str() == Some(deployment.place.deployment.as_str()),
        "label: {label}"
    );
    Ok(())
}

fn field<'a>(status: &'a str, name: &str) -> anyhow::Result<&'a str> {
    let mut lines = status.lines().filter_map(|line| line.split_once(':'));
    let found = lines.find(|(known, _)| *known == name);
    Ok(found.with_context(|| format!("no {name}"))?.1.trim())
}

fn words(secrets: &[(&str, String)]) -> Vec<String> {
    secrets.iter().map(|(_, word)| word.clone()).collect()
}

/// Its two public ports; nothing is every address, IPv6 too.
pub async fn caddy_is_open_at(address: &str, deployment: &Deployment) -> anyhow::Result<()> {
    let facts = deployment.inspect("caddy").await?;
    for port in ["80/tcp", "443/tcp"] {
        let open = &facts["HostConfig"]["PortBindings"][port][0]["HostIp"];
        anyhow::ensure!(open == address, "{port} is open at {open}");
    }
    Ok(())
}

/// From outside, over TLS. Meta's question is answered, and our word in it is not logged.
pub async fn only_the_public_routes_are_reached(deployment: &Deployment) -> anyhow::Result<()> {
    let browser = deployment.browser().await?;
    let word = &deployment.secrets[2].1;
    let question = format!("?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token={word}");
    let asked = format!("{}/whatsapp/webhook{question}", deployment.site);
    let answer = browser.get(&asked).send().await?;
    anyhow::ensure!(answer.status() == 200, "{}", answer.status());
    anyhow::ensure!(answer.text().await? == "1158201444", "another challenge");

    for (method, path, expected) in [
        ("GET", "/healthz", 200),
        ("POST", "/healthz", 404),
        ("POST", "/whatsapp/webhook", 403),
        ("PUT", "/whatsapp/webhook", 404),
        ("POST", "/whatsapp/webhook/more", 404),
        ("GET", "/kapso/webhook", 404),
        ("GET", "/readyz", 404),
        ("GET", "/metrics", 404),
        ("GET", "/", 404),
    ] {
        let url = format!("{}{path}", deployment.site);
        let request = browser.request(method.parse()?, &url);
        let status = request.body("{}").send().await?.status();
        anyhow::ensure!(status == expected, "{method} {path} is {status}");
    }
    let log = deployment
        .docker
        .logs(&deployment.container("caddy"))
        .await?;
    anyhow::ensure!(
        contains(log.as_bytes(), b"/whatsapp/webhook"),
        "nothing is logged"
    );
    has_none_of(
        "Caddy's log",
        log.as_bytes(),
        &[word.clone(), "1158201444".to_owned()],
    )
}
