//! What an operator sets about who may write: the policy of a line, invitations, the list, roles.

use serde_json::json;
use sqlx::PgPool;

use super::Desk;
use crate::{
    line::policy::Signup,
    tenant::role,
    tests::{
        provider::{Provider, TOKEN},
        support::{NUMBER, text},
    },
};

const PHONE: &str = "16505551234";

async fn status(db: &PgPool) -> String {
    let status = sqlx::query_scalar!("select status from tenant");
    status.fetch_one(db).await.unwrap()
}

async fn closed(db: &PgPool) -> Desk {
    let mut desk = Desk::new(db).await;
    desk.routing.policy.signup = Signup::Closed;
    desk
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_line_is_set_bit_by_bit_shown_and_set_back(db: PgPool) {
    let desk = Desk::new(&db).await;
    let set = ["line", "set", NUMBER, "--as", "ana"];
    let said = desk
        .types(&[&set[..], &["--signup", "invite", "--default-role", "guest"]].concat())
        .await;
    assert!(said.good && said.json["changed"] == true, "{}", said.text);
    let more = ["--notice-policy-url", "https://example.org/privacy"];
    assert!(desk.types(&[&set[..], &more].concat()).await.good);

    let shown = desk
        .types(&[
            "line",
            "show",
            NUMBER,
            "--lines-notice-operator=Everybody Ltd",
        ])
        .await;
    let policy = &shown.json["policy"];
    assert_eq!(policy["signup"], "invite", "{}", shown.text);
    assert_eq!(policy["notice_operator"], "Everybody Ltd");
    assert_eq!(
        policy["set_for_this_line"],
        json!({ "signup": "invite", "default_role": "guest",
                "notice_policy_url": "https://example.org/privacy" })
    );
    for line in [
        "invite (set for this line)",
        "Everybody Ltd (environment)",
        "guest (set",
    ] {
        assert!(shown.text.contains(line), "{line}: {}", shown.text);
    }
    let listed = desk.types(&["line", "list"]).await;
    assert_eq!(listed.json["lines"][0]["policy"]["signup"], "invite");

    let back = desk.types(&[&set[..], &["--reset"]].concat()).await;
    assert_eq!(back.json["policy"]["set_for_this_line"], json!({}));
    assert_eq!(back.json["policy"]["signup"], "open");
    let kinds: Vec<_> = desk.events().await.into_iter().map(|one| one.0).collect();
    assert_eq!(kinds, ["line_set", "line_set", "line_set"]);
    let nothing = desk.types(&["line", "set", NUMBER]).await;
    assert_eq!(nothing.json["error"]["code"], "nothing-to-set");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_policy_that_nobody_can_read_is_set_back_as_the_error_says(db: PgPool) {
    let desk = Desk::new(&db).await;
    sqlx::query!(r#"update line set policy = '{"sign_up": "open"}'"#)
        .execute(&db)
        .await
        .unwrap();
    let failed = crate::line::policy::own(&db, desk.line).await.unwrap_err();
    assert!(format!("{failed:#}").contains("--reset"), "{failed:#}");
    let said = desk.types(&["line", "set", NUMBER, "--reset"]).await;
    assert!(said.good, "{}", said.text);
    assert!(desk.types(&["line", "show", NUMBER]).await.good);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn an_invitation_is_shown_once_with_its_link_and_lets_in(db: PgPool) {
    let provider = Provider::start().await;
    let mut desk = Desk::new(&db).await;
    desk.routing.policy.signup = Signup::Invite;
    let [meta, _] = provider.settings();
    let (number, token) = (
        format!("--whatsapp-sender-phone-number-id={NUMBER}"),
        format!("--whatsapp-access-token={TOKEN}"),
    );
    let words = [
        &[
            "invite",
            "create",
            "--role",
            "guest",
            "--lines-signup=invite",
        ][..],
        &[&meta, &number, &token, "--as", "ana"],
    ];
    let said = desk.types(&words.concat()).await;
    assert!(said.good, "{}", said.text);
    let code = said.json["code"].as_str().unwrap().to_owned();
    let link = format!("https://wa.me/15550783881?text={code}");
    assert_eq!(said.json["link"], json!(link));
    assert!(said.text.starts_with(&code) && said.text.contains(&link));
    for kept in [
        desk.types(&["invite", "list"]).await.text,
        format!("{:?}", desk.events().await),
        sqlx::query_scalar!(r#"select i::text as "row!" from invite i"#)
            .fetch_one(&db)
            .await
            .unwrap(),
    ] {
        assert!(!kept.contains(&code), "{kept}");
    }

    desk.receive(text("wamid.1", &code)).await;
    desk.route().await;
    assert_eq!(status(&db).await, "active");
    let listed = desk.types(&["invite", "list"]).await;
    let one = &listed.json["invites"][0];
    assert_eq!(
        (&one["state"], &one["uses_left"]),
        (&json!("used"), &json!(0))
    );
    let people = desk.types(&["tenant", "list"]).await;
    assert_eq!(people.json["tenants"][0]["role"], "guest");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_revoked_invitation_lets_nobody_in(db: PgPool) {
    let mut desk = Desk::new(&db).await;
    desk.routing.policy.signup = Signup::Invite;
    let said = desk.types(&["invite", "create", "--uses", "5"]).await;
    assert!(said.good && said.json["link"].is_null(), "{}", said.text);
    let code = said.json["code"].as_str().unwrap();
    let id = said.json["invite"].as_str().unwrap();
    let revoked = desk.types(&["invite", "revoke", id]).await;
    assert_eq!(revoked.json["changed"], true, "{}", revoked.text);
    let again = desk.types(&["invite", "revoke", id]).await;
    assert_eq!((again.good, &again.json["changed"]), (true, &json!(false)));
    desk.receive(text("wamid.1", code)).await;
    desk.route().await;
    assert_eq!(status(&db).await, "refused");
    let nobody = "01234567-89ab-7def-8123-456789abcdef";
    let unknown = desk.types(&["invite", "revoke", nobody]).await;
    assert_eq!(unknown.json["error"]["code"], "no-such-invitation");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn who_is_allowed_comes_in_and_is_shown_only_to_who_asks_for_it(db: PgPool) {
    let desk = closed(&db).await;
    let said = desk
        .types(&[
            "tenant",
            "allow",
            "+1 650 555-1234",
            "--role",
            "family",
            "--as",
            "ana",
        ])
        .await;
    assert!(said.good && said.json["changed"] == true, "{}", said.text);
    assert!(!said.text.contains("555"), "{}", said.text);
    let listed = desk.types(&["tenant", "allowed"]).await;
    assert!(listed.text.contains("has not written"), "{}", listed.text);
    assert!(!format!("{}{}", listed.text, listed.json).contains(PHONE));

    desk.receive(text("wamid.1", "hello")).await;
    desk.route().await;
    assert_eq!(status(&db).await, "active");
    let shown = desk
        .types(&["tenant", "allowed", "--reveal", "--as", "ben"])
        .await;
    let one = &shown.json["allowed"][0];
    assert_eq!(
        (&one["address"], &one["role"]),
        (&json!(PHONE), &json!("family"))
    );
    assert_eq!(one["tenant"], json!(desk.tenant().await.0));

    let off = desk.types(&["tenant", "disallow", "+16505551234"]).await;
    assert_eq!(off.json["changed"], true, "{}", off.text);
    let empty = desk.types(&["tenant", "allowed"]).await;
    assert_eq!(empty.json["allowed"], json!([]));
    let kinds: Vec<_> = desk.events().await.into_iter().map(|one| one.0).collect();
    assert_eq!(kinds, ["allow", "reveal", "disallow"]);
    let bad = desk.types(&["tenant", "allow", "not an address"]).await;
    assert_eq!(bad.json["error"]["code"], "bad-address");
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn who_is_erased_is_on_the_list_no_more(db: PgPool) {
    let desk = closed(&db).await;
    assert!(desk.types(&["tenant", "allow", PHONE]).await.good);
    desk.receive(text("wamid.1", "hello")).await;
    desk.route().await;
    let id = desk.tenant().await.to_string();
    let said = desk
        .types(&["tenant", "erase", &id, "--yes", "--no-wait"])
        .await;
    assert!(said.good, "{}", said.text);
    let left = sqlx::query_scalar!(r#"select count(*) as "left!" from allowed"#);
    assert_eq!(left.fetch_one(&db).await.unwrap(), 0);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_person_has_the_role_that_they_were_given_last_or_the_default(db: PgPool) {
    let desk = Desk::new(&db).await;
    desk.receive(text("wamid.1", "hello")).await;
    desk.route().await;
    let (person, id) = (desk.tenant().await, desk.tenant().await.to_string());
    let role = async || role::introduction(&db, person).await.unwrap().role;
    assert_eq!(role().await, None, "that is the default");
    let set = ["tenant", "set-role", &id, "family", "--as", "ana"];
    let said = desk.types(&set).await;
    assert_eq!(said.json["changed"], true, "{}", said.text);
    assert_eq!(role().await.as_deref(), Some("family"));
    assert_eq!(desk.types(&set).await.json["changed"], false);

    let default = ["line", "set", NUMBER, "--default-role", "guest"];
    let told = "Agents are told with the next message of their person.";
    let said = desk.types(&default).await;
    assert!(said.good && said.text.contains(told), "{}", said.text);
    assert!(!desk.types(&default).await.text.contains(told), "the same");
    assert_eq!(role().await.as_deref(), Some("family"), "their own stays");
    assert!(desk.types(&["tenant", "set-role", &id, "none"]).await.good);
    assert_eq!(role().await, None);
}
