//! Decides what to do with one sandbox next. Pure: facts in, one step out.
//!
//! The reconcile loop asks at every pass and carries out what it gets; whatever happened in
//! between is a fact of the next pass. Every wish settles within four steps
//! (`every_wish_settles_within_four_steps`).

use chrono::{DateTime, TimeDelta, Utc};

use super::row::Intent;

/// From so many failed starts of the same container on it is made anew before the next one:
/// what is wrong may be the container's (its network, its runtime), not the sandbox's.
const FAILURES_BEFORE_REPLACEMENT: i32 = 2;

/// What should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Running,
    /// Awake, but for a while nobody has wanted it.
    Paused,
    /// Nothing wants it awake, and it is not.
    AsItIs,
    Stopped,
    Gone,
}

/// What Docker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    Missing,
    /// Never started.
    Created,
    Running,
    Paused,
    Exited,
    /// Docker cannot do anything with it any more but remove it.
    Dead,
    /// Docker is at it.
    Changing,
}

/// Whether sandboxes are shut in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walls {
    Standing,
    /// The rules are as they should be, but no probe from inside has shown yet that they hold.
    Unproven,
    Fallen,
}

#[derive(Clone, Copy, Debug)]
pub struct Facts {
    pub wish: Wish,
    pub observed: Observed,
    /// Created with another specification than the current one.
    pub outdated: bool,
    /// The gateway of this very container was found broken.
    pub condemned: bool,
    /// Nobody is talking to it.
    pub quiet: bool,
    pub walls: Walls,
    /// Starts in a row that did not end in a ready gateway.
    pub failures: i32,
    /// The pause after the last failure is over.
    pub rested: bool,
    /// Fewer boots are under way than the machine can take.
    pub room: bool,
    /// It had still work to do when it was last asked to rest; it is asked again after a while.
    pub restless: bool,
    /// In the pool, and its gateway has not let us in yet.
    pub unmet: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Nothing,
    Create,
    Start,
    /// Has it come to rest, then stops it.
    Stop,
    /// At once, whatever it does: its walls have fallen.
    Pause,
    /// Has it come to rest, then pauses it.
    Suspend,
    Unpause,
    /// Waits until the gateway of a sandbox without a person lets us in.
    Meet,
    Remove,
    /// Removes the volume and notes that the sandbox is gone.
    Bury,
}

/// How long nobody has to want a sandbox before it sleeps, lightly and then deeply.
#[derive(Clone, Copy, Debug)]
pub struct Sleep {
    pub pause_after: TimeDelta,
    pub stop_after: TimeDelta,
}

/// Who wants what of a sandbox.
#[derive(Clone, Copy, Debug)]
pub struct Needs {
    pub intent: Intent,
    /// It has work and may be awake for it.
    pub has_work: bool,
    /// It has to make room for somebody who waits.
    pub evicted: bool,
    /// It waits for somebody to own it.
    pub pooled: bool,
    /// The person's last turn, or an operator's call.
    pub active_at: Option<DateTime<Utc>>,
    /// An operator's orders; what came later undoes them.
    pub wake_at: Option<DateTime<Utc>>,
    pub pause_at: Option<DateTime<Utc>>,
    pub stop_at: Option<DateTime<Utc>>,
    pub observed: Observed,
}

/// Whether it should be awake, and how much. Heartbeats are work and no activity: a sandbox that
/// was woken for one sleeps again when it is done.
pub fn wish(needs: &Needs, sleep: Sleep, now: DateTime<Utc>) -> Wish {
    let active_at = needs.active_at.max(needs.wake_at);
    let idle_for = active_at.map_or(TimeDelta::MAX, |at| now - at);
    let ordered = |at: Option<DateTime<Utc>>| at.is_some() && at >= active_at;
    let awake = matches!(needs.observed, Observed::Running | Observed::Paused);
    let called = needs.wake_at.is_some() && idle_for < sleep.pause_after;
    match needs.intent {
        Intent::Gone => Wish::Gone,
        Intent::Stopped => Wish::Stopped,
        Intent::Auto if needs.has_work => Wish::Running,
        Intent::Auto if needs.evicted || ordered(needs.stop_at) => Wish::Stopped,
        Intent::Auto if !awake => match called && !ordered(needs.pause_at) {
            true => Wish::Running,
            false => Wish::AsItIs,
        },
        Intent::Auto if needs.pooled => Wish::Paused,
        Intent::Auto if idle_for >= sleep.stop_after => Wish::Stopped,
        Intent::Auto if idle_for >= sleep.pause_after || ordered(needs.pause_at) => Wish::Paused,
        Intent::Auto => Wish::Running,
    }
}

