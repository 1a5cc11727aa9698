//! A number that Kapso hands on is a member of groups: in the one that is served its assistant hears who speaks
//! to it, and nothing else; in the others it is not there, until an operator names them.

use anyhow::Context as _;
use e2e::{
    Person, Product, alone,
    crowd::{mark, person},
    model::Rule,
    whatsapp::{CallKind, Message},
};
use serde_json::json;

const SERVED: &str = "120363041234567890@g.us";
const OTHER: &str = "120363049999999999@g.us";
/// What nobody may ever be asked.
const SECRET: &str = "the cake is for Friday";

#[tokio::test(flavor = "multi_thread")]
async fn an_assistant_takes_part_in_the_groups_that_an_operator_names() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start_through_kapso_with(&[
        ("GROUP_IDS", SERVED),
        ("NOTICE", "on"),
        ("NOTICE_OPERATOR", "Example Ltd"),
        // Of both members it is one question.
        ("DEBOUNCE", "3s"),
    ])
    .await?;
    let (anna, ben) = (person(1), person(2));
    what_they_say_to_each_other_is_nobodys(&product, &anna, &ben).await?;
    who_speaks_to_it_is_answered_in_the_group(&product, &anna, &ben).await?;
    a_choice_is_words_there(&product, &ben).await?;
    another_group_is_found_and_served(&product, &anna).await?;
    product.finish(&[]).await
}

async fn what_they_say_to_each_other_is_nobodys(
    product: &Product,
    anna: &Person,
    ben: &Person,
) -> anyhow::Result<()> {
    says(product, SERVED, Message::text(anna, SECRET)).await?;
    says(
        product,
        OTHER,
        Message::text(ben, &format!("@assistant {SECRET}")),
    )
    .await?;
    product.settled().await?;
    for nothing in [
        "select count(*) from tenant",
        "select count(*) from turn",
        "select count(*) from outbox",
        "select count(*) from inbox where body is not null",
    ] {
        let count = product.postgres.count(nothing).await?;
        anyhow::ensure!(count == 0, "{nothing}: {count}");
    }
    Ok(())
}

async fn who_speaks_to_it_is_answered_in_the_group(
    product: &Product,
    anna: &Person,
    ben: &Person,
) -> anyhow::Result<()> {
    let group = Person::at(SERVED);
    let (first, second) = (mark("first"), mark("second"));
    let asked = Message::text(anna, &format!("@Assistant, please note {first}"));
    says(product, SERVED, asked).await?;
    let asked = Message::text(ben, &format!("@assistant please note {second}"));
    says(product, SERVED, asked).await?;
    product.answered(&group, &first).await?;
    let answer = product.answered(&group, &second).await?;
    product.settled().await?;
    let notice = &product.whatsapp.chat(&group)[0].text;
    anyhow::ensure!(
        notice.contains("run by Example Ltd") && notice.contains("@assistant"),
        "the first that the group hears is: {notice}"
    );
    let requests = product.model.requests();
    let mut questions = requests.iter().map(|one| one.pending.join("\n"));
    let told = questions.find(|question| question.contains(second.as_str()));
    let told = told.context("the model was not asked")?;
    for (who, mark) in [(anna, &first), (ben, &second)] {
        let name = who.name.as_deref().context("without a name")?;
        let spoken = told.split("\n{").find(|one| one.contains(mark.as_str()));
        let spoken = spoken.with_context(|| format!("{mark} is not in: {told}"))?;
        anyhow::ensure!(spoken.contains(name), "{name} did not say: {spoken}");
        anyhow::ensure!(spoken.contains("\n> please note"), "not marked: {spoken}");
    }

    // An answer to it needs no word in front; to somebody else it is theirs.
    let third = mark("third");
    let reply = Message::text(ben, &format!("and note {third}")).answering(&answer.wamid);
    says(product, SERVED, reply).await?;
    product.answered(&group, &third).await?;
    let fourth = Message::text(anna, SECRET);
    let to_fourth = Message::text(ben, SECRET).answering(&fourth.wamid);
    says(product, SERVED, fourth).await?;
    says(product, SERVED, to_fourth).await?;
    product.settled().await?;
    for who in [anna, ben] {
        anyhow::ensure!(
            product.whatsapp.chat(who).is_empty(),
            "{who:?} is written to"
        );
    }
    let asked = product.model.requests();
    let heard = asked
        .iter()
        .any(|one| one.body.to_string().contains(SECRET));
    anyhow::ensure!(!heard, "the model heard what they said to each other");
    let count = product
        .postgres
        .count("select count(*) from tenant")
        .await?;
    anyhow::ensure!(count == 1, "{count} tenants");
    Ok(())
}

/// WhatsApp refuses buttons in a group, and so does the simulated one.
async fn a_choice_is_words_there(product: &Product, ben: &Person) -> anyhow::Result<()> {
    let mark = mark("choice");
    let mut rule = Rule::text(&format!("When, {mark}?\n[Buttons: Today | Never]"));
    rule.contains = Some(mark.clone());
    product.model.program_first(rule);
    says(
        product,
        SERVED,
        Message::text(ben, &format!("@assistant {mark}")),
    )
    .await?;
    let answer = product.answered(&Person::at(SERVED), &mark).await?;
    product.settled().await?;
    anyhow::ensure!(
        answer.text == format!("When, {mark}?\n\n- Today\n- Never"),
        "{}",
        answer.text
    );
    let refused = product.whatsapp.read(|state| {
        let mut calls = state.calls.iter();
        calls
            .find(|call| call.kind == CallKind::Invalid)
            .map(|call| call.body.clone())
    });
    anyhow::ensure!(refused.is_none(), "{refused:?} was refused");
    Ok(())
}

async fn another_group_is_found_and_served(product: &Product, anna: &Person) -> anyhow::Result<()> {
    let lines = product.answer(&["line", "list"]).await?;
    let number = lines["lines"][0]["phone_number_id"]
        .as_str()
        .context("no line")?;
    let found = product.answer(&["line", "groups", number]).await?;
    let ids: Vec<_> = found["groups"].as_array().into_iter().flatten().collect();
    anyhow::ensure!(ids.len() == 1 && ids[0]["group"] == OTHER, "{found}");
    let both = format!("{SERVED},{OTHER}");
    product
        .answer(&["line", "set", number, "--groups", &both])
        .await?;
    let mark = mark("other");
    let asked = Message::text(anna, &format!("@assistant please note {mark}"));
    says(product, OTHER, asked).await?;
    product.answered(&Person::at(OTHER), &mark).await?;
    product.settled().await?;
    let found = product.answer(&["line", "groups", number]).await?;
    anyhow::ensure!(found["groups"] == json!([]), "{found}");
    Ok(())
}

/// Posts what somebody says in a group.
async fn says(product: &Product, group: &str, mut message: Message) -> anyhow::Result<()> {
    message.beside.insert("group_id".to_owned(), json!(group));
    let body = product.whatsapp.body(&[message]);
    let status = product.whatsapp.post_until_taken(&body).await;
    anyhow::ensure!(status == Some(200), "{status:?}");
    Ok(())
}
