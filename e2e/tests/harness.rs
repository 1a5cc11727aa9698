//! The harness itself: it leaves nothing behind, and what it hurts gets hurt.

use std::{fs, process::Command};

use e2e::{
    alone, command,
    place::{self, Place},
    postgres::{self, Postgres},
};

/// Above every pid Linux gives out, so surely nobody's.
const NOBODY: u32 = 4_194_305;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_the_same_after_it_was_killed_and_what_dead_runs_left_is_gone()
-> anyhow::Result<()> {
    let _alone = alone().await;
    let left = format!("ck-test-{NOBODY}-0");
    let label = format!("clawkaka.deployment={left}");
    command::run("docker", &["volume", "create", "--label", &label, &left]).await?;
    command::run(
        "nft",
        &["add", "table", "inet", &format!("clawkaka_{left}")],
    )
    .await?;
    fs::create_dir_all(std::env::temp_dir().join(&left))?;

    let place = Place::find(place::TEST).await?;
    anyhow::ensure!(
        !std::env::temp_dir().join(&left).exists(),
        "a folder was left"
    );
    let tables = command::run("nft", &["list", "tables"]).await?;
    anyhow::ensure!(!tables.contains(&left), "walls were left");
    let filter = format!("label={label}");
    let volumes = command::run("docker", &["volume", "ls", "-q", "--filter", &filter]).await?;
    anyhow::ensure!(volumes.is_empty(), "a volume was left");

    let postgres = Postgres::start(&place.folder, postgres::TALKATIVE).await?;
    sqlx::query("create table kept as select 7::bigint as number")
        .execute(&postgres.db)
        .await?;
    postgres.kill_9_and_start_again().await?;
    anyhow::ensure!(
        postgres.count("select number from kept").await? == 7,
        "it was lost"
    );
    let dump = postgres.dump().await?;
    anyhow::ensure!(
        e2e::logs::contains(&dump, b"PostgreSQL database dump"),
        "no dump"
    );
    let data = place.folder.join("postgres/data");
    drop(postgres);
    place::remove(&place.deployment);
    anyhow::ensure!(!data.exists(), "the cluster was left");
    let running = Command::new("pgrep")
        .args(["-f", &data.to_string_lossy()])
        .output()?;
    anyhow::ensure!(running.stdout.is_empty(), "a server was left");
    Ok(())
}
