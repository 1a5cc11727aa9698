//! Where people are asked first, nothing is made for anybody who has not agreed; and who is blocked is kept out,
//! here and at WhatsApp.

use anyhow::Context as _;
use e2e::{
    PATIENCE, Person, Product, alone,
    crowd::{mark, people},
    whatsapp::Message,
};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_made_before_somebody_agrees_and_who_is_blocked_is_heard_no_more()
-> anyhow::Result<()> {
    let _alone = alone().await;
    let product =
        Product::start(&[("CONSENT", "button"), ("NOTICE_OPERATOR", "Example Ltd")]).await?;
    let people = people(2);
    let (ann, bob) = (&people[0], &people[1]);

    let first = mark("before");
    product.says(ann, &format!("Please note {first}")).await?;
    product.says(bob, "Hello?").await?;
    for person in [ann, bob] {
        let asked = product.whatsapp.wait_for_reply(person, 1, PATIENCE).await?;
        for part in ["AI", "Example Ltd", "STOP", "[I agree | No thanks]"] {
            anyhow::ensure!(asked[0].text.contains(part), "{}", product.screen(person));
        }
    }
    anyhow::ensure!(product.docker.sandboxes().await?.is_empty(), "made unasked");

    taps(&product, bob, "No thanks").await?;
    let chat = product.whatsapp.wait_for_reply(bob, 2, PATIENCE).await?;
    anyhow::ensure!(
        chat[1].text.contains("I have deleted"),
        "{}",
        product.screen(bob)
    );
    taps(&product, ann, "I agree").await?;
    product.answered(ann, &first).await?;
    product.settled().await?;
    product.exactly_one_answer(ann, &first)?;
    let made = product.docker.sandboxes().await?.len();
    anyhow::ensure!(made == 1, "{made} sandboxes for one who agreed");

    who_is_blocked_is_heard_no_more(&product, ann).await?;
    product.finish(&[]).await
}

async fn taps(product: &Product, person: &Person, title: &str) -> anyhow::Result<()> {
    let reply = json!({ "type": "button_reply", "button_reply": { "id": "0", "title": title } });
    let tap = Message::of(person, "interactive", reply);
    let taken = product.whatsapp.post(&product.whatsapp.body(&[tap])).await;
    anyhow::ensure!(
        taken == Some(200),
        "the webhook was answered with {taken:?}"
    );
    Ok(())
}

async fn who_is_blocked_is_heard_no_more(product: &Product, person: &Person) -> anyhow::Result<()> {
    let number = format!(
        "+{}",
        person.phone.as_deref().context("they have no number")?
    );
    let heard = product.whatsapp.chat(person).len();
    let blocked = product
        .answer(&["block", "add", &number, "--why", "a story"])
        .await?;
    anyhow::ensure!(blocked["suspended"] == true, "{blocked:#}");
    let synced = product.answer(&["block", "sync"]).await?;
    let results = synced["addresses"].as_array().context("no addresses")?;
    let all = !results.is_empty() && results.iter().all(|one| one["result"] == "blocked");
    anyhow::ensure!(all, "{synced:#}");
    let at_whatsapp = || product.whatsapp.read(|state| state.blocked.clone());
    anyhow::ensure!(at_whatsapp().contains(&number), "{:?}", at_whatsapp());

    // One that was under way.
    product.says(person, "It is me").await?;
    let refused = "select count(*) from inbox where kind = 'message' and outcome = 'refused'";
    let refused = || async { Ok(product.postgres.count(refused).await? == 1) };
    product.until("the message is refused", refused).await?;
    product.settled().await?;
    anyhow::ensure!(
        product.whatsapp.chat(person).len() == heard,
        "{}",
        product.screen(person)
    );

    product.answer(&["block", "remove", &number]).await?;
    product.answer(&["block", "sync"]).await?;
    anyhow::ensure!(at_whatsapp().is_empty(), "{:?}", at_whatsapp());
    let people = product.answer(&["tenant", "list"]).await?;
    let people = people["tenants"].as_array().context("nobody is there")?;
    let hers = people.iter().find(|one| one["status"] == "suspended");
    let id = hers
        .and_then(|one| one["id"].as_str())
        .context("she is not suspended")?;
    product.answer(&["tenant", "resume", id]).await?;
    let again = mark("again");
    product
        .says(person, &format!("Please note {again}"))
        .await?;
    product.answered(person, &again).await?;
    Ok(())
}
