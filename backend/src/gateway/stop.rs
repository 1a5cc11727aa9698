//! Ends what goes on in a conversation, because its person said so.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    ask::{Said, said},
    connection::{Connection, Lost},
    protocol::{Abort, Request},
    reader::Reader,
    transcript::{Kind, Page},
};
use crate::id::TurnId;

/// Between two looks whether it has ended. A run's end and its rows reach a history within 0.2 s of
/// each other (measured).
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// So many looks in a row have to find nothing going on: a question that was on its way when the
/// first abort came begins after it.
const QUIET_LOOKS: u32 = 2;
/// What an aborted run gets to end; then the conversation goes on without it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Aborts whatever runs or waits in a session until nothing does. Returns what the assistant had
/// said since the cursor and before this turn's question, and the cursor behind everything: the
/// answer that was begun is nobody's.
pub async fn stop(
    connection: &Connection,
    session: &str,
    cursor: Option<&str>,
    turn: TurnId,
) -> Result<(Vec<Said>, Option<String>), Lost> {
    let end_by = Instant::now() + PATIENCE;
    let mut reader = Reader::new(connection, session, cursor);
    let mut quiet = 0;
    loop {
        // Refused where there is no such session yet: then nothing runs in it either.
        let abort = Request::Abort(Abort::new(session));
        let _ = connection.call(&abort).await?;
        tokio::time::sleep(LOOK_EVERY).await;
        let page = reader.read().await?;
        let going_on = page.as_ref().is_none_or(|page| {
            page.session.busy || page.session.interrupted || !page.session.queued.is_empty()
        });
        quiet = match going_on {
            true => 0,
            false => quiet + 1,
        };
        if let Some(page) = page
            && (quiet >= QUIET_LOOKS || Instant::now() >= end_by)
        {
            return Ok(before(page, turn));
        }
    }
}

fn before(mut page: Page, turn: TurnId) -> (Vec<Said>, Option<String>) {
    let turn = format!("{turn}:");
    let asked = page
        .rows
        .iter()
        .position(|row| matches!(&row.kind, Kind::Asked(Some(key)) if key.starts_with(&turn)));
    page.rows.truncate(asked.unwrap_or(page.rows.len()));
    (said(&page), page.cursor)
}
