//! Agents answer with more than words: what they ask for in their answer is exact on the wire, and what
//! cannot be sent becomes a sentence.

use anyhow::Context as _;
use e2e::{
    PATIENCE, Person, Product, alone,
    crowd::{mark, person},
    model::Rule,
    sample::{self, OGG, PDF},
    whatsapp::{CallKind, Enclosed, Message},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_answers_with_files_choices_and_a_reaction() -> anyhow::Result<()> {
    let _alone = alone().await;
    let templates = ("WHATSAPP_TEMPLATES", "en=assistant_waiting,en=pay_day");
    let product = Product::start(&[templates]).await?;
    let anna = person(1);
    files_come_back(&product, &anna).await?;
    the_same_file_is_not_uploaded_again(&product, &anna).await?;
    choices_are_offered_and_taken(&product, &anna).await?;
    what_cannot_be_sent_becomes_a_sentence(&product, &anna).await?;
    one_of_the_operators_templates_goes_out_and_no_other(&product, &anna).await?;
    product.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn files_come_back_through_kapso_too() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start_through_kapso().await?;
    files_come_back(&product, &person(1)).await?;
    product.finish(&[]).await
}

async fn files_come_back(product: &Product, anna: &Person) -> anyhow::Result<()> {
    let png = sample::png();
    for enclosed in [
        Enclosed::new("image", "image/png", &png),
        Enclosed::new("audio", "audio/ogg; codecs=opus", OGG),
        Enclosed::new("document", "application/pdf", PDF).named("report.pdf"),
    ] {
        let message = product.whatsapp.enclose(anna, enclosed);
        product.whatsapp.send(&message).await;
    }
    product.settled().await?;
    let [photo, voice, report] =
        [(&png[..], "png"), (OGG, "ogg"), (PDF, "pdf")].map(|(bytes, ending)| {
            let digest = hex::encode(Sha256::digest(bytes));
            format!("inbox/{}.{ending}", &digest[..16])
        });
    let answer = format!(
        "Here you are.\n[Send photo: {photo} | Your **photo**]\n[Send voice: {voice}]\n\
         [Send document: ./{report} | The report]\n[React: 👍]"
    );
    let (asked, sent) = asks(product, anna, &answer, 5).await?;
    let uploads = product.whatsapp.read(|state| state.uploads.clone());
    let [a, b, c] = &uploads[..] else {
        anyhow::bail!("{} uploads for three files", uploads.len());
    };
    let given = [a, b, c].map(|file| (file.mime.as_str(), &file.bytes[..]));
    let expected = [
        ("image/png", &png[..]),
        ("audio/ogg", OGG),
        ("application/pdf", PDF),
    ];
    anyhow::ensure!(given == expected, "other files were uploaded");
    let name = report.trim_start_matches("inbox/");
    let expected = [
        json!({"type": "text", "text": {"body": "Here you are.", "preview_url": false}}),
        json!({"type": "image", "image": {"id": a.id, "caption": "Your *photo*"}}),
        json!({"type": "audio", "audio": {"id": b.id, "voice": true}}),
        json!({"type": "document",
               "document": {"id": c.id, "caption": "The report", "filename": name}}),
        json!({"type": "reaction", "reaction": {"message_id": asked, "emoji": "👍"}}),
    ];
    are(&sent, &expected)
}

async fn the_same_file_is_not_uploaded_again(
    product: &Product,
    anna: &Person,
) -> anyhow::Result<()> {
    let uploads = product.whatsapp.read(|state| state.uploads.clone());
    let digest = hex::encode(Sha256::digest(PDF));
    let answer = format!("[Send document: inbox/{}.pdf]", &digest[..16]);
    let (_, sent) = asks(product, anna, &answer, 1).await?;
    anyhow::ensure!(
        sent[0]["document"]["id"] == json!(uploads[2].id),
        "{sent:?}"
    );
    let now = product.whatsapp.read(|state| state.uploads.len());
    anyhow::ensure!(now == 3, "{now} uploads");
    Ok(())
}

async fn choices_are_offered_and_taken(product: &Product, anna: &Person) -> anyhow::Result<()> {
    let answer = "Two places.\n[Send place: 48.2082, 16.3738 | Vienna]\n\
        [Send contact: Dr. Huber | +43 1 234567 | huber@example.org]\nShall I book?\n[Buttons: Yes | No]";
    let (_, sent) = asks(product, anna, answer, 4).await?;
    let button =
        |id: &str, title: &str| json!({"type": "reply", "reply": {"id": id, "title": title}});
    let expected = [
        json!({"type": "text", "text": {"body": "Two places.", "preview_url": false}}),
        json!({"type": "location",
               "location": {"latitude": 48.2082, "longitude": 16.3738, "name": "Vienna"}}),
        json!({"type": "contacts", "contacts": [{
            "name": {"formatted_name": "Dr. Huber", "first_name": "Dr. Huber"},
            "phones": [{"phone": "+43 1 234567"}], "emails": [{"email": "huber@example.org"}]}]}),
        json!({"type": "interactive", "interactive": {"type": "button",
            "body": {"text": "Shall I book?"},
            "action": {"buttons": [button("0", "Yes"), button("1", "No")]}}}),
    ];
    are(&sent, &expected)?;

    let answer = "What will it be?\n[List: Tea | Coffee: black, strong]\n[Link: The menu | https://example.org/menu]";
    let (_, sent) = asks(product, anna, answer, 2).await?;
    let expected = [
        json!({"type": "interactive", "interactive": {"type": "list",
            "body": {"text": "What will it be?"},
            "action": {"button": "Choose", "sections": [{"rows": [
                {"id": "0", "title": "Tea"},
                {"id": "1", "title": "Coffee", "description": "black, strong"}]}]}}}),
        json!({"type": "interactive", "interactive": {"type": "cta_url",
            "body": {"text": "The menu"}, "action": {"name": "cta_url", "parameters": {
                "display_text": "The menu", "url": "https://example.org/menu"}}}}),
    ];
    are(&sent, &expected)?;

    let tap = json!({"type": "list_reply", "list_reply": {
        "id": "1", "title": "Coffee", "description": "black, strong"}});
    product
        .whatsapp
        .send(&Message::of(anna, "interactive", tap))
        .await;
    product.settled().await?;
    let chose = r#"[Chose \"Coffee\" (\"black, strong\")]"#;
    let requests = product.model.requests();
    let told = requests.iter().any(|one| {
        let body = one.body.to_string();
        body.contains(&chose.replace('\\', "\\\\\\")) || body.contains(chose)
    });
    anyhow::ensure!(told, "the agent was not told what was chosen");
    Ok(())
}

async fn what_cannot_be_sent_becomes_a_sentence(
    product: &Product,
    anna: &Person,
) -> anyhow::Result<()> {
    let sandboxes = product.docker.sandboxes().await?;
    let sandbox = &sandboxes.first().context("there is no sandbox")?.id;
    let make = "mkdir -p files && ln -sf ../../broker-token files/leak.txt && \
                printf 'GIF89a moves' > files/moves.gif";
    let make = format!("cd /state/workspace && {make}");
    product.docker.exec(sandbox, &["sh", "-c", &make]).await?;
    let answer = "[Send document: ../broker-token]\n[Send document: files/leak.txt]\n\
                  [Send photo: files/gone.png | My caption]\n[Send photo: files/moves.gif]";
    let (_, sent) = asks(product, anna, answer, 4).await?;
    let document = "(I wanted to send you a document here and could not.)";
    let photo = "(I wanted to send you a photo here and could not.)";
    let text = |body: &str| json!({"type": "text", "text": {"body": body, "preview_url": false}});
    let captioned = format!("My caption\n{photo}");
    are(
        &sent,
        &[
            text(document),
            text(document),
            text(&captioned),
            text(photo),
        ],
    )?;
    let uploads = product.whatsapp.read(|state| state.uploads.len());
    anyhow::ensure!(uploads == 3, "{uploads} uploads: something leaked");
    Ok(())
}

async fn one_of_the_operators_templates_goes_out_and_no_other(
    product: &Product,
    anna: &Person,
) -> anyhow::Result<()> {
    let answer = "[Template: sale_now]\n[Template: pay_day]\n[Template: assistant_waiting]";
    let (_, sent) = asks(product, anna, answer, 3).await?;
    let text = |body: &str| json!({"type": "text", "text": {"body": body, "preview_url": false}});
    let template = json!({"type": "template",
                          "template": {"name": "pay_day", "language": {"code": "en"}}});
    are(
        &sent,
        &[text("sale now"), template, text("assistant waiting")],
    )?;
    let requests = product.model.requests();
    let names = r#"\"templates\":[\"assistant_waiting\",\"pay_day\"]"#;
    let told = requests
        .iter()
        .any(|one| one.body.to_string().contains(names));
    anyhow::ensure!(told, "the agent was not told which there are");
    Ok(())
}

/// The person asks, the model answers with this, and so many messages come of it. The question's id, and
/// what was sent, without what is the same in all.
async fn asks(
    product: &Product,
    anna: &Person,
    answer: &str,
    messages: usize,
) -> anyhow::Result<(String, Vec<Value>)> {
    let mark = mark("asks");
    let mut rule = Rule::text(answer);
    rule.contains = Some(mark.clone());
    product.model.program_first(rule);
    let before = sent(product).len();
    let question = Message::text(anna, &format!("Please {mark}"));
    let wamid = question.wamid.clone();
    let status = product
        .whatsapp
        .post_until_taken(&product.whatsapp.body(&[question]))
        .await;
    anyhow::ensure!(status == Some(200), "{status:?}");
    product
        .whatsapp
        .wait_until(PATIENCE, |state| {
            let taken = |call: &&e2e::whatsapp::Call| call.kind == CallKind::Message && call.taken;
            (state.calls.iter().filter(taken).count() >= before + messages).then_some(())
        })
        .await
        .with_context(|| format!("not all of it came: {answer}"))?;
    product.settled().await?;
    let all = sent(product);
    anyhow::ensure!(
        all.len() == before + messages,
        "more came than was asked for"
    );
    Ok((wamid, all[before..].to_vec()))
}

fn sent(product: &Product) -> Vec<Value> {
    product.whatsapp.read(|state| {
        let calls = state.calls.iter();
        let taken = calls.filter(|call| call.kind == CallKind::Message && call.taken);
        let bodies = taken.map(|call| {
            let mut body = call.body.clone();
            if let Some(body) = body.as_object_mut() {
                for key in [
                    "messaging_product",
                    "recipient_type",
                    "to",
                    "biz_opaque_callback_data",
                ] {
                    body.remove(key);
                }
            }
            body
        });
        bodies.collect()
    })
}

fn are(sent: &[Value], expected: &[Value]) -> anyhow::Result<()> {
    for (one, expected) in sent.iter().zip(expected) {
        anyhow::ensure!(one == expected, "sent was {one}\ninstead of {expected}");
    }
    anyhow::ensure!(sent.len() == expected.len(), "{sent:?}");
    Ok(())
}
