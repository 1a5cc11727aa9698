//! What a person can tell us beside what they tell their agent: stop, begin afresh, be left alone, be
//! forgotten. And how a conversation goes on meanwhile.

use anyhow::Context as _;
use e2e::{
    PATIENCE, Person, Product, alone,
    command::run,
    crowd::{mark, person},
    gate::Then,
    model::{At, End, Rule, Script, ToolCall},
};
use serde_json::json;

const STOPPED: &str = "Okay, I have stopped.";
const NOTHING_RUNS: &str = "I am not working on anything right now.";
const STILL_WORKING: &str = "I am still working on it.";
const FRESH: &str = "A fresh conversation begins.";
const OPTED_OUT: &str = "You will hear nothing more from me.";
const OPTED_IN: &str = "Welcome back!";
const CONFIRM: &str = "answer DELETE within ten minutes";
const DELETED: &str = "Done: everything I had of you is being deleted now.";
const HALF: &str =
    "This is the first half of an answer that nobody wants any more, and this the second.";
const DUE: &str = "The dentist expects you at three.";

#[tokio::test(flavor = "multi_thread")]
async fn a_long_turn_is_stopped_and_the_conversation_goes_on_or_begins_afresh() -> anyhow::Result<()>
{
    let _alone = alone().await;
    let mut product = Product::start(&[("STILL_WORKING_AFTER", "2s")]).await?;
    let anna = person(1);
    let hello = asks(&product, &anna, "hello").await?;

    a_long_turn_says_that_it_goes_on_and_is_stopped(&product, &anna).await?;
    product.says(&anna, "/stop").await?;
    hears(&product, &anna, NOTHING_RUNS, 1).await?;
    let next = asks(&product, &anna, "next").await?;
    anyhow::ensure!(product.knew(&next, &hello).await?, "the rest is forgotten");
    it_is_stopped_also_when_we_die_over_it(&mut product, &anna).await?;

    product.says(&anna, "/help").await?;
    hears(&product, &anna, "delete my data - I forget you", 1).await?;
    product.says(&anna, "/status").await?;
    product.settled().await?;
    reached_the_model_once(&product, "/status")?;

    product.says(&anna, "/new").await?;
    hears(&product, &anna, FRESH, 1).await?;
    let fresh = asks(&product, &anna, "fresh").await?;
    anyhow::ensure!(!product.knew(&fresh, &hello).await?, "it is not fresh");

    quick_messages_in_a_row_are_one_question(&mut product, &anna).await?;
    product.finish(&[]).await
}

/// One question and its answer. Returns its mark.
async fn asks(product: &Product, person: &Person, name: &str) -> anyhow::Result<String> {
    let mark = mark(name);
    product.says(person, &format!("Please note {mark}")).await?;
    product.answered(person, &mark).await?;
    product.settled().await?;
    product.exactly_one_answer(person, &mark)?;
    Ok(mark)
}

/// So often by now, and no more often once everything is done.
async fn hears(
    product: &Product,
    person: &Person,
    words: &str,
    times: usize,
) -> anyhow::Result<()> {
    let heard = product.whatsapp.wait_until(PATIENCE, |state| {
        let bubbles = state
            .chat(person)
            .filter(|bubble| bubble.text.contains(words));
        (bubbles.count() >= times).then_some(())
    });
    heard
        .await
        .with_context(|| format!("never heard {words:?}: {}", product.screen(person)))?;
    let screen = product.screen(person);
    anyhow::ensure!(
        said(product, person, words) == times,
        "too often {words:?}: {screen}"
    );
    Ok(())
}

fn said(product: &Product, person: &Person, words: &str) -> usize {
    let chat = product.whatsapp.chat(person);
    chat.iter()
        .filter(|bubble| bubble.text.contains(words))
        .count()
}

fn reached_the_model_once(product: &Product, words: &str) -> anyhow::Result<()> {
    let requests = product.model.requests();
    let asked = requests
        .iter()
        .filter(|one| one.pending.iter().any(|said| said.ends_with(words)));
    let times = asked.count();
    anyhow::ensure!(times == 1, "{words} reached the model {times} times");
    Ok(())
}

/// The model stops in the middle of its answer, and waits.
fn hold_half_an_answer(gate: &str, asked: &str) -> Rule {
    Rule {
        hold: Rule::hold(gate, At::FirstToken).hold,
        ..Rule::text(HALF).when(asked).times(1)
    }
}

