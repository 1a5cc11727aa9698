//! Docker counts a volume as mounted that nothing has: it then refuses to remove it until it is
//! started again. Files are put back all the same, and an erased person's are gone at once.

use std::{fs, path::Path};

use anyhow::Context as _;
use chrono::Utc;
use e2e::{
    Person, Product,
    backup::{BackedUp, Moment, Work},
    command, docker,
    engine::Engine,
};

use crate::{They, listed, show};

/// What an operator reads once it is erased.
const KEPT: &str = "Docker counts it as mounted";
const EMPTIED: &str = "emptied instead";

pub async fn story(mut engine: Engine) -> anyhow::Result<()> {
    let BackedUp {
        mut product,
        person: anna,
        sandbox,
        first,
        second,
    } = BackedUp::start().await?;
    let volume = volume(&product, &sandbox).await?;

    let since = Utc::now();
    miscount(&mut engine, &product, &anna[0]).await?;
    product.outages.push(since..Utc::now());
    product
        .at_work(&sandbox, Work::Restore, Moment::Taken)
        .await?;
    product.backups_succeed().await?;
    anyhow::ensure!(product.logs.count(EMPTIED)? == 1, "Docker counted right");
    let third = product.all_say(&anna, "third").await?;
    product.exactly_one_each(&anna, &third).await?;
    product.all_knew(&third, &first).await?;
    let knows = product.knew(&third[0], &second[0]).await?;
    anyhow::ensure!(!knows, "what was there before the restore was left in it");

    let tenant = product.tenant_of(&anna[0]).await?;
    product
        .operate(&["tenant", "erase", &tenant, "--yes"])
        .await?;
    let kept = || async { Ok(product.logs.count(KEPT)? > 0) };
    product
        .until("the volume could not be removed", kept)
        .await?;
    let left = files(&volume).await?;
    anyhow::ensure!(left.is_empty(), "of an erased person is left: {left}");

    let since = Utc::now();
    engine.kill_dockerd().await?;
    They::Live.come_back(&mut engine).await?;
    let gone = || async { Ok(docker_volumes().await?.is_empty()) };
    product.until("the volume is gone", gone).await?;
    product.outages.push(since..Utc::now());
    show("a volume that Docker miscounts: filled, emptied, and removed once Docker counts anew");
    product.finish(&[KEPT]).await
}

/// A dockerd that finds a container running, and cannot mount its files, never again gives back what
/// that container has mounted.
async fn miscount(engine: &mut Engine, product: &Product, person: &Person) -> anyhow::Result<()> {
    let sandbox = product.sandbox_of(person).await?;
    let ids = listed(product, &sandbox, "{{.ID}}").await?;
    let [id] = &ids[..] else {
        anyhow::bail!("it has {} containers", ids.len());
    };
    let facts = docker::inspect(id).await?.context("it is gone")?;
    let upper = facts["GraphDriver"]["Data"]["UpperDir"].as_str();
    let layer = upper.and_then(|upper| Path::new(upper).parent());
    let lower = layer.context("it has no layer")?.join("lower");
    let away = lower.with_extension("away");
    engine.kill_dockerd().await?;
    fs::rename(&lower, &away).context("hide its files")?;
    They::Live.come_back(engine).await?;
    fs::rename(&away, &lower).context("put its files back")
}

async fn volume(product: &Product, sandbox: &str) -> anyhow::Result<String> {
    let names = listed(product, sandbox, "{{.Names}}").await?;
    names.into_iter().next().context("it has no container")
}

/// What is in a volume, whoever owns it.
async fn files(volume: &str) -> anyhow::Result<String> {
    let image = std::env::var("SANDBOX_IMAGE").unwrap_or("clawkaka-sandbox:dev".to_owned());
    let mount = format!("type=volume,source={volume},target=/seen,readonly,volume-nocopy");
    let words = [
        "run",
        "--rm",
        "--user=0:0",
        "--network=none",
        "--mount",
        &mount,
    ];
    let look = ["--entrypoint=find", &image, "/seen", "-mindepth", "1"];
    command::run("docker", &[&words[..], &look].concat()).await
}

/// The engine has no others.
async fn docker_volumes() -> anyhow::Result<String> {
    command::run("docker", &["volume", "ls", "-q"]).await
}
