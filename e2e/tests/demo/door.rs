//! Who is let in: the page speaks for anybody, so only this machine's own browser may use it.

use reqwest::{Method, header};
use serde_json::json;

use super::stub::{Product, client};

async fn page() -> (e2e::Simulators, String, Product) {
    let product = Product::start().await;
    let whatsapp = e2e::whatsapp::Settings {
        webhook_url: product.url.clone(),
        ..e2e::whatsapp::Settings::default()
    };
    let simulators = e2e::Simulators::start(whatsapp, e2e::model::Settings::default());
    let simulators = simulators.await.unwrap();
    let url = simulators.start_control(0).await.unwrap();
    (simulators, url, product)
}

async fn status(url: &str, method: Method, name: header::HeaderName, value: &str) -> u16 {
    let body = json!({"person": "15550001", "text": "I am somebody else"});
    let request = client()
        .request(method, url)
        .header(name, value)
        .json(&body);
    request.send().await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_foreign_name_is_refused_everywhere() {
    let (simulators, url, product) = page().await;
    for path in [
        "",
        "/",
        "/events",
        "/demo/page.js",
        "/calls",
        "/chat/15550001",
        "/nothing",
    ] {
        let url = format!("{url}{path}");
        let refused = status(&url, Method::GET, header::HOST, "rebound.example").await;
        assert_eq!(refused, 403, "{path}");
    }
    for path in ["/write", "/look", "/people", "/say", "/post", "/faults"] {
        let url = format!("{url}{path}");
        let refused = status(&url, Method::POST, header::HOST, "rebound.example:80").await;
        assert_eq!(refused, 403, "{path}");
        let refused = status(&url, Method::POST, header::ORIGIN, "http://other.example").await;
        assert_eq!(refused, 403, "{path}");
        let refused = status(&url, Method::POST, header::ORIGIN, "null").await;
        assert_eq!(refused, 403, "{path}");
    }
    simulators.whatsapp.read(|state| {
        assert!(state.bubbles.is_empty() && state.deliveries.is_empty());
    });
    assert!(product.webhooks().is_empty());
}

#[tokio::test]
async fn what_a_form_of_another_page_could_post_is_refused() {
    let (simulators, url, _product) = page().await;
    let form = r#"{"person": "15550001", "text": "I am somebody else"}"#;
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let posted = client().post(format!("{url}/write"));
        let posted = posted.header(header::CONTENT_TYPE, kind).body(form).send();
        assert_eq!(posted.await.unwrap().status(), 415, "{kind}");
    }
    simulators
        .whatsapp
        .read(|state| assert!(state.bubbles.is_empty()));
}

#[tokio::test]
async fn the_page_may_load_nothing_from_elsewhere_and_keeps_no_cookie() {
    let (_simulators, url, _product) = page().await;
    let page = client().get(&url).send().await.unwrap();
    let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str();
    let policy = policy.unwrap().to_owned();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'self';"),
        "{policy}"
    );
    assert!(
        !policy.contains("unsafe") && !policy.contains('*'),
        "{policy}"
    );
    assert!(page.headers().get(header::SET_COOKIE).is_none());
    let html = page.text().await.unwrap();
    assert!(
        !html.contains("http://") && !html.contains("https://"),
        "{html}"
    );
    assert!(
        !html.contains("style=") && !html.contains("<script>"),
        "{html}"
    );
}

#[tokio::test]
async fn nonsense_is_refused_with_a_sentence_for_people() {
    let (_simulators, url, _product) = page().await;
    let id = "0b7a5f00-0000-4000-8000-000000000000";
    for (path, body, expected) in [
        ("people", json!({"name": " ", "phone": "15550009"}), 400),
        ("people", json!({"name": "Chiara", "phone": "12"}), 400),
        (
            "people",
            json!({"name": "Chiara", "phone": "1555000x"}),
            400,
        ),
        (
            "people",
            json!({"name": "Chiara", "phone": "+1 555-0001"}),
            409,
        ),
        (
            "write",
            json!({"person": "15550001", "text": " \n", "id": id}),
            400,
        ),
        (
            "write",
            json!({"person": "15550001", "text": "x".repeat(4097), "id": id}),
            400,
        ),
        (
            "write",
            json!({"person": "4999", "text": "Hi", "id": id}),
            404,
        ),
        ("look", json!({"person": "4999"}), 404),
    ] {
        let answer = client().post(format!("{url}/{path}")).json(&body).send();
        let answer = answer.await.unwrap();
        assert_eq!(answer.status(), expected, "{path} {body}");
        let answer: serde_json::Value = answer.json().await.unwrap();
        assert!(answer["error"].as_str().unwrap().ends_with('.'), "{answer}");
    }
}
