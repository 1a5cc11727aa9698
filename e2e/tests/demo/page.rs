//! What the page does at each step, with the product's side of the wire played by the test.

use e2e::{Simulators, alone, free_ports, model, whatsapp};
use serde_json::{Value, json};

use super::{
    browser::{Browser, chat},
    stub::{Product, Webhook, call, text_to},
};

pub const ANA: &str = "15550001";
pub const BEN: &str = "15550002";

pub async fn simulators(product: &Product) -> anyhow::Result<Simulators> {
    let whatsapp = whatsapp::Settings {
        webhook_url: product.url.clone(),
        ..whatsapp::Settings::default()
    };
    Simulators::start(whatsapp, model::Settings::default()).await
}

/// What a person wrote in a webhook; nothing if it is none of theirs.
pub fn written(webhook: &Webhook) -> Option<(String, String, String)> {
    let message = &webhook.value()["messages"][0];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Some((
        text(&message["from"])?,
        text(&message["text"]["body"])?,
        text(&message["id"])?,
    ))
}

pub fn mark(wamid: &str, typing: bool) -> Value {
    let mut mark = json!({"messaging_product": "whatsapp", "status": "read", "message_id": wamid});
    if typing {
        mark["typing_indicator"] = json!({"type": "text"});
    }
    mark
}

