//! Beside `openclaw fleet`, OpenClaw's own way to many people on one machine: somebody new beside
//! `fleet create`, and a wake from a stop beside `fleet start`, each until the gateway is ready.
//!
//! The same npm package in the same layers: only entry point, working folder and user of the image
//! are others, for Fleet starts `node dist/index.js gateway` there and our entry point wants the
//! files that our worker puts in. Fleet's command runs in a container too, already started, with
//! the machine's own docker client; what it takes to start up is Fleet's own.
//!
//! And beside its cell, which has OpenClaw's default configuration: what our image's own `docker
//! start` takes, without our worker and without Fleet's command.

use std::time::{Duration, Instant};

use anyhow::Context as _;

use super::{
    Scale,
    asked::until_stopped,
    asleep::woken,
    bare::Bare,
    person::somebody_new,
    report::{Better, Budget, Figure, Of, median, say},
    stage,
};
use crate::{
    PATIENCE, command,
    crowd::person,
    docker::DEPLOYMENT_LABEL,
    free_ports, http_client,
    place::{self, BENCH, Place},
};

const SOCKET: &str = "/var/run/docker.sock:/var/run/docker.sock";
const OPENCLAW: &str = "/app/node_modules/openclaw";
/// 4 s where the default configuration took 5.6 s.
const IMAGE_AIM: f64 = 0.71;
/// As often as a bare boot is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Where Fleet makes its cells. Everything goes when this is dropped.
struct Fleet {
    place: Place,
    port: u16,
    http: reqwest::Client,
}

impl Drop for Fleet {
    fn drop(&mut self) {
        place::remove(&self.place.deployment);
    }
}

pub async fn measure(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    let settings = [("SANDBOX_PAUSE_AFTER", "1s"), ("SANDBOX_STOP_AFTER", "3s")];
    let product = stage::whole(&settings).await?;
    let proven = || async { Ok(product.logs.count(super::person::WALLS_PROVEN)? > 0) };
    product.until("the walls are proven", proven).await?;
    let (fleet, bare) = (Fleet::prepare().await?, Bare::prepare().await?);
    bare.fill(|_| {}).await?;
    bare.boot().await?;
    bare.stop().await?;
    let (mut new, mut created) = (Vec::new(), Vec::new());
    let (mut woke, mut started) = (Vec::new(), Vec::new());
    let (mut image, mut default) = (Vec::new(), Vec::new());
    for number in 1..=scale.people {
        new.push(somebody_new(&product, number).await?);
        until_stopped(&product).await?;
        woke.push(woken(&product, &person(number), &format!("again-{number}")).await?);
        until_stopped(&product).await?;
        created.push(fleet.create().await?.as_secs_f64());
        started.push(fleet.start_again().await?.as_secs_f64());
        default.push(fleet.start_cell().await?.as_secs_f64());
        fleet.remove().await?;
        image.push(bare.start_again().await?.as_secs_f64());
        bare.stop().await?;
    }
    product.finish(&[]).await?;
    // No budget but this: not slower than what everybody can have.
    let beside = |name, ours: &[f64], theirs: &[f64], aim| {
        let (ours, theirs) = (median(ours), median(theirs));
        say(&format!("  {name}: {ours:.2} s, Fleet {theirs:.2} s"));
        let budget = Budget {
            of: Of::Ratio,
            better: Better::Less,
            must: 1.0,
            aim,
        };
        Figure::new(name, ours, "s", Some(theirs), budget)
    };
    Ok(vec![
        beside("new_person_beside_fleet", &new, &created, 1.0),
        beside("wake_beside_fleet", &woke, &started, 1.0),
        beside("start_beside_default", &image, &default, IMAGE_AIM),
    ])
}

impl Fleet {
    async fn prepare() -> anyhow::Result<Self> {
        let fleet = Self {
            place: Place::find(BENCH).await?,
            port: free_ports(1)?,
            http: http_client(Duration::from_secs(2))?,
        };
        let (name, image) = (&fleet.place.deployment, stage::image().await?);
        let label = format!("{DEPLOYMENT_LABEL}={name}");
        let base = format!("{name}-base");
        docker(&["create", "--name", &base, "--label", &label, &image]).await?;
        let entry = "ENTRYPOINT [\"/usr/bin/env\"]";
        let folder = format!("WORKDIR {OPENCLAW}");
        let mut commit = vec!["commit"];
        // Fleet gives the mounted files to user 1000, the official image's.
        for change in [entry, &folder, "USER 1000:1000"] {
            commit.extend(["--change", change]);
        }
        let cells = fleet.image();
        commit.extend([base.as_str(), cells.as_str()]);
        docker(&commit).await?;
        let client = "readlink -f \"$(command -v docker)\"";
        let client = command::run("sh", &["-c", client]).await?;
        let client = format!("{}:/usr/local/bin/docker:ro", client.trim());
        // Docker finds the cells' folders by the same names as Fleet.
        let state = fleet.place.folder.display().to_string();
        let (mount, home) = (format!("{state}:{state}"), format!("HOME={state}"));
        let state = format!("OPENCLAW_STATE_DIR={state}");
        docker(&[
            "run",
            "-d",
            "--init",
            "--name",
            name,
            "--label",
            &label,
            "--network",
            "host",
            "--user",
            "0",
            "-v",
            SOCKET,
            "-v",
            &client,
            "-v",
            &mount,
            "-e",
            &home,
            "-e",
            &state,
            "--entrypoint",
            "sleep",
            &image,
            "infinity",
        ])
        .await?;
        Ok(fleet)
    }

    fn image(&self) -> String {
        place::image_of(&self.place.deployment)
    }

    /// `fleet create`, and how long until the new cell is ready.
    async fn create(&self) -> anyhow::Result<Duration> {
        let began = Instant::now();
        let (port, image) = (self.port.to_string(), self.image());
        self.run(&["create", "--image", &image, "--port", &port])
            .await?;
        self.ready_since(began).await
    }

    /// `fleet stop`, and how long `fleet start` then takes until it is ready.
    async fn start_again(&self) -> anyhow::Result<Duration> {
        self.run(&["stop"]).await?;
        let began = Instant::now();
        self.run(&["start"]).await?;
        self.ready_since(began).await
    }

    /// The same without Fleet: by Docker alone.
    async fn start_cell(&self) -> anyhow::Result<Duration> {
        let cell = format!("openclaw-cell-{}", self.place.deployment);
        docker(&["stop", &cell]).await?;
        let began = Instant::now();
        docker(&["start", &cell]).await?;
        self.ready_since(began).await
    }

    async fn remove(&self) -> anyhow::Result<()> {
        self.run(&["rm", "--force", "--purge-data"]).await
    }

    /// A command of Fleet about the one cell.
    async fn run(&self, words: &[&str]) -> anyhow::Result<()> {
        let (name, program) = (&self.place.deployment, format!("{OPENCLAW}/openclaw.mjs"));
        let (verb, options) = words.split_first().context("say what Fleet is to do")?;
        let mut all = vec!["exec", name, "node", &program, "fleet", verb, name];
        all.extend(options);
        docker(&all).await
    }

    async fn ready_since(&self, began: Instant) -> anyhow::Result<Duration> {
        let url = format!("http://127.0.0.1:{}/readyz", self.port);
        loop {
            let answer = self.http.get(&url).send().await;
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(began.elapsed());
            }
            anyhow::ensure!(began.elapsed() < PATIENCE, "a cell of Fleet does not start");
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

async fn docker(arguments: &[&str]) -> anyhow::Result<()> {
    command::run("docker", arguments).await.map(drop)
}
