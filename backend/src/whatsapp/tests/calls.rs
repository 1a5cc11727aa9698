//! What we ask of WhatsApp, word for word: `fixtures/calls.json`, which other people's clients are held against, too
//! (`e2e/clients`).

use std::{collections::BTreeMap, time::Duration};

use axum::http::{HeaderMap, StatusCode};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::client::{OK, api, client, server};
use crate::whatsapp::{
    client::{Line, Recipient, http_builder},
    outgoing::Outgoing,
    poll::{Direction, Lister, Window},
};

#[derive(Deserialize)]
struct Calls {
    phone: String,
    user_id: String,
    messages: Vec<Message>,
    marks: Vec<Mark>,
    lists: Vec<List>,
}

#[derive(Deserialize)]
struct Message {
    call: String,
    outgoing: Value,
    r#type: String,
    content: Value,
}

#[derive(Deserialize)]
struct Mark {
    call: String,
    typing: bool,
    body: Value,
}

#[derive(Deserialize)]
struct List {
    query: BTreeMap<String, String>,
}

fn calls() -> Calls {
    serde_json::from_str(include_str!("../fixtures/calls.json")).unwrap()
}

impl Message {
    /// As it comes out of the outbox.
    fn outgoing(&self) -> Outgoing {
        match &self.outgoing["body"] {
            body if self.outgoing["type"] == "text" => Outgoing::text(body.as_str().unwrap()),
            _ => {
                let stored = serde_json::to_vec(&self.outgoing).unwrap();
                Outgoing::from_bytes(self.outgoing["type"].as_str().unwrap(), stored).unwrap()
            }
        }
    }
}

#[tokio::test]
async fn every_call_is_as_it_is_written_down() {
    let calls = calls();
    let (address, mut seen) = server((StatusCode::OK, HeaderMap::new(), OK.to_owned())).await;
    let (api, token) = (api(address), SecretString::from("token-123"));
    let line = Line {
        api: &api,
        phone_number_id: "106",
        access_token: &token,
    };
    for message in &calls.messages {
        let digits = calls.phone.trim_start_matches('+').to_owned();
        for (to, key, address) in [
            (Recipient::Phone(digits), "to", &calls.phone),
            (
                Recipient::UserId(calls.user_id.clone()),
                "recipient",
                &calls.user_id,
            ),
        ] {
            let sent = client()
                .send(line, &to, &message.outgoing(), "outbox-1:1")
                .await;
            assert!(sent.is_ok(), "{}", message.call);
            let mut expected = json!({ "messaging_product": "whatsapp", "recipient_type": "individual",
                "type": message.r#type, "biz_opaque_callback_data": "outbox-1:1" });
            expected[key] = json!(address);
            expected[&message.r#type] = message.content.clone();
            assert_eq!(seen.recv().await.unwrap().2, expected, "{}", message.call);
        }
    }
    for mark in &calls.marks {
        let marked = client().mark_read(line, "$theirs", mark.typing).await;
        assert!(marked.is_ok(), "{}", mark.call);
        assert_eq!(seen.recv().await.unwrap().2, mark.body, "{}", mark.call);
    }
}

/// Every page after the first names the one before it.
#[tokio::test]
async fn every_list_is_asked_for_as_it_is_written_down() {
    let page = r#"{"data":[{"id":"wamid.1","kapso":{"direction":"inbound"}}],"paging":{"cursors":{"after":"a+b="}}}"#;
    let (address, mut seen) = server((StatusCode::OK, HeaderMap::new(), page.to_owned())).await;
    let (api, token) = (api(address), SecretString::from("token-123"));
    let line = Line {
        api: &api,
        phone_number_id: "106",
        access_token: &token,
    };
    let lister = Lister {
        http: http_builder().no_proxy().build().unwrap(),
        between_pages: Duration::ZERO,
    };
    let since = DateTime::from_timestamp(1_790_000_000, 0).unwrap();
    let until = since + TimeDelta::hours(1);
    let window = Window {
        since,
        until: Some(until),
    };
    for List { query } in calls().lists {
        let listed = lister.list(line, Direction::Inbound, window).await;
        assert!(listed.is_err(), "a list without an end");
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let mut expected = query;
        expected.insert("since".to_owned(), time(since));
        expected.insert("until".to_owned(), time(until));
        for _ in 0..2 {
            let asked = seen.recv().await.unwrap().0;
            let asked = Url::parse("http://kapso").unwrap().join(&asked).unwrap();
            assert_eq!(asked.path(), "/v24.0/106/messages");
            let asked: BTreeMap<_, _> = asked.query_pairs().into_owned().collect();
            assert_eq!(asked, expected);
            expected.insert("after".to_owned(), "a+b=".to_owned());
        }
    }
}
