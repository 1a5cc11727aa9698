//! Every shape of a message, on the real OpenClaw and through both providers: what the model is asked, what
//! lies in the agent's folder, what the person hears. Each alone, with one or another thing missing, is the
//! backend's conformance run; here they come in bursts, as people write.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use anyhow::Context as _;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use e2e::{
    PATIENCE, Person, Product, alone,
    crowd::person,
    model::Rule,
    whatsapp::{Enclosed, Message, Through},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

const SHAPES: &str = include_str!("../../backend/src/whatsapp/fixtures/shapes.json");
const SAID: &str = "remember the milk";
const WROTE: &str = "Shall I book it?";
const CANNOT_HEAR: &str = "I could not hear your voice message. Please write it to me.";
/// Sentences of ours that are the same for many shapes are heard so often; more is the same again.
const OF_A_SORT: usize = 3;
/// In one webhook.
const BURST: usize = 12;
const ROOM: [(&str, &str); 2] = [
    ("LIMIT_INBOUND_PER_MINUTE", "1000"),
    ("LIMIT_WAITING", "1000"),
];

#[derive(Deserialize)]
struct Shapes {
    files: BTreeMap<String, String>,
    messages: Vec<Shape>,
}

#[derive(Deserialize)]
struct Shape {
    shape: String,
    item: Value,
    reads: Option<String>,
    next: Option<String>,
    hears: Option<String>,
    file: Option<String>,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_reaches_the_agent_through_meta() -> anyhow::Result<()> {
    every_shape_reaches_the_agent(Through::Meta).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_shape_reaches_the_agent_through_kapso() -> anyhow::Result<()> {
    every_shape_reaches_the_agent(Through::Kapso).await
}

async fn every_shape_reaches_the_agent(through: Through) -> anyhow::Result<()> {
    let _alone = alone().await;
    let product = Product::start_through(through, &ROOM).await?;
    let (shapes, anna) = (Shapes::read()?, person(1));
    let [said, wrote] = a_conversation_begins(&product, &anna).await?;
    let before = product.whatsapp.chat(&anna).len();

    for burst in shapes.messages.chunks(BURST) {
        let messages: anyhow::Result<Vec<_>> = burst
            .iter()
            .map(|shape| shape.message(&shapes, &product, &anna, [&said, &wrote]))
            .collect();
        let status = product
            .whatsapp
            .post_until_taken(&product.whatsapp.body(&messages?))
            .await;
        anyhow::ensure!(status == Some(200), "{status:?}");
    }
    // What calls for no answer is told with the next question.
    product.says(&anna, "That was all").await?;
    let told = product.model.wait_for_request("That was all", PATIENCE);
    told.await?;
    product.settled().await?;

    let asked: Vec<String> = product.model.read(|state| {
        state
            .requests
            .iter()
            .flat_map(|one| one.pending.clone())
            .collect()
    });
    let asked = asked.join("\n\n");
    let mut table = format!("{through:?}\n");
    for shape in &shapes.messages {
        let came = shape.came(&asked);
        table.push_str(&format!("  {:40} {}\n", shape.shape, shape.outcome()));
        anyhow::ensure!(
            came,
            "{}: the model was not told of it:\n{asked}",
            shape.shape
        );
    }
    files_lie_in_the_folder(&product, &shapes).await?;
    sentences_are_heard(&product, &anna, &shapes, before)?;
    let turns = product.postgres.count("select count(*) from turn").await?;
    let count = shapes.messages.len();
    anyhow::ensure!(
        turns as usize <= count / 4,
        "{turns} turns for {count} messages"
    );
    table.push_str(&format!("  {count} messages in {turns} turns\n"));
    io::stdout().write_all(table.as_bytes())?;
    product.finish(&[]).await
}

/// One message of hers and one of her assistant's, by WhatsApp's ids.
async fn a_conversation_begins(product: &Product, anna: &Person) -> anyhow::Result<[String; 2]> {
    product.model.program(Rule::text(WROTE).when(SAID).times(1));
    product.model.program(Rule::text("Noted."));
    let message = Message::text(anna, SAID);
    let said = message.wamid.clone();
    let status = product
        .whatsapp
        .post_until_taken(&product.whatsapp.body(&[message]))
        .await;
    anyhow::ensure!(status == Some(200), "{status:?}");
    let wrote = product.whatsapp.wait_until(PATIENCE, |state| {
        let found = state.chat(anna).find(|bubble| bubble.text == WROTE);
        found.map(|bubble| bubble.wamid.clone())
    });
    let wrote = wrote.await.context("no answer")?;
    product.settled().await?;
    Ok([said, wrote])
}

async fn files_lie_in_the_folder(product: &Product, shapes: &Shapes) -> anyhow::Result<()> {
    let sandboxes = product.docker.sandboxes().await?;
    let sandbox = &sandboxes.first().context("there is no sandbox")?.id;
    for shape in shapes.messages.iter().filter(|shape| !shape.is_voice()) {
        let Some(file) = &shape.file else { continue };
        let reads = shape.reads.as_deref().unwrap_or_default();
        let path = reads.split_once("inbox/").map(|(_, rest)| rest);
        let name = path
            .and_then(|rest| rest.split(']').next())
            .context("no path")?;
        let path = format!("/state/workspace/inbox/{name}");
        let found = product
            .docker
            .exec(sandbox, &["base64", "-w0", &path])
            .await?;
        anyhow::ensure!(
            BASE64_STANDARD.decode(found.trim())? == shapes.bytes(file)?,
            "{}: {path} is another file",
            shape.shape
        );
    }
    Ok(())
}

/// Each as often as there are shapes for it, and no other.
fn sentences_are_heard(
    product: &Product,
    anna: &Person,
    shapes: &Shapes,
    before: usize,
) -> anyhow::Result<()> {
    let mut expected = BTreeMap::new();
    let voices = shapes.messages.iter().filter(|shape| shape.is_voice());
    let heard = shapes
        .messages
        .iter()
        .filter_map(|shape| shape.hears.as_deref());
    for sentence in heard.chain(voices.map(|_| CANNOT_HEAR)) {
        *expected.entry(sentence.to_owned()).or_insert(0) += 1;
    }
    let mut found = BTreeMap::new();
    for bubble in &product.whatsapp.chat(anna)[before..] {
        if bubble.text != "Noted." {
            *found.entry(bubble.text.clone()).or_insert(0) += 1;
        }
    }
    anyhow::ensure!(found == expected, "{found:#?}\ninstead of {expected:#?}");
    Ok(())
}

impl Shapes {
    fn read() -> anyhow::Result<Self> {
        let mut shapes: Self = serde_json::from_str(SHAPES)?;
        let mut heard = BTreeMap::new();
        shapes.messages.retain(|shape| {
            let Some(sentence) = &shape.hears else {
                return true;
            };
            let times = heard.entry(sentence.clone()).or_insert(0);
            *times += 1;
            *times <= OF_A_SORT
        });
        Ok(shapes)
    }

    fn bytes(&self, file: &str) -> anyhow::Result<Vec<u8>> {
        let bytes = self.files.get(file).context("there is no such file")?;
        Ok(BASE64_STANDARD.decode(bytes)?)
    }
}

impl Shape {
    fn message(
        &self,
        shapes: &Shapes,
        product: &Product,
        anna: &Person,
        [said, wrote]: [&str; 2],
    ) -> anyhow::Result<Message> {
        let mut words = vec![
            ("$said", said.to_owned()),
            ("$wrote", wrote.to_owned()),
            ("$gone", "wamid.from-before".to_owned()),
            ("$phone", anna.phone.clone().unwrap_or_default()),
        ];
        if let Some(file) = &self.file {
            // What matters is that it can be fetched; what it says of itself is the shape's.
            let file = Enclosed::new("document", "application/octet-stream", &shapes.bytes(file)?);
            let kept = product.whatsapp.enclose(anna, file).content;
            for (word, key) in [("$file", "id"), ("$digest", "sha256")] {
                words.push((word, kept[key].as_str().context("no id")?.to_owned()));
            }
        }
        let Value::Object(item) = filled(&self.item, &words) else {
            anyhow::bail!("{} is no object", self.shape);
        };
        Ok(Message::written(anna, item))
    }

    /// Whether the model was told what it should be, if anything.
    fn came(&self, asked: &str) -> bool {
        let told = [&self.reads, &self.next].into_iter().flatten();
        self.is_voice() || told.into_iter().all(|told| asked.contains(told.as_str()))
    }

    /// Nobody puts voice into words here.
    fn is_voice(&self) -> bool {
        self.file.as_deref() == Some("ogg")
    }

    fn outcome(&self) -> &str {
        let told = [&self.reads, &self.next, &self.hears].into_iter().flatten();
        let first = told.into_iter().next().map_or("nothing", String::as_str);
        match self.is_voice() {
            true => CANNOT_HEAR,
            false => first.lines().next().unwrap_or_default(),
        }
    }
}

/// Puts what they mean in the place of words that begin with a `$`.
fn filled(value: &Value, words: &[(&str, String)]) -> Value {
    match value {
        Value::String(text) => {
            let found = words.iter().find(|(word, _)| word == text);
            json!(found.map_or(text, |(_, meaning)| meaning))
        }
        Value::Array(items) => items.iter().map(|item| filled(item, words)).collect(),
        Value::Object(members) => {
            let put = members
                .iter()
                .map(|(key, value)| (key.clone(), filled(value, words)));
            Value::Object(put.collect::<Map<_, _>>())
        }
        other => other.clone(),
    }
}
