//! What holds of any webhook and of any answer, and the corpora of those by which that was learned.
//!
//! `infra/fuzz.sh` looks for inputs that break it, and keeps in `corpus/` those that take a way through the
//! product that no other takes. The tests here go all these ways again, on any machine and at once.

pub mod format;
pub mod webhook;

#[cfg(test)]
mod tests {
    use std::{fs, panic, path::Path};

    use super::{format, webhook};

    #[test]
    fn every_webhook_of_the_corpus_breaks_nothing() {
        hold("webhook", webhook::hold);
    }

    #[test]
    fn every_answer_of_the_corpus_breaks_nothing() {
        hold("format", format::hold);
    }

    fn hold(corpus: &str, promise: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(corpus);
        let mut tried = 0;
        for file in fs::read_dir(folder).expect("there is a corpus") {
            let path = file.expect("it can be listed").path();
            let input = fs::read(&path).expect("it can be read");
            let held = panic::catch_unwind(|| promise(&input));
            assert!(held.is_ok(), "{} breaks it", path.display());
            tried += 1;
        }
        assert!(tried > 0, "the corpus is empty");
    }
}
