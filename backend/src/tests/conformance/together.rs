//! What comes in one body, twice, or from nobody who writes now.

use serde_json::{Value, json};

use super::{
    form::{Form, Hook, RECEIVED, batch, contact},
    run::Run,
    shape::{Lack, Shapes},
    table::Line,
};
use crate::tests::support::NUMBER;

impl Run {
    /// What is about nobody: kept, and nobody hears of it.
    pub async fn changes(&mut self, shapes: &Shapes) -> Vec<Line> {
        let mut lines = Vec::new();
        for change in &shapes.changes {
            let outcome = match change.metadata {
                true => "unknown",
                false => "unknown_line",
            };
            let mut line = Line {
                shape: change.shape.clone(),
                event: "Unknown".to_owned(),
                outcome: outcome.to_owned(),
                ..Line::default()
            };
            for form in [Form::Meta, Form::KapsoRaw] {
                let mut value = change.value.clone();
                value["form"] = json!(form.as_str());
                let before = self.figures().await;
                self.post(&form.change(&change.field, value, change.metadata))
                    .await;
                let mut expected = before;
                *expected.entry(outcome.to_owned()).or_default() += 1;
                let found = self.figures().await;
                line.count(form, self.compare(&change.shape, form, &expected, &found));
            }
            lines.push(line);
        }
        lines
    }

    /// Several at once, again, and out of their time.
    pub async fn together(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        for form in [Form::Meta, Form::KapsoRaw] {
            lines.push(self.many_in_one_body(form).await);
        }
        lines.push(self.a_batch_and_again_one_by_one().await);
        lines.push(self.heard_by_kapso().await);
        for (key, value) in [
            ("origin", "history_sync"),
            ("origin", "business_app"),
            ("direction", "outbound"),
        ] {
            for form in [Form::KapsoOne, Form::KapsoBatch] {
                lines.push(self.not_written_now(form, key, value).await);
            }
        }
        lines
    }

    /// Two entries of two changes of two messages and two receipts, and it comes twice.
    async fn many_in_one_body(&mut self, form: Form) -> Line {
        let known = self.known(form, Lack::Nothing).await;
        let mut texts = Vec::new();
        let mut entries = Vec::new();
        for _ in 0..2 {
            let mut changes = Vec::new();
            for _ in 0..2 {
                let text = |id: &str| {
                    json!({ "id": id, "from": known.someone.phone, "from_user_id": known.someone.user_id,
                    "timestamp": "1790000000", "type": "text", "text": { "body": id } })
                };
                let ids = [self.id(), self.id()];
                let messages: Vec<_> = ids.iter().map(|id| text(id)).collect();
                let statuses = ["delivered", "read"].map(|state| {
                    json!({ "id": ids[0], "status": state,
                    "timestamp": "1790000000", "recipient_id": known.someone.phone })
                });
                changes.push(json!({ "field": "messages", "value": {
                    "messaging_product": "whatsapp", "metadata": { "phone_number_id": NUMBER },
                    "contacts": [contact(&known.someone)], "messages": messages, "statuses": statuses } }));
                texts.extend(ids);
            }
            entries.push(json!({ "id": "1", "changes": changes }));
        }
        let hook = form.body(json!(entries));
        let mut expected = self.figures().await;
        *expected.entry("waiting".to_owned()).or_default() += 8;
        *expected.entry("receipt".to_owned()).or_default() += 8;
        self.post(&hook).await;
        self.post(&hook).await;
        let shape = "2 entries x 2 changes x 2 + 2, twice";
        let mut line = line(shape, "8 + 8", "8 + 8");
        let found = self.figures().await;
        let mut is_right = self.compare(shape, form, &expected, &found);
        let asked = self.desk.ask(known.tenant.unwrap()).await.text();
        is_right &= self.compare(shape, form, &texts.join("\n\n"), &asked);
        line.count(form, is_right);
        line
    }

