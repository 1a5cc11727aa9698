//! People who write, and what they are owed: every mark in exactly one answer, in order.
//!
//! A mark is a word that the simulated model repeats; see [`MARK`].

use anyhow::Context as _;
use futures_util::future::try_join_all;

use crate::{
    PATIENCE, Person, Product,
    model::MARK,
    whatsapp::{Bubble, Message},
};

/// Somebody nobody else is. Names and numbers are made so that they stand out in a log.
pub fn person(number: usize) -> Person {
    Person::new(
        &format!("+1555010{number:04}"),
        &format!("Zebulon Quixley-{number:04}"),
    )
}

pub fn people(count: usize) -> Vec<Person> {
    (1..=count).map(person).collect()
}

pub fn mark(name: impl std::fmt::Display) -> String {
    format!("{MARK}{name}")
}

/// Every mark in a text, in order.
pub fn marks_in(text: &str) -> Vec<&str> {
    let marks = text.match_indices(MARK).map(|(at, _)| {
        let rest = &text[at + MARK.len()..];
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_');
        &text[at..at + MARK.len() + end.unwrap_or(rest.len())]
    });
    marks.collect()
}

fn answers<'a>(chat: &'a [Bubble], mark: &'a str) -> impl Iterator<Item = &'a Bubble> {
    chat.iter()
        .filter(move |bubble| marks_in(&bubble.text).contains(&mark))
}

impl Product {
    /// A person writes a text; it is posted until the product takes it.
    pub async fn says(&self, person: &Person, text: &str) -> anyhow::Result<()> {
        let message = Message::text(person, text);
        let status = self
            .whatsapp
            .post_until_taken(&self.whatsapp.body(&[message]))
            .await;
        anyhow::ensure!(
            status == Some(200),
            "the webhook was answered with {status:?}"
        );
        Ok(())
    }

    /// Everybody writes at once: `Please note <mark>-<their place>`. Returns the marks.
    pub async fn all_say(&self, people: &[Person], name: &str) -> anyhow::Result<Vec<String>> {
        let marks: Vec<_> = (0..people.len())
            .map(|at| mark(format!("{name}-{at}")))
            .collect();
        let texts: Vec<_> = marks
            .iter()
            .map(|mark| format!("Please note {mark}"))
            .collect();
        let said = people
            .iter()
            .zip(&texts)
            .map(|(person, text)| self.says(person, text));
        try_join_all(said).await?;
        Ok(marks)
    }

    /// Waits until an answer with this mark has reached the person.
    pub async fn answered(&self, person: &Person, mark: &str) -> anyhow::Result<Bubble> {
        let answer = self.whatsapp.wait_until(PATIENCE, |state| {
            state
                .chat(person)
                .find(|bubble| marks_in(&bubble.text).contains(&mark))
                .cloned()
        });
        answer
            .await
            .with_context(|| format!("no answer to {mark}: {}", self.screen(person)))
    }

    pub async fn all_answered(&self, people: &[Person], marks: &[String]) -> anyhow::Result<()> {
        let answers = people
            .iter()
            .zip(marks)
            .map(|(person, mark)| self.answered(person, mark));
        try_join_all(answers).await?;
        Ok(())
    }

    /// Fails unless a mark stands in exactly one message that reached the person, once.
    pub fn exactly_one_answer(&self, person: &Person, mark: &str) -> anyhow::Result<()> {
        let chat = self.whatsapp.chat(person);
        let count = answers(&chat, mark).count();
        anyhow::ensure!(
            count == 1,
            "{count} answers to {mark}: {}",
            self.screen(person)
        );
        Ok(())
    }

    /// Everybody is answered, everything is over, and nobody was answered twice.
    pub async fn exactly_one_each(
        &self,
        people: &[Person],
        marks: &[String],
    ) -> anyhow::Result<()> {
        self.all_answered(people, marks).await?;
        self.settled().await?;
        for (person, mark) in people.iter().zip(marks) {
            self.exactly_one_answer(person, mark)?;
        }
        Ok(())
    }

    /// Both sides of a conversation, for an error.
    pub fn screen(&self, person: &Person) -> String {
        let lines = self
            .whatsapp
            .conversation(person)
            .into_iter()
            .map(|bubble| {
                let text: String = bubble.text.chars().take(120).collect();
                format!(
                    "\n  {} {:?}: {text}",
                    bubble.at.format("%H:%M:%S%.3f"),
                    bubble.side
                )
            });
        lines.collect()
    }
}

/// What came of a flood.
#[derive(Debug)]
pub struct Flood {
    pub messages: usize,
    pub webhooks: usize,
    /// How many answers they were gathered in.
    pub answers: usize,
    pub turns: i64,
}

/// People write without waiting for answers, all at once, and every webhook comes twice or more:
/// at the same time, and again after a later one. `round` keeps the marks of two floods apart.
pub async fn flood(
    product: &Product,
    people: &[Person],
    messages: usize,
    round: usize,
) -> anyhow::Result<Flood> {
    let each = messages.div_ceil(people.len());
    let turns = "select count(*) from turn";
    let turns_before = product.postgres.count(turns).await?;
    let posted = product.whatsapp.read(|state| state.deliveries.len());
    let written = people.iter().enumerate().map(|(at, person)| async move {
        let mut earlier: Option<Vec<u8>> = None;
        for number in 0..each {
            let text = format!("Please note {}", flood_mark(round, at, number));
            let body = product.whatsapp.body(&[Message::text(person, &text)]);
            let copies = 1 + (number + at) % 3;
            let statuses = product.whatsapp.post_copies(&body, copies).await;
            anyhow::ensure!(
                statuses.iter().all(|status| *status == Some(200)),
                "{statuses:?}"
            );
            if let Some(earlier) = &earlier {
                product
                    .whatsapp
                    .post(earlier)
                    .await
                    .context("repeat a webhook")?;
            }
            if number % 3 == 0 {
                earlier = Some(body);
            }
        }
        Ok(())
    });
    try_join_all(written).await?;
    let webhooks = product.whatsapp.read(|state| state.deliveries.len()) - posted;
    for (at, person) in people.iter().enumerate() {
        product
            .answered(person, &flood_mark(round, at, each - 1))
            .await?;
    }
    product.settled().await?;

    let mut answers = 0;
    for (at, person) in people.iter().enumerate() {
        let expected: Vec<_> = (0..each)
            .map(|number| flood_mark(round, at, number))
            .collect();
        let chat = product.whatsapp.chat(person);
        let of_this_round = format!("{MARK}flood-{round:03}-");
        let mut seen = Vec::new();
        for bubble in &chat {
            let marks = marks_in(&bubble.text);
            let ours = marks
                .into_iter()
                .filter(|mark| mark.starts_with(&of_this_round));
            let before = seen.len();
            seen.extend(ours.map(str::to_owned));
            answers += usize::from(seen.len() > before);
        }
        anyhow::ensure!(
            seen == expected,
            "person {at}: {seen:?} instead of {expected:?}"
        );
    }
    let turns = product.postgres.count(turns).await? - turns_before;
    Ok(Flood {
        messages: each * people.len(),
        webhooks,
        answers,
        turns,
    })
}

fn flood_mark(round: usize, person: usize, number: usize) -> String {
    mark(format!("flood-{round:03}-{person}-{number:04}"))
}
