//! The agent speaks up by itself: the right person hears it once, at a time that suits them.

use std::time::Duration;

use anyhow::Context as _;
use e2e::{
    PATIENCE, Person, Product, alone,
    crowd::{mark, person},
    gate::Then,
    model::{At, Rule, Script, ToolCall},
};
use serde_json::json;

const HEARTBEAT: &str = "[Heartbeat]";
const DUE: &str = "The dentist expects you at three.";

#[tokio::test(flavor = "multi_thread")]
async fn the_right_person_hears_of_it_once_whatever_restarts() -> anyhow::Result<()> {
    let _alone = alone().await;
    let mut product = Product::start(&[("HEARTBEAT_EVERY", "20s")]).await?;
    let (content, reminded, asleep) = (person(1), person(2), person(3));
    the_model_keeps_an_agenda_and_speaks_when_it_has_one(&product);

    for (at, person) in [&content, &reminded, &asleep].into_iter().enumerate() {
        let hello = mark(format!("hello-{at}"));
        product
            .says(person, &format!("Please note {hello}"))
            .await?;
        product.answered(person, &hello).await?;
    }
    make_it_day_for_all_but_the_third(&product).await?;
    for person in [&reminded, &asleep] {
        product.says(person, "Remind me of the dentist").await?;
        said_once(&product, person, "Noted, the dentist.").await?;
    }

    said_once(&product, &reminded, DUE).await?;
    heartbeats_pass(&product).await?;
    ours_dies_while_the_agent_looks_around(&mut product).await?;
    its_sandbox_dies_and_is_woken_for_the_agenda(&product).await?;
    heartbeats_pass(&product).await?;

    let times = |person: &Person| {
        let chat = product.whatsapp.chat(person);
        chat.iter().filter(|bubble| bubble.text == DUE).count()
    };
    let heard = [&content, &reminded, &asleep].map(times);
    anyhow::ensure!(heard == [0, 1, 0], "heard of it: {heard:?}");
    anyhow::ensure!(
        product.whatsapp.chat(&content).len() <= 2,
        "who has nothing on the agenda heard something: {}",
        product.screen(&content)
    );

    the_conversation_knows_what_was_said_unasked(&product, &reminded).await?;
    a_message_goes_before_a_heartbeat(&product, &content).await?;
    product.finish(&[]).await
}

/// Rules are tried in order: what an agenda says is due, an empty one is not worth a word.
fn the_model_keeps_an_agenda_and_speaks_when_it_has_one(product: &Product) {
    product
        .model
        .program(Rule::text(DUE).when("AGENDA.md says"));
    product
        .model
        .program(Rule::text("NO_REPLY").when(HEARTBEAT));
    let write = ToolCall {
        name: "write".to_owned(),
        arguments: json!({ "path": "/state/workspace/AGENDA.md", "content": "- dentist at three" }),
    };
    let noted = Script::Tools {
        rounds: vec![vec![write]],
        text: "Noted, the dentist.".to_owned(),
    };
    product
        .model
        .program(Rule::new(noted).when("Remind me of the dentist"));
}

/// Whatever the hour: two have no quiet hours, and the third is in the middle of theirs.
async fn make_it_day_for_all_but_the_third(product: &Product) -> anyhow::Result<()> {
    product
        .postgres
        .execute("update tenant set quiet_from = '00:00', quiet_to = '00:00'")
        .await?;
    product
        .postgres
        .execute(
            "update tenant set quiet_from = (now() at time zone 'UTC' - interval '4 h')::time,
                               quiet_to = (now() at time zone 'UTC' + interval '4 h')::time
             where id = (select id from tenant order by id desc limit 1)",
        )
        .await
}

async fn said_once(product: &Product, person: &Person, text: &str) -> anyhow::Result<()> {
    let said = product.whatsapp.wait_until(PATIENCE, |state| {
        state
            .chat(person)
            .any(|bubble| bubble.text == text)
            .then_some(())
    });
    said.await
        .with_context(|| format!("never said {text:?}: {}", product.screen(person)))
}

