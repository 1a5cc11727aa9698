//! The operator's other commands on the real parts: what is frozen waits for the thaw, and who is
//! suspended has no sandbox until they are resumed.

use anyhow::Context as _;
use e2e::{Product, alone, command, crowd};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn who_is_frozen_is_answered_after_the_thaw_and_others_at_once() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start(&[]).await?;
    let people = crowd::people(2);
    let marks = product.all_say(&people, "before").await?;
    product.exactly_one_each(&people, &marks).await?;
    let sent = product.whatsapp.chat(&people[0]).len();

    let list = operate(&product, &["tenant", "list", "--json"]).await?;
    let list: Value = serde_json::from_str(&list).context("read the list")?;
    let first = "select t.id::text from tenant t join inbox i on i.tenant_id = t.id
                 where i.provider_id = $1";
    let wamid = product.whatsapp.conversation(&people[0])[0].wamid.clone();
    let first: String = sqlx::query_scalar(first)
        .bind(&wamid)
        .fetch_one(&product.postgres.db)
        .await?;
    anyhow::ensure!(
        list.to_string().contains(&first),
        "the list lacks {first}: {list}"
    );

    operate(&product, &["freeze", "--tenant", &first, "--as", "ana"]).await?;
    let marks = product.all_say(&people, "frozen").await?;
    product.answered(&people[1], &marks[1]).await?;
    anyhow::ensure!(
        product.whatsapp.chat(&people[0]).len() == sent,
        "something went out"
    );
    let asked = product.whatsapp.conversation(&people[0]);
    let wamid = &asked.last().context("nothing was asked")?.wamid;
    let traced = operate(&product, &["trace", wamid, "--json"]).await?;
    let traced: Value = serde_json::from_str(&traced).context("read the trace")?;
    anyhow::ensure!(traced["stage"] == "frozen", "{traced:#}");

    operate(&product, &["unfreeze", "--tenant", &first, "--as", "ana"]).await?;
    product.answered(&people[0], &marks[0]).await?;
    product.exactly_one_each(&people, &marks).await?;
    let traced = operate(&product, &["trace", wamid]).await?;
    anyhow::ensure!(traced.contains("answered"), "{traced}");
    let events = "select count(*) from event where actor = 'ana'";
    anyhow::ensure!(product.postgres.count(events).await? == 2, "not on record");
    product.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_suspended_are_refused_silently_and_come_back_to_their_own_agent() -> anyhow::Result<()>
{
    let _alone = alone().await;
    let product = Product::start(&[]).await?;
    let people = crowd::people(1);
    let marks = product.all_say(&people, "before").await?;
    product.exactly_one_each(&people, &marks).await?;
    let sent = product.whatsapp.chat(&people[0]).len();
    let ours = format!("label=clawkaka.deployment={}", product.place.deployment);
    let volumes = ["volume", "ls", "-q", "--filter", &ours];
    let memory = command::run("docker", &volumes).await?;
    let id: String = sqlx::query_scalar("select id::text from tenant")
        .fetch_one(&product.postgres.db)
        .await?;

    operate(&product, &["tenant", "suspend", &id, "--why", "a story"]).await?;
    let stopped = || async { Ok(product.docker.sandboxes().await?.is_empty()) };
    product.until("the sandbox is gone", stopped).await?;
    product.says(&people[0], "Is anybody there?").await?;
    let refused = "select count(*) from inbox where outcome = 'refused'";
    let refused = || async { Ok(product.postgres.count(refused).await? == 1) };
    product.until("the message is refused", refused).await?;
    let shown = operate(&product, &["tenant", "show", &id]).await?;
    anyhow::ensure!(shown.contains("suspended"), "{shown}");

    operate(&product, &["tenant", "resume", &id]).await?;
    let marks = product.all_say(&people, "after").await?;
    product.exactly_one_each(&people, &marks).await?;
    let chat = product.whatsapp.chat(&people[0]);
    anyhow::ensure!(chat.len() == sent + 1, "{}", product.screen(&people[0]));
    let now = command::run("docker", &volumes).await?;
    anyhow::ensure!(now == memory, "another memory: {memory} {now}");
    product.finish(&[]).await
}

/// Runs a command of an operator's; what it prints holds nothing private.
async fn operate(product: &Product, words: &[&str]) -> anyhow::Result<String> {
    let mut operate = product.command(words[0])?;
    operate.args(&words[1..]);
    let said = command::output(operate, b"").await?;
    e2e::logs::has_none_of("an operator's terminal", &said, &product.private())?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}
