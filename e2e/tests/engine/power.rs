//! A machine loses power while one sandbox runs, one is paused and one is stopped, and comes back.

use chrono::Utc;
use e2e::{
    PATIENCE, Product, crowd,
    engine::Engine,
    gate::Then,
    model::{At, Rule},
};

use crate::{rests, show};

const GATE: &str = "power";

pub async fn story(mut engine: Engine) -> anyhow::Result<()> {
    let mut product = Product::start(&[]).await?;
    let people = crowd::people(3);
    let first = product.all_say(&people, "first").await?;
    product.exactly_one_each(&people, &first).await?;
    rests(&product, &people[1], "pause").await?;
    rests(&product, &people[2], "stop").await?;

    // One is about to be answered.
    let last = crowd::mark("last");
    let held = Rule::hold(GATE, At::Start).when(&last).times(1);
    product.model.program(held);
    product
        .says(&people[0], &format!("Please note {last}"))
        .await?;
    product.gates.reached(GATE, 1, PATIENCE).await?;

    let since = Utc::now();
    product.kill_9().await?;
    engine.lose_power();
    product.gates.release(GATE, Then::Drop);
    // In the order of a boot.
    product.walls("up").await?;
    product.postgres.kill_9_and_start_again().await?;
    engine.boot().await?;
    product.start_again().await?;

    let again = product.all_say(&people, "again").await?;
    product.exactly_one_each(&people, &again).await?;
    product.exactly_one_answer(&people[0], &last)?;
    product.outages.push(since..Utc::now());
    product.all_knew(&again, &first).await?;
    product.all_knew(&again[..1], &[last]).await?;
    for (person, mark) in people.iter().zip(&first) {
        product.exactly_one_answer(person, mark)?;
    }
    show("power was lost: all answered once");
    product.finish(&[]).await
}
