//! Who writes when: an hour of many people's lives, drawn from a seed and pressed together. Pure.
//!
//! The day goes in waves. In a quiet one there is a place for everybody who writes, so that who
//! rests falls asleep; in a rush many more write than may be awake, so that who rests makes room.
//! A pause is a time or something that is to happen to the sandbox meanwhile: on a slow machine
//! the same is met as on a fast one.

use std::{ops::RangeInclusive, time::Duration};

use fastrand::Rng;

/// What is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    pub people: usize,
    /// In all, of everybody; exactly so many.
    pub messages: usize,
    /// How many may be awake at a time.
    pub capacity: usize,
    pub seed: u64,
}

/// The visits of a wave are at the same time, the waves one after the other.
pub type Wave = Vec<Visit>;

/// One person talks for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    pub person: usize,
    pub bursts: Vec<Burst>,
}

/// Some messages in quick succession.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Burst {
    pub before: Pause,
    /// One for each message, what passes before it.
    pub gaps: Vec<Duration>,
    /// Whether the person waits for the answer before they go on.
    pub waits: bool,
}

/// What passes before a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// So long. The sandbox may be awake, falling asleep, asleep or waking.
    For(Duration),
    /// Until the sandbox is paused, or stopped.
    UntilPaused(Duration),
    /// Until it is stopped.
    UntilStopped(Duration),
}

const GAP_MS: RangeInclusive<u64> = 0..=400;
const MESSAGES: RangeInclusive<usize> = 1..=6;
/// Within this somebody is still at their phone.
const MOMENT_MS: RangeInclusive<u64> = 100..=1_500;
/// Across the times at which a sandbox falls asleep lightly and deeply.
const WHILE_MS: RangeInclusive<u64> = 1_500..=9_000;
const BEHIND_MS: RangeInclusive<u64> = 0..=1_000;

/// The whole script. The same draw gives the same one.
pub fn script(draw: Draw) -> Vec<Wave> {
    let mut rng = Rng::with_seed(draw.seed);
    let mut left = draw.messages;
    let mut turns = Turns::default();
    let mut waves = Vec::new();
    while left > 0 {
        let rush = waves.len() % 2 == 1;
        let visitors = match rush {
            true => rng.usize(2 * draw.capacity..=3 * draw.capacity),
            false => rng.usize(1..=draw.capacity),
        };
        let wave: Wave = turns
            .next(&mut rng, draw.people, visitors.min(draw.people))
            .into_iter()
            .filter_map(|person| {
                let bursts = match rush {
                    true => rng.usize(1..=3),
                    false => rng.usize(3..=8),
                };
                let bursts: Vec<_> = (0..bursts)
                    .filter_map(|number| burst(&mut rng, number == 0, &mut left))
                    .collect();
                (!bursts.is_empty()).then_some(Visit { person, bursts })
            })
            .collect();
        waves.push(wave);
    }
    waves
}

fn burst(rng: &mut Rng, first: bool, left: &mut usize) -> Option<Burst> {
    let count = rng.usize(MESSAGES).min(*left);
    *left -= count;
    // Whoever has not written yet has nothing that could fall asleep.
    let before = match rng.u8(0..10) {
        _ if first => Pause::For(milliseconds(rng, MOMENT_MS)),
        0..4 => Pause::For(milliseconds(rng, MOMENT_MS)),
        4..6 => Pause::For(milliseconds(rng, WHILE_MS)),
        6..8 => Pause::UntilPaused(milliseconds(rng, BEHIND_MS)),
        _ => Pause::UntilStopped(milliseconds(rng, BEHIND_MS)),
    };
    let gaps = (0..count).map(|_| milliseconds(rng, GAP_MS)).collect();
    let waits = rng.u8(0..8) > 0;
    let burst = Burst {
        before,
        gaps,
        waits,
    };
    (count > 0).then_some(burst)
}

fn milliseconds(rng: &mut Rng, range: RangeInclusive<u64>) -> Duration {
    Duration::from_millis(rng.u64(range))
}

/// Everybody comes before anybody comes again, in another order each time.
#[derive(Default)]
struct Turns {
    waiting: Vec<usize>,
}

impl Turns {
    fn next(&mut self, rng: &mut Rng, people: usize, count: usize) -> Vec<usize> {
        let mut chosen = Vec::new();
        while chosen.len() < count {
            if self.waiting.is_empty() {
                self.waiting = (0..people).collect();
                rng.shuffle(&mut self.waiting);
            }
            // Nobody talks to themselves: who is chosen already comes in the next wave.
            match self.waiting.iter().rposition(|one| !chosen.contains(one)) {
                Some(at) => chosen.push(self.waiting.remove(at)),
                None => self.waiting.clear(),
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn draw(seed: u64) -> Draw {
        Draw {
            people: 60,
            messages: 2000,
            capacity: 6,
            seed,
        }
    }

    #[test]
    fn everybody_writes_and_exactly_so_many_messages_are_written() {
        for seed in 0..50 {
            let script = script(draw(seed));
            let visits = || script.iter().flatten();
            let bursts = visits().flat_map(|visit| &visit.bursts);
            let messages: usize = bursts.map(|burst| burst.gaps.len()).sum();
            assert_eq!(messages, 2000);
            let people: HashSet<_> = visits().map(|visit| visit.person).collect();
            assert_eq!(people.len(), 60);
        }
    }

    #[test]
    fn a_seed_is_a_script_and_nobody_is_in_a_wave_twice() {
        assert_eq!(script(draw(7)), script(draw(7)));
        assert_ne!(script(draw(7)), script(draw(8)));
        for wave in script(draw(7)) {
            let people: HashSet<_> = wave.iter().map(|visit| visit.person).collect();
            assert_eq!(people.len(), wave.len());
        }
    }

    #[test]
    fn quiet_waves_have_a_place_for_everybody_and_rushes_have_not() {
        let script = script(draw(1));
        let whole = &script[..script.len() - 1];
        for (number, wave) in whole.iter().enumerate() {
            assert_eq!(wave.len() > 6, number % 2 == 1, "wave {number}");
        }
    }
}
