//! Tells an operator how far something is that takes its time: on a terminal in one line that changes,
//! elsewhere, as in a log, in a line with its time for each change.

use std::{
    io::{IsTerminal, Write},
    time::Instant,
};

use crate::clock::Clock;

pub struct Progress {
    begun: Instant,
    is_terminal: bool,
    said: String,
}

impl Progress {
    pub fn new() -> Self {
        Self {
            begun: Instant::now(),
            is_terminal: std::io::stderr().is_terminal(),
            said: String::new(),
        }
    }

    pub fn say(&mut self, text: &str) {
        let mut to = std::io::stderr();
        // Whether it can be seen is no reason to end what goes on.
        let _ = match self.is_terminal {
            // To the line's beginning, and away with what stood there.
            true => write!(to, "\r\x1b[K{text}, {} s …", self.begun.elapsed().as_secs())
                .and_then(|()| to.flush()),
            false if text == self.said => Ok(()),
            false => writeln!(to, "{} {text}", Clock::System.now().format("%H:%M:%S")),
        };
        text.clone_into(&mut self.said);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
