//! Whatever dies, at whatever line: exactly one answer each. The cases are in `e2e::kill`.

use e2e::{
    alone,
    kill::{Case, run, table},
};

/// One kill hits all of them.
const PEOPLE: usize = 2;

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_everybody_gets_exactly_one_answer() -> anyhow::Result<()> {
    let _alone = alone().await;
    let ended = run(PEOPLE, &Case::ALL).await?;
    let good = ended.iter().all(|one| one.result.is_ok());
    let table = table(&[ended]);
    show(&table);
    anyhow::ensure!(good, "{table}");
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "figures for whoever runs it with --nocapture"
)]
fn show(figures: &str) {
    print!("{figures}");
}
