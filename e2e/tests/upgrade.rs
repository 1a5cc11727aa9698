//! Upgrades of sandboxes on the real parts: OpenClaw moves to another image and remembers, comes back
//! as it was from one that does not work, and nobody's message is lost or answered twice meanwhile,
//! whoever dies.

use std::time::Duration;

use anyhow::Context as _;
use chrono::Utc;
use e2e::{
    PATIENCE, Person, Product, alone, crowd, docker, every_case,
    upgrade::{HARMLESS, Image},
};
use serde_json::Value;

/// It writes over what the agent keeps, and then nobody ever hears of it.
const RUINOUS: &str = r#"ENTRYPOINT ["bash", "-c", "echo garbage > /state/workspace/AGENTS.md; rm -rf /state/openclaw; exec sleep infinity"]"#;

/// People who were answered once, by sandboxes of the real image; backed up to a folder.
async fn with_people(count: usize) -> anyhow::Result<(Product, Vec<Person>, Vec<String>)> {
    let product = Product::with_backups().await?;
    let people = crowd::people(count);
    let first = product.all_say(&people, "first").await?;
    product.exactly_one_each(&people, &first).await?;
    Ok((product, people, first))
}

/// What `clawkaka sandbox upgrade` says, good or not.
async fn upgrade(product: &Product, words: &[&str]) -> anyhow::Result<Value> {
    let mut upgrade = product.command("sandbox")?;
    upgrade.arg("upgrade").args(words);
    upgrade.args(["--yes", "--as", "ana", "--json"]);
    let said = upgrade
        .output()
        .await
        .context("run an operator's command")?;
    let private = product.private();
    e2e::logs::has_none_of("an operator's terminal", &said.stdout, &private)?;
    e2e::logs::has_none_of("an operator's terminal", &said.stderr, &private)?;
    serde_json::from_slice(&said.stdout)
        .with_context(|| format!("read it: {}", String::from_utf8_lossy(&said.stderr)))
}

/// The image that every sandbox runs by now, as Docker shows it.
async fn all_run(product: &Product, image: &str) -> anyhow::Result<()> {
    for one in product.docker.sandboxes().await? {
        let facts = docker::inspect(&one.id).await?.unwrap_or_default();
        anyhow::ensure!(facts["Image"] == image, "one runs {}", facts["Image"]);
    }
    Ok(())
}

