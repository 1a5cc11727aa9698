//! One line on the operator's terminal that changes while something takes its time. Nothing is
//! written where stderr is no terminal.

use std::io::{IsTerminal, Write};

pub struct Progress {
    is_terminal: bool,
}

impl Progress {
    pub fn new() -> Self {
        Self {
            is_terminal: std::io::stderr().is_terminal(),
        }
    }

    pub fn say(&self, text: &str) {
        if self.is_terminal {
            // To the line's beginning, and away with what stood there.
            let _ = write!(std::io::stderr(), "\r\x1b[K{text}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.say("");
    }
}
