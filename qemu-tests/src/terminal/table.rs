// SPDX-License-Identifier: GPL-2.0

//! A short table of names and values.

use std::fmt;

use comfy_table::presets::UTF8_BORDERS_ONLY;

/// The table.
#[derive(Default)]
pub struct Table {
    rows: Vec<(String, String)>,
}

impl Table {
    /// Adds a row.
    pub fn row(&mut self, name: &str, value: &str) {
        self.rows.push((name.to_owned(), value.to_owned()));
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = comfy_table::Table::new();
        table.load_preset(UTF8_BORDERS_ONLY);
        for (name, value) in &self.rows {
            table.add_row([name, value]);
        }
        table.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_shown() {
        let mut table = Table::default();
        table.row("device", "usb4_roce0");
        table.row("link", "80 Gb/s");
        let text = table.to_string();
        assert!(text
            .lines()
            .any(|line| line.contains("device") && line.contains("usb4_roce0")));
        assert!(text.contains("80 Gb/s"));
    }
}
