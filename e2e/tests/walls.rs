//! Walls that stand are not taken for fallen: it would pause everybody.

use std::time::Duration;

use anyhow::Context as _;
use e2e::{Product, alone, command};
use serde_json::Value;

/// Side by side, as many as start and end at once on a busy machine.
const AT_ONCE: usize = 4;
/// Each takes some 70 ms, so that the walls are read a dozen times meanwhile, once a second.
const EACH: usize = 200;
/// Longer than it takes to read the ports, so that some are new when they are read again.
const STAYS: Duration = Duration::from_millis(20);

#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_that_come_and_go_are_no_breach_of_the_walls() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start(&[]).await?;
    product
        .until("the walls are proven", || async {
            Ok(product.logs.count("walls proven from inside")? > 0)
        })
        .await?;
    let bridge = bridge_with(&product.place.bridge_address()).await?;
    let many = (0..AT_ONCE).map(|lane| come_and_go(&bridge, lane));
    futures_util::future::try_join_all(many).await?;
    product.finish(&[]).await
}

/// What Docker does to a bridge when containers start and end. As there, no name comes twice.
async fn come_and_go(bridge: &str, lane: usize) -> anyhow::Result<()> {
    for number in 0..EACH {
        let name = format!("{}-{lane}-{number}", std::process::id());
        let (port, inside) = (format!("p{name}"), format!("c{name}"));
        let add = ["link", "add", &port, "type", "veth", "peer", "name"];
        command::run("ip", &[&add[..], &[&inside]].concat()).await?;
        command::run("ip", &["link", "set", &port, "master", bridge]).await?;
        tokio::time::sleep(STAYS).await;
        command::run("ip", &["link", "delete", &port]).await?;
    }
    Ok(())
}

async fn bridge_with(address: &str) -> anyhow::Result<String> {
    let listed = command::run("ip", &["-4", "-j", "address", "show", "to", address]).await?;
    let listed: Value = serde_json::from_str(&listed).context("read the addresses")?;
    let interfaces = listed.as_array().into_iter().flatten();
    let mut names = interfaces.filter_map(|one| one["ifname"].as_str());
    let name = names.next().context("find the bridge of the sandboxes")?;
    Ok(name.to_owned())
}
