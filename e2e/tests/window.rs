//! Whatever WhatsApp says to a send: pair rate, throttle, undeliverable, an answer that never comes, a closed
//! window, an expired token. Each ends as it should, and what people hear stays in order.

use e2e::{
    PATIENCE, Person, Product, alone, command,
    crowd::{mark, people},
    whatsapp::{Fault, FaultRule, Message, Receipt, ReceiptRule},
};
use serde_json::json;

const TEMPLATE: &str = "[template] assistant_waiting";
const PAY_DAY: &str = "[template] pay_day";
const HELD: &str = "select count(*) from outbox where state = 'held'";

#[tokio::test(flavor = "multi_thread")]
async fn every_no_of_whatsapps_is_lived_through_and_everybody_hears_all_in_order()
-> anyhow::Result<()> {
    let _alone = alone().await;
    let mut product =
        Product::start(&[("WHATSAPP_TEMPLATES", "en=assistant_waiting,en=pay_day")]).await?;
    let people = people(2);
    let (ann, bob) = (&people[0], &people[1]);
    let marks = product.all_say(&people, "hello").await?;
    product.exactly_one_each(&people, &marks).await?;
    // Whatever the hour.
    product
        .postgres
        .execute("update tenant set quiet_from = '00:00', quiet_to = '00:00'")
        .await?;

    // Only she waits, for a second.
    refused_once(&product, ann, bob, 131056).await?;
    // All wait, for some.
    refused_once(&product, ann, bob, 130429).await?;
    what_cannot_arrive_is_given_up_and_the_next_does(&product, ann).await?;
    what_may_have_been_taken_comes_once(&product, ann).await?;
    what_is_held_is_told_by_a_template_and_comes_when_she_writes(&product, ann).await?;
    what_is_held_comes_when_she_rings(&product, ann).await?;
    what_cannot_wait_rings_by_the_agents_own_template(&product, ann).await?;
    three_of_them_ring_and_no_more(&product, ann).await?;
    an_expired_token_costs_nobody_anything(&mut product, ann, bob).await?;
    product.finish(&["the access token was refused"]).await
}

fn fault(fault: Fault, person: &Person) -> FaultRule {
    FaultRule::from(fault).to(person)
}

fn error(code: i64) -> Fault {
    Fault::Error { code, status: None }
}

/// She asks twice, and the first answer is refused once.
async fn refused_once(
    product: &Product,
    ann: &Person,
    bob: &Person,
    code: i64,
) -> anyhow::Result<()> {
    let marks = ["first", "second"].map(|which| mark(format!("{which}-{code}")));
    product.whatsapp.program(fault(error(code), ann));
    for mark in &marks {
        product.says(ann, &format!("Please note {mark}")).await?;
    }
    let other = mark(format!("bob-{code}"));
    product.says(bob, &format!("Please note {other}")).await?;
    for mark in &marks {
        product.answered(ann, mark).await?;
    }
    product.answered(bob, &other).await?;
    product.settled().await?;
    for mark in &marks {
        product.exactly_one_answer(ann, mark)?;
    }
    product.exactly_one_answer(bob, &other)?;
    let chat = product.whatsapp.chat(ann);
    let place = |mark: &String| chat.iter().position(|bubble| bubble.text.contains(mark));
    anyhow::ensure!(
        place(&marks[0]) <= place(&marks[1]),
        "out of order: {}",
        product.screen(ann)
    );
    let refused = product.whatsapp.calls();
    let refused = refused.iter().filter(|call| {
        let text = call.text.as_deref().unwrap_or_default();
        text.contains(&marks[0]) && !call.taken
    });
    anyhow::ensure!(refused.count() == 1, "{code} was not provoked");
    Ok(())
}

async fn what_cannot_arrive_is_given_up_and_the_next_does(
    product: &Product,
    ann: &Person,
) -> anyhow::Result<()> {
    let (lost, next) = (mark("lost"), mark("next"));
    product.whatsapp.program_receipts(ReceiptRule {
        receipts: vec![Receipt::failed(131026)],
        to: ann.phone.clone(),
        times: Some(1),
    });
    product.says(ann, &format!("Please note {lost}")).await?;
    let failed = "select count(*) from outbox where state = 'failed' and error = '131026'";
    let failed = || async { Ok(product.postgres.count(failed).await? == 1) };
    product.until("the answer is given up", failed).await?;
    product.says(ann, &format!("Please note {next}")).await?;
    product.answered(ann, &next).await?;
    product.settled().await?;
    product.exactly_one_answer(ann, &next)?;
    let chat = product.whatsapp.chat(ann);
    anyhow::ensure!(
        !chat.iter().any(|bubble| bubble.text.contains(&lost)),
        "it arrived: {}",
        product.screen(ann)
    );
    Ok(())
}

/// Taken without an answer, and not taken without an answer: nobody can tell them apart but by receipts.
async fn what_may_have_been_taken_comes_once(
    product: &Product,
    ann: &Person,
) -> anyhow::Result<()> {
    for (what, name) in [(Fault::TakeAndDrop, "taken"), (Fault::Drop, "dropped")] {
        let mark = mark(name);
        product.whatsapp.program(fault(what, ann));
        product.says(ann, &format!("Please note {mark}")).await?;
        product.answered(ann, &mark).await?;
        product.settled().await?;
        product.exactly_one_answer(ann, &mark)?;
    }
    Ok(())
}

