//! One shape after the other: posted, routed, asked; what comes of it beside what should.

use serde_json::json;
use sqlx::PgPool;

use super::{
    form::{Form, Hook},
    people::{Expected, Known, named},
    shape::{Lack, Shape, Shapes, Someone},
    table::Line,
};
use crate::{
    config::Limits,
    id::TenantId,
    outbox::Class,
    tests::{
        desk::Desk,
        support::{LIMITS, opener, seed_line_of},
    },
    whatsapp::{event, provider::Provider},
    worker::exchange::asked::Asked,
};

/// Everybody may write as much as there is to say.
const ROOM: Limits = Limits {
    signups_per_hour: 1_000_000,
    signup_burst: 100_000,
    tenants: 100_000,
    inbound_per_minute: 10_000,
    inbound_per_day: 10_000,
    waiting: 1_000,
    ..LIMITS
};
pub const WROTE: &str = "Shall I book it?";
pub const SAID: &str = "remember the milk";
/// Of what is not kept it cannot be said what it was.
pub const CLEARED: &str = "(cleared)";

pub struct Run {
    pub desk: Desk,
    /// What was not as it should be.
    pub wrong: Vec<String>,
    pub posted: usize,
    people: usize,
    ids: usize,
}

/// A row of the inbox, opened.
pub struct Row {
    pub tenant: Option<TenantId>,
    pub outcome: String,
    pub event: String,
}

impl Run {
    pub async fn new(db: &PgPool) -> Self {
        seed_line_of(db, Provider::Kapso).await;
        Self {
            desk: Desk::new(db, ROOM).await,
            wrong: Vec::new(),
            posted: 0,
            people: 0,
            ids: 0,
        }
    }

    pub async fn messages(&mut self, shapes: &Shapes) -> Vec<Line> {
        let mut lines: Vec<_> = shapes.messages.iter().map(line_of).collect();
        for form in Form::ALL {
            for lack in Lack::ALL {
                let known = self.known(form, lack).await;
                for (shape, line) in shapes.messages.iter().zip(&mut lines) {
                    let is_right = self.message(shapes, shape, &known).await;
                    line.count(form, is_right);
                }
            }
        }
        lines
    }

    /// WhatsApp says of somebody that they have another address, under which they then write.
    pub async fn systems(&mut self, shapes: &Shapes) -> Vec<Line> {
        let mut lines: Vec<_> = shapes.systems.iter().map(line_of).collect();
        for form in Form::ALL {
            for lack in Lack::ALL {
                for (shape, line) in shapes.systems.iter().zip(&mut lines) {
                    if shape.field.is_none() || form.is_metas() {
                        let known = self.known(form, lack).await;
                        let is_right = self.system(shape, &known).await;
                        line.count(form, is_right);
                    }
                }
            }
        }
        lines
    }

    async fn message(&mut self, shapes: &Shapes, shape: &Shape, known: &Known) -> bool {
        let digest = shape.file.as_ref().map(|file| shapes.digest(file));
        let item = known.words(digest).put_into(&shape.item);
        let id = self.id();
        let hook = known.form.message(&known.someone, &id, &item);
        self.post(&hook).await;
        let expected = Expected::of(shape, known);
        let found = self.found(&id, known, shape.next.is_some()).await;
        self.judge(&shape.shape, known, &expected, &found)
    }

