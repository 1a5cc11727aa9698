//! Two numbers at once: one of the environment, and one that an operator adds and removes while the
//! product runs.

use std::{mem, process::Stdio, slice};

use anyhow::Context as _;
use e2e::{
    PATIENCE, Person, Product, Whatsapp, alone, command,
    crowd::{mark, person},
    logs,
    sample::PDF,
    whatsapp::{Fault, FaultRule, Message, Signature, Through, signature},
};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

#[tokio::test(flavor = "multi_thread")]
async fn a_second_number_is_added_answered_kept_from_the_first_and_removed() -> anyhow::Result<()> {
    let _alone = alone().await;
    let (mut product, line) = Product::start_beside_kapso().await?;
    let (anna, bert) = (person(1), person(2));
    let first = mark("first");
    product.says(&anna, &format!("Please note {first}")).await?;
    product
        .exactly_one_each(slice::from_ref(&anna), &[first])
        .await?;

    let webhook = product.kapso_webhook();
    let add = [
        "add",
        "--provider",
        "kapso",
        "--phone-number-id",
        &line.number,
    ];
    let add = [
        &add[..],
        &["--webhook-url", &webhook, "--as", "ana", "--json"],
    ]
    .concat();
    let (good, said) = operate(&product, &add, "not-the-key\n").await?;
    anyhow::ensure!(!good && said.contains("Kapso refuses the key"), "{said}");
    let lines = "select count(*) from line where provider = 'kapso'";
    anyhow::ensure!(product.postgres.count(lines).await? == 0, "it is stored");
    for webhook in ["registered", "changed"] {
        let (good, said) = operate(&product, &add, &format!("{}\n", line.key)).await?;
        anyhow::ensure!(good && said.contains(webhook), "{said}");
    }
    let registered = line.whatsapp.read(|state| state.webhooks.clone());
    anyhow::ensure!(registered.len() == 1, "{registered:?}");
    let secret = registered[0]["secret_key"]
        .as_str()
        .context("it has no secret")?;
    product
        .secrets
        .push(("the other line's secret", secret.to_owned()));

    // Bert writes to the other number only, and is answered from it.
    let second = mark("second");
    let meta = mem::replace(&mut product.whatsapp, line.whatsapp.clone());
    product
        .says(&bert, &format!("Please note {second}"))
        .await?;
    product
        .exactly_one_each(slice::from_ref(&bert), &[second])
        .await?;
    anyhow::ensure!(
        meta.chat(&bert).is_empty(),
        "he was answered from the first number"
    );
    let found = product.answer(&["line", "test", &line.number]).await?;
    anyhow::ensure!(found["failures"] == 0 && found["skipped"] == 0, "{found:#}");

    who_has_one_secret_speaks_for_no_other_number(&product, &meta, &line.whatsapp).await?;

    let (good, said) = operate(&product, &["remove", &line.number], "no\n").await?;
    anyhow::ensure!(!good && said.contains("1 people write to"), "{said}");
    let (good, said) = operate(
        &product,
        &["remove", &line.number],
        &format!("{}\n", line.number),
    )
    .await?;
    anyhow::ensure!(good, "{said}");
    let sent = line.whatsapp.calls().len();
    product.says(&bert, "Are you still there?").await?;
    nobody_is_known(&product, 3).await?;
    product.settled().await?;
    anyhow::ensure!(line.whatsapp.calls().len() == sent, "something went out");
    let listed = product.answer(&["line", "list"]).await?;
    let removed = listed["lines"].as_array().context("no lines")?;
    let removed = removed
        .iter()
        .find(|one| one["phone_number_id"] == line.number.as_str());
    anyhow::ensure!(
        removed.is_some_and(|one| one["source"] == "removed" && one["people"] == 1),
        "{listed:#}"
    );
    let personal = product.personal();
    product.whatsapp = meta;
    let third = mark("third");
    product.says(&anna, &format!("Please note {third}")).await?;
    product.exactly_one_each(&[anna], &[third]).await?;
    logs::has_none_of(
        "the product's log",
        product.logs.text()?.as_bytes(),
        &personal,
    )?;
    product.finish(&[]).await
}

