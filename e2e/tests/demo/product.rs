//! The whole story in a browser, with the real product and the real OpenClaw behind it.

use std::path::PathBuf;

use e2e::{
    Product, alone,
    model::{At, Rule},
};
use serde_json::json;

use super::{
    browser::{Browser, Light, chat},
    page::{ANA, BEN},
};

/// With everything that WhatsApp shows differently.
const ANSWER: &str = "Of course! Here is a plan for **Saturday**:\n\n1. Breakfast at the market\n2. \
                      A walk along the river\n3. *Long* nap\n\n> You said: nothing before nine.\n\n\
                      Shall I note it down?";
/// What the scripted model says to anything else.
const NOTED: &str = "I have made a note of it and am on it!";

#[tokio::test(flavor = "multi_thread")]
async fn people_talk_with_the_real_product_in_a_browser() -> anyhow::Result<()> {
    let _alone = alone().await;
    let mut product = Product::start(&[]).await?;
    let browser = Browser::open(&product.page().await?).await?;
    let album = Album::wanted();
    browser
        .reads(&chat(BEN), "You are Ben. Say something!")
        .await?;
    album.page(&browser, "1-first-visit").await?;

    a_first_sentence_is_answered(&product, &browser, &album).await?;
    each_gets_their_own_answer(&product, &browser, &album).await?;
    a_newcomer_is_added(&browser, &album).await?;
    while_the_product_is_away_messages_wait(&mut product, &browser, &album).await?;
    for width in [320, 390, 1280] {
        browser.size(width, 800).await?;
        browser.fits(width).await?;
    }
    browser.has_no_complaints().await?;
    drop(browser);
    product.finish(&[]).await
}

async fn a_first_sentence_is_answered(
    product: &Product,
    browser: &Browser,
    album: &Album,
) -> anyhow::Result<()> {
    // Every tick that the browser ever shows.
    browser
        .look(
            "window.seen = [], new MutationObserver(() => {
               for (const one of document.querySelectorAll('.own .ticks')) {
                 if (seen.at(-1) !== one.ariaLabel) seen.push(one.ariaLabel);
               }
             }).observe(document, {subtree: true, childList: true})",
        )
        .await?;
    product
        .model
        .program(Rule::hold("thinking", At::Start).times(1));
    browser
        .click(&format!("{} .empty button", chat(ANA)))
        .await?;
    browser
        .reads(&format!("{} .own", chat(ANA)), "What can you do?")
        .await?;
    browser
        .reads(&format!("{} .status", chat(ANA)), "typing…")
        .await?;
    browser.until("seen.at(-1) === 'read'").await?;
    let seen = browser.look("seen").await?;
    let order = ["sent", "delivered", "read"];
    let seen = seen.as_array().cloned().unwrap_or_default();
    let places = seen
        .iter()
        .map(|one| order.iter().position(|known| one == known));
    anyhow::ensure!(places.is_sorted() && seen.len() > 1, "{seen:?}");
    album.page(browser, "2-typing").await?;
    product.gates.release("thinking", e2e::Then::Go);
    let theirs = format!("{} .theirs", chat(ANA));
    browser
        .reads(&theirs, "I am your personal assistant")
        .await?;
    browser
        .reads(&format!("{} .status", chat(ANA)), "Ana's assistant")
        .await
}

