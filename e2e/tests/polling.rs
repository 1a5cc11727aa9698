//! Kapso is asked what people wrote: in place of a webhook, and beside one that fails.

use std::{slice, time::Duration};

use anyhow::Context as _;
use chrono::Utc;
use e2e::{
    PATIENCE, Person, Product, Then, alone,
    crowd::{mark, marks_in, people},
    http_client,
    whatsapp::{Fault, FaultRule, Message, On},
};

/// In one second, and more than two pages.
const FLOOD: usize = 250;

#[tokio::test(flavor = "multi_thread")]
async fn without_any_webhook_a_flood_and_a_death_between_its_pages_are_answered_once_in_order()
-> anyhow::Result<()> {
    let _alone = alone().await;
    let mut product = Product::start_through_kapso_with(&[
        ("KAPSO_DELIVERY", "poll"),
        ("KAPSO_WEBHOOK_SECRET", ""),
    ])
    .await?;
    product.whatsapp.pause_webhooks();
    let people = people(3);
    let anna = &people[0];
    let hello = mark("hello");
    let said = product
        .whatsapp
        .say(anna, &format!("Please note {hello}"))
        .await;
    anyhow::ensure!(said.status.is_none(), "a webhook was posted: {said:?}");
    product
        .exactly_one_each(slice::from_ref(anna), slice::from_ref(&hello))
        .await?;
    the_doctor_is_content(&product).await?;
    receipts_are_asked_for(&product).await?;

    // Kapso has all of them, and the product dies when it has seen the first page.
    let page_two = Fault::Hold {
        gate: "page two".to_owned(),
    };
    product
        .whatsapp
        .program(FaultRule::from(page_two).on(On::NextPage));
    let second = Utc::now().timestamp();
    let messages: Vec<_> = (0..FLOOD)
        .map(|number| Message {
            sent_at: second,
            ..Message::text(
                &people[number % people.len()],
                &format!("Please note {}", flood_mark(number)),
            )
        })
        .collect();
    product
        .whatsapp
        .post(&product.whatsapp.body(&messages))
        .await;
    product.gates.reached("page two", 1, PATIENCE).await?;
    product.kill_9().await?;
    product.gates.release("page two", Then::Drop);
    product.start_again().await?;

    for (at, person) in people.iter().enumerate() {
        let last = (0..FLOOD)
            .rev()
            .find(|number| number % people.len() == at)
            .context("nobody was left out")?;
        product.answered(person, &flood_mark(last)).await?;
    }
    product.settled().await?;
    let stored = "select count(*) from inbox where kind = 'message'";
    let stored = product.postgres.count(stored).await?;
    anyhow::ensure!(stored == FLOOD as i64 + 1, "{stored} messages are stored");
    for (at, person) in people.iter().enumerate() {
        each_was_answered_once_in_order(&product, person, at, people.len())?;
    }
    let posted = product.whatsapp.read(|state| {
        let attempts = state.deliveries.iter().map(|one| one.attempts.len());
        attempts.sum::<usize>()
    });
    anyhow::ensure!(posted == 0, "{posted} webhooks were posted");
    product.finish(&[]).await
}

fn flood_mark(number: usize) -> String {
    mark(format!("flood-{number:03}"))
}

fn each_was_answered_once_in_order(
    product: &Product,
    person: &Person,
    at: usize,
    of: usize,
) -> anyhow::Result<()> {
    let expected: Vec<_> = (0..FLOOD)
        .filter(|number| number % of == at)
        .map(flood_mark)
        .collect();
    let chat = product.whatsapp.chat(person);
    let flood = mark("flood-");
    let marks = chat.iter().flat_map(|bubble| marks_in(&bubble.text));
    let seen: Vec<_> = marks.filter(|one| one.starts_with(&flood)).collect();
    anyhow::ensure!(
        seen == expected,
        "person {at}: {seen:?} instead of {expected:?}"
    );
    Ok(())
}

/// It misses no webhook and no secret of one, and says that the line is polled.
async fn the_doctor_is_content(product: &Product) -> anyhow::Result<()> {
    let codes = "kapso,kapso-polling,kapso-signature,clock,line,settings,web";
    let found = product.answer(&["doctor", "--only", codes]).await?;
    anyhow::ensure!(
        found["failures"] == 0 && found["warnings"] == 0 && found["skipped"] == 0,
        "{found:#}"
    );
    let checks = found["checks"].as_array().context("no checks")?;
    let said = checks
        .iter()
        .find(|check| check["code"] == "kapso-polling")
        .and_then(|check| check["what"].as_str());
    anyhow::ensure!(
        said.is_some_and(|said| said.contains("polled every 5s")),
        "{found:#}"
    );
    anyhow::ensure!(
        checks
            .iter()
            .all(|check| check["code"] != "kapso-signature"),
        "{found:#}"
    );
    Ok(())
}

