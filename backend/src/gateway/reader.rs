//! Reads a session's transcript from a cursor on.
//!
//! OpenClaw's own cursor answers `reset` whenever the transcript was rewritten: after every turn
//! with tool calls, after a failed one, after compaction (seen). Row ids survive all that. So our
//! cursor is both, `<id of the last message> <OpenClaw's cursor>`: after a reset the tail is read and
//! what the id shows to be old is dropped. If the id is not there either, everything in the tail
//! counts as new and the row ids deduplicate at whoever stores it.

use super::{
    connection::{Connection, Lost},
    protocol::{History, Request},
    transcript::{self, Kind, Page, Row},
};

pub struct Reader<'a> {
    connection: &'a Connection,
    session: &'a str,
    anchor: Option<&'a str>,
    delta: Option<&'a str>,
}

impl<'a> Reader<'a> {
    pub fn new(connection: &'a Connection, session: &'a str, cursor: Option<&'a str>) -> Self {
        let (anchor, delta) = split(cursor.unwrap_or_default());
        Self {
            connection,
            session,
            anchor,
            delta,
        }
    }

    /// What follows the cursor, and the cursor behind that. None: the gateway has no time for us now.
    pub async fn read(&mut self) -> Result<Option<Page>, Lost> {
        loop {
            let request = Request::History(History::new(self.session, self.delta));
            let Ok(payload) = self.connection.call(&request).await? else {
                return Ok(None);
            };
            let mut page = transcript::page(&payload).ok_or(Lost)?;
            if page.reset && self.delta.take().is_some() {
                continue;
            }
            // With OpenClaw's cursor, too: ours may be ahead of it, see `add`.
            drop_old(&mut page.rows, self.anchor);
            page.cursor = behind(&page, self.anchor);
            return Ok(Some(page));
        }
    }
}

/// Adds rows that were told by events to a page that was read before, and moves its cursor on.
/// OpenClaw's part of the cursor stays where it was: only a reading tells the next one.
pub fn add(page: &mut Page, told: Vec<Row>) {
    for row in told {
        if page.rows.iter().all(|known| known.id != row.id) {
            page.rows.push(row);
        }
    }
    let before = page.cursor.take();
    let (anchor, delta) = split(before.as_deref().unwrap_or_default());
    page.cursor = delta.map(str::to_owned);
    page.cursor = behind(page, anchor);
}

fn split(cursor: &str) -> (Option<&str>, Option<&str>) {
    let (anchor, delta) = cursor.split_once(' ').unwrap_or((cursor, ""));
    let some = |part: &'_ str| !part.is_empty();
    (
        Some(anchor).filter(|a| some(a)),
        Some(delta).filter(|d| some(d)),
    )
}

fn drop_old(rows: &mut Vec<Row>, anchor: Option<&str>) {
    let seen = rows.iter().rposition(|row| Some(row.id.as_str()) == anchor);
    rows.drain(..seen.map_or(0, |at| at + 1));
}

/// Messages only: the ids of tool results change when OpenClaw shortens them.
fn behind(page: &Page, anchor: Option<&str>) -> Option<String> {
    let message = |row: &&Row| matches!(row.kind, Kind::Asked(_) | Kind::Said(_));
    let last = page.rows.iter().rfind(message).map(|row| row.id.as_str());
    let anchor = last.or(anchor)?;
    let delta = page.cursor.as_deref().unwrap_or_default();
    Some(format!("{anchor} {delta}").trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, kind: Kind) -> Row {
        Row {
            id: id.into(),
            run: None,
            kind,
        }
    }

    fn page() -> Page {
        Page {
            rows: vec![
                row("a", Kind::Asked(None)),
                row("b", Kind::Said("hi".into())),
                row("c", Kind::Hidden),
            ],
            cursor: Some("D".into()),
            ..Page::default()
        }
    }

    #[test]
    fn after_a_reset_only_what_follows_the_last_seen_message_is_new() {
        let mut rows = page().rows;
        drop_old(&mut rows, Some("b"));
        assert_eq!(rows, [row("c", Kind::Hidden)]);
        let mut rows = page().rows;
        drop_old(&mut rows, Some("gone"));
        assert_eq!(rows.len(), 3);
    }

    #[test]
    fn a_cursor_names_the_last_message_and_openclaws_own_cursor() {
        assert_eq!(behind(&page(), None).as_deref(), Some("b D"));
        assert_eq!(behind(&Page::default(), Some("z")).as_deref(), Some("z"));
        assert_eq!(behind(&Page::default(), None), None);
        let mut told = page();
        told.cursor = Some("b D".into());
        add(
            &mut told,
            vec![row("b", Kind::Hidden), row("d", Kind::Said("!".into()))],
        );
        assert_eq!((told.cursor.as_deref(), told.rows.len()), (Some("d D"), 4));
        assert_eq!(split("b D"), (Some("b"), Some("D")));
        assert_eq!(split("z"), (Some("z"), None));
        assert_eq!(split(""), (None, None));
    }
}
