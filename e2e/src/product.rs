//! The product under test: the real binary in a deployment of its own, between the simulators.
//!
//! [`Product::start`] brings everything up; dropping it takes everything down, also when a story
//! panics. A story that ends well calls [`Product::finish`], which looks at what every story owes:
//! nothing left open, no error in the log, nothing private in it.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use tokio::{
    process::{Child, Command},
    sync::{Mutex, MutexGuard},
};

use crate::{
    Gates, Model, Person, Simulators, Whatsapp,
    command::{self, output},
    docker::Docker,
    http_client,
    logs::{Logs, has_none_of},
    model,
    place::{self, Place},
    postgres::{self, Postgres},
    settings,
    whatsapp::{self, Side, Through},
};

/// A net under every wait, far beyond what anything takes: a story never measures time.
pub const PATIENCE: Duration = Duration::from_secs(240);
/// Neither readiness nor rows tell anybody when they change.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Docker and two cores bear one story at a time.
pub async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

pub struct Product {
    pub whatsapp: Whatsapp,
    pub model: Model,
    pub gates: Gates,
    pub postgres: Postgres,
    pub docker: Docker,
    pub logs: Logs,
    pub place: Place,
    /// By name: what must never be seen outside the product.
    pub secrets: Vec<(&'static str, String)>,
    /// When a story kept something away that everything needs.
    pub outages: Vec<Range<DateTime<Utc>>>,
    settings: Vec<(String, String)>,
    pub(crate) process: Option<Child>,
    /// Whether the story ended well; if not, whoever reads of it needs the log.
    finished: bool,
    /// Held up for as long as the product runs.
    simulators: Simulators,
}

impl Product {
    /// Starts everything and waits until it is ready. `settings` win over the harness's own.
    pub async fn start(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::prepare(settings).await?.up().await
    }

    /// With a number that Kapso hands on.
    pub async fn start_through_kapso() -> anyhow::Result<Self> {
        Self::start_through_kapso_with(&[]).await
    }

    pub async fn start_through_kapso_with(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        Self::start_through(Through::Kapso, settings).await
    }

    pub async fn start_through(
        through: Through,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let (place, postgres) = somewhere().await?;
        let product = Self::prepare_through(through, place, postgres, settings).await?;
        product.up().await
    }

    /// The walls, the tables, the process.
    pub(crate) async fn up(mut self) -> anyhow::Result<Self> {
        self.walls("up").await?;
        self.migrate().await?;
        self.start_again().await?;
        Ok(self)
    }

    /// Everything but the product itself.
    pub async fn prepare(settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        let (place, postgres) = somewhere().await?;
        Self::prepare_at(place, postgres, settings).await
    }

    pub async fn prepare_at(
        place: Place,
        postgres: Postgres,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        Self::prepare_through(Through::Meta, place, postgres, settings).await
    }

    async fn prepare_through(
        through: Through,
        place: Place,
        postgres: Postgres,
        settings: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let secrets = settings::secrets(through, &postgres);
        let simulators = Simulators::start(
            whatsapp::Settings {
                through,
                webhook_url: format!("http://127.0.0.1:{}{}", place.port, through.webhook_path()),
                app_secret: secrets[0].1.clone(),
                access_token: secrets[1].1.clone(),
                ..whatsapp::Settings::default()
            },
            model::Settings {
                key: secrets[2].1.clone(),
                ..model::Settings::default()
            },
        )
        .await?;
        let mut all = settings::settings(&place, &simulators);
        all.extend(
            secrets
                .iter()
                .map(|(name, value)| ((*name).to_owned(), value.clone())),
        );
        let mut product = Self {
            whatsapp: simulators.whatsapp.clone(),
            model: simulators.model.clone(),
            gates: simulators.gates.clone(),
            docker: Docker {
                deployment: place.deployment.clone(),
            },
            logs: Logs::at(&place.folder.join("log")),
            place,
            postgres,
            secrets,
            outages: Vec::new(),
            settings: all,
            process: None,
            finished: false,
            simulators,
        };
        for (name, value) in settings {
            product.set(name, value);
        }
        Ok(product)
    }

    /// Changes a setting for the next start; an empty value unsets it.
    pub fn set(&mut self, name: &str, value: &str) {
        self.settings.retain(|(known, _)| known != name);
        if !value.is_empty() {
            self.settings.push((name.to_owned(), value.to_owned()));
        }
    }

    /// The real binary, with our settings and nothing else of our environment.
    pub fn command(&self, verb: &str) -> anyhow::Result<Command> {
        // The product dies with us, however we die.
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(binary()?)
            .arg(verb)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(self.settings.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .kill_on_drop(true);
        Ok(command)
    }

    pub async fn migrate(&self) -> anyhow::Result<()> {
        output(self.command("migrate")?, b"")
            .await
            .context("migrate")?;
        Ok(())
    }

    /// Runs `walls.sh up` or `down`.
    pub async fn walls(&self, direction: &str) -> anyhow::Result<()> {
        let mut walls = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(WALLS));
        walls
            .arg(direction)
            .envs(self.settings.iter().map(|(name, value)| (name, value)));
        output(walls, b"")
            .await
            .with_context(|| format!("walls {direction}"))?;
        Ok(())
    }

    // The life of the process.

    /// Starts the process and waits until web and worker are ready.
    pub async fn start_again(&mut self) -> anyhow::Result<()> {
        anyhow::ensure!(self.process.is_none(), "it runs already");
        let log = self.place.folder.join("log");
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(log)
            .context("open the log")?;
        let mut serve = self.command("serve")?;
        serve
            .stdout(log.try_clone().context("share the log")?)
            .stderr(log);
        self.process = Some(serve.spawn().context("start the product")?);
        self.wait_until_ready().await
    }

