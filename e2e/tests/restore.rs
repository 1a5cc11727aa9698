//! Backups on the real parts: everything of a deployment is lost but the folder they are in, and it
//! comes back.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use e2e::{PATIENCE, Person, Product, alone, command, crowd};
use serde_json::Value;

/// A product that backs up to a folder beside the deployment's own.
async fn with_backups() -> anyhow::Result<(Product, PathBuf)> {
    let mut product = Product::prepare(&[]).await?;
    let folder = product.place.folder.join("backups");
    product.set("BACKUP_TO", &folder.to_string_lossy());
    product.set("BACKUP_EVERY", "0s");
    product.walls("up").await?;
    product.migrate().await?;
    product.start_again().await?;
    Ok((product, folder))
}

/// An operator's command; what it says must not name anybody.
async fn operate(product: &Product, words: &[&str]) -> anyhow::Result<Value> {
    let mut operate = product.command(words[0])?;
    operate.args(&words[1..]).args(["--json", "--as", "ana"]);
    let said = command::output(operate, b"").await?;
    e2e::logs::has_none_of("an operator's terminal", &said, &product.private())?;
    serde_json::from_slice(&said).context("read an operator's answer")
}

async fn tenant_of(product: &Product, person: &Person) -> anyhow::Result<String> {
    let wamid = product.whatsapp.conversation(person)[0].wamid.clone();
    let tenant = "select tenant_id::text from inbox where provider_id = $1";
    let tenant = sqlx::query_scalar(tenant).bind(&wamid);
    Ok(tenant.fetch_one(&product.postgres.db).await?)
}

/// Whether the agent that was asked this knew of something that was said before.
async fn knew(product: &Product, asked: &str, of: &str) -> anyhow::Result<bool> {
    let request = product.model.wait_for_request(asked, PATIENCE).await?;
    Ok(request.body.to_string().contains(of))
}

/// Everything is lost but the backups: database, containers, volumes, networks.
async fn lose_everything(product: &mut Product) -> anyhow::Result<()> {
    product.stop().await?;
    product.docker.remove_everything();
    product.postgres.drop_and_make_again().await?;
    anyhow::ensure!(volumes(product).await? == 0, "a volume is left");
    Ok(())
}

async fn volumes(product: &Product) -> anyhow::Result<usize> {
    let label = format!("label=clawkaka.deployment={}", product.docker.deployment);
    let listed = command::run("docker", &["volume", "ls", "-q", "--filter", &label]).await?;
    Ok(listed.lines().count())
}

fn objects(folder: &PathBuf) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).context("list the backups")? {
        let path = entry?.path();
        match path.is_dir() {
            true => found.extend(objects(&path)?),
            false => found.push(path),
        }
    }
    Ok(found)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_deployment_comes_back_and_its_agents_remember_but_who_was_erased_does_not()
-> anyhow::Result<()> {
    let _alone = alone().await;
    let (mut product, folder) = with_backups().await?;
    let people = crowd::people(3);
    let first = product.all_say(&people, "first").await?;
    product.exactly_one_each(&people, &first).await?;

    let backup = operate(&product, &["backup"]).await?;
    show(&format!("{backup:#}\n"));
    anyhow::ensure!(
        backup["state"] == "done" && backup["parts"]["over"] == 3,
        "{backup:#}"
    );
    let private = product.personal();
    for object in objects(&folder)? {
        let bytes = fs::read(&object)?;
        e2e::logs::has_none_of(&object.display().to_string(), &bytes, &private)?;
    }

    // Said after the backup: the agent forgets it, and nobody is answered twice because of it.
    let second = product.all_say(&people, "second").await?;
    product.exactly_one_each(&people, &second).await?;
    let erased = tenant_of(&product, &people[2]).await?;
    operate(&product, &["tenant", "erase", &erased, "--yes"]).await?;

    lose_everything(&mut product).await?;
    let restored = operate(&product, &["restore", "--yes"]).await?;
    show(&format!("{restored:#}\n"));
    anyhow::ensure!(restored["erased_again"] == 1, "{restored:#}");
    anyhow::ensure!(restored["people"] == 2, "{restored:#}");
    product.start_again().await?;

    let third = product.all_say(&people[..2], "third").await?;
    product.exactly_one_each(&people[..2], &third).await?;
    for at in 0..2 {
        anyhow::ensure!(
            knew(&product, &third[at], &first[at]).await?,
            "an agent forgot what it was told before the backup"
        );
        anyhow::ensure!(
            !knew(&product, &third[at], &first[1 - at]).await?,
            "agents were mixed up"
        );
        anyhow::ensure!(
            !knew(&product, &third[at], &second[at]).await?,
            "an agent knows what was said after the backup"
        );
        for mark in [&first[at], &second[at]] {
            product.exactly_one_answer(&people[at], mark)?;
        }
    }
    // They are somebody new, also to their agent.
    let fourth = product.all_say(&people[2..], "fourth").await?;
    product.exactly_one_each(&people[2..], &fourth).await?;
    anyhow::ensure!(
        !knew(&product, &fourth[0], &first[2]).await?,
        "the erased is remembered"
    );
    let words = sqlx::query_scalar(
        "select count(*) from inbox where tenant_id::text = $1 and body is not null",
    );
    let words: i64 = words.bind(&erased).fetch_one(&product.postgres.db).await?;
    anyhow::ensure!(words == 0, "their messages came back");
    product.exactly_one_answer(&people[2], &first[2])?;
    let epochs = "select count(*) from sandbox where epoch = 2";
    anyhow::ensure!(
        product.postgres.count(epochs).await? == 2,
        "tokens of before still hold"
    );
    product.finish(&[]).await
}

#[expect(
    clippy::print_stdout,
    reason = "figures for whoever runs it with --nocapture"
)]
fn show(figures: &str) {
    print!("{figures}");
}
