//! Backups on the real parts: everything of a deployment is lost but the folder they are in, and it
//! comes back.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use e2e::{
    Product, alone,
    backup::{BackedUp, Moment, Work},
    command, crowd,
};
use serde_json::Value;

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
    let mut product = Product::with_backups().await?;
    let folder = product.place.folder.join("backups");
    let people = crowd::people(3);
    let first = product.all_say(&people, "first").await?;
    product.exactly_one_each(&people, &first).await?;

    let backup = product.operate(&["backup"]).await?;
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
    let erased = product.tenant_of(&people[2]).await?;
    product
        .operate(&["tenant", "erase", &erased, "--yes"])
        .await?;

    lose_everything(&mut product).await?;
    let restored = product.operate(&["restore", "--yes"]).await?;
    show(&format!("{restored:#}\n"));
    anyhow::ensure!(restored["erased_again"] == 1, "{restored:#}");
    anyhow::ensure!(restored["people"] == 2, "{restored:#}");
    // What was sent is not remembered for ever, and still nothing of an old conversation is sent.
    let forgotten = sqlx::query("delete from outbox")
        .execute(&product.postgres.db)
        .await?;
    anyhow::ensure!(
        forgotten.rows_affected() >= 2,
        "nothing was to be forgotten"
    );
    product.start_again().await?;

    let third = product.all_say(&people[..2], "third").await?;
    product.exactly_one_each(&people[..2], &third).await?;
    for at in 0..2 {
        anyhow::ensure!(
            product.knew(&third[at], &first[at]).await?,
            "an agent forgot what it was told before the backup"
        );
        anyhow::ensure!(
            !product.knew(&third[at], &first[1 - at]).await?,
            "agents were mixed up"
        );
        anyhow::ensure!(
            !product.knew(&third[at], &second[at]).await?,
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
        !product.knew(&fourth[0], &first[2]).await?,
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    /// Our process, without a last word.
    Us,
    /// The sandbox whose files are read.
    Container,
}

const CASES: [(Work, Moment, Victim); 5] = {
    use {Moment::*, Victim::*, Work::*};
    [
        (Backup, Taken, Us),
        (Backup, AtItsFiles, Us),
        (Backup, AtItsFiles, Container),
        (Restore, Taken, Us),
        (Restore, AtItsFiles, Us),
    ]
};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_at_whatever_moment_a_backup_and_a_restore_end_right() -> anyhow::Result<()> {
    let _alone = alone().await;
    let BackedUp {
        mut product,
        person: people,
        sandbox,
        first,
        second,
    } = BackedUp::start().await?;

    for (number, (work, moment, victim)) in CASES.into_iter().enumerate() {
        let case = format!("{victim:?} at {moment:?} of {work:?}");
        product.at_work(&sandbox, work, moment).await?;
        match victim {
            Victim::Us => {
                product.kill_9().await?;
                product.start_again().await?;
            }
            Victim::Container => product.docker.lose_sandboxes().await?,
        }
        product
            .backups_succeed()
            .await
            .with_context(|| case.clone())?;
        let marks = product.all_say(&people, &format!("case-{number}")).await?;
        product.exactly_one_each(&people, &marks).await?;
        let forgot = !product.knew(&marks[0], &first[0]).await?;
        anyhow::ensure!(!forgot, "{case}: it forgot");
        let knows = product.knew(&marks[0], &second[0]).await?;
        anyhow::ensure!(knows == (work == Work::Backup), "{case}: {knows}");
        for mark in [&first[0], &second[0]] {
            product.exactly_one_answer(&people[0], mark)?;
        }
    }
    show(&format!(
        "{} deaths around a backup and a restore: right in the end\n",
        CASES.len()
    ));
    product.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_gets_everything_we_hold_of_them_and_no_key_of_ours() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::with_backups().await?;
    let people = crowd::people(2);
    let marks = product.all_say(&people, "said").await?;
    product.exactly_one_each(&people, &marks).await?;
    let tenant = product.tenant_of(&people[0]).await?;
    let mut secrets: Vec<_> = product
        .secrets
        .iter()
        .map(|(_, secret)| secret.clone())
        .collect();
    for sandbox in product.docker.sandboxes().await? {
        secrets.extend(product.docker.tokens(&sandbox.id).await?);
    }
    let to = product.place.folder.join("export");
    let words = ["tenant", "export", &tenant, "--to", &to.to_string_lossy()];
    let said = product.operate(&words).await?;
    show(&format!("{said:#}\n"));

    let messages = fs::read_to_string(to.join("messages.json"))?;
    let messages: Value = serde_json::from_str(&messages)?;
    let lines = messages.as_array().context("no list")?;
    let from = |who: &str| lines.iter().filter(|line| line["from"] == who).count();
    anyhow::ensure!(
        from("you") == 1 && from("your assistant") == 1,
        "{messages:#}"
    );
    let person = fs::read_to_string(to.join("person.json"))?;
    let name = people[0].name.clone().context("no name")?;
    anyhow::ensure!(person.contains(&name), "who they are is missing: {person}");
    let files = objects(&to)?;
    let (mut own, mut other) = (0, 0);
    for file in &files {
        let bytes = fs::read(file)?;
        own += usize::from(e2e::logs::contains(&bytes, marks[0].as_bytes()));
        other += usize::from(e2e::logs::contains(&bytes, marks[1].as_bytes()));
        e2e::logs::has_none_of(&file.display().to_string(), &bytes, &secrets)?;
    }
    let agent: Vec<_> = files
        .iter()
        .filter(|file| file.starts_with(to.join("agent")))
        .collect();
    show(&format!("{agent:#?}\n"));
    anyhow::ensure!(own >= 2, "the agent's own conversation is missing");
    anyhow::ensure!(other == 0, "somebody else's words are in it");
    anyhow::ensure!(
        agent
            .iter()
            .any(|file| file.ends_with("workspace/AGENTS.md")),
        "{agent:?}"
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