/// Of the product's messages it learns that they arrived.
async fn receipts_are_asked_for(product: &Product) -> anyhow::Result<()> {
    let unread = "select count(*) from outbox where rank < 3";
    let all = async || Ok(product.postgres.count(unread).await? == 0);
    product.until("all were read", all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_paused_webhook_did_not_bring_is_found_answered_and_counted() -> anyhow::Result<()> {
    const MISSED: i64 = 12;
    let _alone = alone().await;
    let every = [("KAPSO_POLL_EVERY", "5s")];
    let mut product = Product::start_through_kapso_with(&every).await?;
    let anna = people(1).remove(0);
    let hello = mark("hello");
    product.says(&anna, &format!("Please note {hello}")).await?;
    product
        .exactly_one_each(slice::from_ref(&anna), slice::from_ref(&hello))
        .await?;
    it_has_run_for_an_hour(&mut product).await?;

    // Messages of ten minutes, the newest of them older than what a webhook may still bring.
    product.whatsapp.pause_webhooks();
    let marks: Vec<_> = (0..MISSED).map(|at| mark(format!("missed-{at}"))).collect();
    for (at, mark) in (0_i64..).zip(&marks) {
        let message = Message {
            sent_at: Utc::now().timestamp() - 780 + at * 50,
            ..Message::text(&anna, &format!("Please note {mark}"))
        };
        let said = product.whatsapp.send(&message).await;
        anyhow::ensure!(said.status.is_none(), "a webhook was posted: {said:?}");
    }
    for mark in &marks {
        product.answered(&anna, mark).await?;
    }
    product.settled().await?;
    for mark in &marks {
        product.exactly_one_answer(&anna, mark)?;
    }
    let missed = missed(&product).await?;
    anyhow::ensure!(missed == MISSED as f64, "{missed} were missed");

    // What it brings again is nothing that it missed, however often Kapso is asked.
    product.whatsapp.resume_webhooks();
    let again = mark("again");
    product.says(&anna, &format!("Please note {again}")).await?;
    product
        .exactly_one_each(slice::from_ref(&anna), &[again])
        .await?;
    let looks = || product.whatsapp.read(|state| state.keeping.listings.len());
    let before = looks();
    let twice = async || Ok(looks() >= before + 6);
    product.until("Kapso was asked twice more", twice).await?;
    anyhow::ensure!(self::missed(&product).await? == missed, "more were missed");
    let told = product
        .logs
        .count("messages were found that no webhook brought")?;
    anyhow::ensure!((1..=MISSED as usize).contains(&told), "said {told} times");
    product.finish(&[]).await
}

/// Nothing of before its first look is taken; this one's was an hour ago.
async fn it_has_run_for_an_hour(product: &mut Product) -> anyhow::Result<()> {
    let asked = async || {
        let begun = "select count(*) from line where poll_cursor is not null";
        Ok(product.postgres.count(begun).await? == 1)
    };
    product.until("Kapso was asked", asked).await?;
    let status = product.stop().await?;
    anyhow::ensure!(status.success(), "it stopped with {status}");
    let ago = (Utc::now() - Duration::from_secs(3600)).format("%Y-%m-%dT%H:%M:%SZ");
    sqlx::query("update line set poll_cursor = $1")
        .bind(format!("{ago} {ago}"))
        .execute(&product.postgres.db)
        .await
        .context("move the cursor")?;
    product.start_again().await
}

async fn missed(product: &Product) -> anyhow::Result<f64> {
    let url = format!("http://127.0.0.1:{}/metrics", product.place.port + 2);
    let http = http_client(Duration::from_secs(5))?;
    let text = http.get(url).send().await?.text().await?;
    // Of its only line.
    let value = text
        .lines()
        .filter_map(|line| line.strip_prefix("clawkaka_poll_missed_total{line="))
        .find_map(|rest| Some(rest.split_once("} ")?.1));
    value
        .context("it is not measured")?
        .parse()
        .context("read the measure")
}