/// It goes out in place of ours, and its words come when she writes.
async fn what_cannot_wait_rings_by_the_agents_own_template(
    product: &Product,
    ann: &Person,
) -> anyhow::Result<()> {
    let before = product.whatsapp.chat(ann).len();
    a_day_passes(product, ann).await?;
    let words = "The rent is due.\n[Template: pay_day]";
    product.agent_says(ann, words).await?;
    hears(product, ann, before, &[PAY_DAY]).await?;
    anyhow::ensure!(product.whatsapp.ring(ann).await == Some(200));
    hears(product, ann, before, &[PAY_DAY, "The rent is due."]).await
}

/// For each may cost money, and who says nothing does not want them: the fourth waits, as words.
async fn three_of_them_ring_and_no_more(product: &Product, ann: &Person) -> anyhow::Result<()> {
    let before = product.whatsapp.chat(ann).len();
    a_day_passes(product, ann).await?;
    let three = [PAY_DAY; 3];
    for rung in 1..=3 {
        product.agent_says(ann, "[Template: pay_day]").await?;
        hears(product, ann, before, &three[..rung]).await?;
    }
    product.agent_says(ann, "[Template: pay_day]").await?;
    let held = || async { Ok(product.postgres.count(HELD).await? == 1) };
    product.until("the fourth waits", held).await?;
    anyhow::ensure!(product.whatsapp.ring(ann).await == Some(200));
    let all = [&three[..], &["pay day"]].concat();
    hears(product, ann, before, &all).await
}

/// All this, in this order and no more, after so much before.
async fn hears(
    product: &Product,
    ann: &Person,
    before: usize,
    expected: &[&str],
) -> anyhow::Result<()> {
    let count = before + expected.len();
    let chat = product.whatsapp.wait_for_reply(ann, count, PATIENCE);
    chat.await?;
    product.settled().await?;
    let heard = heard(product, ann, before);
    anyhow::ensure!(heard == expected, "{}", product.screen(ann));
    Ok(())
}

fn heard(product: &Product, ann: &Person, before: usize) -> Vec<String> {
    let chat = product.whatsapp.chat(ann);
    chat.into_iter().skip(before).map(|one| one.text).collect()
}

/// A day has passed without a word of hers, and an operator has something to say.
async fn a_day_of_silence(product: &Product, ann: &Person, words: &str) -> anyhow::Result<()> {
    a_day_passes(product, ann).await?;
    let mut send = product.command("send")?;
    let to = format!("+{}", ann.phone.as_deref().unwrap_or_default());
    send.args(["--to", &to, "--text", words, "--key", words]);
    command::output(send, b"").await?;
    Ok(())
}

async fn a_day_passes(product: &Product, ann: &Person) -> anyhow::Result<()> {
    product
        .postgres
        .execute("update tenant set last_inbound_at = now() - interval '25 h'")
        .await?;
    product
        .postgres
        .execute("update outbox set created_at = created_at - interval '30 h'")
        .await?;
    product.whatsapp.close_window(ann);
    Ok(())
}

async fn what_is_held_is_told_by_a_template_and_comes_when_she_writes(
    product: &Product,
    ann: &Person,
) -> anyhow::Result<()> {
    let before = product.whatsapp.chat(ann).len();
    a_day_of_silence(product, ann, "held-1").await?;
    hears(product, ann, before, &[TEMPLATE]).await?;
    anyhow::ensure!(product.postgres.count(HELD).await? == 1, "it is not held");

    // She taps the template's own button.
    let mark = mark("tapped");
    let tap = Message::of(ann, "button", json!({ "payload": "more", "text": mark }));
    let body = product.whatsapp.body(&[tap]);
    anyhow::ensure!(product.whatsapp.post(&body).await == Some(200));
    product.answered(ann, &mark).await?;
    product.settled().await?;
    product.exactly_one_answer(ann, &mark)?;
    let heard = heard(product, ann, before);
    anyhow::ensure!(
        heard.len() == 3 && heard[..2] == [TEMPLATE, "held-1"],
        "out of order: {}",
        product.screen(ann)
    );
    Ok(())
}

async fn what_is_held_comes_when_she_rings(product: &Product, ann: &Person) -> anyhow::Result<()> {
    let before = product.whatsapp.chat(ann).len();
    a_day_of_silence(product, ann, "held-2").await?;
    hears(product, ann, before, &[TEMPLATE]).await?;
    anyhow::ensure!(product.whatsapp.ring(ann).await == Some(200));
    hears(product, ann, before, &[TEMPLATE, "held-2"]).await
}

/// Nothing is sent until the token is another one, and then all of it.
async fn an_expired_token_costs_nobody_anything(
    product: &mut Product,
    ann: &Person,
    bob: &Person,
) -> anyhow::Result<()> {
    let marks = [ann, bob].map(|person| {
        let name = person.phone.as_deref().unwrap_or_default();
        mark(format!("token-{}", &name[name.len() - 1..]))
    });
    product.whatsapp.program(fault(error(190), ann));
    product
        .says(ann, &format!("Please note {}", marks[0]))
        .await?;
    let blocked = "select count(*) from line where blocked_until = 'infinity'";
    let blocked = || async { Ok(product.postgres.count(blocked).await? == 1) };
    product.until("the line is blocked", blocked).await?;
    product
        .says(bob, &format!("Please note {}", marks[1]))
        .await?;
    let waiting = "select count(*) from outbox where state = 'queued'";
    let waiting = || async { Ok(product.postgres.count(waiting).await? == 2) };
    product.until("both answers wait", waiting).await?;
    // A start is how an operator says that there is another token.
    product.stop().await?;
    product.start_again().await?;
    product.answered(ann, &marks[0]).await?;
    product.answered(bob, &marks[1]).await?;
    product.settled().await?;
    product.exactly_one_answer(ann, &marks[0])?;
    product.exactly_one_answer(bob, &marks[1])
}
