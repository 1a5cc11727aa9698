//! Whether the templates that were set for a number can go out is found before somebody waits for one.

use sqlx::PgPool;

use super::{line::Folder, noon, types};
use crate::tests::provider::{Provider, SECRET, TOKEN};

/// What `line test` finds of the templates, by its verdict and words.
async fn found(db: &PgPool, provider: &Provider, number: &str) -> (String, String) {
    let [meta, kapso] = provider.settings();
    let said = types(
        db,
        &["line", "test", number, "--roles=worker", &meta, &kapso],
        noon(),
    )
    .await;
    let checks = said.json["checks"].as_array().unwrap();
    let found = checks.iter().find(|one| one["code"] == "templates");
    let found = found.unwrap_or_else(|| panic!("{}", said.text));
    let text = |name: &str| found[name].as_str().unwrap().to_owned();
    (text("result"), text("what"))
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn a_template_that_meta_does_not_let_out_is_named_whoever_hands_on_the_number(db: PgPool) {
    let provider = Provider::start().await;
    let folder = Folder::new();
    let [meta, kapso] = provider.settings();
    let (key, secret) = (folder.of(TOKEN), folder.of(SECRET));
    let of_meta = ["--access-token-file", &key, "--app-secret-file", &secret];
    let of_kapso = ["--api-key-file", &key, "--delivery", "poll"];
    for (which, number, secrets) in [("meta", "222", of_meta), ("kapso", "333", of_kapso)] {
        let add = [
            "line",
            "add",
            "--provider",
            which,
            "--phone-number-id",
            number,
        ];
        let words = [&add[..], &secrets, &[&meta, &kapso]].concat();
        let added = types(&db, &words, noon()).await;
        assert!(added.good, "{}", added.text);
        let (result, what) = found(&db, &provider, number).await;
        assert_eq!(result, "ok", "{which}");
        assert!(what.contains("no template"), "{which}: {what}");

        let set = [
            "line",
            "set",
            number,
            "--template",
            "en_US=assistant_waiting",
        ];
        assert!(types(&db, &set, noon()).await.good);
        let (result, what) = found(&db, &provider, number).await;
        assert_eq!(result, "ok", "{which}");
        assert!(what.contains("all templates"), "{which}: {what}");

        let more = [
            "--template",
            "de=assistant_waiting",
            "--template",
            "fr=waiting",
        ];
        assert!(types(&db, &[&set[..], &more].concat(), noon()).await.good);
        let (result, what) = found(&db, &provider, number).await;
        assert_eq!(result, "fail", "{which}");
        assert!(
            what.contains("de=assistant_waiting is pending; fr=waiting is not there"),
            "{what}"
        );
        assert!(!what.contains("en_US"), "{what}");
    }
}
