//! The walls around sandboxes, looked at as the worker does; tried from inside on demand.

use super::{
    facts::Facts,
    finding::{Found, fail, ok, skip},
};
use crate::{
    app,
    sandbox::{
        network,
        walls::{self, ports, rules},
    },
};

const PUT_UP: &str = "Run `infra/firewall/walls.sh up` as root, with this deployment's settings.";
const GAUGE: &str = "clawkaka_walls_standing";

pub async fn network(facts: &Facts) -> Result<Found, Found> {
    let docker = facts.docker().await?;
    let checked = network::check(&docker.engine, &docker.layout).await;
    Ok(match checked {
        Ok(Ok(())) => ok("The sandboxes' network is as it should be."),
        Ok(Err(breach)) if breach.ends_with("is missing") => fail(
            format!("The {breach}."),
            "Start the worker: it makes the network at its first look.",
        ),
        Ok(Err(breach)) => fail(
            format!("The {breach}."),
            "Stop the worker, remove the network (`docker network rm`), start the worker again.",
        ),
        Err(error) => fail(
            format!("The network cannot be looked at: {error:#}."),
            "Look at Docker's own log: `journalctl -u docker`.",
        ),
    })
}

pub async fn walls(facts: &Facts) -> Result<Found, Found> {
    let layout = app::layout(&facts.config);
    if let Err(breach) = rules::check(&layout).await {
        return Ok(fail(format!("The walls do not stand: {breach}."), PUT_UP));
    }
    if !ports::exists(&layout.bridge()) {
        return Ok(ok("The rules stand; there is no bridge yet."));
    }
    Ok(match ports::isolate(&layout.bridge()).await {
        Ok(()) => ok("The rules stand and every port is isolated."),
        Err(breach) => fail(
            format!("Sandboxes are not isolated from each other: {breach}."),
            "The worker needs NET_ADMIN on the host's network: look how it is started.",
        ),
    })
}

pub async fn bridge_netfilter(facts: &Facts) -> Result<Found, Found> {
    let layout = app::layout(&facts.config);
    Ok(
        match ports::bridged_packets_are_filtered(&layout.bridge()) {
            Ok(()) => ok("Packets between sandboxes pass the packet filter."),
            Err(breach) => fail(
                format!("{breach}: the walls do not see packets between sandboxes."),
                "modprobe br_netfilter && sysctl -w net.bridge.bridge-nf-call-iptables=1, and put both into /etc.",
            ),
        },
    )
}

/// By a probe of our own on demand; else by what the worker found, whose probes it would disturb.
pub async fn probe(facts: &Facts) -> Result<Found, Found> {
    let layout = app::layout(&facts.config);
    if rules::check(&layout).await.is_err() {
        return Err(skip("The walls do not stand, so there is nothing to try."));
    }
    if facts.limits.probe {
        let image = &facts.config.sandbox.image;
        return Ok(
            match walls::probe::run(facts.docker().await?, image).await {
                Ok(Ok(())) => ok("From inside, nothing but the broker is reached."),
                Ok(Err(leak)) => fail(
                    format!("The walls leak: {leak}."),
                    "Stop the worker (`clawkaka freeze` first) and look which other firewall accepts this.",
                ),
                Err(error) => fail(
                    format!("The walls could not be tried: {error:#}."),
                    "Run it again; if the worker runs it may have been trying at the same time.",
                ),
            },
        );
    }
    let gauge = facts.gauge(GAUGE).await;
    let gauge = gauge.map_err(|why| skip(format!("{why}; --probe tries itself.")))?;
    match gauge.as_deref() {
        Some("1") => Ok(ok("The worker has proven the walls from inside.")),
        Some(_) => Ok(fail(
            "The walls are as they should be, but the worker has not proven them from inside.",
            "Wait half a minute and look again; then look in its log for `walls`.",
        )),
        None => Err(skip(
            "The worker has not looked at the walls yet; --probe tries itself.",
        )),
    }
}
