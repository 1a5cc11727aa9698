//! dockerd is killed and started again while one sandbox runs, one is paused and one is stopped, and
//! people write meanwhile.

use chrono::Utc;
use e2e::{Product, crowd, engine::Engine};

use crate::{They, rests, show, state_of};

/// What a pass says that cannot ask Docker.
const BLIND: &str = "failed to look after sandboxes";

pub async fn story(mut engine: Engine) -> anyhow::Result<()> {
    let mut product = Product::start(&[]).await?;
    let people = crowd::people(3);
    let mut before = product.all_say(&people, "first").await?;
    product.exactly_one_each(&people, &before).await?;
    let mut marks = vec![before.clone()];
    for they in [They::Die, They::Live] {
        let name = format!("{they:?}").to_lowercase();
        rests(&product, &people[1], "pause").await?;
        rests(&product, &people[2], "stop").await?;
        let since = Utc::now();
        let seen = product.logs.count(BLIND)?;
        engine.kill_dockerd().await?;
        let during = product.all_say(&people, &format!("during-{name}")).await?;
        let noticed = || async { Ok(product.logs.count(BLIND)? > seen) };
        product.until("the outage is noticed", noticed).await?;
        for (person, mark) in people.iter().zip(&during).skip(1) {
            let early = product.exactly_one_answer(person, mark).is_ok();
            anyhow::ensure!(!early, "one who slept was answered without Docker");
        }
        they.come_back(&mut engine).await?;
        product.exactly_one_each(&people, &during).await?;
        product.outages.push(since..Utc::now());
        product.all_knew(&during, &before).await?;
        for person in &people {
            let sandbox = product.sandbox_of(person).await?;
            // Not two. Who was answered before dockerd came back may have been stopped by it since.
            state_of(&product, &sandbox).await?;
        }
        // Each disk is let go and opened once more.
        for person in &people {
            rests(&product, person, "stop").await?;
        }
        let after = product.all_say(&people, &format!("after-{name}")).await?;
        product.exactly_one_each(&people, &after).await?;
        product.all_knew(&after, &during).await?;
        marks.extend([during, after.clone()]);
        before = after;
    }
    for marks in &marks {
        for (person, mark) in people.iter().zip(marks) {
            product.exactly_one_answer(person, mark)?;
        }
    }
    product.all_knew(&before, &marks[0]).await?;
    show("2 deaths of dockerd, with live-restore and without: all answered once");
    product.finish(&[]).await
}
