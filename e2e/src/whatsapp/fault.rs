//! What a test programs: how calls go wrong and which receipts follow a message.
//!
//! Everything here is plain data, the same in Rust and in the control API's JSON. Rules are tried
//! in the order they were added; a rule with `times` is spent after that many calls.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{person::Person, state::Ticks};

/// What happens to a call instead of the usual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case")]
pub enum Fault {
    /// Taken as usual, but later.
    Delay { ms: u64 },
    /// Refused with a Graph error. Without a status it is the one usual for the code.
    Error {
        code: i64,
        #[serde(default)]
        status: Option<u16>,
    },
    /// Refused with a status and a page of HTML, as a proxy in trouble does.
    Http { status: u16 },
    /// Taken, and answered with a 200 that is not JSON.
    Garbage,
    /// The connection is cut and nothing is taken.
    Drop,
    /// Taken, and the connection is cut before the answer.
    TakeAndDrop,
    /// Waits at a gate before anything is taken.
    Hold { gate: String },
    /// Taken at once, and the answer waits at a gate.
    HoldAnswer { gate: String },
}

/// Which calls a fault meets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum On {
    #[default]
    Message,
    /// Marking a message read, with or without the typing sign.
    Mark,
    /// The first page of Kapso's list of messages.
    List,
    /// Another page of it.
    NextPage,
    /// Every call that sends or marks.
    Any,
}

impl On {
    fn lists(self) -> bool {
        matches!(self, Self::List | Self::NextPage)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FaultRule {
    #[serde(flatten)]
    pub fault: Fault,
    #[serde(default)]
    pub on: On,
    /// A phone number or user id; nobody in particular without it.
    #[serde(default)]
    pub to: Option<String>,
    /// How many calls; all of them without it.
    #[serde(default)]
    pub times: Option<u32>,
}

/// One status webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    pub status: Ticks,
    /// Counted from the receipt before it.
    #[serde(default)]
    pub after_ms: u64,
    /// How often the webhook is posted, all at the same time.
    #[serde(default = "once")]
    pub copies: u32,
    /// The reason, where the status is `failed`.
    #[serde(default)]
    pub code: Option<i64>,
}

/// The receipts that follow a message, in this order. None at all is allowed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReceiptRule {
    pub receipts: Vec<Receipt>,
    #[serde(default)]
    pub to: Option<String>,
    #[serde(default)]
    pub times: Option<u32>,
}

/// Meta lets one person be sent `burst` messages at once and one more every `every`.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct PairRate {
    pub burst: u32,
    pub every_ms: u64,
}

/// All that is programmed at the moment.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub faults: Vec<FaultRule>,
    pub receipts: Vec<ReceiptRule>,
    pub pair_rate: Option<PairRate>,
    /// Who may only be sent templates until they write again.
    pub closed_windows: Vec<Person>,
}

impl From<Fault> for FaultRule {
    /// For the next message, whoever it goes to.
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            on: On::Message,
            to: None,
            times: Some(1),
        }
    }
}

impl FaultRule {
    pub fn to(self, person: &Person) -> Self {
        let to = person.user_id.clone().or_else(|| person.phone.clone());
        Self { to, ..self }
    }

    pub fn on(self, on: On) -> Self {
        Self { on, ..self }
    }

    pub fn times(self, times: u32) -> Self {
        Self {
            times: Some(times),
            ..self
        }
    }

    pub fn always(self) -> Self {
        Self {
            times: None,
            ..self
        }
    }

    pub(crate) fn gate(&self) -> Option<&str> {
        match &self.fault {
            Fault::Hold { gate } | Fault::HoldAnswer { gate } => Some(gate),
            _ => None,
        }
    }
}

impl Receipt {
    pub fn of(status: Ticks) -> Self {
        Self {
            status,
            after_ms: 0,
            copies: 1,
            code: None,
        }
    }

    pub fn after(self, delay: Duration) -> Self {
        Self {
            after_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
            ..self
        }
    }

    pub fn copies(self, copies: u32) -> Self {
        Self { copies, ..self }
    }

    pub fn failed(code: i64) -> Self {
        Self {
            code: Some(code),
            ..Self::of(Ticks::Failed)
        }
    }

    /// What follows a message where nothing else is programmed.
    pub fn usual() -> Vec<Self> {
        let gap = Duration::from_millis(20);
        [Ticks::Sent, Ticks::Delivered, Ticks::Read]
            .into_iter()
            .map(|status| Self::of(status).after(gap))
            .collect()
    }
}

impl Program {
    /// The fault this call meets, and one use of its rule less.
    pub fn fault_for(&mut self, on: On, person: Option<&Person>) -> Option<Fault> {
        let at = self.faults.iter().position(|rule| {
            (rule.on == on || rule.on == On::Any && !on.lists())
                && meets(rule.to.as_deref(), person)
                && rule.times != Some(0)
        })?;
        spend(&mut self.faults[at].times);
        Some(self.faults[at].fault.clone())
    }

    /// What follows a message. A phone that somebody holds does not read by itself.
    pub fn receipts_for(
        &mut self,
        person: &Person,
        in_hand: bool,
        is_template: bool,
    ) -> Vec<Receipt> {
        let is_closed = self.closed_windows.iter().any(|closed| closed.is(person));
        if is_closed && !is_template {
            return vec![Receipt::failed(131047)];
        }
        let found = self
            .receipts
            .iter_mut()
            .find(|rule| meets(rule.to.as_deref(), Some(person)) && rule.times != Some(0));
        match found {
            Some(rule) => {
                spend(&mut rule.times);
                rule.receipts.clone()
            }
            None => Receipt::usual()
                .into_iter()
                .filter(|receipt| !in_hand || receipt.status != Ticks::Read)
                .collect(),
        }
    }
}

impl PairRate {
    /// Whether one more message may follow those already sent at these times.
    pub fn allows(self, sent: &[DateTime<Utc>], now: DateTime<Utc>) -> bool {
        let every = i64::try_from(self.every_ms).unwrap_or(i64::MAX).max(1);
        // A leaky bucket: each message adds one, and one leaks out in every interval.
        let mut level = 0.0_f64;
        let mut last = now;
        for (place, at) in sent.iter().copied().chain([now]).enumerate() {
            if place > 0 {
                level = (level - (at - last).num_milliseconds() as f64 / every as f64).max(0.0);
            }
            level += 1.0;
            last = at;
        }
        level <= f64::from(self.burst)
    }
}

fn meets(to: Option<&str>, person: Option<&Person>) -> bool {
    match (to, person) {
        (None, _) => true,
        (Some(to), Some(person)) => Person::at(to).is(person),
        (Some(_), None) => false,
    }
}

fn spend(times: &mut Option<u32>) {
    if let Some(left) = times {
        *left = left.saturating_sub(1);
    }
}

fn once() -> u32 {
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_gets_its_burst_and_then_one_in_every_interval() {
        let rate = PairRate {
            burst: 2,
            every_ms: 6000,
        };
        let start = DateTime::<Utc>::UNIX_EPOCH;
        assert!(rate.allows(&[], start));
        assert!(rate.allows(&[start], start));
        assert!(!rate.allows(&[start, start], start));
        assert!(rate.allows(&[start, start], start + Duration::from_secs(6)));
    }
}