    /// Ends it as the kernel would when memory is out: no signal handler, no last word.
    pub async fn kill_9(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("it does not run")?;
        process.kill().await.context("kill the product")
    }

    /// Asks it to stop and waits until it has.
    pub async fn stop(&mut self) -> anyhow::Result<ExitStatus> {
        let mut process = self.process.take().context("it does not run")?;
        let pid = process.id().context("it has ended by itself")?.to_string();
        command::run("kill", &["-TERM", &pid]).await?;
        let stopped = tokio::time::timeout(PATIENCE, process.wait()).await;
        stopped
            .context("it does not stop")?
            .context("wait for the product")
    }

    async fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let http = http_client(Duration::from_secs(5))?;
        let started = Instant::now();
        for port in [self.place.port, self.place.port + 1] {
            let url = format!("http://127.0.0.1:{port}/readyz");
            loop {
                if let Ok(response) = http.get(&url).send().await
                    && response.status().is_success()
                {
                    break;
                }
                let process = self.process.as_mut().context("it does not run")?;
                if let Some(status) = process.try_wait().context("look at the product")? {
                    anyhow::bail!("it ended with {status}:\n{}", self.logs.tail(20));
                }
                let patient = started.elapsed() < PATIENCE;
                anyhow::ensure!(patient, "not ready at {url}:\n{}", self.logs.tail(40));
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// Opens the demonstration page and returns its address.
    pub async fn page(&self) -> anyhow::Result<String> {
        self.simulators.start_control(0).await
    }

    /// Waits until nothing is left to do: every message routed, every turn over, every answer sent.
    pub async fn settled(&self) -> anyhow::Result<()> {
        let open = "select (select count(*) from inbox where done_at is null)
                  + (select count(*) from turn where state = 'active')
                  + (select count(*) from outbox where state in ('queued', 'sending', 'unknown'))";
        let open = || async { Ok(self.postgres.count(open).await? == 0) };
        self.until("everything is done", open).await
    }

    /// Waits for something in Postgres or Docker that tells nobody when it changes.
    pub async fn until<F: Future<Output = anyhow::Result<bool>>>(
        &self,
        what: &str,
        mut holds: impl FnMut() -> F,
    ) -> anyhow::Result<()> {
        let started = Instant::now();
        while !holds().await? {
            anyhow::ensure!(started.elapsed() < PATIENCE, "waited in vain until {what}");
            tokio::time::sleep(LOOK_EVERY).await;
        }
        Ok(())
    }

    /// What every story owes at its end. `errors` are those that it meant to cause.
    pub async fn finish(mut self, errors: &[&str]) -> anyhow::Result<()> {
        self.settled().await?;
        let status = self.stop().await?;
        anyhow::ensure!(status.success(), "it stopped with {status}");
        self.logs.has_no_errors_but(errors, &self.outages)?;
        has_none_of(
            "the product's log",
            self.logs.text()?.as_bytes(),
            &self.private(),
        )?;
        self.finished();
        Ok(())
    }

    /// Nobody needs to read its log.
    pub fn finished(&mut self) {
        self.finished = true;
    }

    /// Every text, name, number and secret of this story.
    pub fn private(&self) -> Vec<String> {
        let secrets = self.secrets.iter().map(|(_, secret)| secret.clone());
        let mut private: Vec<_> = secrets.collect();
        private.push(self.postgres.password().to_owned());
        private.extend(self.personal());
        private
    }

    /// What people wrote and are: texts, names, numbers, user ids.
    pub fn personal(&self) -> Vec<String> {
        self.whatsapp.read(|state| {
            let texts = state
                .bubbles
                .iter()
                .filter(|bubble| bubble.side == Side::Person);
            let texts = texts.map(|bubble| bubble.text.clone());
            let people = state.people.iter().cloned();
            let people = people.flat_map(
                |Person {
                     phone,
                     user_id,
                     name,
                 }| [phone, user_id, name],
            );
            let mut all: Vec<_> = texts.chain(people.flatten()).collect();
            all.sort();
            all.dedup();
            all
        })
    }
}

async fn somewhere() -> anyhow::Result<(Place, Postgres)> {
    let place = Place::find(place::TEST).await?;
    let postgres = Postgres::start(&place.folder, postgres::TALKATIVE).await?;
    Ok((place, postgres))
}

impl Drop for Product {
    fn drop(&mut self) {
        if !self.finished {
            show(&self.logs.tail(60));
        }
        drop(self.process.take());
        place::remove(&self.place.deployment);
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the test harness shows it with a failed test"
)]
fn show(tail: &str) {
    eprintln!("the end of the product's log:\n{tail}");
}

const WALLS: &str = "../infra/firewall/walls.sh";

/// `CLAWKAKA_BIN`, or the one built beside this test.
pub fn binary() -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os("CLAWKAKA_BIN") {
        return Ok(PathBuf::from(path));
    }
    let us = std::env::current_exe().context("find this test")?;
    // target/debug/deps/test or target/debug/command
    let profile = us.ancestors().find(|folder| folder.join("deps").is_dir());
    let profile = profile.context("find the build's folder")?;
    let target = profile.parent().context("find the target folder")?;
    let candidates = [
        profile.to_owned(),
        target.join("release"),
        target.join("debug"),
    ];
    let found = candidates.into_iter().map(|folder| folder.join("clawkaka"));
    found
        .into_iter()
        .find(|path| path.exists())
        .context("there is no clawkaka binary: run `cargo build -p clawkaka`, or set CLAWKAKA_BIN")
}
