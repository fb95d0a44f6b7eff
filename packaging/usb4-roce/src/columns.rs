// SPDX-License-Identifier: GPL-2.0

//! Tables whose columns are as wide as they have to be.

use std::fmt;
use std::fmt::Display;

use anstyle::Style;

use crate::style::styled;
use crate::style::HEADING;
use crate::style::PLAIN;

/// What is between two columns.
const GAP: &str = "  ";

/// A table.
#[derive(Clone, Debug)]
pub struct Columns {
    sides: Vec<Side>,
    rows: Vec<Vec<Cell>>,
}

/// On which side of its column a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// On the left, for words.
    Left,
    /// On the right, for numbers.
    Right,
}

/// A text with its style.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    /// `text` in `style`.
    pub fn styled(style: Style, text: impl Display) -> Self {
        Self {
            text: text.to_string(),
            style,
        }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: Display> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::styled(PLAIN, text)
    }
}

impl Columns {
    /// A table with these headings.
    pub fn new(headings: &[(&str, Side)]) -> Self {
        let cells = headings.iter().map(|(text, _)| Cell::styled(HEADING, text));
        Self {
            sides: headings.iter().map(|(_, side)| *side).collect(),
            rows: vec![cells.collect()],
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    fn width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|row| row.get(column));
        cells.map(Cell::width).max().unwrap_or(0)
    }
}

impl Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths: Vec<usize> = (0..self.sides.len())
            .map(|column| self.width(column))
            .collect();
        for row in &self.rows {
            for (number, cell) in row.iter().enumerate() {
                let pad = " ".repeat(widths[number] - cell.width());
                let text = styled(cell.style, &cell.text);
                let is_last = number + 1 == row.len();
                match self.sides[number] {
                    Side::Right => write!(f, "{pad}{text}")?,
                    Side::Left if is_last => write!(f, "{text}")?,
                    Side::Left => write!(f, "{text}{pad}")?,
                }
                if !is_last {
                    f.write_str(GAP)?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn styles_take_no_room() {
        let mut columns = Columns::new(&[("A", Side::Left), ("NUMBER", Side::Right)]);
        columns.row(vec![Cell::styled(HEADING, "long"), 1.into()]);
        columns.row(vec!["x".into(), 23.into()]);
        let text = anstream::adapter::strip_str(&columns.to_string()).to_string();
        assert_eq!(text, "A     NUMBER\nlong       1\nx         23\n");
    }
}