    async fn system(&mut self, shape: &Shape, known: &Known) -> bool {
        let item = known.words(None).put_into(&shape.item);
        let id = self.id();
        let hook = match &shape.field {
            Some(field) => {
                let mut item = item.clone();
                item["id"] = json!(id);
                known.form.update(field, &known.someone, item)
            }
            None => known.form.message(&known.someone, &id, &item),
        };
        self.post(&hook).await;
        let mut expected = Expected::of_system(shape, known);
        let row = self.row(&id).await;
        let mut found = Expected {
            event: row.event,
            outcome: row.outcome,
            ..Expected::default()
        };
        if expected.outcome == "rekeyed" {
            // The same assistant, under the new address.
            let id = self.id();
            let hello = json!({ "type": "text", "text": { "body": "It is me" } });
            let someone = known.someone.renamed(&item);
            self.post(&known.form.message(&someone, &id, &hello)).await;
            let row = self.row(&id).await;
            expected.reads = known.tenant.map(|tenant| format!("{tenant}: It is me"));
            if let Some(tenant) = row.tenant {
                found.reads = Some(format!("{tenant}: {}", self.asks(tenant).await.text()));
            }
        }
        self.judge(&shape.shape, known, &expected, &found)
    }

    /// What became of messages of ours.
    pub async fn statuses(&mut self) -> Vec<Line> {
        let states = ["sent", "delivered", "read", "played", "failed"];
        let mut lines: Vec<_> = states
            .iter()
            .map(|state| Line {
                shape: format!("status {state}"),
                event: "Status".to_owned(),
                outcome: "receipt".to_owned(),
                ..Line::default()
            })
            .collect();
        for form in Form::ALL {
            for lack in Lack::ALL {
                let known = self.known(form, Lack::Nothing).await;
                for (state, line) in states.into_iter().zip(&mut lines) {
                    // Kapso has no event for it.
                    if state == "played" && !form.is_metas() {
                        continue;
                    }
                    let is_right = self.status(&known, lack, state).await;
                    line.count(form, is_right);
                }
            }
        }
        lines
    }

    /// However WhatsApp names the recipient, the message is known by its id.
    async fn status(&mut self, known: &Known, lack: Lack, state: &str) -> bool {
        let wamid = self.id();
        let tenant = known.tenant.unwrap();
        self.desk
            .wrote_to(tenant, &wamid, WROTE, Class::Reply)
            .await;
        let recipient = Someone::who_lacks(lack, known.number);
        self.post(&known.form.status(&recipient, &wamid, state))
            .await;
        let row = self.row(&format!("{wamid}:{state}")).await;
        let kept = sqlx::query!(
            r#"select o.rank, r.error from receipt r join outbox o on o.id = r.outbox_id
             where r.wamid = $1 and r.status = $2"#,
            wamid,
            state,
        );
        let kept = kept.fetch_optional(&self.desk.db).await.unwrap();
        let kept = kept.map(|kept| format!("rank {}, error {:?}", kept.rank, kept.error));
        let rank = match state {
            "sent" => 1,
            "delivered" => 2,
            "read" => 3,
            "played" => 4,
            _ => 0,
        };
        let error = (state == "failed").then(|| "131026".to_owned());
        let capital = format!("{}{}", state[..1].to_uppercase(), &state[1..]);
        let mut expected = Expected::ending(&format!("Status({capital})"), "receipt");
        expected.reads = Some(format!("rank {rank}, error {error:?}"));
        let mut found = Expected::ending(&row.event, &row.outcome);
        found.reads = kept;
        self.judge(
            &format!("status {state}, {}", lack.as_str()),
            known,
            &expected,
            &found,
        )
    }

    /// Somebody new, who has a conversation: one message of theirs, one of their assistant's.
    pub async fn known(&mut self, form: Form, lack: Lack) -> Known {
        self.people += 1;
        let mut known = Known {
            form,
            lack,
            number: self.people,
            someone: Someone::who_lacks(lack, self.people),
            tenant: None,
            said: self.id(),
            wrote: self.id(),
        };
        let text = json!({ "type": "text", "text": { "body": SAID } });
        self.post(&form.message(&known.someone, &known.said, &text))
            .await;
        known.tenant = self.row(&known.said).await.tenant;
        if let Some(tenant) = known.tenant {
            assert_eq!(self.asks(tenant).await.text(), SAID);
            self.desk
                .wrote_to(tenant, &known.wrote, WROTE, Class::Reply)
                .await;
        }
        known
    }

