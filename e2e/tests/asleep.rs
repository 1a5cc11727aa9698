//! Sandboxes fall asleep and wake, make room for each other and wait in the pool, and nobody who
//! writes notices more than a moment.

use std::time::Instant;

use anyhow::Context as _;
use e2e::{Person, Product, alone, crowd, docker::Container};

/// The one sandbox there is.
async fn only(product: &Product) -> anyhow::Result<Option<Container>> {
    let mut found = product.docker.sandboxes().await?;
    anyhow::ensure!(found.len() <= 1, "{} containers", found.len());
    Ok(found.pop())
}

async fn until_paused(product: &Product) -> anyhow::Result<()> {
    let paused = || async {
        Ok(only(product)
            .await?
            .is_some_and(|one| one.state == "paused"))
    };
    product.until("the sandbox is paused", paused).await
}

async fn until_stopped(product: &Product) -> anyhow::Result<()> {
    let gone = || async { Ok(only(product).await?.is_none()) };
    product.until("the sandbox is stopped", gone).await
}

/// One message and its answer, and how long it took.
async fn answers(product: &Product, person: &Person, name: &str) -> anyhow::Result<u128> {
    let mark = crowd::mark(name);
    let asked = Instant::now();
    product.says(person, &format!("Please note {mark}")).await?;
    product.answered(person, &mark).await?;
    let took = asked.elapsed().as_millis();
    product
        .exactly_one_each(std::slice::from_ref(person), &[mark])
        .await?;
    Ok(took)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_after_a_pause_or_a_stop_is_answered_by_the_same_memory()
-> anyhow::Result<()> {
    let _alone = alone().await;
    let product =
        Product::start(&[("SANDBOX_PAUSE_AFTER", "2s"), ("SANDBOX_STOP_AFTER", "25s")]).await?;
    let anna = crowd::person(1);
    let first = answers(&product, &anna, "first").await?;
    until_paused(&product).await?;
    let container = only(&product).await?.context("no sandbox")?.id;
    let from_pause = answers(&product, &anna, "paused").await?;
    let warm = answers(&product, &anna, "warm").await?;
    let same = only(&product).await?.context("no sandbox")?.id;
    anyhow::ensure!(same == container, "it was replaced instead of woken");
    until_stopped(&product).await?;
    let from_stop = answers(&product, &anna, "stopped").await?;
    show(&format!(
        "answered after: new {first} ms, from a pause {from_pause} ms, awake {warm} ms, from a stop {from_stop} ms"
    ));
    // What it is told now, it has been told since the first message.
    let requests = product.model.requests();
    let last = &requests.last().context("no request")?.body;
    for name in ["first", "paused", "warm", "stopped"] {
        let mark = crowd::mark(name);
        anyhow::ensure!(last.to_string().contains(&mark), "{mark} is forgotten");
    }
    product.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn more_people_than_places_are_served_in_turn_and_told_that_they_wait() -> anyhow::Result<()>
{
    let _alone = alone().await;
    let product =
        Product::start(&[("SANDBOX_CAPACITY", "2"), ("SANDBOX_PAUSE_AFTER", "30s")]).await?;
    let people = crowd::people(6);
    let marks = product.all_say(&people, "crowd").await?;
    let most = std::sync::atomic::AtomicUsize::new(0);
    let watched = async {
        loop {
            let all = product.docker.sandboxes().await?;
            let awake = all
                .iter()
                .filter(|one| matches!(one.state.as_str(), "running" | "paused"));
            most.fetch_max(awake.count(), std::sync::atomic::Ordering::Relaxed);
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        served = product.exactly_one_each(&people, &marks) => served?,
        failed = watched => return failed,
    }
    let most = most.into_inner();
    anyhow::ensure!(most <= 2, "{most} were awake at once");
    let waited = people.iter().filter(|person| {
        let chat = product.whatsapp.chat(person);
        let told = chat
            .iter()
            .filter(|bubble| bubble.text.contains("in the queue"));
        told.count() == 1
    });
    let waited = waited.count();
    anyhow::ensure!(
        waited >= 2,
        "only {waited} of six were told once that they wait"
    );
    product.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_new_gets_a_sandbox_that_has_booted_already() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start(&[("SANDBOX_POOL_SIZE", "1")]).await?;
    until_paused(&product).await?;
    let pooled = only(&product).await?.context("no sandbox")?.id;
    let anna = crowd::person(1);
    let took = answers(&product, &anna, "first").await?;
    show(&format!("a new person was answered after {took} ms"));
    let hers = "select count(*) from sandbox where tenant_id is not null";
    anyhow::ensure!(product.postgres.count(hers).await? == 1, "nobody owns it");
    let refilled = || async {
        let all = product.docker.sandboxes().await?;
        let is_hers = |one: &&Container| one.id == pooled;
        anyhow::ensure!(all.iter().any(|one| is_hers(&one)), "hers was replaced");
        Ok(all
            .iter()
            .filter(|one| one.id != pooled && one.state == "paused")
            .count()
            == 1)
    };
    product.until("the pool is filled again", refilled).await?;
    product.finish(&[]).await
}

#[expect(clippy::print_stdout, reason = "figures for whoever reads the run")]
fn show(figures: &str) {
    println!("{figures}");
}
