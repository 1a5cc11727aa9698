//! Asks before what cannot be undone.

use std::io::{BufRead, Write};

use super::answer::Refusal;

/// Asks on the terminal whether to go on; anything but this word is a no.
pub fn confirm(question: &str, word: &str) -> Result<(), Refusal> {
    ask(
        question,
        word,
        &mut std::io::stdin().lock(),
        &mut std::io::stderr(),
    )
}

fn ask(
    question: &str,
    word: &str,
    from: &mut impl BufRead,
    to: &mut impl Write,
) -> Result<(), Refusal> {
    // Who cannot be asked has not said it.
    let _ = write!(to, "{question}\nWrite {word} to go on: ").and_then(|()| to.flush());
    let mut said = String::new();
    let _ = from.read_line(&mut said);
    if said.trim_end_matches(['\r', '\n']) == word {
        return Ok(());
    }
    Err(Refusal {
        code: "not-confirmed",
        what: format!("That is not \"{word}\": nothing was done."),
        todo: "Write it, or say --yes.",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_word_lets_it_go_on() {
        let asked = |answer: &str| {
            let mut said = Vec::new();
            let done = ask("All of it?", "staging", &mut answer.as_bytes(), &mut said);
            (done.is_ok(), String::from_utf8(said).unwrap())
        };
        assert!(asked("staging\n").0);
        for answer in ["", "\n", "y\n", "yes\n", "Staging\n", "staging2\n"] {
            assert!(!asked(answer).0, "{answer:?}");
        }
        assert_eq!(asked("").1, "All of it?\nWrite staging to go on: ");
    }
}
