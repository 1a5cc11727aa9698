//! What is forged, unset or too much starts nothing.

use e2e::{
    Product, alone,
    crowd::{people, person},
    whatsapp::{Message, Signature, signature},
};
use futures_util::future::try_join_all;

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_signature_stores_nothing_and_starts_nothing() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start(&[]).await?;
    let body = product
        .whatsapp
        .body(&[Message::text(&person(1), "Let me in")]);
    let right = signature(&product.secrets[0].1, &body);
    let forged = [
        Signature::Missing,
        Signature::Header(signature("another secret", &body)),
        Signature::Header(signature(&product.secrets[0].1, b"another body")),
        Signature::Header(right[..right.len() - 2].to_owned()),
        Signature::Header(right.replace("sha256=", "sha256=00")),
        Signature::Header(right.replace("sha256=", "sha1=")),
        Signature::Header(right.replace("sha256=", "")),
        Signature::Header("sha256=".to_owned()),
    ];
    for signature in forged {
        let status = product.whatsapp.post_signed(&body, &signature).await;
        anyhow::ensure!(
            status.is_some_and(|status| (400..500).contains(&status)),
            "{status:?}"
        );
    }
    for query in [
        "select count(*) from inbox",
        "select count(*) from tenant",
        "select count(*) from sandbox",
    ] {
        let rows = product.postgres.count(query).await?;
        anyhow::ensure!(rows == 0, "{query}: {rows}");
    }
    anyhow::ensure!(
        product.docker.sandboxes().await?.is_empty(),
        "a sandbox was made"
    );

    // The same body, signed as it should be, is taken: it was the signature.
    let status = product.whatsapp.post(&body).await;
    anyhow::ensure!(status == Some(200), "{status:?}");
    product
        .whatsapp
        .wait_for_reply(&person(1), 1, e2e::PATIENCE)
        .await?;
    product.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_with_bad_settings_names_every_one_of_them_and_fails() -> anyhow::Result<()> {
    let _alone = alone().await;
    let mut product = Product::prepare(&[]).await?;
    for (name, bad) in [
        ("WHATSAPP_APP_SECRET", ""),
        ("LLM_API_KEY", ""),
        ("CLAWKAKA_MASTER_KEY", "too short"),
        ("SANDBOX_SUBNET", "8.8.0.0/16"),
        ("TURN_DEADLINE", "soon"),
    ] {
        product.set(name, bad);
    }
    let ended = product.command("serve")?.output().await?;
    anyhow::ensure!(
        ended.status.code() == Some(78),
        "it ended with {}",
        ended.status
    );
    let said = String::from_utf8_lossy(&ended.stderr);
    for name in [
        "WHATSAPP_APP_SECRET",
        "LLM_API_KEY",
        "CLAWKAKA_MASTER_KEY",
        "SANDBOX_SUBNET",
        "TURN_DEADLINE",
    ] {
        let lines = said
            .lines()
            .filter(|line| line.contains(&format!("{name}:")))
            .count();
        anyhow::ensure!(lines == 1, "{name} is named {lines} times:\n{said}");
    }
    anyhow::ensure!(
        !said.contains("WHATSAPP_ACCESS_TOKEN"),
        "a good one is named:\n{said}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_strangers_gets_the_burst_of_sandboxes_and_the_rest_is_told_once()
-> anyhow::Result<()> {
    const BURST: usize = 2;
    let _alone = alone().await;
    // One an hour: none comes on top while the story runs.
    let burst = BURST.to_string();
    let limits = [
        ("LIMIT_SIGNUP_BURST", burst.as_str()),
        ("LIMIT_SIGNUPS_PER_HOUR", "1"),
    ];
    let product = Product::start(&limits).await?;
    let strangers = people(100);
    for text in ["Hello, who are you?", "Are you there?"] {
        try_join_all(
            strangers
                .iter()
                .map(|stranger| product.says(stranger, text)),
        )
        .await?;
    }
    product.settled().await?;

    let sandboxes = product.docker.sandboxes().await?;
    anyhow::ensure!(sandboxes.len() == BURST, "{} sandboxes", sandboxes.len());
    let rows = product
        .postgres
        .count("select count(*) from sandbox")
        .await?;
    anyhow::ensure!(rows == BURST as i64, "{rows} rows of sandboxes");
    let refused = |text: &str| text.contains("no free place");
    let mut told = 0;
    for stranger in &strangers {
        let chat = product.whatsapp.chat(stranger);
        let refusals = chat.iter().filter(|bubble| refused(&bubble.text)).count();
        told += usize::from(refusals == 1 && chat.len() == 1);
        let answered = refusals == 0 && !chat.is_empty();
        anyhow::ensure!(answered || refusals == 1, "{}", product.screen(stranger));
    }
    anyhow::ensure!(told == strangers.len() - BURST, "{told} were told once");
    product.finish(&[]).await
}
