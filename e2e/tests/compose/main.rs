//! An operator's way, whole: one command deploys, the same command upgrades under load, nuke removes.

mod deployment;
mod funnel;
mod load;
mod roles;

use anyhow::Context as _;
use e2e::{
    alone,
    command::run,
    crowd::{mark, person},
    docker::{DEPLOYMENT_LABEL, inspect},
};

use deployment::{Deployment, set_variable};
use load::Load;

const ROLES: [&str; 4] = ["web-a", "web-b", "broker", "worker"];
const OTHERS: [&str; 2] = ["postgres", "caddy"];

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_deploys_upgrades_without_losing_a_webhook_and_removes_everything()
-> anyhow::Result<()> {
    let _alone = alone().await;
    let mut deployment = Deployment::prepare().await?;
    what_is_missing_is_said_at_once(&deployment).await?;

    let said = deployment.deploy().await?;
    let address = format!("{}/whatsapp/webhook", deployment.site);
    anyhow::ensure!(said.contains(&address), "the webhook is not named:\n{said}");
    let word = &deployment.secrets[2].1;
    anyhow::ensure!(said.contains(word), "the word is not named:\n{said}");
    let whatsapp = deployment.simulators.whatsapp.clone();
    whatsapp.trust(&deployment.authority().await?)?;

    roles::caddy_is_open_at("", &deployment).await?;
    roles::only_the_public_routes_are_reached(&deployment).await?;
    let stranger = person(1);
    let first = mark("first");
    deployment
        .says(&stranger, &format!("Good morning, please note {first}"))
        .await?;
    deployment.answered_once(&stranger, &first).await?;
    roles::each_holds_its_own_and_nothing_else(&deployment).await?;

    deployed_again_nothing_changes(&deployment).await?;
    upgraded_under_load_nothing_is_lost(&mut deployment, &stranger).await?;
    let remove = async |deployment: &Deployment| {
        removed_nothing_is_left_but_the_certificates(deployment).await
    };
    funnel::without_a_domain_tailscale_is_the_way_in(&mut deployment, remove).await
}

async fn what_is_missing_is_said_at_once(deployment: &Deployment) -> anyhow::Result<()> {
    let without = ["LLM_MODEL", "WHATSAPP_APP_SECRET", "CLAWKAKA_DOMAIN"];
    let refused = deployment.deploy_without(&without).await;
    let why = refused.err().context("it was deployed")?.to_string();
    for name in without {
        anyhow::ensure!(
            why.contains(&format!("{name}: ")),
            "{name} is not in:\n{why}"
        );
    }
    anyhow::ensure!(
        !why.contains("LLM_API_KEY: "),
        "a good one is named:\n{why}"
    );
    Ok(())
}

async fn deployed_again_nothing_changes(deployment: &Deployment) -> anyhow::Result<()> {
    let services = [ROLES.as_slice(), &OTHERS].concat();
    let before = deployment.ids(&services).await?;
    deployment.deploy().await?;
    let after = deployment.ids(&services).await?;
    anyhow::ensure!(before == after, "a container was replaced for nothing");
    Ok(())
}

/// First by our own command, then by Compose alone, which also goes back to the build of before.
async fn upgraded_under_load_nothing_is_lost(
    deployment: &mut Deployment,
    stranger: &e2e::Person,
) -> anyhow::Result<()> {
    let sandbox = running_sandbox(deployment).await?;
    let [roles, others] = [
        deployment.ids(&ROLES).await?,
        deployment.ids(&OTHERS).await?,
    ];
    let old = image_of_web(deployment).await?;
    let load = Load::start(&deployment.simulators.whatsapp);
    deployment.set("CLAWKAKA_BUILD", "a newer build");
    let during = mark("during");

    deployment
        .says(stranger, &format!("Please note {during}"))
        .await?;
    deployment.deploy().await?;
    let upgraded = deployment.ids(&ROLES).await?;
    anyhow::ensure!(
        roles.iter().zip(&upgraded).all(|(old, new)| old != new),
        "a role was not replaced"
    );
    anyhow::ensure!(
        image_of_web(deployment).await? != old,
        "it is the same build"
    );

    set_variable(&deployment.variables(), "CLAWKAKA_IMAGE", &old)?;
    deployment.compose_up().await?;
    deployment.healthy("web-b").await?;
    deployment.healthy("worker").await?;
    anyhow::ensure!(
        image_of_web(deployment).await? == old,
        "Compose changed nothing"
    );

    let sent = load.stop().await?;
    let query =
        "select count(*) from inbox where kind = 'status' and provider_id like 'wamid.load-%'";
    let stored = deployment.count(query).await?;
    anyhow::ensure!(stored == sent, "of {sent} webhooks {stored} are stored");

    anyhow::ensure!(
        deployment.ids(&OTHERS).await? == others,
        "Postgres or Caddy was replaced"
    );
    deployment.answered_once(stranger, &during).await?;
    let now = running_sandbox(deployment).await?;
    anyhow::ensure!(now == sandbox, "the sandbox was {sandbox:?} and is {now:?}");
    let after = mark("after");
    deployment
        .says(stranger, &format!("Please note {after}"))
        .await?;
    deployment.answered_once(stranger, &after).await
}

/// The only sandbox: its id and since when it runs.
async fn running_sandbox(deployment: &Deployment) -> anyhow::Result<(String, String)> {
    let sandboxes = deployment.docker.sandboxes().await?;
    anyhow::ensure!(sandboxes.len() == 1, "{sandboxes:?}");
    anyhow::ensure!(sandboxes[0].state == "running", "{sandboxes:?}");
    let facts = inspect(&sandboxes[0].id).await?.context("it is gone")?;
    let since = facts["State"]["StartedAt"].to_string();
    Ok((sandboxes[0].id.clone(), since))
}

async fn image_of_web(deployment: &Deployment) -> anyhow::Result<String> {
    let facts = deployment.inspect("web-b").await?;
    let image = facts["Config"]["Image"].as_str();
    Ok(image.context("web has no image")?.to_owned())
}

async fn removed_nothing_is_left_but_the_certificates(
    deployment: &Deployment,
) -> anyhow::Result<()> {
    let name = &deployment.place.deployment;
    let bystander = format!("{name}-bystander");
    run("docker", &["volume", "create", &bystander]).await?;
    let said = deployment.nuke().await;
    let kept = run("docker", &["volume", "rm", &bystander]).await;
    let said = said?;
    anyhow::ensure!(kept.is_ok(), "a volume of somebody else is gone");

    let ours = format!("label={DEPLOYMENT_LABEL}={name}");
    for list in [&["ps", "-a"][..], &["volume", "ls"], &["network", "ls"]] {
        let left = run("docker", &[list, &["-q", "--filter", &ours]].concat()).await?;
        anyhow::ensure!(left.is_empty(), "{list:?} shows what is left: {left}");
    }
    let tables = run("nft", &["list", "tables"]).await?;
    anyhow::ensure!(!tables.contains(name.as_str()), "walls are left:\n{tables}");
    let state = deployment.place.folder.join("state");
    anyhow::ensure!(!state.exists(), "files are left in {}", state.display());

    let certificates = format!("{name}-certificates");
    anyhow::ensure!(
        said.contains(&certificates),
        "it does not say what stays:\n{said}"
    );
    run("docker", &["volume", "inspect", &certificates]).await?;
    let again = deployment.nuke().await?;
    anyhow::ensure!(again.contains("There is nothing of"), "{again}");
    Ok(())
}
