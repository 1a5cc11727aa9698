//! `clawkaka doctor` on the real parts: it finds each planted fault by its code and nothing else.

use std::{collections::BTreeSet, net::TcpListener};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{TimeDelta, Utc};
use e2e::{Product, alone, command, whatsapp::Account};
use serde_json::Value;

/// What may be wanting on whatever machine this runs; and stories that back nothing up are warned.
const OF_THE_MACHINE: [&str; 5] = ["live-restore", "memory", "disk", "subnet", "backup-store"];

struct Report(Value);

impl Report {
    fn with(&self, result: &str) -> BTreeSet<String> {
        let checks = self.0["checks"].as_array().into_iter().flatten();
        let wanted = checks.filter(|check| check["result"] == result);
        wanted
            .filter_map(|check| check["code"].as_str())
            .map(str::to_owned)
            .collect()
    }

    /// Everything was looked at, but the backups of a deployment that has no place for any.
    fn leaves_nothing_out(&self) -> bool {
        let skipped = self.with("skip");
        skipped
            .iter()
            .all(|code| matches!(code.as_str(), "backup-age" | "backup-key"))
    }
}

/// Runs the real command; the exit code must say the same as its words.
async fn doctor(
    product: &Product,
    settings: &[(&str, &str)],
    words: &[&str],
) -> anyhow::Result<Report> {
    let mut doctor = product.command("doctor")?;
    doctor.arg("--json").args(words);
    // Little is enough here; what is too little has a story of its own.
    for enough in [["--min-disk", "1"], ["--min-inodes", "1000"]] {
        if !words.contains(&enough[0]) {
            doctor.args(enough);
        }
    }
    for (name, value) in settings {
        match *value {
            "" => doctor.env_remove(name),
            value => doctor.env(name, value),
        };
    }
    let ended = doctor.output().await.context("run doctor")?;
    let said = String::from_utf8_lossy(&ended.stdout);
    let report: Value = serde_json::from_str(&said)
        .with_context(|| format!("{said}{}", String::from_utf8_lossy(&ended.stderr)))?;
    let report = Report(report);
    let expected = if report.with("fail").is_empty() { 0 } else { 1 };
    anyhow::ensure!(
        ended.status.code() == Some(expected),
        "{}: {said}",
        ended.status
    );
    for secret in product.private() {
        anyhow::ensure!(!said.contains(&secret), "something private is in: {said}");
    }
    Ok(report)
}

/// Exactly these codes fail, and each says what to do.
async fn finds(
    product: &Product,
    settings: &[(&str, &str)],
    words: &[&str],
    codes: &[&str],
) -> anyhow::Result<()> {
    let report = doctor(product, settings, words).await?;
    let expected: BTreeSet<_> = codes.iter().map(|code| (*code).to_owned()).collect();
    anyhow::ensure!(
        report.with("fail") == expected,
        "not {codes:?}: {:#}",
        report.0
    );
    let checks = report.0["checks"].as_array().into_iter().flatten();
    for check in checks.filter(|check| check["result"] == "fail") {
        anyhow::ensure!(check["do"].is_string(), "nothing to do about {check}");
    }
    Ok(())
}

/// A healthy product: all is looked at and all is well, but what is the machine's.
async fn all_is_well(product: &Product) -> anyhow::Result<()> {
    let well = || async {
        let report = doctor(product, &[], &[]).await?;
        Ok(report.with("fail").is_empty() && report.leaves_nothing_out())
    };
    product.until("doctor finds nothing", well).await?;
    let warnings = doctor(product, &[], &[]).await?.with("warn");
    let ours: Vec<_> = warnings
        .iter()
        .filter(|code| !OF_THE_MACHINE.contains(&code.as_str()))
        .collect();
    anyhow::ensure!(ours.is_empty(), "it warns of {ours:?}");
    Ok(())
}

