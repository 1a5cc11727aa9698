//! What happens to the Docker engine, and to sandboxes behind our back: whatever it is, everybody is
//! answered exactly once, by the same memory. Each story has a machine of its own.

mod behind_our_back;
mod miscounted;
mod moments;
mod outage;
mod power;
mod work;

use e2e::{
    Person, Product, command,
    engine::{Engine, apart},
    every_case,
};

#[test]
fn what_happens_to_a_sandbox_behind_our_back_is_put_right() -> anyhow::Result<()> {
    let name = "what_happens_to_a_sandbox_behind_our_back_is_put_right";
    when_every_case_is_wanted(|| apart(name, behind_our_back::story))
}

#[test]
fn dockerd_dies_and_comes_back_and_nobody_is_forgotten() -> anyhow::Result<()> {
    let name = "dockerd_dies_and_comes_back_and_nobody_is_forgotten";
    when_every_case_is_wanted(|| apart(name, outage::story))
}

#[test]
fn the_machine_loses_power_and_comes_back_and_nobody_is_forgotten() -> anyhow::Result<()> {
    let name = "the_machine_loses_power_and_comes_back_and_nobody_is_forgotten";
    apart(name, power::story)
}

#[test]
fn whenever_dockerd_dies_while_one_is_paused_or_claimed_each_is_answered_once() -> anyhow::Result<()>
{
    let name = "whenever_dockerd_dies_while_one_is_paused_or_claimed_each_is_answered_once";
    apart(name, moments::lightly)
}

#[test]
fn whenever_dockerd_dies_while_one_is_stopped_or_starts_each_is_answered_once() -> anyhow::Result<()>
{
    let name = "whenever_dockerd_dies_while_one_is_stopped_or_starts_each_is_answered_once";
    when_every_case_is_wanted(|| apart(name, moments::deeply))
}

#[test]
fn whenever_dockerd_dies_at_a_backup_a_restore_or_an_upgrade_it_ends_right() -> anyhow::Result<()> {
    let name = "whenever_dockerd_dies_at_a_backup_a_restore_or_an_upgrade_it_ends_right";
    when_every_case_is_wanted(|| apart(name, work::story))
}

#[test]
fn a_volume_that_docker_miscounts_is_filled_emptied_and_removed_in_the_end() -> anyhow::Result<()> {
    let name = "a_volume_that_docker_miscounts_is_filled_emptied_and_removed_in_the_end";
    when_every_case_is_wanted(|| apart(name, miscounted::story))
}

/// What becomes of containers that a new dockerd finds running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum They {
    Live,
    Die,
}

impl They {
    async fn come_back(self, engine: &mut Engine) -> anyhow::Result<()> {
        engine.live_restore = self == Self::Live;
        engine.start_dockerd().await
    }
}

/// A story that takes minutes, and hurts the engine as those of a usual run do, only elsewhere.
fn when_every_case_is_wanted(story: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<()> {
    match every_case() {
        true => story(),
        false => {
            show("left out of a usual run: EVERY_CASE=yes runs it");
            Ok(())
        }
    }
}

/// Those of a usual run, and those that only run when somebody wants every case.
type Cases<T> = (&'static [T], &'static [T]);

fn wanted<T: Copy>((usual, others): Cases<T>) -> Vec<T> {
    let others = others.iter().filter(|_| every_case());
    usual.iter().chain(others).copied().collect()
}

/// An operator has somebody's sandbox rest: `pause` or `stop`.
async fn rests(product: &Product, person: &Person, how: &str) -> anyhow::Result<()> {
    let tenant = product.tenant_of(person).await?;
    let said = product.operate(&["sandbox", how, &tenant]).await?;
    let id = product.sandbox_of(person).await?;
    let state = state_of(product, &id).await?;
    let expected = match how {
        "pause" => Some("paused"),
        _ => None,
    };
    anyhow::ensure!(state.as_deref() == expected, "{state:?} after {said:#}");
    Ok(())
}

/// As Docker writes it; nothing without a container.
async fn state_of(product: &Product, sandbox: &str) -> anyhow::Result<Option<String>> {
    let listed = listed(product, sandbox, "{{.State}}").await?;
    anyhow::ensure!(listed.len() <= 1, "it has {} containers", listed.len());
    Ok(listed.into_iter().next())
}

/// Every container of a sandbox, whoever made it.
async fn listed(product: &Product, sandbox: &str, what: &str) -> anyhow::Result<Vec<String>> {
    let ours = format!("label=clawkaka.deployment={}", product.docker.deployment);
    let label = format!("label=clawkaka.sandbox={sandbox}");
    let words = ["ps", "-a", "--filter", &ours, "--filter", &label];
    let words = [&words[..], &["--format", what]].concat();
    let listed = command::run("docker", &words).await?;
    Ok(listed.lines().map(str::to_owned).collect())
}

#[expect(clippy::print_stdout, reason = "figures for whoever reads the run")]
fn show(figures: &str) {
    println!("{figures}");
}
