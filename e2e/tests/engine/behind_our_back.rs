//! Somebody else stops, removes, pauses and renames our containers, and loses volumes.

use std::time::Duration;

use anyhow::Context as _;
use e2e::{Person, Product, command, crowd, docker, engine::Engine, http_client};

use crate::{listed, show};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Blow {
    Stopped,
    Removed,
    Paused,
    Renamed,
    /// With its container, Docker's record of its volume is removed; the file stays.
    VolumeForgotten,
    /// The file as well: all that the agent knew.
    VolumeLost,
    /// It is removed, and a container that is not ours takes its name.
    NameTaken,
}

const BLOWS: [Blow; 7] = {
    use Blow::*;
    [
        Stopped,
        Removed,
        Paused,
        Renamed,
        VolumeForgotten,
        VolumeLost,
        NameTaken,
    ]
};

/// What an operator reads of the last of them.
const TAKEN: &str = "rename or remove the one that has its name";

pub async fn story(_engine: Engine) -> anyhow::Result<()> {
    // Nobody sleeps by themselves.
    let product = Product::start(&[("SANDBOX_PAUSE_AFTER", "25m")]).await?;
    let stray = stray_volume(&product).await?;
    let people = crowd::people(BLOWS.len());
    let first = product.all_say(&people, "first").await?;
    product.exactly_one_each(&people, &first).await?;

    let mut names = Vec::new();
    for (person, blow) in people.iter().zip(BLOWS) {
        names.push(strike(&product, person, blow).await?);
    }
    let second = product.all_say(&people, "second").await?;
    let told = async || Ok(product.logs.count(TAKEN)? > 0);
    product
        .until("an operator is told of the name", told)
        .await?;
    command::run("docker", &["rm", names.last().context("the last blow")?]).await?;
    product.exactly_one_each(&people, &second).await?;
    let third = product.all_say(&people, "third").await?;
    product.exactly_one_each(&people, &third).await?;

    for (at, blow) in BLOWS.into_iter().enumerate() {
        let is = |what: &str| format!("{blow:?}: {what}");
        let sandbox = product.sandbox_of(&people[at]).await?;
        let names_now = || async {
            let found = listed(&product, &sandbox, "{{.Names}} {{.State}}").await?;
            Ok(found == [format!("{} running", names[at])])
        };
        let one = is("one container of the right name runs");
        product.until(&one, names_now).await?;
        // An agent whose files are gone starts afresh. That is all that can be done.
        let remembers = blow != Blow::VolumeLost;
        let knew_first = product.knew(&second[at], &first[at]).await?;
        anyhow::ensure!(knew_first == remembers, is("it should be the same memory"));
        let knew_second = product.knew(&third[at], &second[at]).await?;
        anyhow::ensure!(knew_second, is("its memory works again"));
    }
    let unknown = || async { Ok(volumes_unknown(&product).await?.as_deref() == Some("1")) };
    product
        .until("the stray volume is reported", unknown)
        .await?;
    let kept = command::run("docker", &["volume", "inspect", &stray]).await;
    kept.context("a volume that nobody knows was not kept")?;
    show(&format!("{} blows behind our back put right", BLOWS.len()));
    product.finish(&[TAKEN]).await
}

/// Returns the name that its container had.
async fn strike(product: &Product, person: &Person, blow: Blow) -> anyhow::Result<String> {
    let sandbox = product.sandbox_of(person).await?;
    let ids = listed(product, &sandbox, "{{.ID}}").await?;
    let [id] = &ids[..] else {
        anyhow::bail!("it has {} containers", ids.len());
    };
    let facts = docker::inspect(id).await?.context("it is gone")?;
    let name = facts["Name"].as_str().context("it has no name")?;
    let name = name.trim_start_matches('/').to_owned();
    let renamed = format!("{name}-renamed");
    let words = match blow {
        Blow::Stopped => vec!["stop", "-t", "1", id],
        Blow::Paused => vec!["pause", id],
        Blow::Renamed => vec!["rename", id, &renamed],
        Blow::Removed | Blow::VolumeForgotten | Blow::VolumeLost => vec!["rm", "-f", id],
        Blow::NameTaken => {
            take_name(product, id, &name).await?;
            vec!["rm", "-f", id]
        }
    };
    command::run("docker", &words).await?;
    if matches!(blow, Blow::VolumeForgotten | Blow::VolumeLost) {
        command::run("docker", &["volume", "rm", &name]).await?;
    }
    if blow == Blow::VolumeLost {
        let disks = product.place.folder.join("disks");
        let file = disks.join(&product.docker.deployment);
        let file = file.join(format!("{name}.ext4"));
        std::fs::remove_file(file).context("remove a volume's file")?;
    }
    Ok(name)
}

/// A container that no sandbox is behind has it before we see that it is free. With a label by which
/// it goes when the story ends badly.
async fn take_name(product: &Product, id: &str, name: &str) -> anyhow::Result<()> {
    let facts = docker::inspect(id).await?.context("it is gone")?;
    let image = facts["Image"].as_str().context("it has no image")?;
    let label = format!("clawkaka.deployment={}", product.docker.deployment);
    let create = ["create", "--label", &label, image];
    let other = command::run("docker", &create).await?;
    let away = format!("{name}-away");
    command::run("docker", &["rename", id, &away]).await?;
    command::run("docker", &["rename", other.trim(), name]).await?;
    Ok(())
}

/// One with our labels, of a sandbox of which no row tells.
async fn stray_volume(product: &Product) -> anyhow::Result<String> {
    let ours = format!("clawkaka.deployment={}", product.docker.deployment);
    let nobody = "clawkaka.sandbox=0198c0de-0000-7000-8000-000000000000";
    let words = ["volume", "create", "--label", &ours, "--label", nobody];
    Ok(command::run("docker", &words).await?.trim().to_owned())
}

/// As our metrics say; nothing before the first look.
async fn volumes_unknown(product: &Product) -> anyhow::Result<Option<String>> {
    let http = http_client(Duration::from_secs(5))?;
    let url = format!("http://127.0.0.1:{}/metrics", product.place.port + 2);
    let metrics = http.get(&url).send().await.context("read metrics")?;
    let metrics = metrics.text().await.context("read metrics")?;
    let line = metrics
        .lines()
        .find_map(|line| line.strip_prefix("clawkaka_volumes_unknown "));
    Ok(line.map(str::to_owned))
}
