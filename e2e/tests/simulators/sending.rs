//! What the product sends, and how that goes wrong.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Product, SOON, product, start};
use e2e::{
    Person, Simulators, Then, model,
    whatsapp::{CallKind, End, Fault, FaultRule, On, PairRate, Settings, Ticks},
};

#[tokio::test]
async fn a_call_without_the_token_or_to_another_number_is_refused() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let whatsapp = &simulators.whatsapp;
    let body = product::text_to("15550001", "Hi");
    let own = format!("v24.0/{}", whatsapp.settings().phone_number_id);
    for (path, token, status, code) in [
        (own.as_str(), "wrong", 401, 190),
        (
            "v24.0/1",
            whatsapp.settings().access_token.as_str(),
            400,
            100,
        ),
        ("24/1", whatsapp.settings().access_token.as_str(), 400, 100),
    ] {
        let url = format!("{}/{path}/messages", whatsapp.url());
        let request = product::client().post(url).bearer_auth(token).json(&body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), status);
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["error"]["code"], code);
    }
    let calls = whatsapp.calls();
    assert!(
        calls
            .iter()
            .all(|call| call.kind == CallKind::Invalid && !call.taken)
    );
}

#[tokio::test]
async fn a_message_is_answered_with_its_id_and_seen_by_the_person() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let ana = Person::new("15550001", "Ana");
    simulators.whatsapp.say(&ana, "Hi").await;
    let user_id = ana.user_id.clone().unwrap();

    let mut body = product::text_to("15550001", "Hello");
    body["recipient"] = json!(user_id);
    body.as_object_mut().unwrap().remove("to");
    let answer = product::call(&simulators, &body).await.unwrap();
    let answer: Value = answer.json().await.unwrap();

    let chat = simulators
        .whatsapp
        .wait_for_reply(&ana, 1, SOON)
        .await
        .unwrap();
    assert_eq!(
        answer["contacts"],
        json!([{"input": user_id, "user_id": user_id}])
    );
    assert_eq!(answer["messages"][0]["id"], chat[0].wamid.as_str());
    assert_eq!(chat[0].text, "Hello");
    assert_eq!(chat[0].callback.as_deref(), Some("outbox-1:1"));
}

fn typing_on(wamid: &str) -> Value {
    json!({
        "messaging_product": "whatsapp", "status": "read", "message_id": wamid,
        "typing_indicator": {"type": "text"},
    })
}

#[tokio::test]
async fn typing_marks_read_and_ends_with_a_message() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let whatsapp = &simulators.whatsapp;
    let ana = Person::new("15550001", "Ana");
    let said = whatsapp.say(&ana, "Hi").await;

    product::call(&simulators, &typing_on(&said.wamid))
        .await
        .unwrap();
    assert!(whatsapp.is_typing(&ana));
    assert_eq!(whatsapp.conversation(&ana)[0].ticks, Ticks::Read);

    product::call(&simulators, &product::text_to("15550001", "Hello"))
        .await
        .unwrap();
    assert!(!whatsapp.is_typing(&ana));
    assert_eq!(
        whatsapp.read(|state| state.typing[0].until),
        whatsapp.chat(&ana)[0].at
    );

    let unknown = product::call(&simulators, &typing_on("wamid.unknown"))
        .await
        .unwrap();
    assert_eq!(unknown.status(), 400);
}

#[tokio::test]
async fn typing_ends_by_itself_and_wakes_who_waits_for_that() {
    let product = Product::start().await;
    let settings = Settings {
        webhook_url: product.url.clone(),
        typing_lasts: Duration::from_millis(50),
        ..Settings::default()
    };
    let simulators = Simulators::start(settings, model::Settings::default())
        .await
        .unwrap();
    let whatsapp = &simulators.whatsapp;
    let ana = Person::new("15550001", "Ana");
    let said = whatsapp.say(&ana, "Hi").await;

    product::call(&simulators, &typing_on(&said.wamid))
        .await
        .unwrap();

    let over = whatsapp.wait_until(SOON, |state| (!state.is_typing(&ana)).then_some(()));
    over.await.unwrap();
}

