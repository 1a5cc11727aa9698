//! The page on a phone: one chat or the list, nothing beyond the edge, and what is unread.

use e2e::{alone, whatsapp::Ticks};
use serde_json::json;

use super::{
    SOON,
    browser::{Browser, chat},
    page::{ANA, BEN, simulators},
    stub::{Product, call, text_to},
};

/// Nothing in it can be broken between words.
const UNBROKEN: &str =
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_on_the_screen_stays_unread_until_it_is() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start().await;
    let simulators = simulators(&product).await?;
    let browser = Browser::open(&simulators.start_control(0).await?).await?;
    browser.size(390, 844).await?;
    browser.until("!document.querySelector('.chat')").await?;
    browser
        .click(&format!(".person[data-person='{ANA}']"))
        .await?;
    browser.write(ANA, "Write to me when I am away").await?;
    product.wait_for(1).await;
    browser.click(&format!("{} .back", chat(ANA))).await?;
    browser.until("!document.querySelector('.chat')").await?;

    for text in ["One", "Two:\n- *three*"] {
        call(&simulators, &text_to(ANA, text)).await?;
    }
    let row = format!(".person[data-person='{ANA}']");
    browser.reads(&format!("{row} .count"), "2").await?;
    browser.reads(&format!("{row} .last"), "Two: three").await?;
    assert_eq!(
        browser.look("document.title").await?,
        "(2) Talk to Clawkaka"
    );
    let ticks = |wanted: Ticks| {
        simulators.whatsapp.wait_until(SOON, move |state| {
            let ana = state.person_at(ANA);
            state
                .chat(&ana)
                .all(|one| one.ticks == wanted)
                .then_some(())
        })
    };
    ticks(Ticks::Delivered).await?;

    browser.click(&row).await?;
    browser
        .reads(&format!("{} .theirs", chat(ANA)), "three")
        .await?;
    ticks(Ticks::Read).await?;
    browser.back().await?;
    browser.until("!document.querySelector('.chat')").await?;
    assert_eq!(browser.text(&format!("{row} .count")).await?, "");
    browser.has_no_complaints().await
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_lies_beyond_the_edge_at_any_width() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start().await;
    let simulators = simulators(&product).await?;
    let url = simulators.start_control(0).await?;
    let browser = Browser::open(&url).await?;
    browser
        .write(ANA, &format!("{UNBROKEN}\n*{UNBROKEN}*"))
        .await?;
    for text in [
        UNBROKEN,
        "```let long = \"a line of a program that is wider than any telephone on this earth\";\nx```",
        "https://a.example/with/a/very/long/path/that/never/ends/and/has/no/place/to/break/it/anywhere",
        &format!("- {UNBROKEN}\n> {UNBROKEN}"),
    ] {
        call(&simulators, &text_to(ANA, text)).await?;
    }
    product.refuse(usize::MAX);
    browser.write(ANA, "Not taken").await?;
    browser.reads(".trouble", "retrying").await?;
    for width in [320, 390, 761, 1024, 1280, 1920] {
        browser.size(width, 800).await?;
        browser.go(&url).await?;
        browser.fits(width).await?;
        for person in [ANA, BEN] {
            if width > 760 {
                browser
                    .click(&format!(".person[data-person='{person}']"))
                    .await?;
            } else {
                let address = format!("location.hash = '#{person}'");
                browser.look(&address).await?;
            }
            browser
                .until(&format!("document.querySelector({})", json!(chat(person))))
                .await?;
            browser.fits(width).await?;
        }
        browser.until("(location.hash = '') || true").await?;
    }
    browser.has_no_complaints().await
}
