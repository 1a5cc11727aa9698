//! What reaches the product.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

use super::{Product, SOON, product, start};
use e2e::{
    Person,
    whatsapp::{Message, Receipt, ReceiptRule, Signature, Ticks},
};

/// Verifies as a product would: over the bytes that came.
fn is_signed(webhook: &product::Webhook, secret: &str) -> bool {
    let signature = webhook
        .signature
        .as_deref()
        .unwrap()
        .strip_prefix("sha256=")
        .unwrap();
    assert_eq!(signature, signature.to_lowercase());
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(&webhook.body);
    mac.verify_slice(&hex::decode(signature).unwrap()).is_ok()
}

#[tokio::test]
async fn a_message_is_signed_over_its_escaped_bytes() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let ana = Person::new("15550001", "Ana");

    let said = simulators.whatsapp.say(&ana, "Grüße 🎉 a/b").await;

    assert_eq!(said.status, Some(200));
    let webhook = &product.webhooks()[0];
    assert!(is_signed(
        webhook,
        &simulators.whatsapp.settings().app_secret
    ));
    let raw = String::from_utf8(webhook.body.clone()).unwrap();
    assert!(raw.contains(r"Gr\u00fc\u00dfe \ud83c\udf89 a\/b"), "{raw}");
    let value = webhook.value();
    assert_eq!(value["messages"][0]["text"]["body"], "Grüße 🎉 a/b");
    assert_eq!(value["messages"][0]["id"], said.wamid.as_str());
    assert_eq!(value["messages"][0]["from"], "15550001");
    assert!(value["messages"][0]["timestamp"].is_string());
    assert_eq!(value["contacts"][0]["user_id"], ana.user_id.unwrap());
    assert_eq!(value["contacts"][0]["profile"]["name"], "Ana");
}

#[tokio::test]
async fn a_repeated_webhook_is_the_same_bytes_and_one_bubble() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let ana = Person::new("15550001", "Ana");
    let body = simulators.whatsapp.body(&[Message::text(&ana, "Hi")]);

    let statuses = simulators.whatsapp.post_copies(&body, 5).await;

    assert_eq!(statuses, [Some(200); 5]);
    assert!(
        product
            .webhooks()
            .iter()
            .all(|webhook| webhook.body == body)
    );
    assert_eq!(simulators.whatsapp.conversation(&ana).len(), 1);
}

#[tokio::test]
async fn what_is_missing_of_a_person_is_missing_in_the_webhook() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let ana = Person::new("15550001", "Ana");
    let messages = [
        Message::text(&ana.without_phone().without_name(), "one"),
        Message::text(&ana.without_user_id(), "two"),
    ];

    simulators
        .whatsapp
        .post(&simulators.whatsapp.body(&messages))
        .await;

    let value = product.webhooks()[0].value();
    let [one, two] = [&value["messages"][0], &value["messages"][1]];
    assert!(
        one.get("from").is_none() && one.get("from_user_id").is_some(),
        "{one}"
    );
    assert!(
        two.get("from").is_some() && two.get("from_user_id").is_none(),
        "{two}"
    );
    assert!(value["contacts"][0].get("profile").is_none());
}

#[tokio::test]
async fn a_forged_body_goes_out_with_any_signature_and_says_nothing() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let ana = Person::new("15550001", "Ana");
    let body = simulators.whatsapp.body(&[Message::text(&ana, "Hi")]);

    simulators
        .whatsapp
        .post_signed(&body, &Signature::Missing)
        .await;
    simulators
        .whatsapp
        .post_signed(b"{", &Signature::Header("sha256=AB".to_owned()))
        .await;

    let signatures: Vec<_> = product
        .webhooks()
        .into_iter()
        .map(|one| one.signature)
        .collect();
    assert_eq!(signatures, [None, Some("sha256=AB".to_owned())]);
    assert!(simulators.whatsapp.conversation(&ana).is_empty());
}

#[tokio::test]
async fn a_message_is_followed_by_signed_receipts_with_its_callback_data() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let ana = Person::new("15550001", "Ana");
    simulators.whatsapp.say(&ana, "Hi").await;

    product::call(&simulators, &product::text_to("+15550001", "Hello"))
        .await
        .unwrap();

    let webhooks = product.wait_for(4).await;
    let mut statuses = Vec::new();
    for webhook in &webhooks[1..] {
        assert!(is_signed(
            webhook,
            &simulators.whatsapp.settings().app_secret
        ));
        let status = webhook.status();
        assert_eq!(status["biz_opaque_callback_data"], "outbox-1:1");
        assert_eq!(status["recipient_id"], "15550001");
        assert_eq!(status["recipient_user_id"], ana.user_id.clone().unwrap());
        statuses.push(status["status"].clone());
    }
    assert_eq!(statuses, [json!("sent"), json!("delivered"), json!("read")]);
    assert_eq!(simulators.whatsapp.chat(&ana)[0].ticks, Ticks::Read);
}

#[tokio::test]
async fn a_receipt_is_posted_again_until_it_is_answered_with_200() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let ana = Person::new("15550001", "Ana");
    let receipts = vec![Receipt::of(Ticks::Sent)];
    simulators.whatsapp.program_receipts(ReceiptRule {
        receipts,
        to: None,
        times: None,
    });
    product.refuse(2);

    product::call(&simulators, &product::text_to("15550001", "Hello"))
        .await
        .unwrap();

    let webhooks = product.wait_for(3).await;
    assert!(
        webhooks
            .iter()
            .all(|webhook| webhook.body == webhooks[0].body)
    );
    let attempts = simulators.whatsapp.wait_until(SOON, |state| {
        let attempts = &state.deliveries[0].attempts;
        (attempts.len() == 3).then(|| attempts.iter().map(|one| one.status).collect::<Vec<_>>())
    });
    assert_eq!(attempts.await.unwrap(), [Some(503), Some(503), Some(200)]);
    assert_eq!(simulators.whatsapp.chat(&ana).len(), 1);
}

#[tokio::test]
async fn receipts_come_in_the_order_and_number_programmed() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let receipts = vec![
        Receipt::of(Ticks::Read),
        Receipt::of(Ticks::Delivered).copies(2),
        Receipt::of(Ticks::Sent),
    ];
    simulators.whatsapp.program_receipts(ReceiptRule {
        receipts,
        to: None,
        times: Some(1),
    });

    product::call(&simulators, &product::text_to("15550001", "Hello"))
        .await
        .unwrap();

    let webhooks = product.wait_for(4).await;
    let statuses: Vec<_> = webhooks
        .iter()
        .map(|one| one.status()["status"].clone())
        .collect();
    assert_eq!(statuses, ["read", "delivered", "delivered", "sent"]);
}

#[tokio::test]
async fn a_failed_message_never_reaches_the_person() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let ana = Person::new("15550001", "Ana");
    simulators.whatsapp.close_window(&ana);

    let answer = product::call(&simulators, &product::text_to("15550001", "Hello"))
        .await
        .unwrap();

    assert_eq!(answer.status(), 200);
    let status = product.wait_for(1).await[0].status();
    assert_eq!(status["status"], "failed");
    assert_eq!(status["errors"][0]["code"], 131047);
    assert!(simulators.whatsapp.chat(&ana).is_empty());

    simulators.whatsapp.say(&ana, "I am back").await;
    product::call(&simulators, &product::text_to("15550001", "Welcome"))
        .await
        .unwrap();
    assert_eq!(simulators.whatsapp.chat(&ana).len(), 1);
}
