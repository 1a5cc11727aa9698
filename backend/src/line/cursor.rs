//! Columns `line.poll_cursor` and `polled_at`: how far a line's messages have been asked for and stored,
//! and when last.
//!
//! Times in it are WhatsApp's, for our clock may be another. It moves only after everything before it
//! is stored, so that whoever dies asks for some messages again and never for too few: the inbox
//! takes each once. Called by `worker/poll`, at the end of a restore and by
//! `doctor`.

use std::{fmt, str::FromStr};

use anyhow::Context;
use chrono::{DateTime, SecondsFormat, SubsecRound, TimeDelta, Utc};
use sqlx::PgExecutor;

use crate::{id::LineId, whatsapp::provider::Provider};

/// Asked for once more: messages of one second are told apart by nothing, and some get to Kapso a
/// little after others that are newer.
const OVERLAP: TimeDelta = TimeDelta::minutes(1);
/// Asked for once more now and then: what WhatsApp could not hand to Kapso at once.
const WIDE: TimeDelta = TimeDelta::hours(1);
/// The inbox knows for 9 days at least what it has had (RETENTION and 8 days more). What is older
/// would be answered twice.
const REACH: TimeDelta = TimeDelta::days(7);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// What is older was before our time.
    pub begun: DateTime<Utc>,
    /// All that is older has been stored.
    pub seen: DateTime<Utc>,
}

/// How far back a look goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    Usual,
    Wide,
}

impl Cursor {
    /// Of a line that nobody has asked about yet: from now on, and not what lies there.
    pub fn beginning(now: DateTime<Utc>) -> Self {
        // The clocks differ a little, and WhatsApp counts whole seconds.
        let begun = now.trunc_subsecs(0) - OVERLAP;
        Self { begun, seen: begun }
    }

    /// From when on to ask.
    pub fn since(&self, look: Look, now: DateTime<Utc>) -> DateTime<Utc> {
        let back = self.seen - OVERLAP;
        let back = match look {
            Look::Usual => back,
            Look::Wide => back.min(now.trunc_subsecs(0) - WIDE),
        };
        back.max(self.oldest(now))
    }

    /// Nothing older is taken, whatever is listed.
    pub fn oldest(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.begun.max(now.trunc_subsecs(0) - REACH)
    }

    /// After everything up to `stored` has been. Never back, and never into the future, which only a
    /// wrong time can name.
    pub fn moved(self, stored: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        let stored = stored.map_or(self.seen, |stored| stored.min(now));
        Self {
            seen: self.seen.max(stored),
            ..self
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |at: DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        write!(f, "{} {}", text(self.begun), text(self.seen))
    }
}

impl FromStr for Cursor {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (begun, seen) = text.split_once(' ').context("read a poll cursor")?;
        let time = |text: &str| text.parse().context("read a poll cursor");
        Ok(Self {
            begun: time(begun)?,
            seen: time(seen)?,
        })
    }
}

pub async fn read(db: impl PgExecutor<'_>, line: LineId) -> anyhow::Result<Option<Cursor>> {
    let text = sqlx::query_scalar!("select poll_cursor from line where id = $1", line as LineId)
        .fetch_optional(db)
        .await
        .context("read a poll cursor")?;
    text.flatten().map(|text| text.parse()).transpose()
}

/// Nowhere for a line that was removed meanwhile: it begins anew when it is added again.
pub async fn write(db: impl PgExecutor<'_>, line: LineId, cursor: Cursor) -> anyhow::Result<()> {
    sqlx::query!(
        "update line set poll_cursor = $2 where id = $1 and removed_at is null",
        line as LineId,
        cursor.to_string(),
    )
    .execute(db)
    .await
    .context("move a poll cursor")?;
    Ok(())
}

/// Kapso was asked and has answered; what it said is stored.
pub async fn looked(
    db: impl PgExecutor<'_>,
    line: LineId,
    now: DateTime<Utc>,
) -> anyhow::Result<()> {
    sqlx::query!(
        "update line set polled_at = $2 where id = $1 and removed_at is null",
        line as LineId,
        now,
    )
    .execute(db)
    .await
    .context("note that a line was polled")?;
    Ok(())
}

/// When that was last.
pub async fn polled_at(
    db: impl PgExecutor<'_>,
    provider: Provider,
    phone_number_id: &str,
) -> anyhow::Result<Option<DateTime<Utc>>> {
    let at = sqlx::query_scalar!(
        "select polled_at from line where provider = $1 and phone_number_id = $2",
        provider as Provider,
        phone_number_id,
    )
    .fetch_optional(db)
    .await
    .context("look when a line was polled")?;
    Ok(at.flatten())
}

/// What came since a backup was made has been answered by the deployment that it was made of.
pub async fn begin_all_anew(db: impl PgExecutor<'_>, now: DateTime<Utc>) -> anyhow::Result<()> {
    sqlx::query!(
        "update line set poll_cursor = $1 where poll_cursor is not null",
        Cursor::beginning(now).to_string(),
    )
    .execute(db)
    .await
    .context("begin all poll cursors anew")?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        format!("2026-11-22T{text}Z").parse().unwrap()
    }

    #[test]
    fn a_line_begins_now_and_not_with_what_lies_there() {
        let cursor = Cursor::beginning(at("12:00:00.7"));
        assert_eq!(cursor.begun, at("11:59:00"));
        for look in [Look::Usual, Look::Wide] {
            let since = cursor.since(look, at("12:00:05"));
            assert_eq!(since, at("11:59:00"), "{look:?}");
        }
    }

    #[test]
    fn a_look_overlaps_the_one_before_and_now_and_then_an_hour() {
        let begun = at("08:00:00");
        let cursor = Cursor { begun, seen: begun }.moved(Some(at("12:00:00")), at("12:00:05"));
        assert_eq!(cursor.since(Look::Usual, at("12:00:05")), at("11:59:00"));
        assert_eq!(cursor.since(Look::Wide, at("12:00:05")), at("11:00:05"));
        // After a long silence the usual look goes back further by itself.
        assert_eq!(cursor.since(Look::Wide, at("18:00:00")), at("11:59:00"));
    }

    #[test]
    fn it_moves_to_what_is_stored_never_back_and_never_ahead_of_time() {
        let cursor = Cursor::beginning(at("12:00:00"));
        let now = at("12:10:00");
        let moved = cursor.moved(Some(at("12:05:00")), now);
        assert_eq!(moved.seen, at("12:05:00"));
        assert_eq!(moved.moved(None, now), moved);
        assert_eq!(moved.moved(Some(at("12:01:00")), now), moved);
        assert_eq!(moved.moved(Some(now + TimeDelta::days(99)), now).seen, now);
        assert_eq!(moved.begun, cursor.begun);
    }

    #[test]
    fn what_the_inbox_may_have_forgotten_is_not_asked_for() {
        let cursor = Cursor::beginning(at("12:00:00"));
        let now = at("12:00:00") + TimeDelta::days(20);
        assert_eq!(cursor.since(Look::Usual, now), now - TimeDelta::days(7));
        assert_eq!(cursor.oldest(now), now - TimeDelta::days(7));
    }

    #[test]
    fn it_is_read_as_it_was_written() {
        let cursor = Cursor {
            begun: at("12:00:00"),
            seen: at("12:00:00.25"),
        };
        assert_eq!(cursor.to_string().parse::<Cursor>().unwrap(), cursor);
        assert!("2026-11-22T12:00:00Z".parse::<Cursor>().is_err());
    }
}
