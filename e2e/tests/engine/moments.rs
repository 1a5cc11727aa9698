//! dockerd is killed at each step of falling asleep, of waking, and of being claimed from the pool.

use anyhow::Context as _;
use chrono::Utc;
use e2e::{PATIENCE, Person, Product, crowd, engine::Engine, sleep::Moment};

use crate::{Cases, They, show, wanted};

const LIGHT: Cases<(Moment, They)> = {
    use {Moment::*, They::*};
    (
        &[(Paused, Die), (Thawed, Live)],
        &[(Paused, Live), (Thawed, Die)],
    )
};
const DEEP: [(Moment, They); 8] = {
    use {Moment::*, They::*};
    [
        (Stopped, Live),
        (Stopped, Die),
        (Removed, Live),
        (Removed, Die),
        (Created, Live),
        (Created, Die),
        (Started, Live),
        (Started, Die),
    ]
};

/// When a member of the pool is claimed.
#[derive(Clone, Copy, Debug)]
enum Claim {
    /// dockerd is dead when somebody new writes.
    Before,
    /// It dies when their sandbox has been thawed.
    Thawed,
}

const CLAIMS: Cases<(Claim, They)> = {
    use {Claim::*, They::*};
    (
        &[(Thawed, Die)],
        &[(Before, Live), (Before, Die), (Thawed, Live)],
    )
};

pub async fn lightly(mut engine: Engine) -> anyhow::Result<()> {
    all_of(&mut engine, &wanted(LIGHT), "1h").await?;
    claims(&mut engine).await
}

pub async fn deeply(mut engine: Engine) -> anyhow::Result<()> {
    all_of(&mut engine, &DEEP, "1s").await
}

async fn all_of(
    engine: &mut Engine,
    cases: &[(Moment, They)],
    stop_after: &str,
) -> anyhow::Result<()> {
    let settings = [
        ("SANDBOX_PAUSE_AFTER", "1s"),
        ("SANDBOX_STOP_AFTER", stop_after),
    ];
    let mut product = Product::start(&settings).await?;
    let anna = [crowd::person(1)];
    let mut marks = product.all_say(&anna, "first").await?;
    product.exactly_one_each(&anna, &marks).await?;
    for (number, (moment, they)) in cases.iter().enumerate() {
        let mark = crowd::mark(format!("case-{number}"));
        let since = Utc::now();
        blow(engine, &product, &anna, &mark, (*moment, *they))
            .await
            .with_context(|| format!("dockerd dies at {moment:?}, they {they:?}"))?;
        product.outages.push(since..Utc::now());
        marks.push(mark);
        for mark in &marks {
            product.exactly_one_answer(&anna[0], mark)?;
        }
    }
    let last = &marks[marks.len() - 1..];
    product.all_knew(last, &marks[..1]).await?;
    let count = cases.len();
    show(&format!(
        "{count} deaths of dockerd around sleep, each answered once"
    ));
    product.finish(&[]).await
}

async fn blow(
    engine: &mut Engine,
    product: &Product,
    anna: &[Person; 1],
    mark: &String,
    (moment, they): (Moment, They),
) -> anyhow::Result<()> {
    let text = format!("Please note {mark}");
    product.comes_to(moment, &anna[0], &text).await?;
    engine.kill_dockerd().await?;
    if !moment.follows_a_message() {
        product.says(&anna[0], &text).await?;
    }
    they.come_back(engine).await?;
    product
        .exactly_one_each(anna, std::slice::from_ref(mark))
        .await
}

async fn claims(engine: &mut Engine) -> anyhow::Result<()> {
    let mut product = Product::start(&[("SANDBOX_POOL_SIZE", "1")]).await?;
    let cases = wanted(CLAIMS);
    for (number, (claim, they)) in cases.iter().copied().enumerate() {
        let since = Utc::now();
        let newcomer = [crowd::person(number)];
        claimed(engine, &product, &newcomer, (claim, they))
            .await
            .with_context(|| format!("dockerd dies at a claim: {claim:?}, they {they:?}"))?;
        product.outages.push(since..Utc::now());
    }
    let count = cases.len();
    show(&format!(
        "{count} deaths of dockerd around a claim, each answered once"
    ));
    product.finish(&[]).await
}

async fn claimed(
    engine: &mut Engine,
    product: &Product,
    newcomer: &[Person; 1],
    (claim, they): (Claim, They),
) -> anyhow::Result<()> {
    // With a member that can be claimed.
    let waiting = "select count(*) from sandbox
        where tenant_id is null and intent = 'auto' and booted_at is not null";
    let stocked = || async {
        let all = product.docker.sandboxes().await?;
        let paused = all.iter().any(|one| one.state == "paused");
        Ok(paused && product.postgres.count(waiting).await? == 1)
    };
    product.until("the pool is stocked", stocked).await?;
    let taken = "select count(*) from sandbox where tenant_id is not null and booted_at < now()";
    let owned = product.postgres.count(taken).await?;
    let since = Utc::now();
    let first = match claim {
        Claim::Before => {
            engine.kill_dockerd().await?;
            product.all_say(newcomer, "first").await?
        }
        Claim::Thawed => {
            let first = product.all_say(newcomer, "first").await?;
            let thawed = product.docker.wait_for_event("unpause", 1, since, PATIENCE);
            thawed.await?;
            engine.kill_dockerd().await?;
            first
        }
    };
    let claimed = || async { Ok(product.postgres.count(taken).await? > owned) };
    product.until("one of the pool is claimed", claimed).await?;
    they.come_back(engine).await?;
    product.exactly_one_each(newcomer, &first).await?;
    let second = product.all_say(newcomer, "second").await?;
    product.exactly_one_each(newcomer, &second).await?;
    product.all_knew(&second, &first).await
}
