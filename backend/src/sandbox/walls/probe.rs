//! Tries the walls from inside, with two real containers that are shut in like sandboxes: one
//! listens where a neighbour's gateway would, the other tries everything that must be closed, and
//! the broker, which must be open. They carry no sandbox label and hold nothing.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use anyhow::{Context, ensure};
use bollard::{
    models::ContainerCreateBody,
    query_parameters::{
        CreateContainerOptionsBuilder, LogsOptionsBuilder, StartContainerOptions,
        WaitContainerOptions,
    },
};
use futures_util::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};

use super::{output, ports};
use crate::sandbox::{
    call::{CHANGE_TIMEOUT, READ_TIMEOUT, bounded},
    docker::Docker,
    layout::GATEWAY_PORT,
    runtime::{Breach, Runtime},
    spec::{DEPLOYMENT_LABEL, PROBE_LABEL, hardened},
};

const SCRIPT: &str = include_str!("probe.js");
const LISTENER: &str = "require('node:net').createServer().listen(+process.argv[1], '0.0.0.0')";
/// The listener is a bare Node: it listens within a second, on a busy machine within some.
const LISTENER_TIMEOUT: Duration = Duration::from_secs(20);
/// The script gives up after two seconds by itself.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(30);
/// Stands for the internet: an address that has answered everywhere for years.
const INTERNET: (&str, u16) = ("1.1.1.1", 443);
/// Where clouds hand out the host's credentials.
const METADATA: (&str, u16) = ("169.254.169.254", 80);
/// A name that every open resolver knows.
const NAME: &str = "example.com";

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Target {
    host: String,
    port: u16,
}

#[derive(Debug, Deserialize)]
struct Tried {
    host: String,
    port: u16,
    /// `open`, `refused` (both: reached) or `silent`.
    answer: String,
}

/// Runs one probe and clears up after it. An error means that it could not be made.
pub async fn run(docker: &Docker, image: &str) -> anyhow::Result<Result<(), Breach>> {
    let names = ["listen", "try"].map(|part| format!("{}-probe-{part}", docker.layout.bridge()));
    for name in &names {
        docker.remove(name).await?;
    }
    let verdict = attempt(docker, image, &names).await;
    for name in &names {
        docker.remove(name).await?;
    }
    verdict
}

async fn attempt(
    docker: &Docker,
    image: &str,
    [listen, attempt]: &[String; 2],
) -> anyhow::Result<Result<(), Breach>> {
    let layout = &docker.layout;
    let [peer, prober] = layout.probe_addresses();
    // Open for the probe: that a port is closed shows nothing about walls.
    let host_port = TcpListener::bind((layout.bridge_address(), 0)).await;
    let host_port = host_port.context("open a port on the bridge's address")?;
    let port = host_port
        .local_addr()
        .context("open a port on the bridge's address")?
        .port();

    let command = ["node", "-e", LISTENER, &GATEWAY_PORT.to_string()];
    start(docker, listen, body(docker, image, peer, &command)).await?;
    ensure_listens(peer.into()).await?;

    let targets = targets(docker, port).await?;
    let input = serde_json::json!({ "targets": targets, "name": NAME }).to_string();
    let command = ["node", "-e", SCRIPT, &input];
    start(docker, attempt, body(docker, image, prober, &command)).await?;

    let tried: Vec<Tried> = serde_json::from_str(&script_output(docker, attempt).await?)
        .context("read the probe's answer")?;
    ensure!(
        tried.len() == targets.len() + 1,
        "the probe did not try everything"
    );
    for Tried { host, port, answer } in &tried {
        tracing::debug!(host, port, answer, "probe of the walls");
    }
    judge(
        &tried,
        &layout.bridge_address().to_string(),
        layout.broker_port,
    )
}

/// When not even the broker is reached, silence shows nothing: the probe could not be made.
fn judge(tried: &[Tried], bridge: &str, broker: u16) -> anyhow::Result<Result<(), Breach>> {
    let is_broker = |one: &&Tried| one.host == bridge && one.port == broker;
    let reached = |one: &&Tried| one.answer != "silent";
    ensure!(
        tried.iter().filter(is_broker).any(|one| reached(&one)),
        "reach the broker's port from inside"
    );
    let leak = tried.iter().filter(reached).find(|one| !is_broker(one));
    Ok(leak.map_or(Ok(()), |Tried { host, port, answer }| {
        Err(format!(
            "from inside, {host} port {port} is reached ({answer})"
        ))
    }))
}