/// What is signed rightly, but names a number that is not the signer's, is kept and wakes nobody.
async fn who_has_one_secret_speaks_for_no_other_number(
    product: &Product,
    meta: &Whatsapp,
    kapso: &Whatsapp,
) -> anyhow::Result<()> {
    let turns = product.postgres.count("select count(*) from turn").await?;
    let people = product
        .postgres
        .count("select count(*) from tenant")
        .await?;
    for (victim, bearer) in [(kapso, meta), (meta, kapso)] {
        let message = Message::text(&person(2), "Tell me all you know of me");
        let theirs = &victim.settings().phone_number_id;
        let own = &bearer.settings().phone_number_id;
        let body = String::from_utf8(bearer.body(&[message]))?.replace(own.as_str(), theirs);
        let status = bearer.post(body.as_bytes()).await;
        anyhow::ensure!(status == Some(200), "{status:?}");
    }
    nobody_is_known(product, 2).await?;
    product.settled().await?;
    let now = product.postgres.count("select count(*) from turn").await?;
    anyhow::ensure!(now == turns, "{} turns began", now - turns);
    let now = product
        .postgres
        .count("select count(*) from tenant")
        .await?;
    anyhow::ensure!(now == people, "somebody was made of it");
    // The same number by another provider's door is no better.
    let body = meta.body(&[Message::text(&person(2), "Let me in")]);
    let forged = Signature::Header(signature("a guess", &body));
    let status = kapso.post_signed(&body, &forged).await;
    anyhow::ensure!(status == Some(403), "{status:?}");
    Ok(())
}

/// So many messages came on a line that is none of ours.
async fn nobody_is_known(product: &Product, messages: i64) -> anyhow::Result<()> {
    let kept = "select count(*) from inbox where outcome = 'unknown_line' and kind = 'message'";
    let all = || async { Ok(product.postgres.count(kept).await? == messages) };
    product.until("it is kept as of an unknown line", all).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_says_something_to_a_person_once() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start(&[]).await?;
    let anna = person(1);
    let first = mark("first");
    product.says(&anna, &format!("Please note {first}")).await?;
    product
        .exactly_one_each(slice::from_ref(&anna), &[first])
        .await?;

    meta_posts_where_it_is_told_to(&product, &anna).await?;

    let phone = format!("+{}", anna.phone.as_deref().context("she has no phone")?);
    let send = [
        "send",
        "--to",
        &phone,
        "--text",
        "We are back.",
        "--key",
        "back",
        "--wait",
    ];
    let said = product.operate(&send).await?;
    anyhow::ensure!(
        said["changed"] == true && said["state"] == "accepted",
        "{said:#}"
    );
    let again = product.operate(&send).await?;
    anyhow::ensure!(again["changed"] == false, "{again:#}");
    anyhow::ensure!(again["outbox"] == said["outbox"], "{again:#}");

    let id = product.tenant_of(&anna).await?;
    let mut piped = product.command("send")?;
    piped.args(["--to", &id, "--text", "-", "--wait", "--json"]);
    let piped = command::output(piped, b"From a pipe.\n").await?;
    let piped: Value = serde_json::from_slice(&piped).context("read the answer")?;
    anyhow::ensure!(piped["state"] == "accepted", "{piped:#}");
    the_same_file_goes_once(&product, &id).await?;

    product.settled().await?;
    let chat = product.whatsapp.chat(&anna);
    let ours = chat.iter().map(|bubble| bubble.text.as_str());
    // What she was told at first contact, and her answer, came before.
    let ours: Vec<_> = ours.skip_while(|text| *text != "We are back.").collect();
    anyhow::ensure!(ours.len() == 3 && ours[1] == "From a pipe.", "{ours:?}");
    let events = "select count(*) from event where kind = 'send'";
    anyhow::ensure!(product.postgres.count(events).await? == 3, "not on record");

    // She wrote long ago, or it would be tried again. And the answer to the send says so: a status may come
    // after the command has ended.
    product
        .postgres
        .execute("update tenant set last_inbound_at = now() - interval '25 h'")
        .await?;
    let closed = Fault::Error {
        code: 131047,
        status: None,
    };
    product.whatsapp.program(FaultRule::from(closed).to(&anna));
    let held = [
        "send",
        "--to",
        &id,
        "--text",
        "Too late?",
        "--wait",
        "--json",
    ];
    let mut held_command = product.command(held[0])?;
    held_command.args(&held[1..]);
    let ended = tokio::time::timeout(PATIENCE, held_command.output()).await??;
    let told: Value = serde_json::from_slice(&ended.stdout).context("read the answer")?;
    anyhow::ensure!(
        !ended.status.success() && told["state"] == "held",
        "{told:#}"
    );
    product.finish(&[]).await
}

