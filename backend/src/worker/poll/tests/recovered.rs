//! What was written while nobody asked comes all at once, and is no flood for that.

use super::{kapso::inbound, *};
use crate::{
    tenant::{address::AddressBook, invite::Codes},
    tests::support::{LIMITS, TIMING, master, policy},
    worker::route::Routing,
};

impl Story {
    /// How everything that came is routed, in order.
    async fn routed(&self) -> Vec<Option<String>> {
        let routing = Routing {
            db: self.db.clone(),
            clock: self.clock.clone(),
            opener: opener(),
            sealer: sealer(),
            book: AddressBook::new(&master(), sealer()),
            codes: Codes::new(&master()),
            limits: LIMITS,
            policy: policy(),
            timing: TIMING,
            wakes: Wakes::default(),
        };
        while routing.step().await.unwrap() == Progress::Worked {}
        sqlx::query_scalar!("select outcome from inbox where kind = 'message' order by id")
            .fetch_all(&self.db)
            .await
            .unwrap()
    }

    /// Asked again after an hour and a half in which so many were written, every so many seconds.
    async fn comes_back_to(&mut self, count: i64, every: i64) {
        self.look().await;
        for number in 0..count {
            let at = later(60 + number * every);
            self.kapso.has(inbound(&format!("wamid.{number:02}"), at));
        }
        self.pass(5_400);
        self.look_all().await;
    }
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_an_outage_held_up_is_answered_though_it_comes_together(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    story.comes_back_to(15, 300).await;
    assert_eq!(story.routed().await, vec![None; 15]);
}

#[sqlx::test(migrator = "crate::MIGRATOR")]
async fn what_was_written_in_one_minute_of_an_outage_is_still_too_much(db: PgPool) {
    let mut story = Story::new(db, Delivery::Poll).await;
    story.comes_back_to(15, 3).await;
    let over = Some("over_limit".to_owned());
    assert_eq!(
        story.routed().await,
        [vec![None; 10], vec![over; 5]].concat()
    );
}