async fn sql(product: &Product, statement: &'static str) -> anyhow::Result<()> {
    let done = sqlx::query(statement).execute(&product.postgres.db).await;
    done.with_context(|| statement)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_finds_each_planted_fault_by_its_code_and_nothing_else() -> anyhow::Result<()> {
    let _alone = alone().await;
    let mut product = Product::start(&[]).await?;
    all_is_well(&product).await?;
    faults_of_settings(&product).await?;
    faults_at_meta(&product).await?;
    faults_in_the_tables(&product).await?;
    faults_of_the_host(&product).await?;
    faults_of_the_process(&mut product).await?;
    all_is_well(&product).await?;
    product.finish(&["walls"]).await
}

/// What the operator has written down wrongly.
async fn faults_of_settings(product: &Product) -> anyhow::Result<()> {
    let url = product.postgres.url();
    let wrong_password = url.replace(product.postgres.password(), "wrong");
    let other_key = BASE64_STANDARD.encode([9; 32]);
    for (code, name, value) in [
        ("settings", "SANDBOX_IMAGE", ""),
        ("settings", "TURN_DEADLINE", "soon"),
        ("postgres", "DATABASE_URL", wrong_password.as_str()),
        ("keys", "CLAWKAKA_MASTER_KEY", &other_key),
        ("docker", "DOCKER_HOST", "unix:///nowhere/docker.sock"),
        ("runtime", "SANDBOX_RUNTIME", "nobody-has-this"),
        ("image", "SANDBOX_IMAGE", "nobody/has-this:1"),
        ("memory", "SANDBOX_MEMORY", "900000g"),
        ("graph", "WHATSAPP_API_BASE_URL", "http://127.0.0.1:9"),
        ("token", "WHATSAPP_ACCESS_TOKEN", "wrong"),
        ("number", "WHATSAPP_SENDER_PHONE_NUMBER_ID", "999"),
        (
            "webhook-verification",
            "WHATSAPP_VERIFICATION_TOKEN",
            "wrong",
        ),
        ("model", "LLM_API_KEY", "wrong"),
    ] {
        let found = finds(product, &[(name, value)], &[], &[code]).await;
        found.with_context(|| format!("{name}={value}"))?;
    }
    finds(product, &[], &["--min-disk", "9000000"], &["disk"]).await?;
    finds(
        product,
        &[],
        &["--min-inodes", "99000000000000"],
        &["inodes"],
    )
    .await?;

    let (hears, key) = (product.model.url(), product.model.settings().key.clone());
    for (key, codes) in [(key.as_str(), &[][..]), ("wrong", &["voice"])] {
        let service = [
            ("TRANSCRIPTION_BASE_URL", hears.as_str()),
            ("TRANSCRIPTION_API_KEY", key),
        ];
        finds(product, &service, &[], codes).await?;
    }

    // It listens and never says anything: what hangs is found, too.
    let silent = TcpListener::bind("127.0.0.1:0").context("listen")?;
    let url = format!(
        "http://{}/v1",
        silent.local_addr().context("read the port")?
    );
    finds(product, &[("LLM_BASE_URL", &url)], &[], &["model"]).await
}

/// What Meta knows of us, and does not.
async fn faults_at_meta(product: &Product) -> anyhow::Result<()> {
    let tomorrow = (Utc::now() + TimeDelta::days(1)).timestamp();
    type Change = Box<dyn Fn(&mut Account)>;
    let changes: [(&str, Change); 6] = [
        (
            "token-expiry",
            Box::new(move |account| account.token_expires_at = tomorrow),
        ),
        ("token", Box::new(|account| account.scopes.truncate(1))),
        (
            "webhook-subscription",
            Box::new(|account| account.subscribed = false),
        ),
        (
            "webhook-subscription",
            Box::new(|account| account.fields = None),
        ),
        (
            "webhook-subscription",
            Box::new(|account| account.fields = Some(vec!["account_update".to_owned()])),
        ),
        (
            "clock",
            Box::new(|account| account.clock_offset = TimeDelta::hours(-1)),
        ),
    ];
    for (code, change) in changes {
        product.whatsapp.change_account(|account| change(account));
        finds(product, &[], &[], &[code]).await?;
        product
            .whatsapp
            .change_account(|account| *account = Account::default());
    }
    Ok(())
}

async fn faults_in_the_tables(product: &Product) -> anyhow::Result<()> {
    sql(
        product,
        "create table kept as select * from _sqlx_migrations where version = 6",
    )
    .await?;
    sql(product, "delete from _sqlx_migrations where version = 6").await?;
    finds(product, &[], &[], &["migrations"]).await?;
    sql(product, "insert into _sqlx_migrations select * from kept").await?;
    sql(product, "drop table kept").await?;

    sql(
        product,
        "update line set blocked_until = 'infinity', blocked_reason = '190'",
    )
    .await?;
    finds(product, &[], &[], &["line"]).await?;
    sql(
        product,
        "update line set blocked_until = null, blocked_reason = null",
    )
    .await?;

    // Put off until tomorrow, as what cannot be routed is, again and again.
    sql(
        product,
        "insert into inbox (id, kind, provider_id, received_at, key_id, run_after)
         values ('00000000-0000-0000-0000-000000000001', 'unknown', 'planted',
                 now() - interval '1 h', 1, now() + interval '1 day')",
    )
    .await?;
    finds(product, &[], &[], &["queue"]).await?;
    sql(product, "delete from inbox where provider_id = 'planted'").await?;

    // The worker would put a turn right, so nobody holds this one: it belongs to another host.
    sql(
        product,
        "insert into worker (host, id, lease_until)
         values ('elsewhere', '00000000-0000-0000-0000-000000000002', now() + interval '1 h')",
    )
    .await?;
    sql(
        product,
        "with person as (
             insert into tenant (id, line_id, status, key_id, created_at)
             select '00000000-0000-0000-0000-000000000003', id, 'active', 1, now() from line
             returning id
         ), box as (
             insert into sandbox (id, slot, tenant_id, intent, created_at)
             select '00000000-0000-0000-0000-000000000004', 60000, id, 'stopped', now() from person
             returning id, tenant_id
         )
         insert into turn (id, tenant_id, sandbox_id, trigger, worker_id, created_at, deadline_at)
         select '00000000-0000-0000-0000-000000000005', tenant_id, id, 'message',
                '00000000-0000-0000-0000-000000000002', now() - interval '2 h', now() - interval '1 h'
         from box",
    )
    .await?;
    finds(product, &[], &[], &["turns"]).await?;
    sql(
        product,
        "delete from turn where id = '00000000-0000-0000-0000-000000000005'",
    )
    .await?;
    sql(
        product,
        "delete from sandbox where id = '00000000-0000-0000-0000-000000000004'",
    )
    .await?;
    sql(
        product,
        "delete from tenant where id = '00000000-0000-0000-0000-000000000003'",
    )
    .await?;
    sql(product, "delete from worker where host = 'elsewhere'").await
}