/// Everybody's turn has come twice more, and what came of it is over.
async fn heartbeats_pass(product: &Product) -> anyhow::Result<()> {
    let before = "select coalesce(extract(epoch from max(next_at)), 0)::bigint + 40 from reminder";
    let end = product.postgres.count(before).await?;
    let all_passed = || async {
        let least = "select extract(epoch from min(next_at))::bigint from reminder";
        Ok(product.postgres.count(least).await? >= end)
    };
    product.until("heartbeats passed", all_passed).await?;
    product.settled().await
}

fn hold_what_is_due(gate: &str) -> Rule {
    Rule {
        hold: Rule::hold(gate, At::Start).hold,
        ..Rule::text(DUE).when("AGENDA.md says").times(1)
    }
}

/// The words are said, and nothing of it is stored yet: what comes after the start says them once.
async fn ours_dies_while_the_agent_looks_around(product: &mut Product) -> anyhow::Result<()> {
    product.model.program_first(hold_what_is_due("looking"));
    product.gates.reached("looking", 1, PATIENCE).await?;
    product.kill_9().await?;
    product.gates.release("looking", Then::Go);
    product.start_again().await
}

async fn its_sandbox_dies_and_is_woken_for_the_agenda(product: &Product) -> anyhow::Result<()> {
    product
        .model
        .program_first(hold_what_is_due("looking-again"));
    product.gates.reached("looking-again", 1, PATIENCE).await?;
    product.docker.kill_sandboxes().await?;
    product.gates.release("looking-again", Then::Go);
    let asked = product.model.requests().len();
    let woken = product.model.wait_until(PATIENCE, |state| {
        state.requests[asked..]
            .iter()
            .any(|one| {
                one.pending
                    .iter()
                    .any(|said| said.contains("AGENDA.md says"))
            })
            .then_some(())
    });
    woken.await.context("its sandbox was not woken again")
}

async fn the_conversation_knows_what_was_said_unasked(
    product: &Product,
    person: &Person,
) -> anyhow::Result<()> {
    let thanks = mark("thanks");
    product.says(person, &format!("Thanks! {thanks}")).await?;
    product.answered(person, &thanks).await?;
    let requests = product.model.requests();
    let asked = requests
        .iter()
        .filter(|one| one.pending.iter().any(|said| said.contains(&thanks)));
    let knows = |one: &e2e::model::Request| {
        one.pending
            .iter()
            .any(|said| said.contains(&format!("> {DUE}")))
    };
    anyhow::ensure!(asked.clone().count() > 0 && asked.clone().all(knows));
    Ok(())
}

async fn a_message_goes_before_a_heartbeat(
    product: &Product,
    person: &Person,
) -> anyhow::Result<()> {
    let rule = Rule::hold("stuck", At::Start)
        .when("AGENDA.md is empty")
        .times(1);
    product.model.program_first(rule);
    product.says(person, "Are you there?").await?;
    product.gates.reached("stuck", 1, PATIENCE).await?;
    let urgent = mark("urgent");
    product
        .says(person, &format!("It is urgent {urgent}"))
        .await?;
    product.answered(person, &urgent).await?;
    product.gates.release("stuck", Then::Drop);
    tokio::time::timeout(Duration::from_secs(60), product.settled())
        .await
        .context("the heartbeat that gave way is still going on")?
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_agent_says_when_no_turn_waits_reaches_the_person_once() -> anyhow::Result<()> {
    let _alone = alone().await;
    let mut product = Product::start(&[]).await?;
    let person = person(1);
    let hello = mark("hello");
    product
        .says(&person, &format!("Please note {hello}"))
        .await?;
    product.answered(&person, &hello).await?;
    product.settled().await?;

    for words in ["The first late answer.", "The second late answer."] {
        product.agent_says(&person, words).await?;
        said_once(&product, &person, words).await?;
    }
    product.kill_9().await?;
    product.start_again().await?;
    let again = mark("again");
    product
        .says(&person, &format!("Please note {again}"))
        .await?;
    product.answered(&person, &again).await?;

    let chat = product.whatsapp.chat(&person);
    let late = chat
        .iter()
        .filter(|bubble| bubble.text.contains("late answer"));
    anyhow::ensure!(late.count() == 2, "{}", product.screen(&person));
    product.finish(&[]).await
}
