//! The conformance run: every shape in which WhatsApp tells us something, in Meta's form and in Kapso's,
//! each also with phone, user id or name missing. Each is answered 200, is the right event, asks the agent
//! the right thing and tells the person what it should. `infra/test.sh conformance` shows its table.

mod form;
mod group;
mod people;
mod run;
mod shape;
mod table;
mod together;

use sqlx::PgPool;

use run::Run;
use shape::Shapes;
use table::{Line, table};

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn every_shape_is_the_right_event_and_the_right_call_to_the_agent(db: PgPool) {
    let (shapes, mut run) = (Shapes::read(), Run::new(&db).await);
    let mut lines = run.messages(&shapes).await;
    lines.extend(run.groups(&shapes).await);
    lines.extend(run.systems(&shapes).await);
    lines.extend(run.statuses().await);
    lines.extend(run.changes(&shapes).await);
    lines.extend(run.together().await);
    show(&lines, run.posted);
    assert!(run.wrong.is_empty(), "{}", run.wrong.join("\n"));
}

#[expect(clippy::print_stdout, reason = "the table is what the run is for")]
fn show(lines: &[Line], posted: usize) {
    let cells = || lines.iter().flat_map(|line| line.right).flatten();
    let (right, all) = cells().fold((0, 0), |(a, b), (right, all)| (a + right, b + all));
    println!(
        "\n{}\n{} shapes, {posted} webhooks, {right} of {all} variants right",
        table(lines),
        lines.len()
    );
}
