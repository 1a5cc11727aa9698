//! An agent fills its disk: that ends at its own walls, its person hears of it, and it goes on.

use std::{fs, os::unix::fs::MetadataExt as _};

use anyhow::Context as _;
use e2e::{
    Person, Product, alone, command,
    crowd::{mark, people},
    model::{Rule, Script, ToolCall},
};
use serde_json::json;

/// SANDBOX_DISK of this story.
const DISK: u64 = 256 << 20;
/// Once: after a restart OpenClaw goes on where it was, and would do it again.
const FILL: &str =
    "test -e large || { dd if=/dev/zero of=large bs=64k; dd if=/dev/zero of=small bs=1k; }";
const CLEAR: &str = "rm large small; echo cleared";

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_a_sentence_to_its_person_and_nothing_to_the_neighbour() -> anyhow::Result<()>
{
    let _alone = alone().await;
    let mut product = Product::start(&[("SANDBOX_DISK", "256m")]).await?;
    let people = people(2);
    let [full, neighbour] = &people[..] else {
        unreachable!("two were asked for")
    };
    let first = product.all_say(&people, "first").await?;
    product.exactly_one_each(&people, &first).await?;
    fresh_volumes_are_small(&product)?;

    agent_runs(&product, "fill", FILL);
    agent_runs(&product, "clear", CLEAR);
    let filled = mark("fill");
    product.says(full, &format!("Please fill {filled}")).await?;
    hears_of_it(&product, full).await?;
    let most = files(&product)?;
    let most = most.iter().map(|file| file.blocks() * 512).max();
    show(&format!("the fullest takes {most:?} bytes of {DISK}\n"));
    anyhow::ensure!(most <= Some(DISK), "a sandbox went over its wall");
    anyhow::ensure!(most > Some(DISK / 100 * 85), "it was not filled");

    let beside = mark("beside");
    let note = format!("Please note {beside}");
    product.says(neighbour, &note).await?;
    product.exactly_one_each(&people[1..], &[beside]).await?;
    let sentences = told(&product, neighbour);
    anyhow::ensure!(sentences == 0, "{}", product.screen(neighbour));

    let cleared = mark("clear");
    product
        .says(full, &format!("Please clear {cleared}"))
        .await?;
    product.exactly_one_each(&people[..1], &[cleared]).await?;
    product
        .until("its file is small again", async || {
            let largest = files(&product)?
                .iter()
                .map(|file| file.blocks() * 512)
                .max();
            Ok(largest < Some(DISK / 2))
        })
        .await?;

    // What keeps the disks ends with us, whatever it was doing, and sandboxes do not notice.
    product.kill_9().await?;
    product
        .until("the keeper has ended", || keeper_ended(&product))
        .await?;
    product.start_again().await?;
    let after = product.all_say(&people, "after").await?;
    product.exactly_one_each(&people, &after).await?;
    anyhow::ensure!(told(&product, full) == 1, "{}", product.screen(full));
    show(&product.screen(full));
    product.finish(&[]).await
}

async fn keeper_ended(product: &Product) -> anyhow::Result<bool> {
    let ours = format!("label=clawkaka.deployment={}", product.docker.deployment);
    let filters = ["--filter", &ours, "--filter", "label=clawkaka.disks"];
    let running = command::run("docker", &[&["ps", "-q"][..], &filters].concat()).await?;
    Ok(running.trim().is_empty())
}

fn agent_runs(product: &Product, when: &str, command: &str) {
    let call = ToolCall {
        name: "exec".to_owned(),
        arguments: json!({ "command": command }),
    };
    let then = Script::Tools {
        rounds: vec![vec![call]],
        text: "Done: {marks}".to_owned(),
    };
    product.model.program(Rule::new(then).when(&mark(when)));
}

fn files(product: &Product) -> anyhow::Result<Vec<fs::Metadata>> {
    let folder = product
        .place
        .folder
        .join("disks")
        .join(&product.docker.deployment);
    let entries = fs::read_dir(folder).context("look into the folder of disks")?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.context("look into the folder of disks")?;
        if entry.path().extension().is_some_and(|ext| ext == "ext4") {
            files.push(entry.metadata().context("look at a disk")?);
        }
    }
    Ok(files)
}

fn fresh_volumes_are_small(product: &Product) -> anyhow::Result<()> {
    let files = files(product)?;
    anyhow::ensure!(files.len() == 2, "{files:?}");
    for file in files {
        let taken = file.blocks() * 512;
        show(&format!("a fresh volume takes {} KB\n", taken >> 10));
        anyhow::ensure!(
            file.len() == DISK,
            "it is no wall of {DISK}: {}",
            file.len()
        );
        anyhow::ensure!(taken < 8 << 20, "it takes {taken} bytes");
    }
    Ok(())
}

const SENTENCE: &str = "The space for your assistant's files is full";

fn told(product: &Product, person: &Person) -> usize {
    let chat = product.whatsapp.chat(person);
    chat.iter()
        .filter(|bubble| bubble.text.starts_with(SENTENCE))
        .count()
}

async fn hears_of_it(product: &Product, person: &Person) -> anyhow::Result<()> {
    let heard = product.whatsapp.wait_until(e2e::PATIENCE, |state| {
        state
            .chat(person)
            .any(|bubble| bubble.text.starts_with(SENTENCE))
            .then_some(())
    });
    heard
        .await
        .with_context(|| format!("nothing was said: {}", product.screen(person)))
}

#[expect(
    clippy::print_stdout,
    reason = "figures for whoever runs it with --nocapture"
)]
fn show(figures: &str) {
    print!("{figures}");
}
