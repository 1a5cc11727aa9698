//! What the conformance run prints: a line for each shape, a column for each form.

use std::fmt::Write as _;

use super::form::Form;

const SHAPE: usize = 38;
const CELL: usize = 12;
const EVENT: usize = 26;
const OUTCOME: usize = 12;
/// Enough to recognise it.
const MAX_READS: usize = 60;

#[derive(Default)]
pub struct Line {
    pub shape: String,
    /// How many variants were right, of how many; nothing where this form does not exist.
    pub right: [Option<(usize, usize)>; Form::ALL.len()],
    pub event: String,
    pub outcome: String,
    pub reads: String,
}

impl Line {
    /// One more variant of it came in this form.
    pub fn count(&mut self, form: Form, is_right: bool) {
        let place = Form::ALL.iter().position(|one| *one == form).unwrap();
        let (right, all) = self.right[place].unwrap_or_default();
        self.right[place] = Some((right + usize::from(is_right), all + 1));
    }
}

pub fn table(lines: &[Line]) -> String {
    let mut out = String::new();
    let heads = Form::ALL.map(Form::as_str).map(str::to_owned);
    line(
        &mut out,
        "shape",
        &heads,
        ["event", "outcome", "the agent reads"],
    );
    for one in lines {
        let cells = one.right.map(|right| match right {
            Some((right, all)) => format!("{right}/{all}"),
            None => "-".to_owned(),
        });
        let reads: String = one
            .reads
            .replace('\n', " / ")
            .chars()
            .take(MAX_READS)
            .collect();
        line(
            &mut out,
            &one.shape,
            &cells,
            [&one.event, &one.outcome, &reads],
        );
    }
    out
}

fn line(out: &mut String, shape: &str, cells: &[String], rest: [&str; 3]) {
    let _ = write!(out, "{shape:SHAPE$} ");
    for cell in cells {
        let _ = write!(out, "{cell:CELL$} ");
    }
    let [event, outcome, reads] = rest;
    let _ = writeln!(out, "{event:EVENT$} {outcome:OUTCOME$} {reads}");
}