#[tokio::test]
async fn a_held_call_is_taken_when_released_even_if_its_caller_is_gone() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let ana = Person::new("15550001", "Ana");
    simulators.whatsapp.program(Fault::Hold {
        gate: "post".to_owned(),
    });
    let body = product::text_to("15550001", "Hello");
    {
        let call = product::call(&simulators, &body);
        tokio::select! {
            _ = call => panic!("the call was not held"),
            reached = simulators.gates.reached("post", 1, SOON) => reached.unwrap(),
        }
        // The caller dies here.
    }
    assert!(simulators.whatsapp.chat(&ana).is_empty());

    simulators.gates.release("post", Then::Go);

    let chat = simulators
        .whatsapp
        .wait_for_reply(&ana, 1, SOON)
        .await
        .unwrap();
    assert_eq!(chat.len(), 1);
    product.wait_for(3).await;
}

#[tokio::test]
async fn a_held_call_can_be_dropped_before_or_after_it_is_taken() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let ana = Person::new("15550001", "Ana");
    for (then, bubbles) in [(Then::Drop, 0), (Then::GoAndDrop, 1)] {
        simulators.whatsapp.program(Fault::Hold {
            gate: "post".to_owned(),
        });
        let body = product::text_to("15550001", "Hello");
        let call = tokio::join!(product::call(&simulators, &body), async {
            simulators.gates.reached("post", 1, SOON).await.unwrap();
            simulators.gates.release("post", then);
        });
        assert!(call.0.is_err(), "{then:?} answered");
        assert_eq!(simulators.whatsapp.chat(&ana).len(), bubbles);
    }
    let calls = simulators.whatsapp.calls();
    assert_eq!(
        calls.iter().map(|call| call.taken).collect::<Vec<_>>(),
        [false, true]
    );
    assert!(calls.iter().all(|call| call.end == End::Cut));
}

#[tokio::test]
async fn an_answer_can_be_held_after_the_message_is_taken() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let ana = Person::new("15550001", "Ana");
    simulators.whatsapp.program(Fault::HoldAnswer {
        gate: "answer".to_owned(),
    });
    let body = product::text_to("15550001", "Hello");

    let (answer, ()) = tokio::join!(product::call(&simulators, &body), async {
        simulators.gates.reached("answer", 1, SOON).await.unwrap();
        assert_eq!(simulators.whatsapp.chat(&ana).len(), 1);
        simulators.gates.release("answer", Then::Go);
    });

    assert_eq!(answer.unwrap().status(), 200);
}

#[tokio::test]
async fn faults_meet_the_calls_they_are_for_and_are_spent() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let whatsapp = &simulators.whatsapp;
    let (ana, ben) = (
        Person::new("15550001", "Ana"),
        Person::new("15550002", "Ben"),
    );
    let said = whatsapp.say(&ana, "Hi").await;
    whatsapp.say(&ben, "Hi").await;
    whatsapp.program(
        FaultRule::from(Fault::Error {
            code: 131056,
            status: None,
        })
        .to(&ana)
        .times(2),
    );
    whatsapp.program(FaultRule::from(Fault::Http { status: 503 }).on(On::Mark));
    whatsapp.program(FaultRule::from(Fault::Garbage).to(&ben));

    let mut seen = Vec::new();
    for to in ["15550001", "15550002", "15550001", "15550001"] {
        let answer = product::call(&simulators, &product::text_to(to, "Hello"))
            .await
            .unwrap();
        let status = answer.status().as_u16();
        let body: Option<Value> = answer.json().await.ok();
        seen.push((
            status,
            body.map(|body| body["error"]["code"].as_i64().unwrap_or_default()),
        ));
    }
    let mark = json!({"messaging_product": "whatsapp", "status": "read", "message_id": said.wamid});
    let marked = product::call(&simulators, &mark).await.unwrap().status();

    assert_eq!(
        seen,
        [
            (400, Some(131056)),
            (200, None),
            (400, Some(131056)),
            (200, Some(0))
        ]
    );
    assert_eq!(marked, 503);
    assert_eq!(
        (whatsapp.chat(&ana).len(), whatsapp.chat(&ben).len()),
        (1, 1)
    );
}