async fn a_long_turn_says_that_it_goes_on_and_is_stopped(
    product: &Product,
    anna: &Person,
) -> anyhow::Result<()> {
    let before = said(product, anna, STILL_WORKING);
    product
        .model
        .program_first(hold_half_an_answer("long", "a long task"));
    product.says(anna, "I have a long task for you").await?;
    product.gates.reached("long", 1, PATIENCE).await?;
    hears(product, anna, STILL_WORKING, before + 1).await?;
    let behind = mark("behind");
    product.says(anna, &format!("Please note {behind}")).await?;
    product.says(anna, "/Stop").await?;
    hears(product, anna, STOPPED, 1).await?;
    product.answered(anna, &behind).await?;
    product.settled().await?;

    let left = product.model.wait_until(PATIENCE, |state| {
        let held = state
            .requests
            .iter()
            .find(|one| one.pending.iter().any(|said| said.contains("a long task")));
        held.filter(|one| one.end == End::Left).map(|_| ())
    });
    left.await.context("the agent's run goes on")?;
    product.gates.release("long", Then::Drop);
    nobody_heard_half_an_answer(product, anna, 1).await
}

async fn nobody_heard_half_an_answer(
    product: &Product,
    anna: &Person,
    stopped: i64,
) -> anyhow::Result<()> {
    let turns = "select count(*) from turn where state = 'done' and outcome = 'stopped'";
    anyhow::ensure!(product.postgres.count(turns).await? == stopped);
    let half = said(product, anna, "half of an answer");
    anyhow::ensure!(half == 0, "heard of it: {}", product.screen(anna));
    Ok(())
}

/// The wish is stored, and nothing of what follows from it has happened.
async fn it_is_stopped_also_when_we_die_over_it(
    product: &mut Product,
    anna: &Person,
) -> anyhow::Result<()> {
    product
        .model
        .program_first(hold_half_an_answer("longer", "an even longer one"));
    product.says(anna, "And an even longer one").await?;
    product.gates.reached("longer", 1, PATIENCE).await?;
    product.kill_9().await?;
    product
        .postgres
        .execute("update turn set stop_asked_at = now() where state = 'active'")
        .await?;
    product.start_again().await?;
    product.settled().await?;
    product.gates.release("longer", Then::Drop);
    asks(product, anna, "after").await?;
    nobody_heard_half_an_answer(product, anna, 2).await
}

async fn quick_messages_in_a_row_are_one_question(
    product: &mut Product,
    anna: &Person,
) -> anyhow::Result<()> {
    product.stop().await?;
    product.set("DEBOUNCE", "5s");
    product.start_again().await?;
    let before = product.postgres.count("select count(*) from turn").await?;
    let marks = ["one", "two", "three"].map(mark);
    for mark in &marks {
        product.says(anna, &format!("Please note {mark}")).await?;
    }
    for mark in &marks {
        product.answered(anna, mark).await?;
    }
    product.settled().await?;
    let turns = product.postgres.count("select count(*) from turn").await? - before;
    anyhow::ensure!(turns == 1, "{turns} turns for one question");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_to_hear_nothing_hears_nothing_until_they_want_to() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start(&[("HEARTBEAT_EVERY", "20s")]).await?;
    let anna = person(1);
    let held = Rule {
        hold: Rule::hold("looking", At::Start).hold,
        ..Rule::text(DUE).when("AGENDA.md says").times(1)
    };
    product.model.program(held);
    the_agent_has_something_to_say(&product, &anna).await?;
    product.gates.reached("looking", 1, PATIENCE).await?;
    product.says(&anna, "STOP").await?;
    hears(&product, &anna, OPTED_OUT, 1).await?;
    product.gates.release("looking", Then::Go);
    product.says(&anna, "Are you really silent?").await?;
    heartbeats_pass(&product).await?;

    let chat = product.whatsapp.chat(&anna);
    let last = chat.last().context("nothing was said")?;
    anyhow::ensure!(last.text.contains(OPTED_OUT), "{}", product.screen(&anna));
    anyhow::ensure!(said(&product, &anna, DUE) == 0, "{}", product.screen(&anna));
    let unanswered = "select count(*) from inbox where outcome = 'opted_out'";
    anyhow::ensure!(product.postgres.count(unanswered).await? == 1);
    let tenant = product.tenant_of(&anna).await?;
    let shown = product.answer(&["tenant", "show", &tenant]).await?;
    anyhow::ensure!(shown["status"] == "opted_out", "{shown:#}");

    product.says(&anna, "START").await?;
    hears(&product, &anna, OPTED_IN, 1).await?;
    asks(&product, &anna, "back").await?;
    product
        .until("the agent speaks up again", || async {
            Ok(said(&product, &anna, DUE) == 1)
        })
        .await?;
    product.finish(&[]).await
}

/// It has noted what is due, and says it once a day.
async fn the_agent_has_something_to_say(product: &Product, anna: &Person) -> anyhow::Result<()> {
    product
        .model
        .program(Rule::text(DUE).when("AGENDA.md says"));
    product
        .model
        .program(Rule::text("NO_REPLY").when("[Heartbeat]"));
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
    product.says(anna, "Remind me of the dentist").await?;
    hears(product, anna, "Noted, the dentist.", 1).await?;
    // Whatever the hour.
    product
        .postgres
        .execute("update tenant set quiet_from = '00:00', quiet_to = '00:00'")
        .await
}

