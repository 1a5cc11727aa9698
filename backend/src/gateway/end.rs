//! Where a conversation ends: for one whose files were put back, and whose messages are all old.

use std::time::Duration;

use super::{
    connection::{Connection, Lost},
    reader::Reader,
};

/// A gateway that has no time for us is asked again after so long.
const AGAIN_AFTER: Duration = Duration::from_millis(300);

/// The cursor behind everything that is in a session now. None: there is nothing.
pub async fn end(connection: &Connection, session: &str) -> Result<Option<String>, Lost> {
    loop {
        if let Some(page) = Reader::new(connection, session, None).read().await? {
            return Ok(page.cursor);
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}