    /// Kapso sends a batch that it takes for failed again, one by one under new keys.
    async fn a_batch_and_again_one_by_one(&mut self) -> Line {
        let form = Form::KapsoOne;
        let known = self.known(form, Lack::Nothing).await;
        let ids = [self.id(), self.id(), self.id()];
        let single = |id: &String| {
            let text = json!({ "type": "text", "text": { "body": id } });
            form.message(&known.someone, id, &text)
        };
        let hooks: Vec<Hook> = ids.iter().map(single).collect();
        let bodies = hooks.iter().map(|hook| hook.body.clone()).collect();
        let mut expected = self.figures().await;
        *expected.entry("waiting".to_owned()).or_default() += 3;
        self.post(&batch(RECEIVED, bodies)).await;
        for hook in &hooks {
            self.post(hook).await;
        }
        let shape = "a batch, and again one by one";
        let mut line = line(shape, "3", "waiting");
        let found = self.figures().await;
        let mut is_right = self.compare(shape, form, &expected, &found);
        let asked = self.desk.ask(known.tenant.unwrap()).await.text();
        is_right &= self.compare(shape, form, &ids.join("\n\n"), &asked);
        line.count(form, is_right);
        line
    }

    /// A voice message that Kapso has listened to.
    async fn heard_by_kapso(&mut self) -> Line {
        let shape = "voice message with Kapso's transcript";
        let mut line = line(shape, "Media(Voice)", "waiting");
        for form in [Form::KapsoOne, Form::KapsoBatch] {
            let known = self.known(form, Lack::Nothing).await;
            let voice = json!({ "type": "audio", "audio": { "id": "1", "mime_type": "audio/ogg", "voice": true } });
            let transcript = json!({ "text": "Please note it" });
            let mut hook = form.message(&known.someone, &self.id(), &voice);
            inside(&mut hook)["message"]["kapso"]["transcript"] = transcript;
            self.post(&hook).await;
            let asked = self.desk.ask(known.tenant.unwrap()).await;
            let words = asked
                .told
                .iter()
                .find_map(|told| told.media.as_ref()?.words.clone());
            let is_right = self.compare(shape, form, &Some("Please note it".to_owned()), &words);
            line.count(form, is_right);
        }
        line
    }

    /// What the owner typed in the app on the phone, and what is old.
    async fn not_written_now(&mut self, form: Form, key: &str, value: &str) -> Line {
        let shape = format!("{key} {value}");
        let mut line = line(&shape, "Unknown", "unknown");
        let known = self.known(form, Lack::Nothing).await;
        let text = json!({ "type": "text", "text": { "body": "Not now" } });
        let mut hook = form.message(&known.someone, &self.id(), &text);
        inside(&mut hook)["message"]["kapso"][key] = json!(value);
        let mut expected = self.figures().await;
        *expected.entry("unknown".to_owned()).or_default() += 1;
        self.post(&hook).await;
        let found = self.figures().await;
        let is_right = self.compare(&shape, form, &expected, &found);
        line.count(form, is_right);
        line
    }

    /// How many rows of the inbox ended how, and how many people and sentences of ours there are.
    async fn figures(&self) -> Figures {
        let mut figures: Figures = self.desk.outcomes().await.into_iter().collect();
        figures.insert("people".to_owned(), self.desk.tenants("active").await);
        figures.insert("sentences".to_owned(), self.desk.said().await.len() as i64);
        figures
    }

    fn compare<T: PartialEq + std::fmt::Debug>(
        &mut self,
        shape: &str,
        form: Form,
        expected: &T,
        found: &T,
    ) -> bool {
        if expected != found {
            let form = form.as_str();
            self.wrong
                .push(format!("{shape}, {form}:\n  {expected:?}\n  {found:?}"));
        }
        expected == found
    }
}

type Figures = std::collections::BTreeMap<String, i64>;

/// The one delivery of a hook of Kapso's.
fn inside(hook: &mut Hook) -> &mut Value {
    match hook.body.get("data").is_some() {
        true => &mut hook.body["data"][0],
        false => &mut hook.body,
    }
}

fn line(shape: &str, event: &str, outcome: &str) -> Line {
    Line {
        shape: shape.to_owned(),
        event: event.to_owned(),
        outcome: outcome.to_owned(),
        ..Line::default()
    }
}