/// Their turn has come twice more.
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

#[tokio::test(flavor = "multi_thread")]
async fn who_has_it_all_sent_and_then_deleted_is_gone_and_comes_back_as_somebody_new()
-> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start(&[]).await?;
    let (anna, bert) = (person(1), person(2));
    let secret = asks(&product, &anna, "secret").await?;
    asks(&product, &bert, "hello").await?;
    let (tenant, sandbox) = (
        product.tenant_of(&anna).await?,
        product.sandbox_of(&anna).await?,
    );
    anyhow::ensure!(!left_in_docker(&sandbox).await?.is_empty());
    has_it_all_sent(&product, &anna, &secret).await?;

    product.says(&anna, "delete my data.").await?;
    hears(&product, &anna, CONFIRM, 1).await?;
    product.says(&anna, "DELETE").await?;
    hears(&product, &anna, DELETED, 1).await?;
    product
        .until("they are gone", || async {
            let rows =
                "select (select count(*) from tenant where id::text = $1 and status <> 'erased')
                         + (select count(*) from sandbox where id::text = $2 and gone_at is null)";
            let rows: i64 = sqlx::query_scalar(rows)
                .bind(&tenant)
                .bind(&sandbox)
                .fetch_one(&product.postgres.db)
                .await?;
            Ok(rows == 0 && left_in_docker(&sandbox).await?.is_empty())
        })
        .await?;
    let words =
        "select (select count(*) from inbox where tenant_id::text = $1 and body is not null)
                      + (select count(*) from outbox where tenant_id::text = $1)
                      + (select count(*) from turn where tenant_id::text = $1)
                      + (select count(*) from reminder where tenant_id::text = $1)
                      + (select count(*) from tenant_address where tenant_id::text = $1)";
    let words: i64 = sqlx::query_scalar(words)
        .bind(&tenant)
        .fetch_one(&product.postgres.db)
        .await?;
    anyhow::ensure!(words == 0, "{words} rows are left of them");

    let again = asks(&product, &anna, "again").await?;
    anyhow::ensure!(!product.knew(&again, &secret).await?, "it is remembered");
    let people = "select count(*) from tenant where status = 'active'";
    anyhow::ensure!(
        product.postgres.count(people).await? == 2,
        "somebody new, and Bert"
    );
    asks(&product, &bert, "still-here").await?;
    product.finish(&[]).await
}

/// What they wrote, what their agent noted in its own files, and nothing of anybody else's.
async fn has_it_all_sent(product: &Product, anna: &Person, secret: &str) -> anyhow::Result<()> {
    let write = ToolCall {
        name: "write".to_owned(),
        arguments: json!({ "path": "/state/workspace/notes/tea.md", "content": "Anna likes tea" }),
    };
    let noted = Script::Tools {
        rounds: vec![vec![write]],
        text: "Noted, the tea.".to_owned(),
    };
    product.model.program(Rule::new(noted).when("I like tea"));
    product.says(anna, "I like tea").await?;
    hears(product, anna, "Noted, the tea.", 1).await?;
    product.says(anna, "Export my data").await?;
    hears(product, anna, "answer EXPORT within ten minutes", 1).await?;
    product.says(anna, "EXPORT").await?;
    hears(product, anna, "This is what I have of you.", 1).await?;

    let uploads = product.whatsapp.read(|state| state.uploads.clone());
    let [file] = &uploads[..] else {
        anyhow::bail!("{} files for one export", uploads.len());
    };
    anyhow::ensure!((file.mime.as_str(), file.name.as_str()) == ("text/plain", "my-data.txt"));
    let text = std::str::from_utf8(&file.bytes)?;
    let phone = anna.phone.as_deref().context("Anna has a phone")?;
    for expected in [
        secret,
        phone,
        "== notes/tea.md ==",
        "Anna likes tea",
        "== SOUL.md ==",
    ] {
        anyhow::ensure!(text.contains(expected), "no {expected} in {text}");
    }
    for ours in ["broker-token", "gateway", "== AGENTS.md =="] {
        anyhow::ensure!(!text.contains(ours), "{ours} in {text}");
    }
    // Its agent is stopped for it, and goes on where it was.
    let next = asks(product, anna, "after-export").await?;
    anyhow::ensure!(product.knew(&next, secret).await?, "it has forgotten");
    Ok(())
}

/// What Docker has of a sandbox: its container and its volume.
async fn left_in_docker(sandbox: &str) -> anyhow::Result<String> {
    let label = format!("label=clawkaka.sandbox={sandbox}");
    let containers = run("docker", &["ps", "-aq", "--filter", &label]).await?;
    let volumes = run("docker", &["volume", "ls", "-q", "--filter", &label]).await?;
    Ok(format!("{containers}{volumes}").trim().to_owned())
}
