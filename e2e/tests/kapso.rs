//! A number that Kapso hands on, and no app at Meta: everything works as it does without Kapso.

use std::slice;

use anyhow::Context as _;
use e2e::{
    Person, Product, alone,
    crowd::{mark, person},
    whatsapp::{Call, End, Fault, Message, Signature},
};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn people_are_answered_once_through_kapso_in_each_of_its_shapes() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start_through_kapso().await?;
    let anna = person(1);
    let first = mark("first");
    product.says(&anna, &format!("Please note {first}")).await?;
    product
        .exactly_one_each(slice::from_ref(&anna), slice::from_ref(&first))
        .await?;
    let told = product.model.requests()[0].body.to_string();
    let name = anna.name.as_ref().context("she has no name")?;
    anyhow::ensure!(
        told.contains(name),
        "the agent does not know who writes: {told}"
    );

    the_doctor_finds_nothing_wrong(&product).await?;
    what_comes_twice_and_in_batches_is_answered_once(&product, &anna).await?;
    a_conversation_that_is_busy_is_tried_again(&product, &anna).await?;
    what_the_owner_typed_and_what_is_old_wakes_nobody(&product, &anna).await?;
    receipts_count(&product).await?;
    what_is_not_signed_is_refused(&product, &anna).await?;
    product.finish(&[]).await
}

async fn the_doctor_finds_nothing_wrong(product: &Product) -> anyhow::Result<()> {
    let codes = "kapso,kapso-signature,clock,line,settings";
    let found = product.answer(&["doctor", "--only", codes]).await?;
    anyhow::ensure!(
        found["failures"] == 0 && found["warnings"] == 0,
        "{found:#}"
    );
    let checks = found["checks"].as_array().map_or(0, Vec::len);
    anyhow::ensure!(checks == 5, "{found:#}");
    Ok(())
}

/// Each by itself, then all in a batch, as Kapso does with one that it takes for failed.
async fn what_comes_twice_and_in_batches_is_answered_once(
    product: &Product,
    anna: &Person,
) -> anyhow::Result<()> {
    let marks = ["alone", "twice", "batch"].map(mark);
    let said: Vec<_> = marks
        .iter()
        .map(|mark| Message::text(anna, &format!("Please note {mark}")))
        .collect();
    let bodies = [
        product.whatsapp.body(&said[..1]),
        product.whatsapp.body(&said[1..2]),
        product.whatsapp.body(&said[1..2]),
        product.whatsapp.body(&said),
    ];
    for body in &bodies {
        let status = product.whatsapp.post(body).await;
        anyhow::ensure!(status == Some(200), "{status:?}");
    }
    for mark in &marks {
        product.answered(anna, mark).await?;
    }
    product.settled().await?;
    for mark in &marks {
        product.exactly_one_answer(anna, mark)?;
    }
    Ok(())
}

/// Kapso answers 409 while another message of the conversation is under way.
async fn a_conversation_that_is_busy_is_tried_again(
    product: &Product,
    anna: &Person,
) -> anyhow::Result<()> {
    product.whatsapp.program(Fault::Http { status: 409 });
    let mark = mark("busy");
    product.says(anna, &format!("Please note {mark}")).await?;
    product
        .exactly_one_each(slice::from_ref(anna), &[mark])
        .await?;
    let busy = |call: &Call| call.end == End::Answered(409);
    let met = product
        .whatsapp
        .calls()
        .iter()
        .filter(|call| busy(call))
        .count();
    anyhow::ensure!(
        met == 1,
        "it was told {met} times that the conversation is busy"
    );
    Ok(())
}

async fn what_the_owner_typed_and_what_is_old_wakes_nobody(
    product: &Product,
    anna: &Person,
) -> anyhow::Result<()> {
    let asked = product.model.requests().len();
    let turns = product.postgres.count("select count(*) from turn").await?;
    for (origin, direction) in [("history_sync", "inbound"), ("business_app", "outbound")] {
        let message = Message::text(anna, &format!("This is {origin}"));
        let mut body: Value = serde_json::from_slice(&product.whatsapp.body(&[message]))?;
        body["message"]["kapso"]["origin"] = json!(origin);
        body["message"]["kapso"]["direction"] = json!(direction);
        let status = product.whatsapp.post(body.to_string().as_bytes()).await;
        anyhow::ensure!(status == Some(200), "{status:?}");
    }
    product.settled().await?;
    let now = product.postgres.count("select count(*) from turn").await?;
    anyhow::ensure!(now == turns, "{} turns began", now - turns);
    anyhow::ensure!(
        product.model.requests().len() == asked,
        "the model was asked"
    );
    Ok(())
}

/// Of the product's messages it knows that they arrived.
async fn receipts_count(product: &Product) -> anyhow::Result<()> {
    let unread = "select count(*) from outbox where rank < 2";
    let all = async || Ok(product.postgres.count(unread).await? == 0);
    product.until("all were delivered", all).await?;
    let any = product
        .postgres
        .count("select count(*) from outbox")
        .await?;
    anyhow::ensure!(any >= 3, "{any} messages");
    Ok(())
}

async fn what_is_not_signed_is_refused(product: &Product, anna: &Person) -> anyhow::Result<()> {
    let body = product.whatsapp.body(&[Message::text(anna, "It is me")]);
    for signed in [Signature::Missing, Signature::Header("0".repeat(64))] {
        let status = product.whatsapp.post_signed(&body, &signed).await;
        anyhow::ensure!(status == Some(403), "{signed:?}: {status:?}");
    }
    Ok(())
}
