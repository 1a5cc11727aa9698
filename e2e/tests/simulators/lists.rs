//! Kapso's list of messages, as the product asks for it.

use chrono::{TimeDelta, Utc};
use serde_json::Value;

use super::{Product, SOON, product};
use e2e::{
    Person, Simulators, Whatsapp, model,
    whatsapp::{Fault, FaultRule, Message, On, Settings, State, Through, Ticks},
};

async fn start(product: &Product) -> Simulators {
    let whatsapp = Settings {
        through: Through::Kapso,
        webhook_url: product.url.clone(),
        ..Settings::default()
    };
    Simulators::start(whatsapp, model::Settings::default())
        .await
        .unwrap()
}

/// The status and the answer; with the right key unless there is another.
async fn list(whatsapp: &Whatsapp, key: Option<&str>, query: &str) -> (u16, Value) {
    let settings = whatsapp.settings();
    let number = &settings.phone_number_id;
    let base = whatsapp.url();
    let url = format!("{base}/meta/whatsapp/v24.0/{number}/messages?{query}");
    let key = key.unwrap_or(&settings.access_token);
    let request = product::client().get(url).header("X-API-Key", key);
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.json().await.unwrap_or_default())
}

fn names(page: &Value) -> Vec<&str> {
    let data = page["data"].as_array().unwrap().iter();
    data.map(|message| message["id"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn what_came_while_the_webhook_is_paused_is_listed_by_pages_the_newest_first() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let whatsapp = &simulators.whatsapp;
    whatsapp.pause_webhooks();
    let anna = Person::new("15550001", "Anna");
    let now = Utc::now();
    let messages: Vec<_> = (0..5)
        .map(|number| Message {
            wamid: format!("wamid.{number}"),
            sent_at: (now - TimeDelta::seconds(50 - number * 10)).timestamp(),
            ..Message::text(&anna, "Hi")
        })
        .collect();
    assert_eq!(whatsapp.post(&whatsapp.body(&messages)).await, None);

    let all = "direction=inbound&limit=2&fields=kapso(default)";
    let (status, first) = list(whatsapp, None, all).await;
    assert_eq!(status, 200);
    assert_eq!(names(&first), ["wamid.4", "wamid.3"]);
    assert_eq!(first["data"][0]["kapso"]["direction"], "inbound");
    assert_eq!(first["data"][0]["kapso"]["phone_number"], "+15550001");
    let after = first["paging"]["cursors"]["after"].as_str().unwrap();
    let (_, second) = list(whatsapp, None, &format!("{all}&after={after}")).await;
    assert_eq!(names(&second), ["wamid.2", "wamid.1"]);
    let after = second["paging"]["cursors"]["after"].as_str().unwrap();
    let (_, last) = list(whatsapp, None, &format!("{all}&after={after}")).await;
    assert_eq!(names(&last), ["wamid.0"]);
    assert!(last["paging"]["cursors"]["after"].is_null());

    let time = |seconds| (now - TimeDelta::seconds(seconds)).format("%Y-%m-%dT%H:%M:%SZ");
    let between = format!("direction=inbound&since={}&until={}", time(40), time(20));
    let (_, some) = list(whatsapp, None, &between).await;
    assert_eq!(names(&some), ["wamid.3", "wamid.2", "wamid.1"], "both ends");
    assert!(some["data"][0]["kapso"].is_null(), "nobody asked for it");
    let (_, sent) = list(whatsapp, None, "direction=outbound").await;
    assert!(names(&sent).is_empty());
}

#[tokio::test]
async fn what_kapso_does_not_understand_or_will_not_say_is_refused() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let whatsapp = &simulators.whatsapp;
    assert_eq!(list(whatsapp, Some("wrong"), "limit=1").await.0, 401);
    for query in [
        "limit=0",
        "limit=101",
        "since=yesterday",
        "direction=up",
        "after=x",
    ] {
        assert_eq!(list(whatsapp, None, query).await.0, 400, "{query}");
    }
    let throttled = FaultRule::from(Fault::Http { status: 429 });
    whatsapp.program(throttled.on(On::List));
    assert_eq!(list(whatsapp, None, "limit=1").await.0, 429);
    assert_eq!(list(whatsapp, None, "limit=1").await.0, 200);
}

#[tokio::test]
async fn what_became_of_a_message_is_listed_with_it() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let whatsapp = &simulators.whatsapp;
    whatsapp.pause_webhooks();
    let settings = whatsapp.settings();
    let url = format!(
        "{}/meta/whatsapp/v24.0/{}/messages",
        whatsapp.url(),
        settings.phone_number_id
    );
    let mut body = product::text_to("15550001", "Hi");
    body["biz_opaque_callback_data"] = "one:1".into();
    let request = product::client().post(url).json(&body);
    let request = request.header("X-API-Key", &settings.access_token);
    assert_eq!(request.send().await.unwrap().status(), 200);
    let person = Person::at("15550001");
    let read = |state: &State| {
        let mut all = state.chat(&person);
        all.any(|bubble| bubble.ticks == Ticks::Read).then_some(())
    };
    whatsapp.wait_until(SOON, read).await.unwrap();
    let query = "direction=outbound&fields=kapso(default)";
    let (_, page) = list(whatsapp, None, query).await;
    let told = &page["data"][0]["kapso"];
    // That it was read is seen a moment before it is kept.
    let status = told["status"].as_str().unwrap();
    assert!(["delivered", "read"].contains(&status), "{status}");
    assert_eq!(told["statuses"][0]["status"], "sent");
    assert_eq!(told["statuses"][0]["biz_opaque_callback_data"], "one:1");
    assert_eq!(told["statuses"][1]["status"], "delivered");
}
