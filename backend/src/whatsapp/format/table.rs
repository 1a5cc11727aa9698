//! Tables for a screen some 40 characters wide.
//!
//! A narrow one of plain Latin text stays a table, aligned in a fence. Any other becomes one block
//! per row of "Header: value" lines: wrapped columns are unreadable, and marks do not work in a
//! fence.

use super::inline::{Span, line, plain};

/// What fits into a monospaced line on a small phone.
const MAX_WIDTH: usize = 30;
const GAP: &str = "  ";

/// The header is the first row.
#[derive(Default)]
pub struct Table {
    pub rows: Vec<Vec<Vec<Span>>>,
}

impl Table {
    pub fn lines(&self) -> Vec<String> {
        self.aligned().unwrap_or_else(|| self.listed())
    }

    fn aligned(&self) -> Option<Vec<String>> {
        let cells: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| plain(cell)).collect())
            .collect();
        // Other scripts and emoji have no fixed width, not even in a fence.
        let latin = |cell: &String| cell.chars().all(|c| c < '\u{0300}' && c != '`');
        let columns = cells.first()?.len();
        let widths: Vec<usize> = (0..columns)
            .map(|column| cells.iter().filter_map(move |row| row.get(column)))
            .map(|column| column.map(|cell| cell.chars().count()).max().unwrap_or(0))
            .collect();
        let width = widths.iter().sum::<usize>() + GAP.len() * columns.saturating_sub(1);
        let plain = cells.iter().flatten().all(latin);
        if columns < 2 || width > MAX_WIDTH || !plain {
            return None;
        }
        let pad = |(cell, width): (&String, &usize)| format!("{cell:<width$}");
        let aligned = cells.iter().map(|row| {
            let padded: Vec<String> = row.iter().zip(&widths).map(pad).collect();
            padded.join(GAP).trim_end().to_owned()
        });
        let fence = || std::iter::once("```".to_owned());
        Some(fence().chain(aligned).chain(fence()).collect())
    }

    pub fn listed(&self) -> Vec<String> {
        let Some((header, rows)) = self.rows.split_first() else {
            return Vec::new();
        };
        let names: Vec<String> = header.iter().map(|cell| plain(cell)).collect();
        if rows.is_empty() {
            return vec![names.join(" · ")];
        }
        let mut lines = Vec::new();
        for row in rows {
            let cells = names.iter().zip(row).map(|(name, cell)| (name, line(cell)));
            let seen = cells.filter(|(_, value)| !value.trim().is_empty());
            let written: Vec<String> = seen
                .map(|(name, value)| match name.as_str() {
                    "" => value.trim().to_owned(),
                    name => format!("{name}: {}", value.trim()),
                })
                .collect();
            if !lines.is_empty() && !written.is_empty() {
                lines.push(String::new());
            }
            lines.extend(written);
        }
        lines
    }
}
