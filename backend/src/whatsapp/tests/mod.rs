//! What is longer than the foot of a file: fixtures, wires, tables of examples, arbitrary input.

mod answer;
mod arbitrary;
mod calls;
mod client;
mod content;
mod event;
mod format;
mod kapso;
mod meta;
mod split;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

const SHORT_BYTES: usize = 20_000;
const TIMES_LONGER: usize = 6;

/// Six times as much of the same takes about six times as long, where it would take 36 times at
/// quadratic cost. Measured in time on a core, so that a busy machine changes nothing.
fn costs_in_proportion(piece: &str, work: impl Fn(&str)) {
    let cost = |bytes: usize| {
        let text = piece.repeat(bytes / piece.len());
        let begun = clock_gettime(ClockId::ThreadCPUTime);
        work(&text);
        Duration::try_from(clock_gettime(ClockId::ThreadCPUTime) - begun).unwrap()
    };
    let short = (0..3).map(|_| cost(SHORT_BYTES)).max().unwrap();
    let long = cost(SHORT_BYTES * TIMES_LONGER);
    let linear = short.as_secs_f64() * TIMES_LONGER as f64;
    assert!(
        long.as_secs_f64() < 3.0 * linear,
        "{piece:?}: {short:?} for {SHORT_BYTES} bytes, {long:?} for {TIMES_LONGER} times as many"
    );
}

#[test]
#[should_panic(expected = "times as many")]
fn a_cost_that_grows_faster_is_seen() {
    costs_in_proportion("a", |text| {
        let before = |at: usize| text[..at].bytes().filter(u8::is_ascii_alphabetic).count();
        let all: usize = (0..text.len()).step_by(16).map(before).sum();
        std::hint::black_box(all);
    });
}
