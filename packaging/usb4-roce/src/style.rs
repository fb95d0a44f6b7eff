// SPDX-License-Identifier: GPL-2.0

//! Colours. They are always written; streams that are no terminals drop them, and so does `NO_COLOR`.

use std::fmt;
use std::fmt::Display;

use anstyle::AnsiColor;
use anstyle::Style;

/// Something good.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Something doubtful.
pub const DOUBTFUL: Style = AnsiColor::Yellow.on_default();
/// Something bad.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// A heading.
pub const HEADING: Style = Style::new().bold();
/// What matters less.
pub const FAINT: Style = Style::new().dimmed();
/// As it is.
pub const PLAIN: Style = Style::new();

/// The most columns that are written.
pub const WIDTH: usize = 100;

/// Text in a style.
#[derive(Clone, Debug)]
pub struct Styled<T> {
    style: Style,
    text: T,
}

/// `text` in `style`.
pub fn styled<T: Display>(style: Style, text: T) -> Styled<T> {
    Styled { style, text }
}

impl<T: Display> Display for Styled<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { style, text } = self;
        write!(f, "{style}{text}{style:#}")
    }
}