/// The ticks of the latest message of a person, as a screen reader says them.
fn ticks(person: &str) -> String {
    let latest = format!("{} .own:last-of-type .ticks", chat(person));
    format!(
        "[...document.querySelectorAll({})].at(-1)?.ariaLabel",
        json!(latest)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_sees_what_this_is_and_talks_at_once() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start().await;
    let simulators = simulators(&product).await?;
    let browser = Browser::open(&simulators.start_control(0).await?).await?;

    browser
        .reads(".banner", "This is a simulated WhatsApp")
        .await?;
    browser.reads(".banner", "really running assistant").await?;
    browser.reads("#model", "Scripted model").await?;
    browser
        .reads(&chat(ANA), "You are Ana. Say something!")
        .await?;
    browser
        .reads(&chat(BEN), "You are Ben. Say something!")
        .await?;

    browser
        .click(&format!("{} .empty button", chat(ANA)))
        .await?;
    browser
        .reads(&format!("{} .own", chat(ANA)), "What can you do?")
        .await?;
    browser
        .until(&format!("{} === 'delivered'", ticks(ANA)))
        .await?;
    let first = &product.wait_for(1).await[0];
    assert!(first.signature.is_some(), "it is not signed");
    let (from, text, wamid) = written(first).unwrap();
    assert_eq!((from.as_str(), text.as_str()), (ANA, "What can you do?"));

    call(&simulators, &mark(&wamid, true)).await?;
    browser.until(&format!("{} === 'read'", ticks(ANA))).await?;
    browser
        .reads(&format!("{} .status", chat(ANA)), "typing…")
        .await?;
    call(&simulators, &text_to(ANA, "Whatever you *like*.")).await?;
    browser
        .reads(&format!("{} .theirs", chat(ANA)), "Whatever you like.")
        .await?;
    browser
        .reads(&format!("{} .status", chat(ANA)), "Ana's assistant")
        .await?;
    let typing = format!("{} .typing:not([hidden])", chat(ANA));
    assert_eq!(browser.text(&typing).await?, "");
    // The product hears what the phone did with it, and only then is it no longer unread.
    let webhooks = product.wait_for(4).await;
    let receipts = webhooks.iter().map(|one| one.status()["status"].clone());
    let receipts: Vec<_> = receipts.filter(|status| !status.is_null()).collect();
    assert_eq!(receipts, ["sent", "delivered", "read"]);
    assert_eq!(
        browser
            .text(&format!("{} .theirs:not(.typing)", chat(BEN)))
            .await?,
        ""
    );
    browser.has_no_complaints().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_real_model_is_named() -> anyhow::Result<()> {
    let _alone = alone().await;
    let settings = model::Settings {
        real: Some("some/model-9".to_owned()),
        ..model::Settings::default()
    };
    let simulators = Simulators::start(whatsapp::Settings::default(), settings).await?;
    let browser = Browser::open(&simulators.start_control(0).await?).await?;
    browser.reads("#model", "Real model: some/model-9").await?;
    browser
        .reads("#about", "They come from the model some/model-9.")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_like_markup_is_text_and_whatsapps_own_is_shown() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start().await;
    let simulators = simulators(&product).await?;
    let browser = Browser::open(&simulators.start_control(0).await?).await?;
    let evil = "<img src=x onerror=\"document.title='broken'\"> &amp; <b>no</b>";
    browser
        .write(ANA, &format!("{evil}\nsecond *line*"))
        .await?;
    browser.reads(&format!("{} .own", chat(ANA)), evil).await?;
    let (_, text, _) = written(&product.wait_for(1).await[0]).unwrap();
    assert_eq!(text, format!("{evil}\nsecond *line*"));
    call(&simulators, &text_to(ANA, evil)).await?;
    browser
        .reads(&format!("{} .theirs", chat(ANA)), evil)
        .await?;
    assert_eq!(
        browser
            .look("document.querySelectorAll('.log img, .log b').length")
            .await?,
        0
    );

    for (written, shown) in [
        ("a *b* _c_ ~d~ `e`", "a [strong b] [em c] [s d] [code e]"),
        (
            "*_both_* (*x*), *y*!",
            "[strong [em both]] ([strong x]), [strong y]!",
        ),
        ("2*3*4 snake_case_name a* b*", "2*3*4 snake_case_name a* b*"),
        ("* not bold * ** _ _", "[ul [li not bold * ** _ _]]"),
        ("*two\nlines*", "*two/lines*"),
        ("a\n\nb", "a/[br]/b"),
        ("```x = *1*\n  y```", "[code.block x = *1*|  y]"),
        ("- a\n- *b*\nc", "[ul [li a][li [strong b]]]c"),
        ("1. a\n2. b", "[ol [li a][li b]]"),
        (
            "> said _he_\n> twice\nno",
            "[blockquote [div said [em he]][div twice]]no",
        ),
        (
            "see https://a.example/x_y_z.",
            "see [a https://a.example/x_y_z].",
        ),
        ("javascript:alert(1) *", "javascript:alert(1) *"),
        ("<i>", "<i>"),
    ] {
        let found = browser.look(&markup(written)).await?;
        assert_eq!(found, shown, "{written}");
    }
    browser.has_no_complaints().await
}

/// How the page's own code shows a text, in brackets.
fn markup(text: &str) -> String {
    format!(
        "(async () => {{
           const {{ formatted }} = await import('/demo/format.js');
           const shown = (node) => {{
             if (node.nodeType === 3) return node.data.replaceAll('\\n', '|');
             const inside = [...node.childNodes].map(shown).join('');
             if (node.className === 'line') {{
               const next = node.nextSibling?.className === 'line' ? '/' : '';
               return inside + next;
             }}
             const name = [node.localName, node.className].filter(Boolean).join('.');
             return '[' + name + (inside ? ' ' + inside : '') + ']';
           }};
           return [...formatted({}).childNodes].map(shown).join('');
         }})()",
        json!(text)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_not_taken_says_so_and_arrives_later() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start().await;
    product.refuse(usize::MAX);
    let simulators = simulators(&product).await?;
    let browser = Browser::open(&simulators.start_control(0).await?).await?;
    browser.write(BEN, "Is anybody there?").await?;
    let trouble = format!("{} .trouble", chat(BEN));
    browser
        .reads(
            &trouble,
            "Not delivered yet (the assistant answered 503), retrying…",
        )
        .await?;
    assert_eq!(browser.look(&ticks(BEN)).await?, "sent");
    product.refuse(0);
    browser
        .until(&format!("{} === 'delivered'", ticks(BEN)))
        .await?;
    assert_eq!(browser.text(&trouble).await?, "");
    // In the order in which they were written, once.
    browser.write(BEN, "Thank you").await?;
    browser
        .until(&format!("{} === 'delivered'", ticks(BEN)))
        .await?;
    let texts = "[...document.querySelectorAll('.own .text')].map((one) => one.innerText.trim())";
    assert_eq!(
        browser.look(texts).await?,
        json!(["Is anybody there?", "Thank you"])
    );
    browser.has_no_complaints().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_gets_a_phone_with_the_keyboard_alone() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start().await;
    let simulators = simulators(&product).await?;
    let browser = Browser::open(&simulators.start_control(0).await?).await?;
    browser.until("document.querySelector('.person')").await?;
    let (tab, enter) = ("\u{e004}", "\u{e007}");
    browser.keys(tab).await?;
    browser.keys(enter).await?;
    browser
        .until("document.activeElement.name === 'name'")
        .await?;
    browser.keys(enter).await?;
    browser.reads("dialog .error", "Give a name").await?;
    browser.keys("Chiara").await?;
    browser.keys(enter).await?;
    browser
        .until("document.activeElement.ariaLabel === 'Message as Chiara'")
        .await?;
    browser.keys("Hello from the keyboard").await?;
    browser.keys(enter).await?;
    let (from, text, _) = written(&product.wait_for(1).await[0]).unwrap();
    assert_eq!(
        (from.as_str(), text.as_str()),
        ("15550003", "Hello from the keyboard")
    );
    // Three phones side by side; a fourth takes the place of the one used least.
    browser
        .until("document.querySelectorAll('.chat').length === 3")
        .await?;
    browser.fits(1280).await?;
    browser.has_no_complaints().await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_comes_back_by_itself_when_the_simulator_restarts() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start().await;
    let port = free_ports(1)?;
    let before = simulators(&product).await?;
    let browser = Browser::open(&before.start_control(port).await?).await?;
    browser.click("#add").await?;
    browser.keys("Chiara\u{e007}").await?;
    browser
        .until("document.activeElement.ariaLabel === 'Message as Chiara'")
        .await?;
    browser.write(ANA, "Remember me").await?;
    browser
        .reads(&format!("{} .own", chat(ANA)), "Remember me")
        .await?;

    drop(before);
    browser
        .reads("#strip", "cannot be reached, trying again")
        .await?;
    let sending = format!(
        "document.querySelector({}).disabled",
        json!(format!("{} .send", chat(ANA)))
    );
    assert_eq!(browser.look(&sending).await?, true);
    let after = simulators(&product).await?;
    while after.start_control(port).await.is_err() {
        tokio::task::yield_now().await;
    }
    browser
        .reads("#strip", "was restarted: earlier messages are gone")
        .await?;
    browser
        .reads(&chat(ANA), "You are Ana. Say something!")
        .await?;
    browser.reads(".person", "Chiara").await?;
    browser.write(ANA, "And now?").await?;
    browser
        .until(&format!("{} === 'delivered'", ticks(ANA)))
        .await?;
    Ok(())
}