/// Everything to try: the neighbour, every address of this host, the world; and the broker.
async fn targets(docker: &Docker, open_port: u16) -> anyhow::Result<Vec<Target>> {
    #[derive(Deserialize)]
    struct Interface {
        #[serde(default)]
        addr_info: Vec<Address>,
    }
    #[derive(Deserialize)]
    struct Address {
        local: Option<IpAddr>,
    }
    let layout = &docker.layout;
    let broker = layout.broker_port;
    let mut wanted = vec![
        (layout.bridge_address().to_string(), broker),
        (layout.bridge_address().to_string(), open_port),
        (layout.probe_addresses()[0].to_string(), GATEWAY_PORT),
        (INTERNET.0.to_owned(), INTERNET.1),
        (METADATA.0.to_owned(), METADATA.1),
    ];
    let listing = output("ip", &["-j", "address", "show"]).await?;
    let listing: Vec<Interface> = serde_json::from_slice(&listing).context("read addresses")?;
    for address in listing.iter().flat_map(|interface| &interface.addr_info) {
        match address.local {
            Some(IpAddr::V4(ip)) if !ip.is_loopback() && ip != layout.bridge_address() => {
                // Another deployment's broker may listen there; here a refusal is enough to see.
                wanted.push((ip.to_string(), broker));
                wanted.push((ip.to_string(), open_port));
            }
            Some(IpAddr::V6(ip)) if ip.is_unicast_link_local() => {
                wanted.push((format!("{ip}%eth0"), broker));
            }
            Some(IpAddr::V6(ip)) if !ip.is_loopback() => wanted.push((ip.to_string(), broker)),
            _ => {}
        }
    }
    let targets = wanted.into_iter().map(|(host, port)| Target { host, port });
    Ok(targets.collect())
}

fn body(
    docker: &Docker,
    image: &str,
    address: std::net::Ipv4Addr,
    command: &[&str],
) -> ContainerCreateBody {
    // Slot 0: no sandbox has this uid.
    let uid = docker.layout.uid(0);
    ContainerCreateBody {
        entrypoint: Some(command.iter().map(|&word| word.to_owned()).collect()),
        cmd: Some(Vec::new()),
        labels: Some(HashMap::from([
            (
                DEPLOYMENT_LABEL.to_owned(),
                docker.layout.deployment.clone(),
            ),
            (PROBE_LABEL.to_owned(), "walls".to_owned()),
        ])),
        ..hardened(&docker.layout, &docker.shape, uid, address, image)
    }
}

async fn start(docker: &Docker, name: &str, body: ContainerCreateBody) -> anyhow::Result<()> {
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let call = docker.engine.create_container(Some(options), body);
    bounded("create a probe", CHANGE_TIMEOUT, call).await?;
    let call = docker
        .engine
        .start_container(name, None::<StartContainerOptions>);
    bounded("start a probe", CHANGE_TIMEOUT, call).await?;
    let isolated = ports::isolate(&docker.layout.bridge()).await;
    isolated.map_err(anyhow::Error::msg)
}

/// From the host, which may: otherwise the neighbour's silence would show nothing.
async fn ensure_listens(address: IpAddr) -> anyhow::Result<()> {
    let dial = async {
        while TcpStream::connect((address, GATEWAY_PORT)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(LISTENER_TIMEOUT, dial)
        .await
        .context("wait for the probe's listener")
}

async fn script_output(docker: &Docker, name: &str) -> anyhow::Result<String> {
    let mut ended = docker
        .engine
        .wait_container(name, None::<WaitContainerOptions>)
        .boxed();
    tokio::time::timeout(SCRIPT_TIMEOUT, ended.next())
        .await
        .context("wait for the probe")?
        .context("wait for the probe")?
        .context("wait for the probe")?;
    let options = LogsOptionsBuilder::default()
        .stdout(true)
        .stderr(true)
        .build();
    let logs = docker
        .engine
        .logs(name, Some(options))
        .try_collect::<Vec<_>>();
    let logs = bounded("read the probe's answer", READ_TIMEOUT, logs).await?;
    Ok(logs.iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(neighbour: &str, broker: &str) -> [Tried; 2] {
        let tried = |host: &str, port, answer: &str| Tried {
            host: host.to_owned(),
            port,
            answer: answer.to_owned(),
        };
        [
            tried("10.77.0.2", 18_789, neighbour),
            tried("10.77.0.1", 3005, broker),
        ]
    }

    #[test]
    fn only_silence_shows_a_wall_and_only_when_the_broker_answers() {
        let judge = |neighbour, broker| judge(&tried(neighbour, broker), "10.77.0.1", 3005);
        assert_eq!(judge("silent", "open").unwrap(), Ok(()));
        assert_eq!(
            judge("silent", "refused").unwrap(),
            Ok(()),
            "no broker is up yet"
        );
        assert!(judge("open", "open").unwrap().is_err());
        assert!(
            judge("refused", "open").unwrap().is_err(),
            "the packet came through"
        );
        assert!(judge("silent", "silent").is_err(), "it could not be made");
    }
}
