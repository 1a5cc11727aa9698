//! Two people at once: an agent each, and walls around both.

use std::net::Ipv4Addr;

use anyhow::Context as _;
use chrono::{TimeDelta, Utc};
use e2e::{
    PATIENCE, Person, Product, alone, command,
    crowd::{mark, marks_in, people},
    docker::GATEWAY_PORT,
};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream, UdpSocket};

/// Dials every target from inside and says what came of it.
const PROBE: &str = include_str!("probe.js");

#[tokio::test(flavor = "multi_thread")]
async fn two_people_have_an_agent_each_behind_walls_that_hold_or_everything_pauses()
-> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start(&[]).await?;
    let people = people(2);
    each_answers_from_its_own_memory(&product, &people).await?;
    nothing_can_be_reached_from_inside_but_the_broker(&product).await?;
    without_walls_everything_is_paused_until_they_stand_again(&product, &people).await?;
    product.finish(&["walls have fallen"]).await
}

async fn each_answers_from_its_own_memory(
    product: &Product,
    people: &[Person],
) -> anyhow::Result<()> {
    let first = product.all_say(people, "first").await?;
    product.exactly_one_each(people, &first).await?;
    for person in people {
        the_wait_was_announced_once_if_it_was_long(product, person)?;
    }
    let second = product.all_say(people, "second").await?;
    product.exactly_one_each(people, &second).await?;

    for (own, other) in [(0, 1), (1, 0)] {
        let asked = product
            .model
            .wait_for_request(&second[own], PATIENCE)
            .await?;
        let asked = asked.body.to_string();
        anyhow::ensure!(
            asked.contains(&first[own]),
            "an agent forgot {}",
            first[own]
        );
        anyhow::ensure!(
            !asked.contains(&first[other]),
            "an agent knows {}",
            first[other]
        );
    }
    let sandboxes = product.docker.sandboxes().await?;
    anyhow::ensure!(sandboxes.len() == 2, "{sandboxes:?}");
    for mark in first {
        let mut homes = 0;
        for sandbox in &sandboxes {
            let script = "grep -rlF -e \"$0\" /state || true";
            let found = product
                .docker
                .exec(&sandbox.id, &["sh", "-c", script, &mark])
                .await?;
            homes += usize::from(!found.trim().is_empty());
        }
        anyhow::ensure!(homes == 1, "{mark} is kept in {homes} sandboxes");
    }
    Ok(())
}

fn the_wait_was_announced_once_if_it_was_long(
    product: &Product,
    person: &Person,
) -> anyhow::Result<()> {
    let written = product.whatsapp.conversation(person)[0].at;
    let chat = product.whatsapp.chat(person);
    let (answer, before) = chat.split_last().context("nothing was said")?;
    anyhow::ensure!(
        !marks_in(&answer.text).is_empty(),
        "{}",
        product.screen(person)
    );
    // A little over the 3 s after which it is due, for the way of the answer itself.
    let long = answer.at - written > TimeDelta::seconds(4);
    anyhow::ensure!(before.len() <= 1, "{}", product.screen(person));
    anyhow::ensure!(
        before.len() == 1 || !long,
        "no word for {}",
        answer.at - written
    );
    Ok(())
}

/// Something to dial, and whether a sandbox may reach it.
struct Target {
    what: &'static str,
    address: String,
    port: u16,
    open: bool,
}