/// It asks there for the word before it believes it.
async fn meta_posts_where_it_is_told_to(product: &Product, anna: &Person) -> anyhow::Result<()> {
    let here = product.webhook_of(Through::Meta);
    product
        .whatsapp
        .set_webhook_url("http://127.0.0.1:9/whatsapp/webhook");
    let number = product.whatsapp.settings().phone_number_id.clone();
    let told = product
        .operate(&["line", "webhook", &number, "--url", &here])
        .await?;
    anyhow::ensure!(told["url"] == here.as_str(), "{told:#}");
    let there = mark("there");
    product.says(anna, &format!("Please note {there}")).await?;
    product.answered(anna, &there).await?;
    product.settled().await
}

async fn the_same_file_goes_once(product: &Product, id: &str) -> anyhow::Result<()> {
    let send = |file: &'static [u8], key: &'static str| async move {
        let mut send = product.command("send")?;
        send.args([
            "--to",
            id,
            "--document",
            "-",
            "--name",
            "report.pdf",
            "--wait",
            "--json",
        ]);
        send.args(["--caption", "The report", "--key", key]);
        command::output(send, file).await
    };
    for is_new in [true, false] {
        let said: Value = serde_json::from_slice(&send(PDF, "report").await?)?;
        let expected = said["changed"] == is_new && said["state"] == "accepted";
        anyhow::ensure!(expected, "{said:#}");
    }
    let other = send(b"Another file", "report").await;
    anyhow::ensure!(other.is_err(), "one key for two files");
    let archive = send(b"PK\x05\x06 an archive", "archive").await;
    anyhow::ensure!(archive.is_err(), "it takes what WhatsApp does not");

    let uploads = product.whatsapp.read(|state| state.uploads.clone());
    let [file] = &uploads[..] else {
        anyhow::bail!("{} uploads of one file", uploads.len());
    };
    anyhow::ensure!(file.bytes == PDF && file.name == "report.pdf");
    let document = json!({"id": file.id, "caption": "The report", "filename": "report.pdf"});
    let sent = product.whatsapp.read(|state| {
        let bodies = state.calls.iter().map(|call| &call.body["document"]);
        bodies.filter(|sent| **sent == document).count()
    });
    anyhow::ensure!(sent == 1, "the document was sent {sent} times");
    Ok(())
}

/// `clawkaka line …` with something typed, and everything it said.
async fn operate(product: &Product, words: &[&str], typed: &str) -> anyhow::Result<(bool, String)> {
    let mut line = product.command("line")?;
    line.args(words);
    line.stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut running = line.spawn().context("run line")?;
    if let Some(mut stdin) = running.stdin.take() {
        // It may have refused already, without reading anything.
        let _ = stdin.write_all(typed.as_bytes()).await;
    }
    let ended = running.wait_with_output().await.context("wait for line")?;
    let said = [ended.stdout, ended.stderr].concat();
    logs::has_none_of("an operator's terminal", &said, &product.private())?;
    Ok((
        ended.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    ))
}
