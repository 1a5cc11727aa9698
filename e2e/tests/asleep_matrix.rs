//! Whatever dies while a sandbox falls asleep or wakes, its person is answered exactly once, by the
//! same memory.

use anyhow::Context as _;
use e2e::{Person, Product, alone, crowd, every_case, sleep::Moment};

#[derive(Clone, Copy, Debug)]
enum Victim {
    /// Our process, without a last word.
    Us,
    Container,
    Both,
}

const CASES: [(Moment, Victim); 7] = {
    use Moment::*;
    use Victim::*;
    [
        (Paused, Both),
        (Thawed, Us),
        (Thawed, Container),
        (Stopped, Us),
        (Removed, Us),
        (Created, Container),
        (Started, Both),
    ]
};
const MORE: [(Moment, Victim); 6] = {
    use Moment::*;
    use Victim::*;
    [
        (Paused, Us),
        (Paused, Container),
        (Thawed, Both),
        (Created, Us),
        (Started, Us),
        (Started, Container),
    ]
};

#[tokio::test(flavor = "multi_thread")]
async fn whatever_dies_while_it_falls_asleep_or_wakes_everybody_is_answered_once()
-> anyhow::Result<()> {
    let _alone = alone().await;
    let lightly = |moment: &Moment| matches!(moment, Moment::Paused | Moment::Thawed);
    let more = MORE.into_iter().filter(|_| every_case());
    let cases = CASES.into_iter().chain(more);
    let (light, deep): (Vec<_>, Vec<_>) = cases.partition(|(moment, _)| lightly(moment));
    // Side by side: most of the time is spent in waiting for a lease to end or a sandbox to rest.
    tokio::try_join!(all_of(&light, "1h"), all_of(&deep, "1s"))?;
    Ok(())
}

async fn all_of(cases: &[(Moment, Victim)], stop_after: &str) -> anyhow::Result<()> {
    let settings = [
        ("SANDBOX_PAUSE_AFTER", "1s"),
        ("SANDBOX_STOP_AFTER", stop_after),
    ];
    let mut product = Product::start(&settings).await?;
    let anna = crowd::person(1);
    let only = std::slice::from_ref(&anna);
    let mut marks = product.all_say(only, "first").await?;
    product.exactly_one_each(only, &marks).await?;
    for (number, (moment, victim)) in cases.iter().enumerate() {
        let mark = crowd::mark(format!("case-{number}"));
        blow(&mut product, &anna, &mark, *moment, *victim)
            .await
            .with_context(|| format!("{victim:?} dies when it is {moment:?}"))?;
        marks.push(mark);
        for mark in &marks {
            product.exactly_one_answer(&anna, mark)?;
        }
    }
    let requests = product.model.requests();
    let last = &requests.last().context("no request")?.body;
    anyhow::ensure!(last.to_string().contains(&marks[0]), "it has forgotten");
    show(&format!(
        "{} cases of death around sleep, each answered once",
        cases.len()
    ));
    product
        .finish(&["its gateway did not let us in", "failed to"])
        .await
}

async fn blow(
    product: &mut Product,
    person: &Person,
    mark: &str,
    moment: Moment,
    victim: Victim,
) -> anyhow::Result<()> {
    let text = format!("Please note {mark}");
    product.comes_to(moment, person, &text).await?;
    if matches!(victim, Victim::Us | Victim::Both) {
        product.kill_9().await?;
    }
    if matches!(victim, Victim::Container | Victim::Both) {
        product.docker.lose_sandboxes().await?;
    }
    if matches!(victim, Victim::Us | Victim::Both) {
        product.start_again().await?;
    }
    if !moment.follows_a_message() {
        product.says(person, &text).await?;
    }
    let mark = [mark.to_owned()];
    product
        .exactly_one_each(std::slice::from_ref(person), &mark)
        .await
}

#[expect(clippy::print_stdout, reason = "figures for whoever reads the run")]
fn show(figures: &str) {
    println!("{figures}");
}