async fn nothing_can_be_reached_from_inside_but_the_broker(
    product: &Product,
) -> anyhow::Result<()> {
    let beside = Product::start(&[])
        .await
        .context("start another deployment")?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).await?;
    let listening = listener.local_addr()?.port();
    let datagrams = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, listening)).await?;

    let target = |what, address: &str, port| Target {
        what,
        address: address.to_owned(),
        port,
        open: false,
    };
    let mut targets = Vec::new();
    for address in host_addresses().await? {
        targets.push(target("a port of the host", &address, listening));
        targets.push(target("our web port", &address, product.place.port));
        targets.push(target(
            "our broker elsewhere",
            &address,
            product.place.port + 4,
        ));
    }
    let (ours, theirs) = (
        product.place.bridge_address(),
        beside.place.bridge_address(),
    );
    targets.retain(|one| (one.address.as_str(), one.port) != (&ours, product.place.port + 4));
    targets.push(Target {
        open: true,
        ..target("our broker", &ours, product.place.port + 4)
    });
    targets.push(target(
        "another deployment's broker",
        &theirs,
        beside.place.port + 4,
    ));
    let sandboxes = product.docker.sandboxes().await?;
    for sandbox in &sandboxes {
        targets.push(target("a gateway", &sandbox.address, GATEWAY_PORT));
    }
    // What is closed for everybody proves nothing about walls.
    for one in targets
        .iter()
        .filter(|one| !one.what.ends_with("elsewhere"))
    {
        let dialled = TcpStream::connect((one.address.as_str(), one.port)).await;
        dialled.with_context(|| format!("{} at {}:{}", one.what, one.address, one.port))?;
    }
    for (what, address, port) in [
        ("the internet", "1.1.1.1", 443),
        ("the internet's names", "8.8.8.8", 53),
        ("metadata", "169.254.169.254", 80),
        ("the internet by IPv6", "2606:4700:4700::1111", 443),
        ("everybody by IPv6", "ff02::1%eth0", 80),
    ] {
        targets.push(target(what, address, port));
    }

    let mut table = String::new();
    let mut wrong = Vec::new();
    for (number, sandbox) in sandboxes.iter().enumerate() {
        // Its own gateway is its own.
        let dialled: Vec<_> = targets
            .iter()
            .filter(|one| one.address != sandbox.address)
            .collect();
        let asked = dialled.iter().map(|one| json!([one.address, one.port]));
        let asked = json!({"tcp": asked.collect::<Vec<_>>(), "udp": [ours, listening]});
        let asked = asked.to_string();
        let found = product
            .docker
            .exec(&sandbox.id, &["node", "-e", PROBE, &asked])
            .await?;
        let found: Value = serde_json::from_str(&found).context("read the probe")?;
        for (one, found) in dialled
            .iter()
            .zip(found["tcp"].as_array().context("no answer")?)
        {
            let found = found.as_str().unwrap_or_default();
            let line = format!(
                "sandbox {number}: {:<28} {}:{:<5} {found}\n",
                one.what, one.address, one.port
            );
            if (found == "open") != one.open {
                wrong.push(line.clone());
            }
            table += &line;
        }
        for what in ["names", "addresses6"] {
            let line = format!("sandbox {number}: {what:<28} {}\n", found[what]);
            if found[what] != json!([]) {
                wrong.push(line.clone());
            }
            table += &line;
        }
    }
    show(&table);
    anyhow::ensure!(
        wrong.is_empty(),
        "otherwise than it should be:\n{}",
        wrong.concat()
    );
    let mut datagram = [0; 16];
    let came = datagrams.try_recv(&mut datagram);
    anyhow::ensure!(came.is_err(), "a datagram came out");
    beside.finish(&[]).await
}

/// Every address somebody on this machine could dial.
async fn host_addresses() -> anyhow::Result<Vec<String>> {
    let listed = command::run("ip", &["-4", "-j", "address"]).await?;
    let listed: Value = serde_json::from_str(&listed).context("read the addresses")?;
    let interfaces = listed.as_array().into_iter().flatten();
    let addresses = interfaces.flat_map(|one| one["addr_info"].as_array().into_iter().flatten());
    let addresses = addresses.filter_map(|one| one["local"].as_str());
    // Inside, 127.0.0.1 is the sandbox itself.
    Ok(addresses
        .filter(|one| !one.starts_with("127."))
        .map(str::to_owned)
        .collect())
}

async fn without_walls_everything_is_paused_until_they_stand_again(
    product: &Product,
    people: &[Person],
) -> anyhow::Result<()> {
    let fell = Utc::now();
    let table = format!("clawkaka_{}", product.docker.deployment);
    command::run("nft", &["delete", "table", "inet", &table]).await?;
    product
        .docker
        .wait_for_event("pause", 2, fell, PATIENCE)
        .await?;
    show(&format!(
        "both paused {} ms after the walls fell\n",
        (Utc::now() - fell).num_milliseconds()
    ));
    anyhow::ensure!(
        product.logs.count("walls have fallen")? == 1,
        "it was not logged once"
    );

    let marks = product.all_say(people, "while-open").await?;
    let stood = Utc::now();
    product.walls("up").await?;
    product
        .docker
        .wait_for_event("unpause", 2, stood, PATIENCE)
        .await?;
    show(&format!(
        "both go on {} ms after they stood\n",
        (Utc::now() - stood).num_milliseconds()
    ));
    product.exactly_one_each(people, &marks).await?;
    for (person, mark) in people.iter().zip(&marks) {
        let answer = product.answered(person, mark).await?;
        anyhow::ensure!(answer.at > stood, "answered without walls");
    }
    let again = mark("again");
    product
        .says(&people[0], &format!("Please note {again}"))
        .await?;
    product.exactly_one_each(&people[..1], &[again]).await
}

#[expect(
    clippy::print_stdout,
    reason = "figures for whoever runs it with --nocapture"
)]
fn show(figures: &str) {
    print!("{figures}");
}
