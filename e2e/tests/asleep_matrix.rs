//! Whatever dies while a sandbox falls asleep or wakes, its person is answered exactly once, by the
//! same memory.
//!
//! Docker's own events tell when: the blow falls at the very moment in which something has happened.

use anyhow::Context as _;
use chrono::Utc;
use e2e::{PATIENCE, Person, Product, alone, command, crowd, every_case};

/// What has just happened to the sandbox, in Docker's words.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// It was idle, and is paused.
    Paused,
    /// It was paused, and somebody wrote.
    Thawed,
    /// It was idle for longer, and is being stopped.
    Stopped,
    /// Only its volume is left.
    Removed,
    /// It was stopped, and somebody wrote.
    Created,
    Started,
}

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

impl Moment {
    fn event(self) -> &'static str {
        match self {
            Self::Paused => "pause",
            Self::Thawed => "unpause",
            Self::Stopped => "die",
            Self::Removed => "destroy",
            Self::Created => "create",
            Self::Started => "start",
        }
    }

    /// A message leads to it, or silence does.
    fn follows_a_message(self) -> bool {
        matches!(self, Self::Thawed | Self::Created | Self::Started)
    }
}

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
    let mut marks = vec![crowd::mark("first")];
    say(&product, &anna, &marks[0]).await?;
    product
        .exactly_one_each(std::slice::from_ref(&anna), &marks)
        .await?;
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
    if matches!(moment, Moment::Thawed) {
        rests(product, Some("paused")).await?;
    }
    if matches!(moment, Moment::Created | Moment::Started) {
        rests(product, None).await?;
    }
    let since = Utc::now();
    if moment.follows_a_message() {
        say(product, person, mark).await?;
    }
    product
        .docker
        .wait_for_event(moment.event(), 1, since, PATIENCE)
        .await?;
    if matches!(victim, Victim::Us | Victim::Both) {
        product.kill_9().await?;
    }
    if matches!(victim, Victim::Container | Victim::Both) {
        lose_containers(product).await?;
    }
    if matches!(victim, Victim::Us | Victim::Both) {
        product.start_again().await?;
    }
    if !moment.follows_a_message() {
        say(product, person, mark).await?;
    }
    let mark = [mark.to_owned()];
    product
        .exactly_one_each(std::slice::from_ref(person), &mark)
        .await
}

/// Waits until the sandbox is in this state; `None`: it has no container.
async fn rests(product: &Product, state: Option<&str>) -> anyhow::Result<()> {
    let rests = || async {
        let found = product.docker.sandboxes().await?;
        Ok(found.first().map(|one| one.state.as_str()) == state)
    };
    product.until("the sandbox rests", rests).await
}

/// One that runs is killed as a machine out of memory would; any other is removed behind our back.
async fn lose_containers(product: &Product) -> anyhow::Result<()> {
    for one in product.docker.sandboxes().await? {
        match one.state.as_str() {
            "running" => command::run("docker", &["kill", &one.id]).await?,
            _ => command::run("docker", &["rm", "-f", &one.id]).await?,
        };
    }
    Ok(())
}

async fn say(product: &Product, person: &Person, mark: &str) -> anyhow::Result<()> {
    product.says(person, &format!("Please note {mark}")).await
}

#[expect(clippy::print_stdout, reason = "figures for whoever reads the run")]
fn show(figures: &str) {
    println!("{figures}");
}
