//! How an operator finds the group that is to be served, and has it served.

use serde_json::json;
use sqlx::PgPool;

use super::Desk;
use crate::tests::support::{NUMBER, text};

const GROUP: &str = "120363041234567890@g.us";

impl Desk {
    async fn hears_in_the_group(&self, id: &str) -> String {
        let mut said = text(id, "@Assistant: hello");
        said["group_id"] = json!(GROUP);
        self.receive(said).await;
        self.route().await;
        let ended = sqlx::query_scalar!(
            r#"select coalesce(outcome, 'waiting') as "outcome!" from inbox where provider_id = $1"#,
            id,
        );
        ended.fetch_one(&self.db).await.unwrap()
    }

    async fn groups(&self) -> serde_json::Value {
        let listed = self.types(&["line", "groups", NUMBER]).await;
        assert!(listed.good, "{}", listed.text);
        listed.json["groups"].clone()
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_group_that_writes_in_vain_is_listed_until_it_is_served_or_erased(db: PgPool) {
    let desk = Desk::new(&db).await;
    assert_eq!(desk.groups().await, json!([]));
    assert_eq!(desk.hears_in_the_group("wamid.1").await, "not_served");
    assert_eq!(desk.groups().await[0]["group"], GROUP);
    let kept = sqlx::query_scalar!(r#"select g::text as "row!" from unserved_group g"#);
    let kept = kept.fetch_one(&db).await.unwrap();
    assert!(!kept.contains(&hex::encode(GROUP)), "not sealed: {kept}");

    let set = ["line", "set", NUMBER, "--as", "ana"];
    let served = ["--groups", GROUP, "--group-prefix", "@Assistant"];
    let said = desk.types(&[&set[..], &served].concat()).await;
    assert!(said.good && said.json["changed"] == true, "{}", said.text);
    let shown = desk.types(&["line", "show", NUMBER]).await;
    for line in [
        format!("{GROUP} (set for this line)").as_str(),
        "@Assistant (set",
    ] {
        assert!(shown.text.contains(line), "{line}: {}", shown.text);
    }
    assert_eq!(shown.json["policy"]["groups"], json!([GROUP]));
    assert_eq!(desk.groups().await, json!([]));
    assert_eq!(desk.hears_in_the_group("wamid.2").await, "waiting");

    assert!(
        desk.types(&[&set[..], &["--groups", "none"]].concat())
            .await
            .good
    );
    assert_eq!(desk.hears_in_the_group("wamid.3").await, "not_served");
    assert_eq!(desk.groups().await[0]["group"], GROUP);
    let people = desk.types(&["tenant", "list"]).await;
    let id = people.json["tenants"][0]["id"].as_str().unwrap().to_owned();
    let erase = ["tenant", "erase", &id, "--yes", "--no-wait"];
    assert!(desk.types(&erase).await.good);
    assert_eq!(desk.groups().await, json!([]));
}
