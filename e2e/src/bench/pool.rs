//! Row 4: how long somebody new waits until their agent has what they wrote, with a sandbox in the
//! warm pool that has booted already.

use super::{
    Scale,
    asked::{ask, until_paused},
    report::{Better, Budget, Figure, Of, median, percentile, say},
    stage,
};
use crate::crowd::person;

/// Nobody owns it, and its gateway has let us in.
const READY_IN_POOL: &str =
    "select count(*) from sandbox where tenant_id is null and booted_at is not null";

pub async fn measure(scale: &Scale) -> anyhow::Result<Vec<Figure>> {
    // Who has been met sleeps soon, so that the next has the machine to themselves.
    let settings = [
        ("SANDBOX_POOL_SIZE", "1"),
        ("SANDBOX_PAUSE_AFTER", "1s"),
        ("SANDBOX_STOP_AFTER", "3s"),
    ];
    let product = stage::whole(&settings).await?;
    let mut took = Vec::new();
    for number in 1..=scale.wakes {
        let ready = || async { Ok(product.postgres.count(READY_IN_POOL).await? == 1) };
        product.until("the pool is full", ready).await?;
        until_paused(&product).await?;
        let asked = ask(&product, &person(number), &format!("pooled-{number}")).await?;
        say(&format!(
            "  person {number}: their agent had it after {:.3} s",
            asked.accepted
        ));
        took.push(asked.accepted);
    }
    product.finish(&[]).await?;
    let p95 = percentile(&took, 95.0);
    say(&format!("  p50 {:.3} s, p95 {p95:.3} s", median(&took)));
    let budget = Budget {
        of: Of::Value,
        better: Better::Less,
        must: 1.0,
        aim: 0.3,
    };
    Ok(vec![Figure::new("pooled_person", p95, "s", None, budget)])
}
