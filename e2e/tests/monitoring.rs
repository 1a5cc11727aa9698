//! An operator's Prometheus beside a running product: what alerts and dashboard ask for is there, nothing
//! is alarmed while all is well, and what breaks is told.
//!
//! The real Prometheus with the configuration and the rules of `infra/monitoring`; only ports and times are changed, so that
//! the story need not wait an operator's minutes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::Context as _;
use chrono::{TimeDelta, Utc};
use e2e::{
    Product, alone,
    crowd::{mark, person},
    free_ports, http_client,
    whatsapp::{Fault, FaultRule, On},
};
use serde_json::Value;
use tokio::process::{Child, Command};

/// What the machine itself is short of is no fault of the product.
const OF_THE_MACHINE: [&str; 2] = ["DiskLow", "InodesLow"];

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sees_who_waits_and_is_told_what_breaks() -> anyhow::Result<()> {
    let _alone = alone().await;
    let mut product = Product::start(&[]).await?;
    let prometheus = Prometheus::start(&product).await?;
    let anna = person(1);
    let hello = mark("hello");
    product.says(&anna, &format!("Please note {hello}")).await?;
    product
        .exactly_one_each(std::slice::from_ref(&anna), &[hello])
        .await?;

    // Also what only the first sweep makes, a minute after the start.
    let wanted = names_asked_for()?;
    anyhow::ensure!(
        wanted.len() > 40,
        "only {} metrics are asked for",
        wanted.len()
    );
    product
        .until("every metric that is asked for has samples", || async {
            Ok(prometheus.names().await?.is_superset(&wanted))
        })
        .await
        .with_context(|| format!("asked for: {wanted:?}"))?;
    every_question_has_an_answer(&product, &prometheus).await?;
    what_happened_is_counted(&product, &prometheus).await?;
    product
        .until("nothing is alarmed", || async {
            Ok(prometheus.alerts().await?.is_empty())
        })
        .await?;

    // The token is refused: the answer waits, and somebody is told.
    let refused = FaultRule::from(Fault::Error {
        code: 190,
        status: None,
    });
    product.whatsapp.program(refused.on(On::Any).always());
    let waits = mark("waits");
    product.says(&anna, &format!("Please note {waits}")).await?;
    prometheus.fires(&product, "LineBlockedByToken").await?;

    // The walls fall.
    product.walls("down").await?;
    prometheus.fires(&product, "WallsFallen").await?;
    prometheus.fires(&product, "WallsUnproven").await?;

    // All of it is mended as the runbook says, and falls silent again.
    product.walls("up").await?;
    product.whatsapp.clear_program();
    product.stop().await?;
    prometheus.fires(&product, "WorkerDown").await?;
    // The new token is one that ends in three days: it works, and somebody is told in time.
    let in_three_days = (Utc::now() + TimeDelta::days(3)).timestamp();
    product
        .whatsapp
        .change_account(|account| account.token_expires_at = in_three_days);
    product.start_again().await?;
    product.exactly_one_each(&[anna], &[waits]).await?;
    let gone = [
        "LineBlockedByToken",
        "WallsFallen",
        "WallsUnproven",
        "WorkerDown",
    ];
    product
        .until("what was mended is silent", || async {
            let alarmed = prometheus.alerts().await?;
            Ok(gone.iter().all(|name| !alarmed.contains_key(*name)))
        })
        .await?;
    prometheus.fires(&product, "TokenExpiresSoon").await?;
    product
        .finish(&["walls have fallen", "the access token was refused"])
        .await
}

/// Every expression of alerts and dashboard is one that Prometheus takes; a panel that is not about
/// failures shows something.
async fn every_question_has_an_answer(
    product: &Product,
    prometheus: &Prometheus,
) -> anyhow::Result<()> {
    for question in questions()? {
        let asked = question.replace("$__rate_interval", "1m");
        let answer = prometheus.ask(&asked).await;
        let answer = answer.with_context(|| format!("ask {asked}"))?;
        let only_failures = asked.ends_with("> 0");
        anyhow::ensure!(
            only_failures || !answer.is_empty(),
            "nothing answers {asked} in {}",
            product.place.deployment
        );
    }
    Ok(())
}

/// One person wrote one message, and these are the figures of it.
async fn what_happened_is_counted(
    product: &Product,
    prometheus: &Prometheus,
) -> anyhow::Result<()> {
    let receipts = "clawkaka_receipts_total{status=\"read\"}";
    for (question, least) in [
        ("clawkaka_answer_seconds_count", 1.0),
        (
            "clawkaka_turn_seconds_count{trigger=\"message\",outcome=\"answered\"}",
            1.0,
        ),
        ("clawkaka_turns_total{outcome=\"answered\"}", 1.0),
        ("clawkaka_sandbox_wake_seconds_count", 1.0),
        (
            "clawkaka_gateway_dial_seconds_count{outcome=\"let_in\"}",
            1.0,
        ),
        ("clawkaka_webhook_seconds_count{outcome=\"stored\"}", 2.0),
        ("clawkaka_webhook_stored_total", 2.0),
        ("clawkaka_send_seconds_count{outcome=\"accepted\"}", 1.0),
        ("clawkaka_broker_call_seconds_count", 1.0),
        ("clawkaka_sandboxes{state=\"running\"}", 1.0),
        ("clawkaka_tokens_used", 1.0),
        ("clawkaka_tokens_limit", 1.0),
        ("clawkaka_disk_free_bytes", 1.0),
        ("clawkaka_walls_standing", 1.0),
        (receipts, 1.0),
    ] {
        product
            .until(question, || async {
                let answer = prometheus.ask(question).await?;
                Ok(answer.iter().sum::<f64>() >= least)
            })
            .await?;
    }
    let offset = prometheus.ask("clawkaka_clock_ahead_seconds").await?;
    anyhow::ensure!(
        offset.iter().all(|ahead| (-1.0..30.0).contains(ahead)),
        "both clocks are this machine's: {offset:?}"
    );
    Ok(())
}

