//! Photos, voice messages and documents reach the agent; what is wrong with one harms nothing.

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use e2e::{
    PATIENCE, Person, Product, alone,
    crowd::{mark, person},
    sample::{self, MP3, OGG, PDF},
    whatsapp::{Enclosed, Message, Trick},
};
use serde_json::json;
use sha2::{Digest as _, Sha256};

const PAGE: &[u8] = b"<!DOCTYPE html><html><body>Not a photo</body></html>";
/// What the simulated service says, with the second that has begun.
const SPOKEN_SECONDS: i64 = 3;
const METADATA: &str = "http://169.254.169.254/latest/meta-data/";

#[tokio::test(flavor = "multi_thread")]
async fn what_people_send_reaches_the_agent_and_the_model() -> anyhow::Result<()> {
    let _alone = alone().await;
    let mut product = Product::prepare(&[]).await?;
    let (url, key) = (product.model.url(), product.model.settings().key.clone());
    product.set("TRANSCRIPTION_BASE_URL", &url);
    product.set("TRANSCRIPTION_API_KEY", &key);
    product.walls("up").await?;
    product.migrate().await?;
    product.start_again().await?;
    let anna = person(1);
    a_photo_is_seen_and_kept(&product, &anna).await?;
    a_voice_message_becomes_words(&product, &anna).await?;
    other_files_lie_in_the_inbox(&product, &anna).await?;
    what_is_wrong_with_a_file_harms_nothing(&product, &anna).await?;
    product.finish(&[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_comes_through_kapso_too() -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start_through_kapso().await?;
    a_photo_is_seen_and_kept(&product, &person(1)).await?;
    product.finish(&[]).await
}

async fn a_photo_is_seen_and_kept(product: &Product, anna: &Person) -> anyhow::Result<()> {
    let (mark, bytes) = (mark("photo"), sample::png());
    let photo = Enclosed::new("image", "image/png", &bytes).captioned(&format!("Look: {mark}"));
    let message = product.whatsapp.enclose(anna, photo);
    // WhatsApp repeats itself.
    let body = product.whatsapp.body(&[message]);
    for status in product.whatsapp.post_copies(&body, 2).await {
        anyhow::ensure!(status == Some(200), "{status:?}");
    }
    product.answered(anna, &mark).await?;
    product.settled().await?;
    product.exactly_one_answer(anna, &mark)?;

    let asked = asked_with(product, &mark)?;
    let path = path_of(&bytes, "png");
    anyhow::ensure!(asked.contains(&format!("[Photo: {path}]")), "{asked}");
    anyhow::ensure!(
        asked.contains("data:image/png;base64,"),
        "the model was not shown the photo: {asked}"
    );
    anyhow::ensure!(
        in_the_sandbox(product, &path).await? == bytes,
        "it is another file"
    );
    Ok(())
}

async fn a_voice_message_becomes_words(product: &Product, anna: &Person) -> anyhow::Result<()> {
    let mark = mark("spoken");
    product.model.hears(OGG, &format!("Please note {mark}"));
    for _ in 0..2 {
        let voice = Enclosed::new("audio", "audio/ogg; codecs=opus", OGG).spoken();
        product
            .whatsapp
            .send(&product.whatsapp.enclose(anna, voice))
            .await;
        product.answered(anna, &mark).await?;
        product.settled().await?;
    }
    let asked = asked_with(product, &mark)?;
    let told = format!(
        "[Voice message: {}]\\nPlease note {mark}",
        path_of(OGG, "ogg")
    );
    anyhow::ensure!(asked.contains(&told), "{asked}");
    let heard: u32 = product
        .model
        .read(|state| state.speeches.iter().map(|one| one.heard).sum());
    anyhow::ensure!(heard == 1, "the same message was paid for {heard} times");
    let paid = "select sum(seconds)::bigint from usage where model = 'whisper-1'";
    anyhow::ensure!(product.postgres.count(paid).await? == SPOKEN_SECONDS);

    // What nobody said is not made up.
    let silence = [OGG, b"silence"].concat();
    let voice = Enclosed::new("audio", "audio/ogg; codecs=opus", &silence).spoken();
    product
        .whatsapp
        .send(&product.whatsapp.enclose(anna, voice))
        .await;
    product.settled().await?;
    let asked = asked_with(product, &path_of(&silence, "ogg"))?;
    anyhow::ensure!(!asked.contains("watching"), "{asked}");
    Ok(())
}

async fn other_files_lie_in_the_inbox(product: &Product, anna: &Person) -> anyhow::Result<()> {
    let song = Enclosed::new("audio", "audio/mpeg", MP3);
    let named = mark("report");
    let report = Enclosed::new("document", "application/pdf", PDF).named(&format!("{named}.pdf"));
    let place = Message::of(
        anna,
        "location",
        json!({"latitude": 48.2082, "longitude": 16.3738, "name": "Vienna"}),
    );
    let song = product.whatsapp.enclose(anna, song);
    let report = product.whatsapp.enclose(anna, report);
    for message in [song, report, place] {
        product.whatsapp.send(&message).await;
    }
    product.settled().await?;
    let asked: String = product
        .model
        .requests()
        .iter()
        .map(|request| request.body.to_string())
        .collect();
    for told in [
        format!("[Sound: {}]", path_of(MP3, "mp3")),
        format!("{named}.pdf"),
        path_of(PDF, "pdf"),
        "48.2082".to_owned(),
    ] {
        anyhow::ensure!(asked.contains(&told), "the model was not told {told}");
    }
    for (bytes, ending) in [(MP3, "mp3"), (PDF, "pdf")] {
        let found = in_the_sandbox(product, &path_of(bytes, ending)).await?;
        anyhow::ensure!(found == bytes, "the {ending} is another file");
    }
    Ok(())
}

async fn what_is_wrong_with_a_file_harms_nothing(
    product: &Product,
    anna: &Person,
) -> anyhow::Result<()> {
    let png = sample::png();
    let photo = || Enclosed::new("image", "image/png", &png);
    let wrong = "I could not open your photo";
    let large = "is too large for me";
    for (what, enclosed, sentence) in [
        (
            "elsewhere",
            photo().but(Trick::At(METADATA.to_owned())),
            wrong,
        ),
        (
            "leads away",
            photo().but(Trick::RedirectTo(METADATA.to_owned())),
            wrong,
        ),
        ("other bytes", photo().but(Trick::OtherBytes), wrong),
        ("gone", photo().but(Trick::Gone), wrong),
        ("a page", Enclosed::new("image", "image/jpeg", PAGE), wrong),
        ("5 GB", photo().but(Trick::Says(5 << 30)), large),
        ("endless", photo().but(Trick::Endless), large),
    ] {
        let before = product.whatsapp.chat(anna).len();
        product
            .whatsapp
            .send(&product.whatsapp.enclose(anna, enclosed))
            .await;
        let chat = product.whatsapp.wait_for_reply(anna, before + 1, PATIENCE);
        let chat = chat.await.with_context(|| what.to_owned())?;
        let said = &chat[before].text;
        anyhow::ensure!(said.contains(sentence), "{what}: {said}");
        product.settled().await?;
        let more = product.whatsapp.chat(anna).len() - before;
        anyhow::ensure!(more == 1, "{what}: {more} messages for it");
    }
    // A name is what somebody typed, and an archive is not unpacked.
    let named = Enclosed::new("document", "application/zip", b"PK\x05\x06 and no more")
        .named("../../../../etc/cron.d/x.zip");
    let mark = mark("after");
    product
        .whatsapp
        .send(&product.whatsapp.enclose(anna, named))
        .await;
    product.says(anna, &format!("Please note {mark}")).await?;
    product.answered(anna, &mark).await?;
    let sandbox = sandbox(product).await?;
    let found = product
        .docker
        .exec(&sandbox, &["ls", "/state/workspace/inbox"])
        .await?;
    let files = found.lines().count();
    anyhow::ensure!(files == 6, "in the inbox are {found}");
    Ok(())
}

/// The model's first request in which this stands.
fn asked_with(product: &Product, mark: &str) -> anyhow::Result<String> {
    let requests = product.model.requests();
    let mut bodies = requests.iter().map(|request| request.body.to_string());
    bodies
        .find(|body| body.contains(mark))
        .context("the model was not asked")
}

fn path_of(bytes: &[u8], ending: &str) -> String {
    let digest = hex::encode(Sha256::digest(bytes));
    format!("inbox/{}.{ending}", &digest[..16])
}

async fn sandbox(product: &Product) -> anyhow::Result<String> {
    let sandboxes = product.docker.sandboxes().await?;
    let sandbox = sandboxes.into_iter().next().context("there is none")?;
    Ok(sandbox.id)
}

async fn in_the_sandbox(product: &Product, path: &str) -> anyhow::Result<Vec<u8>> {
    let sandbox = sandbox(product).await?;
    let path = format!("/state/workspace/{path}");
    let encoded = product
        .docker
        .exec(&sandbox, &["base64", "-w0", &path])
        .await?;
    Ok(BASE64_STANDARD.decode(encoded.trim())?)
}
