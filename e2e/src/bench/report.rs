//! What was measured: one line of JSON each, and a table for whoever reads along.

use std::io::{self, Write as _};

use serde::Serialize;

/// One number with its floor from the same run, as `name`, `value`, `unit`, `floor`, `ratio`.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub value: f64,
    pub unit: &'static str,
    pub floor: Option<f64>,
    /// Value through floor.
    pub ratio: Option<f64>,
    #[serde(skip)]
    pub budget: Budget,
}

/// What a figure has to reach and what it should.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub of: Of,
    pub better: Better,
    pub must: f64,
    pub aim: f64,
}

/// What is judged: the number itself or its ratio to the floor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    Value,
    Ratio,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Less,
    More,
}

impl Figure {
    pub fn new(
        name: &'static str,
        value: f64,
        unit: &'static str,
        floor: Option<f64>,
        budget: Budget,
    ) -> Self {
        let ratio = floor
            .filter(|floor| *floor > 0.0)
            .map(|floor| rounded(value / floor));
        Self {
            name,
            value: rounded(value),
            unit,
            floor: floor.map(rounded),
            ratio,
            budget,
        }
    }

    /// The number that the budget speaks of.
    fn reached(&self) -> f64 {
        match self.budget.of {
            Of::Value => self.value,
            Of::Ratio => self.ratio.unwrap_or(f64::NAN),
        }
    }

    pub fn meets(&self, limit: f64) -> bool {
        match self.budget.better {
            Better::Less => self.reached() <= limit,
            Better::More => self.reached() >= limit,
        }
    }

    /// How far it is from the aim, in words.
    fn distance(&self) -> String {
        let (reached, aim) = (self.reached(), self.budget.aim);
        let away = match self.budget.better {
            Better::Less => reached / aim,
            Better::More => aim / reached,
        };
        match (self.meets(aim), self.meets(self.budget.must)) {
            (true, _) => "aim reached".to_owned(),
            (false, true) => format!("{away:.1} times the aim"),
            (false, false) => format!("MUST MISSED, {away:.1} times the aim"),
        }
    }
}

/// Three digits behind the point are more than any of this is good for.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

/// The lines for machines, on standard output.
pub fn print(figures: &[Figure]) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    for figure in figures {
        serde_json::to_writer(&mut out, figure)?;
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

pub fn table(figures: &[Figure]) -> String {
    let mut table = format!(
        "\n{:<26} {:>9} {:>9} {:>10}  {}\n",
        "", "must", "aim", "reached", "how far from the aim"
    );
    for figure in figures {
        let Budget { of, must, aim, .. } = figure.budget;
        let (name, unit) = match of {
            Of::Value => (figure.name.to_owned(), figure.unit),
            Of::Ratio => (format!("{} ÷ floor", figure.name), ""),
        };
        table.push_str(&format!(
            "{name:<26} {must:>9} {aim:>9} {:>10}  {}{}\n",
            figure.reached(),
            match unit {
                "" => String::new(),
                unit => format!("[{unit}] "),
            },
            figure.distance()
        ));
    }
    table
}

/// The middle one, or the mean of the two in the middle.
pub fn median(numbers: &[f64]) -> f64 {
    percentile(numbers, 50.0)
}

/// Of all samples, exactly; between two neighbours in proportion.
pub fn percentile(numbers: &[f64], percent: f64) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = percent / 100.0 * last as f64;
    let (below, above) = (
        sorted[place.floor() as usize],
        sorted[place.ceil() as usize],
    );
    below + (above - below) * place.fract()
}

/// Progress, on standard error.
pub fn say(text: &str) {
    // Nobody to tell if it cannot be told.
    let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    const LESS: Budget = Budget {
        of: Of::Value,
        better: Better::Less,
        must: 60.0,
        aim: 20.0,
    };
    const MORE: Budget = Budget {
        of: Of::Ratio,
        better: Better::More,
        must: 0.25,
        aim: 1.0,
    };

    #[test]
    fn percentiles_are_of_the_samples_themselves() {
        let samples: Vec<_> = (0..=100).rev().map(f64::from).collect();
        assert_eq!(percentile(&samples, 99.0), 99.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn a_line_has_the_five_agreed_members_and_no_others() {
        let figure = Figure::new("webhooks", 1500.0, "1/s", Some(3000.0), MORE);
        assert_eq!(
            serde_json::to_string(&figure).unwrap(),
            r#"{"name":"webhooks","value":1500.0,"unit":"1/s","floor":3000.0,"ratio":0.5}"#
        );
        let figure = Figure::new("relay", 12.0, "ms", None, LESS);
        assert_eq!(
            serde_json::to_string(&figure).unwrap(),
            r#"{"name":"relay","value":12.0,"unit":"ms","floor":null,"ratio":null}"#
        );
    }

    #[test]
    fn the_table_says_what_is_missed_and_by_how_much() {
        let at = |value| Figure::new("relay", value, "ms", None, LESS).distance();
        assert_eq!(at(20.0), "aim reached");
        assert_eq!(at(40.0), "2.0 times the aim");
        assert_eq!(at(100.0), "MUST MISSED, 5.0 times the aim");
        let at = |value| Figure::new("webhooks", value, "1/s", Some(100.0), MORE).distance();
        assert_eq!(at(120.0), "aim reached");
        assert_eq!(at(50.0), "2.0 times the aim");
        assert_eq!(at(10.0), "MUST MISSED, 10.0 times the aim");
    }
}
