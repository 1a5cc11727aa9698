//! The operator's other commands on the real parts: what is frozen waits for the thaw, who is
//! suspended has no sandbox until they are resumed, what sandboxes are and say is seen without
//! anything private, and nothing is left once all is removed.

use std::process::Stdio;

use anyhow::Context as _;
use e2e::{Product, alone, command, crowd};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_sandbox_and_what_it_logs_are_seen_without_anything_private() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start(&[]).await?;
    let people = crowd::people(1);
    let marks = product.all_say(&people, "before").await?;
    product.exactly_one_each(&people, &marks).await?;
    let person: String = sqlx::query_scalar("select id::text from tenant")
        .fetch_one(&product.postgres.db)
        .await?;

    let list = operate(&product, &["sandbox", "list", "--json"]).await?;
    let list: Value = serde_json::from_str(&list).context("read the list")?;
    let one = &list["sandboxes"][0];
    let found = (&one["tenant"], &one["state"], &one["failures"]);
    anyhow::ensure!(
        found == (&person.as_str().into(), &"running".into(), &0.into()),
        "{list:#}"
    );
    anyhow::ensure!(one["awake_since"].is_string(), "{list:#}");
    let id = one["id"].as_str().context("it has no id")?;

    let shown = operate(&product, &["sandbox", "show", &person, "--json"]).await?;
    let shown: Value = serde_json::from_str(&shown).context("read what is shown")?;
    anyhow::ensure!(shown["id"] == id, "{shown:#}");
    let used = shown["memory_bytes"]
        .as_u64()
        .context("no memory is shown")?;
    anyhow::ensure!(used > 50 << 20, "an agent in {used} bytes");
    anyhow::ensure!(
        shown["image_id"] == shown["configured_image_id"],
        "{shown:#}"
    );
    let volume = shown["volume"].as_str().context("no volume is shown")?;
    command::run("docker", &["volume", "inspect", volume]).await?;

    let logs = operate(&product, &["sandbox", "logs", id, "--lines", "10000"]).await?;
    anyhow::ensure!(logs.lines().count() > 1, "a gateway says something: {logs}");
    let quiet = |c: char| c == '\n' || c == '\t' || !c.is_control();
    anyhow::ensure!(
        logs.chars().all(quiet),
        "something acts on the terminal: {logs:?}"
    );
    let container = &product.docker.sandboxes().await?[0].id;
    for file in ["openclaw.json", "broker-token", "device.json"] {
        let file = format!("/state/{file}");
        let config = product.docker.exec(container, &["cat", &file]).await?;
        for word in config.split('"').filter(|word| word.len() >= 40) {
            anyhow::ensure!(!logs.contains(word), "a secret of {file} is in: {logs}");
        }
    }
    let mut follow = product.command("sandbox")?;
    follow.args(["logs", id, "--follow"]).stdout(Stdio::piped());
    let mut follow = follow.spawn().context("follow a log")?;
    let output = follow.stdout.take().context("read a log")?;
    let first = BufReader::new(output).lines().next_line().await?;
    anyhow::ensure!(
        first.is_some_and(|line| logs.contains(&line)),
        "another log: {logs}"
    );
    follow.kill().await.context("stop following a log")?;
    let events = "select count(*) from event where kind = 'logs'";
    anyhow::ensure!(product.postgres.count(events).await? == 2, "not on record");
    product.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_once_all_is_removed_and_people_begin_anew() -> anyhow::Result<()> {
    let _alone = alone().await;
    let mut product = Product::start(&[]).await?;
    let people = crowd::people(2);
    let marks = product.all_say(&people, "before").await?;
    product.exactly_one_each(&people, &marks).await?;

    let (good, said) = nuke(&product, &["--yes"], b"").await?;
    anyhow::ensure!(!good && said.contains("stop serve first"), "{said}");
    product.settled().await?;
    product.stop().await?;
    // The last web still counts as alive for some seconds.
    let nobody_answers = async || nuke(&product, &[], b"another\n").await;
    let refused = || async { Ok(!nobody_answers().await?.1.contains("stop serve first")) };
    product.until("web is known to be gone", refused).await?;
    let (good, said) = nobody_answers().await?;
    anyhow::ensure!(!good && said.contains("nothing was done"), "{said}");
    anyhow::ensure!(said.contains("2 people and 2 messages"), "{said}");
    anyhow::ensure!(product.docker.sandboxes().await?.len() == 2, "{said}");

    let name = format!("{}\n", product.place.deployment);
    let (good, said) = nuke(&product, &[], name.as_bytes()).await?;
    anyhow::ensure!(good, "{said}");
    let ours = format!("label=clawkaka.deployment={}", product.place.deployment);
    for what in [&["ps", "-a"][..], &["volume", "ls"], &["network", "ls"]] {
        let left = [what, &["-q", "--filter", &ours]].concat();
        let left = command::run("docker", &left).await?;
        anyhow::ensure!(left.trim().is_empty(), "{what:?} are left: {left}");
    }
    let left = "select count(*) from pg_class where relnamespace = 'public'::regnamespace";
    anyhow::ensure!(product.postgres.count(left).await? == 0, "tables are left");
    let (good, said) = nuke(&product, &["--yes"], b"").await?;
    anyhow::ensure!(good && said.contains("There is nothing"), "{said}");

    product.migrate().await?;
    product.start_again().await?;
    let marks = product.all_say(&people, "after").await?;
    product.exactly_one_each(&people, &marks).await?;
    product.finish(&[]).await
}

/// Whether it was done, and everything it said.
async fn nuke(product: &Product, words: &[&str], typed: &[u8]) -> anyhow::Result<(bool, String)> {
    let mut nuke = product.command("nuke")?;
    nuke.args(words);
    nuke.stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = nuke.spawn().context("run nuke")?;
    if let Some(mut stdin) = running.stdin.take() {
        // It may have refused already, without reading anything.
        let _ = stdin.write_all(typed).await;
    }
    let ended = running.wait_with_output().await.context("wait for nuke")?;
    let said = [ended.stdout, ended.stderr].concat();
    e2e::logs::has_none_of("an operator's terminal", &said, &product.private())?;
    Ok((
        ended.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}

/// Runs a command of an operator's; what it prints holds nothing private.
async fn operate(product: &Product, words: &[&str]) -> anyhow::Result<String> {
    let mut operate = product.command(words[0])?;
    operate.args(&words[1..]);
    let said = command::output(operate, b"").await?;
    e2e::logs::has_none_of("an operator's terminal", &said, &product.private())?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}
