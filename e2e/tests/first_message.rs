//! A stranger writes, and an OpenClaw of their own answers.

use anyhow::Context as _;
use chrono::Utc;
use e2e::{
    Person, Product, alone,
    crowd::{mark, marks_in, person},
    whatsapp::{Message, Side, Ticks},
};
use serde_json::json;

const RUN_BY: &str = "Example Ltd";

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_writes_and_an_agent_of_their_own_answers() -> anyhow::Result<()> {
    let _alone = alone().await;
    let mut product = Product::start(&[
        ("NOTICE", "on"),
        ("NOTICE_OPERATOR", RUN_BY),
        ("DEFAULT_ROLE", "guest"),
    ])
    .await?;
    let stranger = person(1);

    let first = mark("first");
    product
        .says(&stranger, &format!("Good morning, please note {first}"))
        .await?;
    product.answered(&stranger, &first).await?;
    product.settled().await?;
    product.exactly_one_answer(&stranger, &first)?;

    the_container_is_theirs_and_holds_the_conversation(&product, &first).await?;
    the_agent_knows_who_writes(&product, &stranger)?;
    who_runs_it_was_said_first_and_once(&product, &stranger)?;
    reading_and_typing_were_shown_and_have_ended(&product, &stranger)?;
    what_looks_like_a_command_is_plain_text(&product, &stranger, &first).await?;
    what_is_no_text_is_told_in_words(&product, &stranger).await?;
    what_an_operator_changes_is_told_with_the_next_message(&mut product, &stranger).await?;
    product.finish(&[]).await
}

async fn the_container_is_theirs_and_holds_the_conversation(
    product: &Product,
    mark: &str,
) -> anyhow::Result<()> {
    let sandboxes = product.docker.sandboxes().await?;
    anyhow::ensure!(sandboxes.len() == 1, "{sandboxes:?}");
    anyhow::ensure!(sandboxes[0].state == "running", "{sandboxes:?}");
    let found = product
        .docker
        .exec(&sandboxes[0].id, &["grep", "-rl", mark, "/state"])
        .await?;
    anyhow::ensure!(!found.is_empty(), "the agent does not remember {mark}");
    Ok(())
}

fn the_agent_knows_who_writes(product: &Product, person: &Person) -> anyhow::Result<()> {
    let requests = product.model.requests();
    let first = requests.first().context("the model was not asked")?;
    let told = first.body.to_string();
    let name = person.name.as_ref().context("they have no name")?;
    anyhow::ensure!(told.contains(name), "the name is not in {told}");
    // Quoted once more, for it stands in a string of the request.
    for part in [r#"\"role\":\"guest\""#, r#"\"time_zone\":\"UTC\""#] {
        anyhow::ensure!(told.contains(part), "{part} is not in {told}");
    }
    Ok(())
}

fn who_runs_it_was_said_first_and_once(product: &Product, person: &Person) -> anyhow::Result<()> {
    let chat = product.whatsapp.chat(person);
    let (answer, before) = chat.split_last().context("nothing was said")?;
    let screen = product.screen(person);
    anyhow::ensure!(!marks_in(&answer.text).is_empty(), "{screen}");
    // That the answer takes a while stands in it, however long it took.
    anyhow::ensure!(before.len() == 1, "{screen}");
    for part in ["AI", RUN_BY, "/help", "STOP", "follows"] {
        anyhow::ensure!(before[0].text.contains(part), "{part} is not in {screen}");
    }
    Ok(())
}

fn reading_and_typing_were_shown_and_have_ended(
    product: &Product,
    person: &Person,
) -> anyhow::Result<()> {
    product.whatsapp.read(|state| {
        let typing = state
            .typing
            .iter()
            .filter(|spell| spell.person.is(person))
            .count();
        anyhow::ensure!(typing > 0, "typing was never shown");
        anyhow::ensure!(
            !state.is_typing(person),
            "typing goes on: {:?} at {}",
            state.typing,
            Utc::now()
        );
        let theirs = state
            .conversation(person)
            .filter(|bubble| bubble.side == Side::Person);
        let read = theirs
            .map(|bubble| bubble.ticks)
            .all(|ticks| ticks == Ticks::Read);
        anyhow::ensure!(read, "a message was not marked read");
        Ok(())
    })
}

