//! How long to wait before the next attempt, written out.
//!
//! Pure. The outbox row counts its attempts; a schedule turns that count into a delay. What bounds
//! the sum is the row's own expiry.

use std::time::Duration;

use uuid::Uuid;

/// Seconds to wait after the first, second, … attempt; the last one repeats.
pub struct Schedule(&'static [u64]);

/// No byte left us. The first retry is immediate: mostly it was a connection that had just died.
pub const NOT_CONNECTED: Schedule = Schedule(&[0, 1, 2, 5, 10, 30, 60]);
/// WhatsApp is ill: soon at first, then twice an hour.
pub const TRANSIENT: Schedule = Schedule(&[1, 2, 5, 15, 30, 60, 120, 300, 600, 900, 1800]);
/// Too many to one person: 4^X seconds, as Meta advises for 131056.
pub const PAIR_RATE: Schedule = Schedule(&[1, 4, 16, 64, 256, 1024]);
/// Too many in all. The number's throughput (130429) is free again within seconds; the hourly limits
/// (4, 80007) are what the long end is for.
pub const THROTTLED: Schedule = Schedule(&[2, 5, 15, 30, 60, 120, 300]);
/// Something that a person has to mend in the account.
pub const OPERATOR: Schedule = Schedule(&[60, 300, 900, 1800]);
/// Held back for quality: asking again soon makes it worse.
pub const SPAM: Schedule = Schedule(&[3600, 4 * 3600, 8 * 3600]);
/// Kapso does not list what came, or says something odd.
pub const POLL: Schedule = Schedule(&[5, 10, 30, 60]);
/// One row of ours that we cannot read or address. Others go on meanwhile.
pub const UNREADABLE: Schedule = Schedule(&[60]);

/// Between tries to store what became of a send: long enough for Postgres to restart.
pub const STORE: [Duration; 6] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

impl Schedule {
    /// The delay after attempt number `attempt` (from 1), up to a quarter longer. The extra is drawn
    /// from the row's id, so that rows that failed together do not come back together.
    pub fn after(&self, attempt: i32, row: Uuid) -> Duration {
        let step = usize::try_from(attempt.saturating_sub(1)).unwrap_or(0);
        let seconds = self.0[step.min(self.0.len() - 1)];
        let [.., low, high] = *row.as_bytes();
        let spread = u64::from(u16::from_be_bytes([low, high]).wrapping_mul(attempt as u16 | 1));
        let base = Duration::from_secs(seconds);
        base + base.mul_f64(spread as f64 / f64::from(u16::MAX) / 4.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_left_alone_for_four_to_the_power_of_the_attempt() {
        for (attempt, seconds) in [(1, 1), (2, 4), (3, 16), (4, 64), (9, 1024)] {
            let delay = PAIR_RATE.after(attempt, Uuid::from_u128(0));
            assert_eq!(delay, Duration::from_secs(seconds), "{attempt}");
        }
    }

    #[test]
    fn rows_that_failed_together_come_back_apart_but_never_early() {
        let delays: Vec<_> = (1..=50)
            .map(|row| TRANSIENT.after(6, Uuid::from_u128(row * 1_009)))
            .collect();
        assert!(
            delays
                .iter()
                .all(|delay| (60..=75).contains(&delay.as_secs()))
        );
        assert!(delays.iter().any(|delay| *delay != delays[0]));
    }

    #[test]
    fn an_attempt_that_cannot_be_is_no_panic() {
        assert_eq!(NOT_CONNECTED.after(0, Uuid::nil()), Duration::ZERO);
        assert_eq!(NOT_CONNECTED.after(i32::MIN, Uuid::nil()), Duration::ZERO);
        assert!(NOT_CONNECTED.after(i32::MAX, Uuid::max()) >= Duration::from_secs(60));
    }
}