    /// What came of a message of this id.
    async fn found(&mut self, id: &str, known: &Known, is_noted: bool) -> Expected {
        let row = self.row(id).await;
        let mut found = Expected {
            event: row.event,
            outcome: row.outcome,
            hears: match row.tenant {
                Some(tenant) => self.heard(tenant).await,
                None => Vec::new(),
            },
            ..Expected::default()
        };
        let Some(tenant) = row.tenant else {
            return found;
        };
        if found.outcome == "waiting" {
            let asked = self.asks(tenant).await;
            found.reads = Some(asked.text());
            found.file = asked
                .told
                .iter()
                .find_map(|told| told.media.as_ref())
                .map(|media| media.kind.as_str());
        } else if is_noted {
            let text = json!({ "type": "text", "text": { "body": "And now?" } });
            let id = self.id();
            self.post(&known.form.message(&known.someone, &id, &text))
                .await;
            found.next = Some(self.asks(tenant).await.text());
        }
        found
    }

    /// Posts it, signed, and routes what is there.
    pub async fn post(&mut self, hook: &Hook) {
        self.posted += 1;
        let body = hook.body.to_string().into_bytes();
        let event = hook.event.as_deref();
        let status = self.desk.site.receive_as(hook.provider, event, body).await;
        if status != 200 {
            self.wrong.push(format!("{status} for {}", hook.body));
        }
        self.desk.route().await;
    }

    pub async fn asks(&self, tenant: TenantId) -> Asked {
        self.desk.ask(tenant).await
    }

    pub async fn row(&self, id: &str) -> Row {
        let row = sqlx::query!(
            r#"select kind, tenant_id as "tenant: TenantId", coalesce(outcome, 'waiting') as "outcome!", body
             from inbox where provider_id = $1 or starts_with(provider_id, $1 || ':')"#,
            id,
        );
        let row = row.fetch_one(&self.desk.db).await.unwrap();
        let body = row.body.map(|body| opener().open(&body).unwrap());
        let event = body.map(|body| named(&event::parse(&row.kind, &body)));
        Row {
            tenant: row.tenant,
            outcome: row.outcome,
            event: event.unwrap_or(CLEARED.to_owned()),
        }
    }

    /// What we said to a person since we last asked.
    async fn heard(&self, tenant: TenantId) -> Vec<String> {
        let bodies = sqlx::query_scalar!(
            r#"delete from outbox where tenant_id = $1 and class = 'ours' returning body as "body!""#,
            tenant as TenantId,
        );
        let bodies = bodies.fetch_all(&self.desk.db).await.unwrap();
        let open = |body: &Vec<u8>| String::from_utf8(opener().open(body).unwrap()).unwrap();
        bodies.iter().map(open).collect()
    }

    pub fn id(&mut self) -> String {
        self.ids += 1;
        format!("wamid.conformance-{}", self.ids)
    }

    pub fn judge(
        &mut self,
        shape: &str,
        known: &Known,
        expected: &Expected,
        found: &Expected,
    ) -> bool {
        let is_right = expected == found;
        if !is_right {
            let (form, lack) = (known.form.as_str(), known.lack.as_str());
            let wrong = format!("{shape}, {form}, {lack}:\n  {expected:?}\n  {found:?}");
            self.wrong.push(wrong);
        }
        is_right
    }
}

pub fn line_of(shape: &Shape) -> Line {
    Line {
        shape: shape.shape.clone(),
        event: shape.event.clone(),
        outcome: match shape.event.as_str() {
            "Rekey" => "rekeyed".to_owned(),
            "Unknown" => "unknown".to_owned(),
            _ => shape.outcome().to_owned(),
        },
        reads: shape
            .reads
            .iter()
            .chain(shape.next.iter())
            .cloned()
            .collect(),
        ..Line::default()
    }
}
