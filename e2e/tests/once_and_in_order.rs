//! Every message is answered once and in order, however often and however close it comes.

use e2e::{
    PATIENCE, Person, Product, Then, alone,
    crowd::{flood, mark, people, person},
    model::{At, Rule},
    whatsapp::Message,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_same_webhook_five_times_at_once_is_one_turn_and_one_answer() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start(&[]).await?;
    let (person, mark) = (person(1), mark("five"));
    let message = Message::text(&person, &format!("Please note {mark}"));
    let statuses = product
        .whatsapp
        .post_copies(&product.whatsapp.body(&[message]), 5)
        .await;
    anyhow::ensure!(statuses == [Some(200); 5], "{statuses:?}");

    product
        .exactly_one_each(&[person], std::slice::from_ref(&mark))
        .await?;
    let turns = product.postgres.count("select count(*) from turn").await?;
    anyhow::ensure!(turns == 1, "{turns} turns");
    let asked = product.model.requests();
    let asked = asked
        .iter()
        .filter(|one| one.pending.iter().any(|said| said.contains(&mark)));
    anyhow::ensure!(asked.count() == 1, "the model was asked more than once");
    product.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_four_people_is_answered_once_and_in_order() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start(&[]).await?;
    let came = flood(&product, &people(4), 60, 1).await?;
    anyhow::ensure!(came.messages == 60, "{came:?}");
    anyhow::ensure!(came.webhooks > 2 * came.messages, "{came:?}");
    product.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_while_a_turn_or_a_resumed_run_runs_is_answered_too() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start(&[]).await?;
    let person = person(1);

    let marks = ["run-0", "run-1", "run-2"].map(mark);
    product
        .model
        .program(Rule::hold("run", At::FirstToken).when(&marks[0]).times(1));
    note(&product, &person, &marks[0]).await?;
    product.gates.reached("run", 1, PATIENCE).await?;
    note(&product, &person, &marks[1]).await?;
    note(&product, &person, &marks[2]).await?;
    product.gates.release("run", Then::Go);
    in_order(&product, &person, &marks).await?;

    let marks = ["resumed-0", "resumed-1", "resumed-2"].map(mark);
    for gate in ["cut off", "resumed"] {
        product
            .model
            .program(Rule::hold(gate, At::FirstToken).when(&marks[0]).times(1));
    }
    note(&product, &person, &marks[0]).await?;
    product.gates.reached("cut off", 1, PATIENCE).await?;
    product.docker.kill_sandboxes().await?;
    product.gates.reached("resumed", 1, PATIENCE).await?;
    note(&product, &person, &marks[1]).await?;
    note(&product, &person, &marks[2]).await?;
    product.gates.release("resumed", Then::Go);
    in_order(&product, &person, &marks).await?;
    product.finish(&[]).await
}

async fn note(product: &Product, person: &Person, mark: &str) -> anyhow::Result<()> {
    product.says(person, &format!("Please note {mark}")).await
}

/// Each mark in exactly one answer, and the answers in the order of the questions.
async fn in_order(product: &Product, person: &Person, marks: &[String]) -> anyhow::Result<()> {
    for mark in marks {
        product.answered(person, mark).await?;
    }
    product.settled().await?;
    let said: Vec<_> = product
        .whatsapp
        .chat(person)
        .into_iter()
        .map(|one| one.text)
        .collect();
    let said = said.join("\n");
    let seen = e2e::crowd::marks_in(&said)
        .into_iter()
        .filter(|mark| marks.iter().any(|one| one == mark));
    let seen: Vec<_> = seen.collect();
    anyhow::ensure!(seen == marks, "{}", product.screen(person));
    Ok(())
}