struct Prometheus {
    url: String,
    _server: Child,
}

impl Prometheus {
    async fn start(product: &Product) -> anyhow::Result<Self> {
        let folder = product.place.folder.join("prometheus");
        fs::create_dir_all(&folder).context("make a folder for Prometheus")?;
        let port = free_ports(1)?;
        let metrics = product.place.port + 2;
        let config = fs::read_to_string(shipped("prometheus.yml"))?
            .replace("127.0.0.1:3003", &format!("127.0.0.1:{metrics}"))
            .replace("15s", "1s");
        // The other two belong to whoever runs roles of their own on this machine.
        let ours = |line: &&str| !line.contains(":3006") && !line.contains(":3007");
        let config: Vec<_> = config.lines().filter(ours).collect();
        fs::write(folder.join("prometheus.yml"), config.join("\n"))?;
        let rules = fs::read_to_string(shipped("alerts.yml"))?;
        let rules: Vec<_> = rules.lines().map(shortened).collect();
        fs::write(folder.join("alerts.yml"), rules.join("\n"))?;

        let log = fs::File::create(folder.join("log")).context("make a log for Prometheus")?;
        let server = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "prometheus"])
            .arg(format!(
                "--config.file={}",
                folder.join("prometheus.yml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("data").display()
            ))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("start prometheus, which the package of that name brings")?;
        let prometheus = Self {
            url: format!("http://127.0.0.1:{port}"),
            _server: server,
        };
        product
            .until("Prometheus is ready", || async {
                Ok(prometheus.get("/-/ready").await.is_ok())
            })
            .await
            .with_context(|| fs::read_to_string(folder.join("log")).unwrap_or_default())?;
        Ok(prometheus)
    }

    async fn get(&self, path: &str) -> anyhow::Result<String> {
        let url = format!("{}{path}", self.url);
        let answer = http_client(Duration::from_secs(10))?
            .get(url)
            .send()
            .await?;
        let status = answer.status();
        let text = answer.text().await?;
        anyhow::ensure!(status.is_success(), "{status}: {text}");
        Ok(text)
    }

    async fn json(&self, path: &str) -> anyhow::Result<Value> {
        let answer: Value = serde_json::from_str(&self.get(path).await?)?;
        Ok(answer["data"].clone())
    }

    /// The values of an expression, now.
    async fn ask(&self, expression: &str) -> anyhow::Result<Vec<f64>> {
        let encoded: String = expression
            .bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        let answer = self.json(&format!("/api/v1/query?query={encoded}")).await?;
        let found = answer["result"].as_array().context("no result")?;
        let values = found
            .iter()
            .filter_map(|one| one["value"][1].as_str()?.parse().ok());
        Ok(values.collect())
    }

    /// The metrics that have samples, without what a histogram adds.
    async fn names(&self) -> anyhow::Result<BTreeSet<String>> {
        let answer = self.json("/api/v1/label/__name__/values").await?;
        let names = answer.as_array().context("no names")?;
        Ok(names
            .iter()
            .filter_map(|name| Some(plain(name.as_str()?)))
            .collect())
    }

    /// What is pending or firing, by name.
    async fn alerts(&self) -> anyhow::Result<BTreeMap<String, String>> {
        let answer = self.json("/api/v1/alerts").await?;
        let alerts = answer["alerts"].as_array().context("no alerts")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Ok(alerts
            .iter()
            .map(|alert| (text(&alert["labels"]["alertname"]), text(&alert["state"])))
            .filter(|(name, _)| !OF_THE_MACHINE.contains(&name.as_str()))
            .collect())
    }

    async fn fires(&self, product: &Product, alert: &str) -> anyhow::Result<()> {
        product
            .until(&format!("{alert} fires"), || async {
                let alarmed = self.alerts().await?;
                Ok(alarmed.get(alert).is_some_and(|state| state == "firing"))
            })
            .await
    }
}

fn shipped(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../infra/monitoring")
        .join(file)
}

/// An alert that must hold for minutes holds for two seconds.
fn shortened(line: &str) -> String {
    match line.split_once("for: ") {
        Some((indent, _)) if indent.trim().is_empty() => format!("{indent}for: 2s"),
        _ => line.to_owned(),
    }
}

fn plain(name: &str) -> String {
    let ends = ["_bucket", "_count", "_sum"];
    let base = ends.iter().find_map(|end| name.strip_suffix(end));
    base.unwrap_or(name).to_owned()
}

/// Every expression of the dashboard.
fn questions() -> anyhow::Result<Vec<String>> {
    let board: Value = serde_json::from_str(&fs::read_to_string(shipped("grafana.json"))?)?;
    let panels = board["panels"].as_array().context("no panels")?;
    let targets = panels
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let asked = targets.filter_map(|target| Some(target["expr"].as_str()?.to_owned()));
    Ok(asked.collect())
}

/// Every metric that the dashboard or an alert names.
fn names_asked_for() -> anyhow::Result<BTreeSet<String>> {
    let mut texts = questions()?;
    texts.push(fs::read_to_string(shipped("alerts.yml"))?);
    let word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
    let words = texts.iter().flat_map(|text| text.split(word));
    Ok(words
        .filter(|word| word.starts_with("clawkaka_"))
        .map(plain)
        .collect())
}
