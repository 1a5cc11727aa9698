//! The deployment's Docker network: one internal bridge without inter-container traffic.
//!
//! Made when missing, read back at every pass, never changed: a network of the same name that is
//! otherwise is a breach, which the operator has to look at.

use std::collections::HashMap;

use bollard::{
    Docker as Engine,
    models::{Ipam, IpamConfig, NetworkCreateRequest},
    query_parameters::InspectNetworkOptions,
};

use super::{
    call::{CHANGE_TIMEOUT, READ_TIMEOUT, bounded, found},
    layout::Layout,
    runtime::Breach,
    spec::DEPLOYMENT_LABEL,
};

const BRIDGE_NAME: &str = "com.docker.network.bridge.name";
const INTER_CONTAINER: &str = "com.docker.network.bridge.enable_icc";

pub async fn ensure(engine: &Engine, layout: &Layout) -> anyhow::Result<()> {
    let name = layout.bridge();
    let call = found(engine.inspect_network(&name, None::<InspectNetworkOptions>));
    if bounded("inspect the network", READ_TIMEOUT, call)
        .await?
        .is_some()
    {
        return Ok(());
    }
    let call = engine.create_network(request(layout));
    bounded("make the network", CHANGE_TIMEOUT, call).await?;
    tracing::info!(network = name, "network made");
    Ok(())
}

fn request(layout: &Layout) -> NetworkCreateRequest {
    NetworkCreateRequest {
        name: layout.bridge(),
        driver: Some("bridge".to_owned()),
        internal: Some(true),
        attachable: Some(false),
        enable_ipv6: Some(false),
        options: Some(HashMap::from([
            (BRIDGE_NAME.to_owned(), layout.bridge()),
            (INTER_CONTAINER.to_owned(), "false".to_owned()),
        ])),
        labels: Some(HashMap::from([(
            DEPLOYMENT_LABEL.to_owned(),
            layout.deployment.clone(),
        )])),
        ipam: Some(Ipam {
            config: Some(vec![IpamConfig {
                subnet: Some(format!("{}/16", layout.subnet)),
                // Whatever Docker hands out by itself stays away from the slots' addresses.
                ip_range: Some(format!("{}/24", layout.subnet)),
                gateway: Some(layout.bridge_address().to_string()),
                ..Default::default()
            }]),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Whether there is one with our label.
pub async fn is_there(engine: &Engine, layout: &Layout) -> anyhow::Result<bool> {
    let name = layout.bridge();
    let call = found(engine.inspect_network(&name, None::<InspectNetworkOptions>));
    let network = bounded("inspect the network", READ_TIMEOUT, call).await?;
    let labels = network.and_then(|network| network.labels);
    Ok(labels.is_some_and(|labels| labels.get(DEPLOYMENT_LABEL) == Some(&layout.deployment)))
}

/// Removes it when it is ours; no container may be left on it.
pub async fn remove(engine: &Engine, layout: &Layout) -> anyhow::Result<()> {
    if !is_there(engine, layout).await? {
        return Ok(());
    }
    let name = layout.bridge();
    let call = found(engine.remove_network(&name));
    bounded("remove the network", CHANGE_TIMEOUT, call).await?;
    Ok(())
}

/// Whether the network is the one we would make.
pub async fn check(engine: &Engine, layout: &Layout) -> anyhow::Result<Result<(), Breach>> {
    let name = layout.bridge();
    let call = found(engine.inspect_network(&name, None::<InspectNetworkOptions>));
    let Some(network) = bounded("inspect the network", READ_TIMEOUT, call).await? else {
        return Ok(Err(format!("network {name} is missing")));
    };
    let options = network.options.unwrap_or_default();
    let labels = network.labels.unwrap_or_default();
    let gateways: Vec<_> = network
        .ipam
        .and_then(|ipam| ipam.config)
        .unwrap_or_default()
        .into_iter()
        .map(|config| (config.subnet, config.gateway))
        .collect();
    let expected = vec![(
        Some(format!("{}/16", layout.subnet)),
        Some(layout.bridge_address().to_string()),
    )];
    let facts = [
        ("not internal", network.internal == Some(true)),
        ("not a bridge", network.driver.as_deref() == Some("bridge")),
        ("with IPv6", network.enable_ipv6 != Some(true)),
        (
            "of another interface",
            options.get(BRIDGE_NAME) == Some(&name),
        ),
        (
            "open between containers",
            options.get(INTER_CONTAINER).is_some_and(|on| on == "false"),
        ),
        (
            "not ours",
            labels.get(DEPLOYMENT_LABEL) == Some(&layout.deployment),
        ),
        ("of another subnet", gateways == expected),
    ];
    let wrong = facts.iter().find(|(_, holds)| !holds);
    Ok(wrong.map_or(Ok(()), |(what, _)| Err(format!("network {name} is {what}"))))
}
