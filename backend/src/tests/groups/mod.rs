//! What people say in groups: to us or to each other, in those that are served and in the others.

mod addressed;
mod members;

use serde_json::{Value, json};
use sqlx::PgPool;

use super::{
    desk::Desk,
    support::{LIMITS, NUMBER},
};
use crate::id::{LineId, TenantId};

const GROUP: &str = "120363041234567890@g.us";
const OTHER: &str = "120363049999999999@g.us";

/// Members of both groups.
const ANA: (&str, &str) = ("16505551234", "Ana");
const BEN: (&str, &str) = ("16505554321", "Ben");

/// A desk whose only line serves one group.
async fn desk(db: &PgPool) -> Desk {
    let mut desk = Desk::new(db, LIMITS).await;
    desk.routing.policy.groups = GROUP.parse().unwrap();
    desk
}

/// Somebody's words in a group.
fn said(id: &str, who: (&str, &str), group: &str, words: &str) -> Value {
    item(
        id,
        who,
        group,
        json!({ "type": "text", "text": { "body": words } }),
    )
}

/// Anything else of theirs, as Meta's item says it.
fn item(id: &str, (phone, _): (&str, &str), group: &str, more: Value) -> Value {
    let mut item = json!({ "id": id, "from": phone, "from_user_id": format!("US.{phone}"),
                           "group_id": group, "timestamp": "1790000000" });
    item.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    item
}

fn answering(mut item: Value, wamid: &str) -> Value {
    item["context"] = json!({ "from": "15550783881", "id": wamid });
    item
}

impl Desk {
    /// Each in a webhook of its own, with the name of who wrote it.
    async fn hears(&self, items: &[(Value, &str)]) {
        for (item, name) in items {
            let contact = json!({ "wa_id": item["from"], "user_id": item["from_user_id"],
                                  "profile": { "name": name } });
            let value = json!({
                "messaging_product": "whatsapp",
                "metadata": { "display_phone_number": "15550783881", "phone_number_id": NUMBER },
                "contacts": [contact], "messages": [item],
            });
            let entry = json!({ "id": "1", "changes": [{ "field": "messages", "value": value }] });
            let body = json!({ "object": "whatsapp_business_account", "entry": [entry] });
            assert_eq!(self.site.receive(body.to_string()).await, 200);
        }
        self.route().await;
    }

    /// What became of a message, whose it is, and whether anything of it is kept.
    async fn end(&self, id: &str) -> (String, Option<TenantId>, bool) {
        let row = sqlx::query!(
            r#"select coalesce(outcome, 'waiting') as "outcome!", tenant_id as "tenant: TenantId",
                      body is not null as "kept!"
             from inbox where provider_id = $1"#,
            id,
        );
        let row = row.fetch_one(&self.db).await.unwrap();
        (row.outcome, row.tenant, row.kept)
    }

    async fn ends(&self, id: &str) -> String {
        self.end(id).await.0
    }

    async fn group(&self) -> TenantId {
        let group = sqlx::query_scalar!(
            r#"select tenant_id as "id: TenantId" from tenant_address where kind = 'group'"#
        );
        group.fetch_one(&self.db).await.unwrap()
    }

    async fn line(&self) -> LineId {
        let line = sqlx::query_scalar!(r#"select id as "id: LineId" from line"#);
        line.fetch_one(&self.db).await.unwrap()
    }

    async fn count(&self, what: &str) -> i64 {
        let sql = sqlx::AssertSqlSafe(format!("select count(*) from {what}"));
        sqlx::query_scalar(sql).fetch_one(&self.db).await.unwrap()
    }
}

/// A member's lines of a question: who they are said to be, and what they say.
fn speakers(question: &str) -> Vec<(Value, Vec<&str>)> {
    let mut speakers: Vec<(Value, Vec<&str>)> = Vec::new();
    for line in question.lines() {
        if line.starts_with('{') {
            speakers.push((serde_json::from_str(line).unwrap(), Vec::new()));
        } else if let (Some(words), Some(last)) = (line.strip_prefix("> "), speakers.last_mut()) {
            last.1.push(words);
        }
    }
    speakers
}
