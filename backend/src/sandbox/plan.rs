//! Decides what to do with one sandbox next. Pure: facts in, one step out.
//!
//! The reconcile loop asks at every pass and carries out what it gets; whatever happened in
//! between is a fact of the next pass. Every wish settles within four steps
//! (`every_wish_settles_within_four_steps`).

use super::row::Intent;

/// From so many failed starts of the same container on it is made anew before the next one:
/// what is wrong may be the container's (its network, its runtime), not the sandbox's.
const FAILURES_BEFORE_REPLACEMENT: i32 = 2;

/// What should be. Pausing the idle and keeping a pool will add wishes here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Running,
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
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Nothing,
    Create,
    Start,
    Stop,
    Pause,
    Unpause,
    Remove,
    /// Removes the volume and notes that the sandbox is gone.
    Bury,
}

/// Whether it should be awake: for the operator's `auto`, when a turn is open, or it already is.
pub fn wish(intent: Intent, has_open_turn: bool, observed: Observed) -> Wish {
    let awake = matches!(observed, Observed::Running | Observed::Paused);
    match intent {
        Intent::Gone => Wish::Gone,
        Intent::Stopped => Wish::Stopped,
        Intent::Auto if has_open_turn || awake => Wish::Running,
        Intent::Auto => Wish::AsItIs,
    }
}

pub fn next_step(facts: &Facts) -> Step {
    use Observed::*;
    match (facts.wish, facts.observed) {
        (_, Changing) => Step::Nothing,
        (Wish::Gone, Missing) => Step::Bury,
        (Wish::Gone, _) | (_, Dead) => Step::Remove,
        (_, Running | Paused) if facts.condemned => Step::Remove,

        (Wish::Stopped, Running | Paused) => Step::Stop,
        // The volume is all that is worth keeping. So the engine lists only who is awake, however
        // many sleep, and a stopped container holds no address.
        (Wish::Stopped | Wish::AsItIs, Created | Exited) => Step::Remove,
        (Wish::Stopped | Wish::AsItIs, Missing) => Step::Nothing,

        // What stops holding pauses everything; what is not verified is not started.
        (_, Running) if facts.walls == Walls::Fallen => Step::Pause,
        (_, Missing | Created | Paused | Exited) if facts.walls != Walls::Standing => Step::Nothing,

        // An outdated container is replaced only while nobody is talking to it.
        (_, Running | Paused) if facts.outdated && facts.quiet => Step::Stop,
        (_, Running) => Step::Nothing,
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
            select(&[Running, AsItIs, Stopped, Gone][..]),
            select(&STATES[..]),
            select(&[Walls::Standing, Walls::Unproven, Walls::Fallen][..]),
            (any::<bool>(), any::<bool>(), any::<bool>()),
            (0..5, any::<bool>(), any::<bool>()),
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
                },
            )
    }

    /// What Docker would show afterwards.
    fn after(step: Step, mut facts: Facts) -> Facts {
        facts.observed = match step {
            Step::Nothing | Step::Bury => facts.observed,
            Step::Create => {
                assert_eq!(facts.observed, Observed::Missing, "a second container");
                Observed::Created
            }
            Step::Start | Step::Unpause => Observed::Running,
            Step::Stop => Observed::Exited,
            Step::Pause => Observed::Paused,
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
                Wish::Stopped => prop_assert_eq!(facts.observed, Observed::Missing),
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