pub fn next_step(facts: &Facts) -> Step {
    use Observed::*;
    match (facts.wish, facts.observed) {
        (_, Changing) => Step::Nothing,
        (Wish::Gone, Missing) => Step::Bury,
        (Wish::Gone, _) | (_, Dead) => Step::Remove,
        (_, Running | Paused) if facts.condemned => Step::Remove,

        // What stops holding pauses everything.
        (_, Running) if facts.walls == Walls::Fallen => Step::Pause,

        (Wish::Stopped, Running) if facts.restless => Step::Nothing,
        (Wish::Stopped, Running | Paused) => Step::Stop,
        // The volume is all that is worth keeping. So the engine lists only who is awake, however
        // many sleep, and a stopped container holds no address.
        (Wish::Stopped | Wish::AsItIs | Wish::Paused, Created | Exited) => Step::Remove,
        (Wish::Stopped | Wish::AsItIs | Wish::Paused, Missing) => Step::Nothing,

        // What is not verified is not started.
        (_, Missing | Created | Paused | Exited) if facts.walls != Walls::Standing => Step::Nothing,

        // An outdated container is replaced only while nobody is talking to it.
        (_, Running | Paused) if facts.outdated && facts.quiet && !facts.restless => Step::Stop,
        (Wish::Running, Running) if facts.unmet => Step::Meet,
        (Wish::Paused, Running) if !facts.restless => Step::Suspend,
        (_, Running) | (Wish::Paused, Paused) => Step::Nothing,
        (_, Paused) => Step::Unpause,

        (Wish::Running, Created | Exited) if facts.outdated => Step::Remove,
        (Wish::Running, Missing | Created | Exited) if !facts.rested => Step::Nothing,
        (Wish::Running, Missing) => Step::Create,
        (Wish::Running, Exited) if facts.failures >= FAILURES_BEFORE_REPLACEMENT => Step::Remove,
        (Wish::Running, Created | Exited) if facts.room => Step::Start,
        (Wish::Running, Created | Exited) => Step::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use proptest::{prelude::*, sample::select};

    use super::*;

    const STATES: [Observed; 6] = {
        use Observed::*;
        [Missing, Created, Running, Paused, Exited, Dead]
    };

    fn any_facts() -> impl Strategy<Value = Facts> {
        use Wish::*;
        (
            select(&[Running, Paused, AsItIs, Stopped, Gone][..]),
            select(&STATES[..]),
            select(&[Walls::Standing, Walls::Unproven, Walls::Fallen][..]),
            (any::<bool>(), any::<bool>(), any::<bool>()),
            (0..5, any::<bool>(), any::<bool>(), any::<bool>()),
        )
            .prop_map(
                |(wish, observed, walls, (outdated, condemned, quiet), rest)| Facts {
                    wish,
                    observed,
                    outdated: outdated && observed != Observed::Missing,
                    condemned: condemned && observed != Observed::Missing,
                    quiet,
                    walls,
                    failures: rest.0,
                    rested: rest.1,
                    room: rest.2,
                    restless: rest.3,
                    unmet: false,
                },
            )
    }

    fn at(minute: i64) -> Option<DateTime<Utc>> {
        Some(DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::minutes(minute))
    }

    /// Active at minute 0, seen at minute 3; it pauses after 5 and stops after 30.
    fn example() -> Needs {
        Needs {
            intent: Intent::Auto,
            has_work: false,
            evicted: false,
            pooled: false,
            active_at: at(0),
            wake_at: None,
            pause_at: None,
            stop_at: None,
            observed: Observed::Running,
        }
    }

    fn wished(needs: Needs, minute: i64) -> Wish {
        let sleep = Sleep {
            pause_after: TimeDelta::minutes(5),
            stop_after: TimeDelta::minutes(30),
        };
        wish(&needs, sleep, at(minute).unwrap())
    }

    #[test]
    fn who_is_not_talked_to_falls_asleep_lightly_and_then_deeply() {
        let after = [3, 5, 29, 30].map(|minute| wished(example(), minute));
        let expected = [Wish::Running, Wish::Paused, Wish::Paused, Wish::Stopped];
        assert_eq!(after, expected);
        let unused = Needs {
            active_at: None,
            ..example()
        };
        assert_eq!(wished(unused, 0), Wish::Stopped);
    }

    #[test]
    fn work_wakes_whatever_the_time_and_whoever_must_make_room() {
        for observed in STATES {
            let needs = Needs {
                has_work: true,
                evicted: true,
                stop_at: at(1),
                observed,
                ..example()
            };
            assert_eq!(wished(needs, 500), Wish::Running);
        }
        let evicted = Needs {
            evicted: true,
            ..example()
        };
        assert_eq!(wished(evicted, 1), Wish::Stopped);
    }

    #[test]
    fn an_operators_order_holds_until_something_later_happens() {
        let paused = Needs {
            pause_at: at(1),
            ..example()
        };
        assert_eq!(wished(paused, 2), Wish::Paused);
        let stopped = Needs {
            stop_at: at(1),
            ..example()
        };
        assert_eq!(wished(stopped, 2), Wish::Stopped);
        let talked_since = Needs {
            active_at: at(2),
            ..stopped
        };
        assert_eq!(wished(talked_since, 3), Wish::Running);
        let asleep = Needs {
            observed: Observed::Missing,
            ..example()
        };
        assert_eq!(wished(asleep, 1), Wish::AsItIs);
        let called = Needs {
            wake_at: at(60),
            ..asleep
        };
        assert_eq!(wished(called, 61), Wish::Running);
        assert_eq!(wished(called, 66), Wish::AsItIs);
        let sent_back = Needs {
            pause_at: at(61),
            ..called
        };
        assert_eq!(wished(sent_back, 62), Wish::AsItIs);
    }

    /// What Docker would show afterwards.
    fn after(step: Step, mut facts: Facts) -> Facts {
        facts.observed = match step {
            Step::Nothing | Step::Meet | Step::Bury => facts.observed,
            Step::Create => {
                assert_eq!(facts.observed, Observed::Missing, "a second container");
                Observed::Created
            }
            Step::Start | Step::Unpause => Observed::Running,
            Step::Stop => Observed::Exited,
            Step::Pause | Step::Suspend => Observed::Paused,
            Step::Remove => {
                (facts.outdated, facts.condemned) = (false, false);
                Observed::Missing
            }
        };
        facts
    }

    proptest! {
        #[test]
        fn every_wish_settles_within_four_steps(start in any_facts()) {
            let mut facts = start;
            for _ in 0..4 {
                let step = next_step(&facts);
                if step == Step::Bury {
                    break;
                }
                facts = after(step, facts);
            }
            prop_assert!(matches!(next_step(&facts), Step::Nothing | Step::Bury), "{facts:?}");
            let free = facts.walls == Walls::Standing && facts.rested && facts.room;
            match facts.wish {
                Wish::Running if free => prop_assert_eq!(facts.observed, Observed::Running),
                Wish::Gone => prop_assert_eq!(facts.observed, Observed::Missing),
                Wish::Stopped if !facts.restless => {
                    prop_assert_eq!(facts.observed, Observed::Missing);
                }
                Wish::Paused if !facts.restless => {
                    prop_assert_ne!(facts.observed, Observed::Running);
                }
                _ => {}
            }
            if facts.walls == Walls::Fallen {
                prop_assert_ne!(facts.observed, Observed::Running);
            }
        }

        #[test]
        fn nothing_starts_behind_walls_that_are_not_proven(facts in any_facts()) {
            if facts.walls != Walls::Standing {
                let step = next_step(&facts);
                prop_assert!(!matches!(step, Step::Create | Step::Start | Step::Unpause));
            }
        }

        #[test]
        fn somebody_who_is_talking_is_not_interrupted_by_a_new_image(facts in any_facts()) {
            let talking = facts.wish == Wish::Running && !facts.quiet && !facts.condemned
                && facts.observed == Observed::Running && facts.walls == Walls::Standing;
            if talking {
                prop_assert_eq!(next_step(&facts), Step::Nothing);
            }
        }
    }
}
