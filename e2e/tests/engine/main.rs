//! What happens to the Docker engine, and to sandboxes behind our back: whatever it is, everybody is
//! answered exactly once, by the same memory. Each story has a machine of its own.

mod behind_our_back;

mod moments;
mod outage;
mod power;

use anyhow::Context as _;
use e2e::{PATIENCE, Person, Product, command, engine::apart};
use serde_json::Value;

#[test]
fn what_happens_to_a_sandbox_behind_our_back_is_put_right() -> anyhow::Result<()> {
    let name = "what_happens_to_a_sandbox_behind_our_back_is_put_right";
    apart(name, behind_our_back::story)
}

#[test]
fn dockerd_dies_and_comes_back_and_nobody_is_forgotten() -> anyhow::Result<()> {
    let name = "dockerd_dies_and_comes_back_and_nobody_is_forgotten";
    apart(name, outage::story)
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
    apart(name, moments::deeply)
}

async fn tenant_of(product: &Product, person: &Person) -> anyhow::Result<String> {
    let wamid = product.whatsapp.conversation(person)[0].wamid.clone();
    let tenant = "select tenant_id::text from inbox where provider_id = $1";
    let tenant = sqlx::query_scalar(tenant).bind(&wamid);
    Ok(tenant.fetch_one(&product.postgres.db).await?)
}

async fn sandbox_of(product: &Product, person: &Person) -> anyhow::Result<String> {
    let tenant = tenant_of(product, person).await?;
    let sandbox = "select id::text from sandbox where tenant_id::text = $1";
    let sandbox = sqlx::query_scalar(sandbox).bind(&tenant);
    Ok(sandbox.fetch_one(&product.postgres.db).await?)
}

/// An operator has somebody's sandbox rest: `pause` or `stop`.
async fn rests(product: &Product, person: &Person, how: &str) -> anyhow::Result<()> {
    let mut operate = product.command("sandbox")?;
    let tenant = tenant_of(product, person).await?;
    operate.args([how, &tenant, "--as", "ana", "--json"]);
    let said = command::output(operate, b"").await?;
    let said: Value = serde_json::from_slice(&said).context("read an operator's answer")?;
    let id = sandbox_of(product, person).await?;
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

/// Whether the agent that was asked this knew of something that was said before.
async fn knew(product: &Product, asked: &str, of: &str) -> anyhow::Result<bool> {
    let request = product.model.wait_for_request(asked, PATIENCE).await?;
    Ok(request.body.to_string().contains(of))
}

/// Everybody's agent that was asked one of these knew what its person had said before.
async fn all_knew(product: &Product, asked: &[String], of: &[String]) -> anyhow::Result<()> {
    for (asked, of) in asked.iter().zip(of) {
        anyhow::ensure!(knew(product, asked, of).await?, "{of} is forgotten");
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "figures for whoever reads the run")]
fn show(figures: &str) {
    println!("{figures}");
}