async fn what_looks_like_a_command_is_plain_text(
    product: &Product,
    person: &Person,
    remembered: &str,
) -> anyhow::Result<()> {
    for (number, command) in ["/status", "/new", "/config set x 1", "/reset"]
        .iter()
        .enumerate()
    {
        let mark = mark(format!("slash-{number}"));
        let text = format!("{command} {mark}");
        product.says(person, &text).await?;
        product.answered(person, &mark).await?;
        product.settled().await?;
        product.exactly_one_answer(person, &mark)?;
        let asked = product.model.requests();
        let asked = asked
            .iter()
            .filter(|one| one.pending.iter().any(|said| said.contains(&text)));
        let asked: Vec<_> = asked.collect();
        anyhow::ensure!(
            asked.len() == 1,
            "{text} reached the model {} times",
            asked.len()
        );
        let still_known = asked[0].body.to_string().contains(remembered);
        anyhow::ensure!(still_known, "{text} began a new conversation");
    }
    Ok(())
}

async fn what_is_no_text_is_told_in_words(
    product: &Product,
    person: &Person,
) -> anyhow::Result<()> {
    let chat = product.whatsapp.chat(person);
    let answer = chat.last().context("nothing was said")?;
    let (place, card, tap, words) = (mark("place"), mark("card"), mark("tap"), mark("words"));
    let spot = json!({ "latitude": 12.25, "longitude": 43.9, "name": place });
    let cards =
        json!([{ "name": { "formatted_name": card }, "phones": [{ "phone": "+16505550000" }] }]);
    let reply = json!({ "type": "button_reply", "button_reply": { "id": "1", "title": tap } });
    let text = format!("what do you mean by {words}?");
    let liked = json!({ "message_id": answer.wamid, "emoji": "👍" });
    let rows = [
        (
            Message::of(person, "location", spot),
            format!("[Place: {place:?}, 12.25, 43.9]"),
        ),
        (
            Message::of(person, "contacts", cards),
            format!("[Contact card: {card:?}, phone \"+16505550000\"]"),
        ),
        (
            Message::of(person, "interactive", reply),
            format!("[Chose {tap:?}]"),
        ),
        (
            Message::text(person, &text).answering(&answer.wamid),
            format!("[In reply to what you wrote: {:?}]\n{text}", answer.text),
        ),
        (
            Message::of(person, "reaction", liked),
            format!("[Reacted with \"👍\" to what you wrote: {:?}]", answer.text),
        ),
    ];
    for (message, told) in rows {
        let before = product.whatsapp.chat(person).len();
        let body = product.whatsapp.body(&[message]);
        anyhow::ensure!(product.whatsapp.post(&body).await == Some(200));
        let answered = async || Ok(product.whatsapp.chat(person).len() > before);
        product.until("it is answered", answered).await?;
        product.settled().await?;
        let asked = product.model.requests();
        let is_told = |said: &String| said.contains(&told);
        let times = asked
            .iter()
            .filter(|one| one.pending.iter().any(is_told))
            .count();
        anyhow::ensure!(times == 1, "{told} reached the model {times} times");
    }
    Ok(())
}

/// By a command, and in the environment; what the agent noted of its person stays.
async fn what_an_operator_changes_is_told_with_the_next_message(
    product: &mut Product,
    person: &Person,
) -> anyhow::Result<()> {
    let note = mark("note");
    let write = format!("echo '- likes {note}' >> /state/workspace/USER.md");
    product.within(person, &write).await?;
    let tenant = product.tenant_of(person).await?;
    let role = ["tenant", "set-role", &tenant, "family"];
    product.operate(&role).await?;
    let told = [r#"\"role\":\"family\""#, &note];
    knows(product, person, "by-command", &told).await?;

    let role = ["tenant", "set-role", &tenant, "none"];
    product.operate(&role).await?;
    product.stop().await?;
    product.set("DEFAULT_ROLE", "friend");
    product.set("WHATSAPP_TEMPLATES", "en=pay_day");
    product.start_again().await?;
    let friend = r#"\"role\":\"friend\""#;
    let templates = r#"\"templates\":[\"pay_day\"]"#;
    let told = [friend, templates, &note];
    knows(product, person, "by-environment", &told).await
}

/// The agent that answers their next message.
async fn knows(
    product: &Product,
    person: &Person,
    name: &str,
    told: &[&str],
) -> anyhow::Result<()> {
    let mark = mark(name);
    product.says(person, &mark).await?;
    product.answered(person, &mark).await?;
    product.settled().await?;
    for part in told {
        anyhow::ensure!(product.knew(&mark, part).await?, "{part} is not told");
    }
    Ok(())
}
