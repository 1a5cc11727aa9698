//! A short soak: the whole one is `clawkaka-e2e soak`.

use std::time::Duration;

use e2e::{
    alone,
    soak::{self, Soak},
};

/// Drawn so that a short script meets everything there is to meet.
const SEED: u64 = 105;

#[tokio::test(flavor = "multi_thread")]
async fn people_come_and_go_on_few_places_and_everybody_is_answered_once_and_in_order()
-> anyhow::Result<()> {
    let _alone = alone().await;
    let soak = Soak {
        people: 6,
        messages: 60,
        capacity: 3,
        pause_after: Duration::from_secs(2),
        stop_after: Duration::from_secs(6),
        pool: 0,
        seed: SEED,
    };
    let outcome = soak::run(soak, soak::show).await?;
    let table = outcome.table();
    // Otherwise it proves nothing.
    let counts = outcome.counts;
    let met = [
        ("pauses", counts.pauses),
        ("wakes from a pause", counts.woken_from_pause),
        ("wakes from a stop", counts.woken_from_stop),
        ("evictions", outcome.evictions),
    ];
    for (what, count) in met {
        anyhow::ensure!(count > 0, "there were no {what}:\n{table}");
    }
    anyhow::ensure!(outcome.messages == 60, "{table}");
    Ok(())
}
