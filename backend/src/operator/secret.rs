//! Secrets that an operator gives to a command: from a file or typed, never as an argument, which
//! everybody on the machine could see in its list of processes.

use std::{
    fs,
    io::{BufRead, IsTerminal, Write},
    path::Path,
};

use rustix::termios::{self, LocalModes, OptionalActions};
use secrecy::SecretString;

use super::answer::Refusal;

/// The file that is none: the next line of standard input.
const STDIN: &str = "-";

/// From `file`; without one, or with `-`, the next line of standard input, which is asked for.
pub fn read(name: &str, file: Option<&Path>) -> Result<SecretString, Refusal> {
    let text = match file.filter(|file| *file != Path::new(STDIN)) {
        Some(file) => fs::read_to_string(file).map_err(|error| Refusal {
            code: "secret-unreadable",
            what: format!(
                "The {name} cannot be read from {}: {error}.",
                file.display()
            ),
            todo: "Mend the path. In a container, give it on standard input: leave the option out.",
        })?,
        None => typed(name, &mut std::io::stdin().lock()),
    };
    check(name, &text)
}

fn check(name: &str, text: &str) -> Result<SecretString, Refusal> {
    let text = text.trim();
    if text.is_empty() || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Refusal {
            code: "no-secret",
            what: format!("The {name} must be one word, and nothing or more was given."),
            todo: "Give it in a file, or a line each on standard input in the order in which they are asked for.",
        });
    }
    Ok(text.into())
}

/// One line, without showing it where somebody types it.
fn typed(name: &str, from: &mut impl BufRead) -> String {
    let mut said = std::io::stderr();
    let stdin = std::io::stdin();
    let quiet = stdin.is_terminal().then(|| termios::tcgetattr(&stdin).ok());
    let before = quiet.flatten();
    if let Some(mut modes) = before.clone() {
        modes.local_modes.remove(LocalModes::ECHO);
        // Who sees it typed is warned by seeing it.
        let _ = termios::tcsetattr(&stdin, OptionalActions::Flush, &modes);
    }
    let _ = write!(said, "{name}: ").and_then(|()| said.flush());
    let mut line = String::new();
    let _ = from.read_line(&mut line);
    if let Some(before) = before {
        let _ = termios::tcsetattr(&stdin, OptionalActions::Now, &before);
    }
    let _ = writeln!(said);
    line
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    #[test]
    fn a_secret_is_one_word_and_comes_a_line_each() {
        let mut lines = &b"first\nsecond\r\n"[..];
        assert_eq!(
            check("x", &typed("x", &mut lines)).unwrap().expose_secret(),
            "first"
        );
        assert_eq!(
            check("x", &typed("x", &mut lines)).unwrap().expose_secret(),
            "second"
        );
        let none = check("app secret", &typed("x", &mut lines)).unwrap_err();
        assert!(none.what.contains("app secret"), "{none}");
        assert!(check("x", "two words").is_err());
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let refused = read("key", Some(Path::new("/nowhere/key"))).unwrap_err();
        assert!(refused.what.contains("/nowhere/key"), "{refused}");
    }
}
