//! Asks Kapso which messages there were, page by page, and cuts each into the updates that webhooks
//! would have been cut into.
//!
//! Called by `worker/poll`. Nothing is taken on trust: pages are bounded in size and number, a cursor
//! that repeats is an error, and an item that does not say what it is, is left out. All or nothing: a
//! list that breaks off gives no update at all, for its first page may be the newest (Kapso docs:
//! WhatsApp API, list messages).

use std::{collections::HashSet, fmt, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;

use super::{
    client::{self, Line},
    failure::{Class, SendError},
    kapso,
    raw::{Object, items},
    update::Update,
};

/// The most that Kapso gives (Kapso docs: list messages, limit).
const PAGE: usize = 100;
/// A flood of 2,000 messages; who has more asks for a shorter time.
const MAX_PAGES: usize = 20;
/// Kapso counts requests by the minute, and sending needs some of them: a long list is read slowly.
/// Most have one page, and one more that is empty.
const PAGES_AT_ONCE: usize = 2;
pub const BETWEEN_PAGES: Duration = Duration::from_secs(1);
/// It answers in well under a second.
const PAGE_WITHIN: Duration = Duration::from_secs(15);
/// 100 of the longest texts (4,096 signs), each of them twice.
const MAX_PAGE_BYTES: usize = 8 << 20;
/// Where Kapso does not say how long to wait: its limits are by the minute (Kapso docs: rate limits).
const A_MINUTE: Duration = Duration::from_secs(60);

/// Who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Inbound,
    Outbound,
}

impl Direction {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// Of which time messages are asked for, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub since: DateTime<Utc>,
    pub until: Option<DateTime<Utc>>,
}

/// Why there is no list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The key is not taken.
    Refused,
    Throttled(Duration),
    /// No answer, or none of use; it may be there later. Our word for it.
    Away(&'static str),
    /// An answer that cannot be; our word for it.
    Odd(&'static str),
    /// A status that says no.
    Answered(u16),
    /// More than we take at a time.
    TooMany,
}

impl Trouble {
    /// For metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Throttled(_) => "throttled",
            Self::Away(_) => "away",
            Self::Odd(_) | Self::Answered(_) => "odd",
            Self::TooMany => "too_many",
        }
    }
}

impl std::error::Error for Trouble {}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("Kapso refuses the key"),
            Self::Throttled(_) => f.write_str("Kapso has had too many requests"),
            Self::Away(why) => write!(f, "Kapso is away: {why}"),
            Self::Odd(what) => write!(f, "Kapso's list is odd: {what}"),
            Self::Answered(status) => write!(f, "Kapso answers with status {status}"),
            Self::TooMany => f.write_str("there are too many messages at a time"),
        }
    }
}

#[derive(Clone)]
pub struct Lister {
    /// From `client::http_builder`.
    pub http: reqwest::Client,
    /// [`BETWEEN_PAGES`], unless a test has no time.
    pub between_pages: Duration,
}

/// One page, as it came.
struct Page {
    items: Vec<Item>,
    after: Option<String>,
}

/// A listed message, and what is to be done about it.
struct Item {
    at: Option<DateTime<Utc>>,
    updates: Vec<Update>,
}

impl Lister {
    /// All of a time, the oldest first.
    pub async fn list(
        &self,
        line: Line<'_>,
        direction: Direction,
        window: Window,
    ) -> Result<Vec<Update>, Trouble> {
        let (mut listed, mut known) = (Vec::new(), HashSet::new());
        let mut after = None;
        for number in 0..MAX_PAGES {
            if number >= PAGES_AT_ONCE {
                tokio::time::sleep(self.between_pages).await;
            }
            let body = self.page(line, direction, window, after.as_deref()).await?;
            let page = read(line.phone_number_id, direction, &body)?;
            // Whether there is more is said in several ways; that a page is empty, in one.
            let is_last = page.items.is_empty();
            listed.extend(page.items);
            after = page.after.filter(|_| !is_last);
            match &after {
                None => return Ok(in_order(listed)),
                Some(cursor) if !known.insert(cursor.clone()) => {
                    return Err(Trouble::Odd("it begins anew"));
                }
                Some(_) => {}
            }
        }
        Err(Trouble::TooMany)
    }

    async fn page(
        &self,
        line: Line<'_>,
        direction: Direction,
        window: Window,
        after: Option<&str>,
    ) -> Result<Vec<u8>, Trouble> {
        let url = line.api.url(&[line.phone_number_id, "messages"]);
        let mut url = url.ok_or(Trouble::Odd("its address takes no path"))?;
        let time = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::Secs, true);
        let query = [
            ("direction", Some(direction.as_str().to_owned())),
            ("since", Some(time(window.since))),
            ("until", window.until.map(time)),
            ("limit", Some(PAGE.to_string())),
            ("fields", Some("kapso(default)".to_owned())),
            ("after", after.map(str::to_owned)),
        ];
        let given = query
            .iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?)));
        url.query_pairs_mut().extend_pairs(given);
        let request = line.api.authorize(self.http.get(url), line.access_token);
        let answer = request.timeout(PAGE_WITHIN).send().await;
        let answer = answer.map_err(|_| Trouble::Away("no answer"))?;
        let status = answer.status();
        let retry_after = client::retry_after(&answer);
        let body = client::read(answer, MAX_PAGE_BYTES).await;
        if status.is_success() {
            return body.ok_or(Trouble::Away("its answer broke off or is too long"));
        }
        let said: Option<Value> = body.and_then(|body| serde_json::from_slice(&body).ok());
        let refusal = client::refusal(status.as_u16(), retry_after, said.as_ref());
        Err(trouble(status.as_u16(), &refusal))
    }
}

fn trouble(status: u16, refusal: &SendError) -> Trouble {
    match refusal.class {
        Class::TokenRejected => Trouble::Refused,
        Class::Throttled => Trouble::Throttled(refusal.retry_after.unwrap_or(A_MINUTE)),
        Class::Unclear | Class::Transient => Trouble::Away("it is out of order"),
        _ => Trouble::Answered(status),
    }
}

fn read(line: &str, direction: Direction, body: &[u8]) -> Result<Page, Trouble> {
    let top = Object::parse(body).ok_or(Trouble::Odd("no JSON"))?;
    let data = top.get("data").and_then(items);
    let data = data.ok_or(Trouble::Odd("no list"))?;
    let mut items = Vec::with_capacity(data.len());
    for item in &data {
        let Some(updates) = kapso::cut_listed(line, direction, item) else {
            continue;
        };
        let time = Object::read(item).and_then(|item| item.integer("timestamp"));
        items.push(Item {
            at: time.and_then(super::update::moment),
            updates,
        });
    }
    let odd = data.len() - items.len();
    if odd > 0 && items.is_empty() {
        return Err(Trouble::Odd("its items do not say what they are"));
    }
    if odd > 0 {
        tracing::warn!(odd, "items of Kapso's list do not say what they are");
    }
    let cursors = top
        .object("paging")
        .and_then(|paging| paging.object("cursors"));
    let after = cursors.and_then(|cursors| cursors.text("after"));
    Ok(Page {
        items,
        after: after.filter(|after| !after.is_empty()),
    })
}

/// The oldest first, also among those of one second. Kapso lists the newest first (Kapso docs:
/// Platform API, list messages), unless the times say otherwise.
fn in_order(mut items: Vec<Item>) -> Vec<Update> {
    let mut times = items.iter().filter_map(|item| item.at);
    let first = times.next();
    if first >= times.next_back() {
        items.reverse();
    }
    items.sort_by_key(|item| item.at);
    items.into_iter().flat_map(|item| item.updates).collect()
}