async fn reaches(product: &Product, state: &str) -> anyhow::Result<()> {
    let reached = || async {
        let count = "select count(*) from upgrade_sandbox where state = $1";
        let count: i64 = sqlx::query_scalar(count)
            .bind(state)
            .fetch_one(&product.postgres.db)
            .await?;
        Ok(count > 0)
    };
    product.until(state, reached).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_ruins_what_it_finds_and_never_becomes_ready_is_taken_back_at_the_canary()
-> anyhow::Result<()> {
    let _alone = alone().await;
    let (mut product, people, first) = with_people(2).await?;
    let old: String = sqlx::query_scalar("select image from sandbox limit 1")
        .fetch_one(&product.postgres.db)
        .await?;
    let ruinous = Image::make(&product, "ruinous", RUINOUS).await?;
    product.deploy(&people, &ruinous).await?;
    let others = product.docker.sandboxes().await?;

    let words = [
        "--all",
        "--canary",
        "1",
        "--max-failures",
        "2",
        "--ready-within",
        "12s",
    ];
    let upgraded = upgrade(&product, &words);
    let meanwhile = async {
        reaches(&product, "replacing").await?;
        product.all_say(&people, "meanwhile").await
    };
    let (upgraded, marks) = tokio::try_join!(upgraded, meanwhile)?;
    show(&format!("{upgraded:#}\n"));
    anyhow::ensure!(
        upgraded["state"] == "stopped" && upgraded["outcome"] == "canary",
        "{upgraded:#}"
    );
    anyhow::ensure!(
        upgraded["rolled_back"] == 1 && upgraded["waiting"] == 1,
        "{upgraded:#}"
    );
    product.exactly_one_each(&people, &marks).await?;
    anyhow::ensure!(product.on(&old).await? == 2, "not all are as they were");
    all_run(&product, &old).await?;
    let now = product.docker.sandboxes().await?;
    let kept = now.iter().filter(|one| others.contains(one)).count();
    anyhow::ensure!(kept == 1, "{kept} of 2 were left alone");
    for (at, mark) in marks.iter().enumerate() {
        anyhow::ensure!(product.knew(mark, &first[at]).await?, "one forgot");
        let rules = product
            .docker
            .exec(&now[at].id, &["cat", "/state/workspace/AGENTS.md"])
            .await?;
        anyhow::ensure!(!rules.contains("garbage"), "its files are ruined");
    }
    let again = product.all_say(&people, "again").await?;
    product.exactly_one_each(&people, &again).await?;
    product
        .finish(&["a sandbox was not upgraded", "an upgrade was stopped"])
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_works_replaces_all_while_people_write_and_each_is_answered_once()
-> anyhow::Result<()> {
    let _alone = alone().await;
    let (mut product, people, first) = with_people(3).await?;
    let harmless = Image::make(&product, "harmless", HARMLESS).await?;
    product.deploy(&people, &harmless).await?;

    let (over, is_over) = tokio::sync::watch::channel(false);
    let upgraded = async {
        let upgraded = upgrade(&product, &["--all"]).await;
        over.send_replace(true);
        upgraded
    };
    let writing = futures_util::future::try_join_all(
        people
            .iter()
            .enumerate()
            .map(|(at, person)| write_until(&product, person, at, is_over.clone())),
    );
    let (upgraded, said) = tokio::try_join!(upgraded, writing)?;
    show(&format!("{upgraded:#}\n"));
    anyhow::ensure!(
        upgraded["state"] == "done" && upgraded["done"] == 3,
        "{upgraded:#}"
    );
    product.settled().await?;
    let mut count = 0;
    for (person, marks) in people.iter().zip(&said) {
        for mark in marks {
            product.exactly_one_answer(person, mark)?;
            count += 1;
        }
    }
    show(&format!(
        "{count} messages during an upgrade of 3, each answered once\n"
    ));
    let last = product.all_say(&people, "last").await?;
    product.exactly_one_each(&people, &last).await?;
    anyhow::ensure!(product.on(&harmless.id).await? == 3, "not all were moved");
    all_run(&product, &harmless.id).await?;
    for (mark, first) in last.iter().zip(&first) {
        anyhow::ensure!(product.knew(mark, first).await?, "one forgot");
    }
    let nothing = upgrade(&product, &["--all"]).await?;
    anyhow::ensure!(nothing["outcome"] == "current", "{nothing:#}");
    product.finish(&[]).await
}

/// One message after the other, each when the one before was answered and read.
async fn write_until(
    product: &Product,
    person: &Person,
    at: usize,
    over: tokio::sync::watch::Receiver<bool>,
) -> anyhow::Result<Vec<String>> {
    let mut marks = Vec::new();
    while !*over.borrow() {
        let mark = crowd::mark(format!("while-{at}-{:03}", marks.len()));
        product.says(person, &format!("Please note {mark}")).await?;
        product.answered(person, &mark).await?;
        marks.push(mark);
        // As long as it takes to read.
        tokio::time::sleep(Duration::from_secs(4)).await;
    }
    Ok(marks)
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_at_whatever_moment_an_upgrade_ends_right() -> anyhow::Result<()> {
    let _alone = alone().await;
    let (mut product, people, first) = with_people(1).await?;
    let ruinous = Image::make(&product, "ruinous", RUINOUS).await?;

    let mut harmless = Image::make(&product, "worker", HARMLESS).await?;
    let mut booting = booting(&mut product, &people, &harmless).await?;
    product.kill_9().await?;
    product.start_again().await?;
    moved(&product, &people, &harmless, (&booting, &first)).await?;

    if every_case() {
        harmless = Image::make(&product, "container", HARMLESS).await?;
        booting = self::booting(&mut product, &people, &harmless).await?;
        product.docker.kill_sandboxes().await?;
        moved(&product, &people, &harmless, (&booting, &first)).await?;
    }

    product.deploy(&people, &ruinous).await?;
    let words = ["--all", "--no-wait", "--ready-within", "5s"];
    upgrade(&product, &words).await?;
    reaches(&product, "rolling_back").await?;
    let back = product.all_say(&people, "back").await?;
    product.kill_9().await?;
    product.start_again().await?;
    let ended = product.upgrade_ends().await?;
    anyhow::ensure!(ended == "stopped canary", "it ended with {ended}");
    product.exactly_one_each(&people, &back).await?;
    anyhow::ensure!(product.on(&harmless.id).await? == 1, "it is not as it was");
    all_run(&product, &harmless.id).await?;
    anyhow::ensure!(product.knew(&back[0], &first[0]).await?, "it forgot");
    for mark in [&first[0], &booting[0], &back[0]] {
        product.exactly_one_answer(&people[0], mark)?;
    }
    product
        .finish(&["a sandbox was not upgraded", "an upgrade was stopped"])
        .await
}

/// All move to an image, the container of the first one boots, and its person waits for it: what
/// they wrote.
async fn booting(
    product: &mut Product,
    people: &[Person],
    image: &Image,
) -> anyhow::Result<Vec<String>> {
    product.deploy(people, image).await?;
    let since = Utc::now();
    upgrade(product, &["--all", "--no-wait"]).await?;
    let started = product.docker.wait_for_event("start", 1, since, PATIENCE);
    started.await?;
    let name = image.name.replace(':', "-");
    product.all_say(people, &format!("booting-{name}")).await
}

/// In the end everybody has moved, was answered, and is remembered.
async fn moved(
    product: &Product,
    people: &[Person],
    image: &Image,
    (booting, first): (&[String], &[String]),
) -> anyhow::Result<()> {
    let ended = product.upgrade_ends().await?;
    anyhow::ensure!(ended == "done whole", "it ended with {ended}");
    product.exactly_one_each(people, booting).await?;
    anyhow::ensure!(product.on(&image.id).await? == 1, "it was not moved");
    all_run(product, &image.id).await?;
    product.all_knew(booting, first).await
}

#[expect(
    clippy::print_stdout,
    reason = "figures for whoever runs it with --nocapture"
)]
fn show(figures: &str) {
    print!("{figures}");
}
