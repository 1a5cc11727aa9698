//! dockerd is killed while files of a sandbox are read or put back, and while it boots from another
//! image.

use anyhow::Context as _;
use chrono::Utc;
use e2e::{
    PATIENCE, Person, Product,
    backup::{BackedUp, Moment, Work},
    engine::Engine,
    upgrade::{HARMLESS, Image},
};

use crate::{They, show};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Files(Work),
    NewImage,
}

const CASES: [(At, They); 6] = {
    use {At::*, They::*, Work::*};
    [
        (Files(Backup), Die),
        (Files(Backup), Live),
        (NewImage, Die),
        (NewImage, Live),
        (Files(Restore), Live),
        (Files(Restore), Die),
    ]
};

pub async fn story(mut engine: Engine) -> anyhow::Result<()> {
    let BackedUp {
        mut product,
        person: anna,
        first,
        second,
        ..
    } = BackedUp::start().await?;

    // What was said after the first backup is forgotten once that was put back.
    let mut forgotten = false;
    let mut images = Vec::new();
    for (number, (at, they)) in CASES.into_iter().enumerate() {
        let case = format!("dockerd dies at {at:?}, they {they:?}");
        let name = format!("case-{number}");
        let since = Utc::now();
        begin(&mut product, &anna, at, &name, &mut images)
            .await
            .with_context(|| case.clone())?;
        engine.kill_dockerd().await?;
        let during = product.all_say(&anna, &name).await?;
        they.come_back(&mut engine).await?;
        ends(&product, at, &images)
            .await
            .with_context(|| case.clone())?;
        product.exactly_one_each(&anna, &during).await?;
        product.outages.push(since..Utc::now());

        product.all_knew(&during, &first).await?;
        forgotten |= at == At::Files(Work::Restore);
        let knows = product.knew(&during[0], &second[0]).await?;
        anyhow::ensure!(knows != forgotten, "{case}: it knows the wrong things");
        for mark in [&first[0], &second[0]] {
            product.exactly_one_answer(&anna[0], mark)?;
        }
    }
    let count = CASES.len();
    show(&format!(
        "{count} deaths of dockerd at backups, restores and upgrades: right in the end"
    ));
    product.finish(&[]).await
}

/// Until it is in the middle of it.
async fn begin(
    product: &mut Product,
    anna: &[Person; 1],
    at: At,
    name: &str,
    images: &mut Vec<Image>,
) -> anyhow::Result<()> {
    let At::Files(work) = at else {
        let image = Image::make(product, name, HARMLESS).await?;
        product.deploy(anna, &image).await?;
        images.push(image);
        let since = Utc::now();
        let words = ["sandbox", "upgrade", "--all", "--no-wait", "--yes"];
        product.operate(&words).await?;
        let started = product.docker.wait_for_event("start", 1, since, PATIENCE);
        return started.await;
    };
    let sandbox = product.sandbox_of(&anna[0]).await?;
    product.at_work(&sandbox, work, Moment::AtItsFiles).await
}

async fn ends(product: &Product, at: At, images: &[Image]) -> anyhow::Result<()> {
    let (At::NewImage, Some(image)) = (at, images.last()) else {
        return product.backups_succeed().await;
    };
    let ended = product.upgrade_ends().await?;
    anyhow::ensure!(ended == "done whole", "it ended with {ended}");
    anyhow::ensure!(product.on(&image.id).await? == 1, "it was not moved");
    Ok(())
}
