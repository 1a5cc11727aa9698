//! Runs cases of the kill matrix and says what came of them.

use std::{
    fmt::Write as _,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;

use super::{Case, Matrix};

/// How a case ended, or the look back at all of them.
#[derive(Debug)]
pub struct Ended {
    pub what: String,
    pub took: Duration,
    pub result: anyhow::Result<()>,
}

/// Runs cases one after the other. After one that failed the rest begins anew, with people who
/// have been answered once, so that each case is judged for itself.
pub fn run(people: usize, cases: &[Case]) -> BoxFuture<'_, anyhow::Result<Vec<Ended>>> {
    Box::pin(run_all(people, cases))
}

async fn run_all(people: usize, cases: &[Case]) -> anyhow::Result<Vec<Ended>> {
    let mut matrix = Matrix::start(people).await?;
    let mut ended = Vec::new();
    for &case in cases {
        if case != Case::WhileTheContainerBoots && matrix.owed.is_empty() {
            matrix.say("warm-up").await?;
            matrix.exactly_one_each("warm-up").await?;
        }
        let started = Instant::now();
        let mut result = matrix.case(case).await;
        if result.is_ok() {
            result = matrix.nothing_came_twice();
        }
        match &result {
            Ok(()) => tracing::info!("{case}: right"),
            Err(error) => {
                tracing::error!("{case}: {error:?}");
                matrix = Matrix::start(people).await?;
            }
        }
        ended.push(Ended {
            what: case.to_string(),
            took: started.elapsed(),
            result,
        });
    }
    let started = Instant::now();
    let result = matrix.finish().await;
    let what = "nothing late, wrong or private".to_owned();
    ended.push(Ended {
        what,
        took: started.elapsed(),
        result,
    });
    Ok(ended)
}

/// One line for each case, over all rounds, and what went wrong below.
pub fn table(rounds: &[Vec<Ended>]) -> String {
    let all = || rounds.iter().flatten();
    let mut table = String::new();
    for Ended { what, .. } in rounds.first().into_iter().flatten() {
        let of_this = || all().filter(|ended| ended.what == *what);
        let (count, good) = (
            of_this().count(),
            of_this().filter(|one| one.result.is_ok()).count(),
        );
        let slowest = of_this()
            .map(|one| one.took)
            .max()
            .unwrap_or_default()
            .as_secs_f64();
        // Writing to a string cannot fail.
        let _ = writeln!(
            table,
            "{what:<34} {good:>3} of {count:>3} right, {slowest:6.1} s at most"
        );
    }
    for Ended { what, result, .. } in all() {
        if let Err(error) = result {
            let _ = writeln!(table, "\n{what}: {error:?}");
        }
    }
    table
}
