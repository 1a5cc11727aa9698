//! Who may be awake when not all can be. Pure: who is there and who waits in, who gets a place out.
//!
//! A place is memory, so a paused sandbox takes one too. Nobody with a turn under way loses theirs;
//! of the others whoever has been idle longest goes first, and only when somebody waits. Those who
//! wait are served in the order in which they came.

use std::collections::HashSet;

use chrono::{DateTime, Utc};

use crate::id::SandboxId;

/// What a sandbox takes after some turns: 650 MiB after its boot, 820 to 935 later (measured).
const PLACE_BYTES: u64 = 900 << 20;
/// For Postgres, Docker, the system and us.
const OTHERS_BYTES: u64 = 2 << 30;

/// How many places this machine's memory holds; at least one.
pub fn of_this_machine() -> usize {
    let machine = rustix::system::sysinfo();
    let bytes = machine.totalram.saturating_mul(u64::from(machine.mem_unit));
    let places = bytes.saturating_sub(OTHERS_BYTES) / PLACE_BYTES;
    usize::try_from(places).unwrap_or(usize::MAX).max(1)
}

/// One sandbox that has a place or wants one.
#[derive(Clone, Debug)]
pub struct Seat {
    pub sandbox: SandboxId,
    /// It has a container.
    pub taken: bool,
    /// It is about to lose its container.
    pub leaving: bool,
    /// Since when somebody waits for it, or works with it.
    pub wanted_since: Option<DateTime<Utc>>,
    /// Since when nobody has; `None` was never used.
    pub idle_since: Option<DateTime<Utc>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// These may be woken now.
    pub granted: HashSet<SandboxId>,
    /// These must make room.
    pub evicted: HashSet<SandboxId>,
    /// These wait until there is room.
    pub waiting: HashSet<SandboxId>,
    /// Places that nobody wants.
    pub free: usize,
}

/// Shares `capacity` places out. No more are made to leave than can be woken at a time.
pub fn share(capacity: usize, boots: usize, seats: &[Seat]) -> Shares {
    let taken = seats.iter().filter(|seat| seat.taken).count();
    let leaving = seats.iter().filter(|seat| seat.leaving).count();
    let free = capacity.saturating_sub(taken);
    let mut wanting: Vec<_> = seats
        .iter()
        .filter(|seat| !seat.taken && seat.wanted_since.is_some())
        .collect();
    wanting.sort_by_key(|seat| (seat.wanted_since, seat.sandbox));
    let (granted, waiting) = wanting.split_at(free.min(wanting.len()));
    let ids = |seats: &[&Seat]| seats.iter().map(|seat| seat.sandbox).collect();

    let mut idle: Vec<_> = seats
        .iter()
        .filter(|seat| seat.taken && !seat.leaving && seat.wanted_since.is_none())
        .collect();
    idle.sort_by_key(|seat| (seat.idle_since, seat.sandbox));
    // More awake than there are places: the setting was lowered.
    let over = taken.saturating_sub(capacity);
    let go = (waiting.len().min(boots) + over).saturating_sub(leaving);
    idle.truncate(go);
    Shares {
        free: free - granted.len(),
        granted: ids(granted),
        evicted: ids(&idle),
        waiting: ids(waiting),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + second, 0).unwrap()
    }

    fn seat(number: u128) -> Seat {
        Seat {
            sandbox: SandboxId(uuid::Uuid::from_u128(number)),
            taken: false,
            leaving: false,
            wanted_since: None,
            idle_since: None,
        }
    }

    fn awake(number: u128, idle_since: i64) -> Seat {
        Seat {
            taken: true,
            idle_since: Some(at(idle_since)),
            ..seat(number)
        }
    }

    fn wanted(number: u128, since: i64) -> Seat {
        Seat {
            wanted_since: Some(at(since)),
            ..seat(number)
        }
    }

    fn ids(numbers: &[u128]) -> HashSet<SandboxId> {
        numbers.iter().map(|number| seat(*number).sandbox).collect()
    }

    #[test]
    fn whoever_came_first_gets_the_free_place_and_the_longest_idle_makes_the_next() {
        let seats = [awake(1, 30), awake(2, 10), wanted(3, 60), wanted(4, 50)];
        let shares = share(3, 2, &seats);
        assert_eq!(shares.granted, ids(&[4]));
        assert_eq!(shares.evicted, ids(&[2]));
        assert_eq!(shares.waiting, ids(&[3]));
    }

    #[test]
    fn nobody_leaves_while_nobody_waits_or_while_enough_are_leaving() {
        assert_eq!(share(2, 2, &[awake(1, 1), awake(2, 2)]).evicted, ids(&[]));
        let leaving = Seat {
            leaving: true,
            ..awake(1, 1)
        };
        let seats = [leaving, awake(2, 2), wanted(3, 3)];
        assert_eq!(share(2, 2, &seats).evicted, ids(&[]));
    }

    #[test]
    fn who_is_talked_to_stays() {
        let busy = |number| Seat {
            taken: true,
            ..wanted(number, 1)
        };
        let shares = share(2, 2, &[busy(1), busy(2), wanted(3, 2)]);
        assert_eq!(shares.evicted, ids(&[]));
        assert_eq!(shares.waiting, ids(&[3]));
    }

    #[test]
    fn what_was_never_used_goes_first() {
        let pooled = Seat {
            taken: true,
            ..seat(9)
        };
        let shares = share(2, 1, &[awake(1, 1), pooled, wanted(3, 2)]);
        assert_eq!(shares.evicted, ids(&[9]));
    }

    #[test]
    fn a_lowered_limit_sends_the_longest_idle_to_sleep() {
        let seats = [awake(1, 3), awake(2, 1), awake(3, 2)];
        assert_eq!(share(1, 2, &seats).evicted, ids(&[2, 3]));
    }

    fn any_seat() -> impl Strategy<Value = (bool, bool, Option<i64>, Option<i64>)> {
        (
            any::<bool>(),
            any::<bool>(),
            prop::option::of(0..100_i64),
            prop::option::of(0..100_i64),
        )
    }

    proptest! {
        #[test]
        fn there_are_never_more_awake_than_places(
            capacity in 0..8_usize, boots in 1..4_usize,
            seats in prop::collection::vec(any_seat(), 0..30),
        ) {
            let seats: Vec<_> = seats.into_iter().enumerate()
                .map(|(number, (taken, leaving, wanted, idle))| Seat {
                    taken,
                    leaving: taken && leaving,
                    wanted_since: wanted.map(at),
                    idle_since: idle.map(at),
                    ..seat(number as u128)
                })
                .collect();
            let shares = share(capacity, boots, &seats);
            let taken = seats.iter().filter(|seat| seat.taken).count();
            prop_assert!(shares.granted.len() + taken <= capacity.max(taken));
            prop_assert!(shares.granted.is_disjoint(&shares.evicted));
            // Somebody waits only while every place is taken or granted.
            prop_assert!(shares.waiting.is_empty() || shares.granted.len() + taken >= capacity);
            for seat in &seats {
                if shares.evicted.contains(&seat.sandbox) {
                    prop_assert!(seat.taken && seat.wanted_since.is_none());
                }
            }
        }
    }
}
