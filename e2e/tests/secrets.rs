//! What is secret stays with us: keys, texts, names and numbers.

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use e2e::{
    Product, alone, command,
    crowd::people,
    docker::{Container, inspect},
    logs::{contains, has_none_of},
};

#[tokio::test(flavor = "multi_thread")]
async fn our_secrets_and_peoples_words_are_nowhere_but_where_they_belong() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start(&[]).await?;
    let people = people(2);
    let marks = product.all_say(&people, "confidential").await?;
    product.exactly_one_each(&people, &marks).await?;
    // A conversation that met trouble is logged more.
    product.docker.kill_sandboxes().await?;
    let marks = product.all_say(&people, "confidential-again").await?;
    product.exactly_one_each(&people, &marks).await?;

    let secrets = spelled(product.secrets.iter().map(|(_, secret)| secret.clone()));
    let personal = spelled(product.personal().into_iter());
    let everything = [
        secrets.clone(),
        personal.clone(),
        vec![product.postgres.password().to_owned()],
    ]
    .concat();
    for sandbox in product.docker.sandboxes().await? {
        outside(&product, &sandbox, &everything).await?;
        inside(&product, &sandbox, &secrets).await?;
    }
    has_none_of(
        "Postgres' log",
        product.postgres.log()?.as_bytes(),
        &everything,
    )?;
    let dump = product.postgres.dump().await?;
    anyhow::ensure!(contains(&dump, b"COPY public.inbox"), "the dump is not one");
    has_none_of("the database", &dump, &everything)?;
    product.finish(&[]).await
}

/// The ways in which a word may be written down.
fn spelled(words: impl Iterator<Item = String>) -> Vec<String> {
    let spell = |word: String| {
        [
            hex::encode(&word),
            BASE64_STANDARD
                .encode(&word)
                .trim_end_matches('=')
                .to_owned(),
            word,
        ]
    };
    words.flat_map(spell).collect()
}

/// What Docker shows of a sandbox.
async fn outside(
    product: &Product,
    sandbox: &Container,
    everything: &[String],
) -> anyhow::Result<()> {
    let facts = inspect(&sandbox.id).await?.context("the sandbox is gone")?;
    has_none_of("docker inspect", facts.to_string().as_bytes(), everything)?;
    let image = facts["Image"].as_str().context("it has no image")?;
    let image_facts = inspect(image).await?.context("the image is gone")?;
    has_none_of(
        "docker inspect of the image",
        image_facts.to_string().as_bytes(),
        everything,
    )?;
    let history = command::run("docker", &["history", "--no-trunc", image]).await?;
    has_none_of("docker history", history.as_bytes(), everything)?;
    let logs = product.docker.logs(&sandbox.id).await?;
    has_none_of("docker logs", logs.as_bytes(), everything)?;

    // The sandbox's own tokens work nowhere else, but are for its files only.
    let own = product.docker.tokens(&sandbox.id).await?;
    has_none_of("docker inspect", facts.to_string().as_bytes(), &own)?;
    has_none_of("docker logs", logs.as_bytes(), &own)?;
    has_none_of("the product's log", product.logs.text()?.as_bytes(), &own)
}

/// What an agent can find in its own sandbox.
async fn inside(product: &Product, sandbox: &Container, secrets: &[String]) -> anyhow::Result<()> {
    let files = product.docker.files(&sandbox.id, "/state").await?;
    anyhow::ensure!(
        contains(&files, b"openclaw.json"),
        "the volume is not there"
    );
    has_none_of("the volume", &files, secrets)?;
    let own = product.docker.tokens(&sandbox.id).await?;
    let script = "cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null || true";
    let environment = product
        .docker
        .exec(&sandbox.id, &["sh", "-c", script])
        .await?;
    anyhow::ensure!(environment.contains("PATH="), "no environment was read");
    has_none_of(
        "an environment",
        environment.as_bytes(),
        &[secrets, &own].concat(),
    )?;
    let script = "cat /tmp/openclaw*/* 2>/dev/null || true";
    let logs = product
        .docker
        .exec(&sandbox.id, &["sh", "-c", script])
        .await?;
    has_none_of("OpenClaw's own log", logs.as_bytes(), secrets)
}