#[tokio::test]
async fn a_cut_connection_has_taken_the_message_only_if_told_to() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let ana = Person::new("15550001", "Ana");
    simulators.whatsapp.program(Fault::Drop);
    simulators.whatsapp.program(Fault::TakeAndDrop);
    let body = product::text_to("15550001", "Hello");

    for bubbles in [0, 1] {
        assert!(product::call(&simulators, &body).await.is_err());
        assert_eq!(simulators.whatsapp.chat(&ana).len(), bubbles);
    }
}

#[tokio::test]
async fn a_refused_connection_is_accepted_again_on_the_same_port() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let body = product::text_to("15550001", "Hello");
    simulators.whatsapp.refuse().await;

    let refused = product::call(&simulators, &body).await.unwrap_err();
    assert!(refused.is_connect(), "{refused:?}");

    simulators.whatsapp.accept_again().await.unwrap();
    assert_eq!(
        product::call(&simulators, &body).await.unwrap().status(),
        200
    );
}

#[tokio::test]
async fn one_person_is_not_sent_more_than_the_pair_rate_allows() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let every = Duration::from_secs(600);
    let every_ms = u64::try_from(every.as_millis()).unwrap();
    simulators
        .whatsapp
        .limit_pair_rate(Some(PairRate { burst: 1, every_ms }));

    let mut statuses = Vec::new();
    for to in ["15550001", "15550001", "15550002"] {
        let body = product::text_to(to, "Hello");
        statuses.push(
            product::call(&simulators, &body)
                .await
                .unwrap()
                .status()
                .as_u16(),
        );
    }
    assert_eq!(statuses, [200, 400, 200]);
}

#[tokio::test]
async fn a_closed_window_takes_templates_only_until_the_person_writes_or_rings() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let (whatsapp, ana) = (&simulators.whatsapp, Person::new("15550001", "Ana"));
    let text = product::text_to("15550001", "Hello");
    let mut template = product::text_to("15550001", "");
    template["type"] = json!("template");
    template["template"] = json!({"name": "assistant_waiting", "language": {"code": "en_US"}});
    template.as_object_mut().unwrap().remove("text");

    whatsapp.say(&ana, "Hi").await;
    whatsapp.close_window(&ana);
    for body in [&text, &template] {
        let answer = product::call(&simulators, body).await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let seen = |count| whatsapp.wait_for_reply(&ana, count, SOON);
    assert_eq!(
        seen(1).await.unwrap()[0].text,
        "[template] assistant_waiting"
    );
    assert_eq!(whatsapp.ring(&ana).await, Some(200));
    product::call(&simulators, &text).await.unwrap();
    assert_eq!(seen(2).await.unwrap()[1].text, "Hello");
}

#[tokio::test]
async fn only_who_wrote_within_a_day_can_be_blocked() {
    let product = Product::start().await;
    let simulators = start(&product).await;
    let whatsapp = &simulators.whatsapp;
    whatsapp.say(&Person::new("15550001", "Ana"), "Hi").await;
    let number = &whatsapp.settings().phone_number_id;
    let url = format!("{}/v24.0/{number}/block_users", whatsapp.url());
    let ask = async |method: &str, whom: &str| {
        let body = json!({"messaging_product": "whatsapp", "block_users": [{"user": whom}]});
        let request = product::client().request(method.parse().unwrap(), &url);
        let request = request.bearer_auth(&whatsapp.settings().access_token);
        let answer = request.json(&body).send().await.unwrap();
        let status = answer.status().as_u16();
        (status, answer.json::<Value>().await.unwrap())
    };
    assert_eq!(ask("POST", "+15550001").await.0, 200);
    let (status, answer) = ask("POST", "+15550002").await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!(139100)));
    assert_eq!(whatsapp.read(|state| state.blocked.clone()), ["+15550001"]);
    assert_eq!(ask("DELETE", "+15550001").await.0, 200);
    assert!(whatsapp.read(|state| state.blocked.is_empty()));
}