async fn faults_of_the_host(product: &Product) -> anyhow::Result<()> {
    let inside = product.place.subnet.replace(".0.0/16", ".200.0/24");
    command::run("ip", &["route", "add", &inside, "dev", "lo"]).await?;
    let found = finds(product, &[], &[], &["subnet"]).await;
    command::run("ip", &["route", "del", &inside, "dev", "lo"]).await?;
    found?;

    product.walls("down").await?;
    finds(product, &[], &[], &["walls"]).await?;
    product.walls("up").await?;
    // Until the worker has proven them again, from inside.
    all_is_well(product).await
}

/// What runs is not what these settings say, or does not run.
async fn faults_of_the_process(product: &mut Product) -> anyhow::Result<()> {
    let secret = product.secrets[0].1.clone();
    product.stop().await?;
    finds(product, &[], &[], &["broker", "lease", "web"]).await?;

    product.set("WHATSAPP_APP_SECRET", "another");
    product.start_again().await?;
    let proven = || async {
        let report = doctor(product, &[], &[]).await?;
        Ok(!report.with("fail").contains("walls-probe") && report.leaves_nothing_out())
    };
    product.until("the walls are proven", proven).await?;
    // Web and these settings agree, Meta does not.
    finds(product, &[], &[], &["app-secret"]).await?;
    // Meta and these settings agree, web does not.
    finds(
        product,
        &[("WHATSAPP_APP_SECRET", &secret)],
        &[],
        &["webhook-signature"],
    )
    .await?;

    product.stop().await?;
    product.set("WHATSAPP_APP_SECRET", &secret);
    product.start_again().await
}