async fn each_gets_their_own_answer(
    product: &Product,
    browser: &Browser,
    album: &Album,
) -> anyhow::Result<()> {
    product.model.clear_program();
    product.model.program(Rule::text(ANSWER).when("Saturday"));
    browser
        .click(&format!("{} .empty li:nth-child(2) button", chat(BEN)))
        .await?;
    browser.write(ANA, "Plan my _Saturday_, please!").await?;
    browser
        .reads(&format!("{} .theirs", chat(BEN)), NOTED)
        .await?;
    browser
        .reads(&format!("{} .theirs", chat(ANA)), "Shall I note it down?")
        .await?;
    for what in ["strong", "ol li:nth-child(3) em", "blockquote"] {
        let made = json!(format!("{} .theirs {what}", chat(ANA)));
        browser
            .until(&format!("document.querySelector({made})"))
            .await?;
    }
    for (person, other) in [(ANA, "birthday"), (BEN, "Saturday")] {
        let shown = browser.text(&format!("{} .log", chat(person))).await?;
        anyhow::ensure!(!shown.contains(other), "{person} sees {other}: {shown}");
    }
    album.page(browser, "3-two-people").await?;

    let hostile = "<img src=x onerror=alert(1)> and *bold*";
    browser.write(BEN, hostile).await?;
    let shown = "<img src=x onerror=alert(1)> and bold";
    browser.reads(&format!("{} .own", chat(BEN)), shown).await?;
    browser
        .until(&format!("{} === 2", count(BEN, NOTED)))
        .await?;
    let images = browser
        .look("document.querySelectorAll('.log img').length")
        .await?;
    anyhow::ensure!(images == 0, "{images} images were made of text");
    Ok(())
}

/// How many bubbles of the assistant say this to a person.
fn count(person: &str, text: &str) -> String {
    let theirs = json!(format!("{} .theirs .text", chat(person)));
    let text = json!(text);
    format!(
        "[...document.querySelectorAll({theirs})].filter((one) => one.innerText.includes({text})).length"
    )
}

async fn a_newcomer_is_added(browser: &Browser, album: &Album) -> anyhow::Result<()> {
    browser.click("#add").await?;
    browser
        .until("document.activeElement.name === 'name'")
        .await?;
    browser.keys("Chiara").await?;
    album.page(browser, "4-newcomer").await?;
    browser.click("dialog .strong").await?;
    browser
        .reads(&chat("15550003"), "You are Chiara. Say something!")
        .await
}

async fn while_the_product_is_away_messages_wait(
    product: &mut Product,
    browser: &Browser,
    album: &Album,
) -> anyhow::Result<()> {
    product.settled().await?;
    product.stop().await?;
    browser.write(ANA, "Are you there?").await?;
    let trouble = format!("{} .trouble", chat(ANA));
    let sentence = "Not delivered yet (the assistant cannot be reached), retrying…";
    browser.reads(&trouble, sentence).await?;
    album.page(browser, "5-not-delivered").await?;
    product.start_again().await?;
    browser
        .until(&format!("{} === 1", count(ANA, NOTED)))
        .await?;
    let all = "[...document.querySelectorAll('.trouble')].every((one) => one.hidden)";
    browser.until(all).await?;
    product.settled().await?;
    let answers = browser.look(&count(ANA, NOTED)).await?;
    anyhow::ensure!(answers == 1, "{answers} answers");
    album.page(browser, "6-delivered-after-all").await
}

/// Pictures for whoever judges how it looks.
struct Album(Option<PathBuf>);

impl Album {
    fn wanted() -> Self {
        Self(std::env::var_os("CLAWKAKA_SCREENSHOTS").map(PathBuf::from))
    }

    /// The page as it is now: on a phone and on a desk, by day and by night.
    async fn page(&self, browser: &Browser, name: &str) -> anyhow::Result<()> {
        let Some(folder) = &self.0 else { return Ok(()) };
        std::fs::create_dir_all(folder)?;
        for light in [Light::Light, Light::Dark] {
            browser.light(light).await?;
            for (place, width, height, hash) in [
                ("desk", 1280, 800, ""),
                ("phone-list", 390, 844, ""),
                ("phone", 390, 844, ANA),
            ] {
                browser.size(width, height).await?;
                browser
                    .until(&format!("(location.hash = '{hash}') || true"))
                    .await?;
                let settled = if width < 700 && hash.is_empty() {
                    "!document.querySelector('.chat')"
                } else {
                    "document.querySelector('.chat')"
                };
                browser.until(settled).await?;
                let light = format!("{light:?}").to_lowercase();
                browser
                    .picture(&folder.join(format!("{name}-{place}-{light}.png")))
                    .await?;
            }
        }
        browser.light(Light::Light).await?;
        browser.until("(location.hash = '') || true").await?;
        browser.size(1280, 800).await
    }
}
