//! Reads a model's answer as it passes and finds out what it cost, without holding it up.
//!
//! The usage stands in the last chunk of a stream, or somewhere in a plain JSON answer. Chunks
//! arrive cut anywhere, so bytes are gathered into lines; a line longer than [`MAX_LINE`] is let
//! through unread.

use serde::Deserialize;

/// Longest line that is read: a stream's usage line has some hundred bytes, and a plain answer of
/// 8,000 tokens under 100 KB.
const MAX_LINE: usize = 256 * 1024;
/// What no call can cost; keeps a nonsensical figure from upstream out of the sums.
const MAX_TOKENS: u64 = 100_000_000;

pub struct Meter {
    /// Whether the answer is a stream of events, so that a line break ends what is to be read.
    streamed: bool,
    line: Vec<u8>,
    /// The current line is longer than [`MAX_LINE`].
    skipping: bool,
    tokens: Option<i64>,
    bytes: u64,
}

#[derive(Deserialize)]
struct Chunk {
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    #[serde(default)]
    total_tokens: u64,
}

impl Meter {
    pub fn new(streamed: bool) -> Self {
        Self {
            streamed,
            line: Vec::new(),
            skipping: false,
            tokens: None,
            bytes: 0,
        }
    }

    /// Bytes seen so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Input and output tokens, once upstream has said them.
    pub fn tokens(&self) -> Option<i64> {
        self.tokens
    }

    /// Looks at the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if !self.streamed {
            return self.gather(bytes);
        }
        for piece in bytes.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
            self.gather(piece);
            if piece.ends_with(b"\n") || piece.ends_with(b"\r") {
                self.end_of_line();
            }
        }
    }

    /// Reads what has no line break behind it.
    pub fn finish(&mut self) {
        self.end_of_line();
    }

    fn gather(&mut self, bytes: &[u8]) {
        self.skipping |= self.line.len() + bytes.len() > MAX_LINE;
        if !self.skipping {
            self.line.extend_from_slice(bytes);
        }
    }

    fn end_of_line(&mut self) {
        let line = self.line.trim_ascii();
        let json = if self.streamed {
            line.strip_prefix(b"data:")
        } else {
            Some(line)
        };
        if !self.skipping
            && let Some(json) = json
            && let Ok(Chunk { usage: Some(usage) }) = serde_json::from_slice(json)
        {
            let parts = usage.prompt_tokens.saturating_add(usage.completion_tokens);
            let tokens = usage.total_tokens.max(parts).min(MAX_TOKENS);
            self.tokens = Some(tokens as i64);
        }
        self.line.clear();
        self.skipping = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const STREAM: &str = concat!(
        ": still thinking\r\n\r\n",
        "data: {\"choices\":[{\"delta\":{\"content\":\"say \\\"usage\\\" — ünïcode\"}}],\"usage\":null}\n\n",
        "data:{\"choices\":[],\"usage\":{\"prompt_tokens\":11,\"completion_tokens\":4,\"total_tokens\":15}}\r\n\r\n",
        "data: [DONE]\n\n",
    );

    fn tokens(streamed: bool, pieces: &[&[u8]]) -> Option<i64> {
        let mut meter = Meter::new(streamed);
        for piece in pieces {
            meter.feed(piece);
        }
        meter.finish();
        meter.tokens()
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_its_usage_is_the_same(cuts in prop::collection::vec(0..STREAM.len(), 0..40)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &STREAM.as_bytes()[cut[0]..cut[1]]).collect();
            prop_assert_eq!(tokens(true, &pieces), Some(15));
        }

        #[test]
        fn no_bytes_make_it_panic(pieces in prop::collection::vec(any::<Vec<u8>>(), 0..8), streamed: bool) {
            let pieces: Vec<_> = pieces.iter().map(Vec::as_slice).collect();
            tokens(streamed, &pieces);
        }
    }

    #[test]
    fn a_plain_answer_is_read_whole_even_over_several_lines() {
        let answer: &[u8] =
            b"{\n \"usage\": {\n \"prompt_tokens\": 2, \"completion_tokens\": 3}\n}\n";
        assert_eq!(tokens(false, &[&answer[..9], &answer[9..]]), Some(5));
    }

    #[test]
    fn the_last_line_counts_without_a_line_break() {
        assert_eq!(
            tokens(true, &[b"data: {\"usage\":{\"total_tokens\":7}}"]),
            Some(7)
        );
    }

    #[test]
    fn what_a_model_writes_is_not_taken_for_usage() {
        let said = br#"data: {"choices":[{"delta":{"content":"\ndata: {\"usage\":{\"total_tokens\":1}}"}}]}"#;
        assert_eq!(tokens(true, &[said, b"\n"]), None);
    }

    #[test]
    fn an_endless_line_is_not_kept_and_the_next_is_read() {
        let mut meter = Meter::new(true);
        for _ in 0..3 {
            meter.feed(&[b'x'; MAX_LINE]);
        }
        assert!(meter.line.capacity() <= 2 * MAX_LINE);
        meter.feed(b"\ndata: {\"usage\":{\"total_tokens\":7}}\n");
        assert_eq!(meter.tokens(), Some(7));
    }
}
