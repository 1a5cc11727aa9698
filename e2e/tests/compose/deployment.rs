//! One deployment as an operator makes it: `deploy.sh` between the simulators, reached over HTTPS.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use e2e::{
    PATIENCE, Person, Simulators,
    command::{run, try_now},
    crowd::marks_in,
    docker::{Docker, inspect},
    free_ports, http_client_trusting, model,
    place::{self, Place},
    product, whatsapp,
};
use serde_json::Value;
use tokio::process::Command;

/// An image is built, and everything starts; a machine that compiles first takes long.
const DEPLOY_WITHIN: Duration = Duration::from_secs(1800);
/// About what Meta waits for an answer.
const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub struct Deployment {
    pub simulators: Simulators,
    pub docker: Docker,
    pub place: Place,
    /// `https://localhost:<port>`
    pub site: String,
    /// By name: what some role holds and others must not.
    pub secrets: Vec<(&'static str, String)>,
    settings: Vec<(&'static str, String)>,
}

impl Deployment {
    /// Everything but the deployment itself.
    pub async fn prepare() -> anyhow::Result<Self> {
        let place = Place::find(place::TEST).await?;
        let ports = free_ports(3)?;
        let site = format!("https://localhost:{}", ports + 1);
        let secret = || uuid::Uuid::new_v4().simple().to_string();
        let secrets = vec![
            ("WHATSAPP_APP_SECRET", secret()),
            ("WHATSAPP_ACCESS_TOKEN", secret()),
            ("WHATSAPP_VERIFICATION_TOKEN", secret()),
            ("LLM_API_KEY", secret()),
        ];
        let simulators = Simulators::start(
            whatsapp::Settings {
                webhook_url: format!("{site}/whatsapp/webhook"),
                app_secret: secrets[0].1.clone(),
                access_token: secrets[1].1.clone(),
                webhook_timeout: WEBHOOK_TIMEOUT,
                ..whatsapp::Settings::default()
            },
            model::Settings {
                key: secrets[3].1.clone(),
                ..model::Settings::default()
            },
        )
        .await?;
        let whatsapp = &simulators.whatsapp;
        let number = whatsapp.settings().phone_number_id.clone();
        let state = place.folder.join("state").to_string_lossy().into_owned();
        let program = product::binary()?.to_string_lossy().into_owned();
        let mut settings = vec![
            ("CLAWKAKA_IGNORE_DOTENV", "yes".to_owned()),
            ("CLAWKAKA_DEPLOYMENT", place.deployment.clone()),
            ("CLAWKAKA_STATE", state),
            ("CLAWKAKA_BIN", program),
            ("CLAWKAKA_DOMAIN", "localhost".to_owned()),
            ("CADDY_HTTP_PORT", ports.to_string()),
            ("CADDY_HTTPS_PORT", (ports + 1).to_string()),
            ("PORT", place.port.to_string()),
            ("BROKER_METRICS_PORT", (ports + 2).to_string()),
            ("SANDBOX_SUBNET", place.subnet.clone()),
            ("SANDBOX_UID_BASE", place.uid_base.to_string()),
            ("SANDBOX_POOL_SIZE", "0".to_owned()),
            ("LOG_FORMAT", "json".to_owned()),
            ("WHATSAPP_API_BASE_URL", whatsapp.url()),
            ("WHATSAPP_SENDER_PHONE_NUMBER_ID", number),
            ("LLM_BASE_URL", simulators.model.url()),
            ("LLM_MODEL", "simulated".to_owned()),
            ("SEND_UNKNOWN_WAIT", "15s".to_owned()),
        ];
        settings.extend(secrets.iter().cloned());
        for name in ["PATH", "HOME", "SANDBOX_IMAGE", "DOCKER_HOST"] {
            if let Ok(value) = std::env::var(name) {
                settings.push((name, value));
            }
        }
        Ok(Self {
            docker: Docker {
                deployment: place.deployment.clone(),
            },
            simulators,
            place,
            site,
            secrets,
            settings,
        })
    }

    pub fn set(&mut self, name: &'static str, value: &str) {
        self.settings.retain(|(known, _)| *known != name);
        self.settings.push((name, value.to_owned()));
    }

    /// The one command, and what it prints.
    pub async fn deploy(&self) -> anyhow::Result<String> {
        self.script("deploy.sh", &[]).await
    }

    pub async fn deploy_without(&self, names: &[&str]) -> anyhow::Result<String> {
        let mut deploy = Command::new(infra().join("deploy.sh"));
        let kept = self
            .settings
            .iter()
            .filter(|(name, _)| !names.contains(name));
        deploy.envs(kept.map(|(name, value)| (name, value)));
        run_to_end(deploy).await
    }

    pub async fn nuke(&self) -> anyhow::Result<String> {
        self.script("nuke.sh", &["--yes"]).await
    }

    /// Runs a script with our settings and nothing else of our environment.
    pub async fn script(&self, name: &str, arguments: &[&str]) -> anyhow::Result<String> {
        let mut script = Command::new(infra().join(name));
        script.args(arguments);
        self.run(script).await
    }

    /// `docker compose up -d` as somebody types it who does not know deploy.sh.
    pub async fn compose_up(&self) -> anyhow::Result<()> {
        let has_plugin = !try_now("docker", &["compose", "version"]).is_empty();
        let mut compose = Command::new(if has_plugin {
            "docker"
        } else {
            "docker-compose"
        });
        compose.args(has_plugin.then_some("compose"));
        compose.args(["--project-name", &self.place.deployment, "--env-file"]);
        compose.arg(self.variables()).arg("-f");
        compose.arg(infra().join("compose.yaml")).args(["up", "-d"]);
        self.run(compose).await?;
        Ok(())
    }

    pub fn variables(&self) -> PathBuf {
        self.place.folder.join("state/compose/variables.env")
    }

    async fn run(&self, mut command: Command) -> anyhow::Result<String> {
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        run_to_end(command).await
    }

    pub fn container(&self, service: &str) -> String {
        format!("{}-{service}", self.place.deployment)
    }

    pub async fn inspect(&self, service: &str) -> anyhow::Result<Value> {
        inspect(&self.container(service))
            .await?
            .with_context(|| format!("there is no container of {service}"))
    }

    /// The id of each service's container.
    pub async fn ids(&self, services: &[&str]) -> anyhow::Result<Vec<String>> {
        let mut ids = Vec::new();
        for service in services {
            ids.push(self.inspect(service).await?["Id"].to_string());
        }
        Ok(ids)
    }

    pub async fn sh(&self, service: &str, script: &str) -> anyhow::Result<String> {
        let container = self.container(service);
        self.docker.exec(&container, &["sh", "-c", script]).await
    }

    /// The authority that Caddy made for this machine.
    pub async fn authority(&self) -> anyhow::Result<Vec<u8>> {
        let path = "cat /data/caddy/pki/authorities/local/root.crt";
        Ok(self.sh("caddy", path).await?.into_bytes())
    }

    /// A client that trusts Caddy's authority only, and follows nothing.
    pub async fn browser(&self) -> anyhow::Result<reqwest::Client> {
        http_client_trusting(&self.authority().await?, WEBHOOK_TIMEOUT)
    }

    /// One number from the database.
    pub async fn count(&self, query: &str) -> anyhow::Result<i64> {
        let container = self.container("postgres");
        let psql = ["exec", &container, "psql", "-XqAt", "clawkaka", "-c", query];
        let answer = run("docker", &psql).await?;
        answer.trim().parse().with_context(|| query.to_owned())
    }

    /// Waits until Docker says so of a service that was just replaced.
    pub async fn healthy(&self, service: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.inspect(service).await?["State"]["Health"]["Status"] != "healthy" {
            anyhow::ensure!(
                started.elapsed() < PATIENCE,
                "{service} does not become well"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    pub async fn until_none(&self, query: &str) -> anyhow::Result<()> {
        let started = Instant::now();
        while self.count(query).await? > 0 {
            anyhow::ensure!(started.elapsed() < PATIENCE, "waited in vain: {query}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    pub async fn says(&self, person: &Person, text: &str) -> anyhow::Result<()> {
        let message = whatsapp::Message::text(person, text);
        let whatsapp = &self.simulators.whatsapp;
        let status = whatsapp.post(&whatsapp.body(&[message])).await;
        anyhow::ensure!(
            status == Some(200),
            "a webhook was answered with {status:?}"
        );
        Ok(())
    }

    /// Waits for an answer with this mark, then until everything is over: there must be just the one.
    pub async fn answered_once(&self, person: &Person, mark: &str) -> anyhow::Result<()> {
        let whatsapp = &self.simulators.whatsapp;
        let has = |text: &str| marks_in(text).contains(&mark);
        let answer = whatsapp.wait_until(PATIENCE, |state| {
            state
                .chat(person)
                .any(|bubble| has(&bubble.text))
                .then_some(())
        });
        answer
            .await
            .with_context(|| format!("no answer to {mark}"))?;
        self.until_none(
            "select (select count(*) from inbox where done_at is null)
                  + (select count(*) from turn where state = 'active')
                  + (select count(*) from outbox where state in ('queued', 'sending', 'unknown'))",
        )
        .await?;
        let chat = whatsapp.chat(person);
        let answers = chat.iter().filter(|bubble| has(&bubble.text)).count();
        anyhow::ensure!(answers == 1, "{answers} answers to {mark}");
        Ok(())
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        if std::thread::panicking() || self.variables().exists() {
            for service in ["migrate", "web-a", "web-b", "broker", "worker", "caddy"] {
                let tail = "docker logs \"$0\" 2>&1 | grep -v '\"status\":200' | tail -n 40";
                let log = try_now("sh", &["-c", tail, &self.container(service)]);
                show(service, &log);
            }
        }
        place::remove(&self.place.deployment);
    }
}

#[expect(clippy::print_stderr, reason = "shown with a failed test")]
fn show(service: &str, log: &str) {
    eprintln!("the end of the log of {service}:\n{log}");
}

/// In an environment that has what the command was given and nothing of ours.
async fn run_to_end(mut command: Command) -> anyhow::Result<String> {
    let given: Vec<_> = command.as_std().get_envs().map(own).collect();
    command.env_clear().envs(given);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(DEPLOY_WITHIN, command.output()).await;
    let ended = ended.context("it does not end")?.context("run it")?;
    let said = String::from_utf8_lossy(&ended.stdout).into_owned();
    let complained = String::from_utf8_lossy(&ended.stderr);
    let status = ended.status;
    anyhow::ensure!(status.success(), "{status}:\n{said}\n{complained}");
    Ok(said)
}

fn own((name, value): (&OsStr, Option<&OsStr>)) -> (OsString, OsString) {
    (name.to_owned(), value.unwrap_or_default().to_owned())
}

pub fn infra() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../infra")
}

/// Replaces a line of the variables that Compose reads.
pub fn set_variable(file: &Path, name: &str, value: &str) -> anyhow::Result<()> {
    let text = fs::read_to_string(file).context("read Compose's variables")?;
    let lines = text.lines().map(|line| match line.split_once('=') {
        Some((known, _)) if known == name => format!("{name}={value}\n"),
        _ => format!("{line}\n"),
    });
    let text: String = lines.collect();
    fs::write(file, text).context("write Compose's variables")
}
