// SPDX-License-Identifier: GPL-2.0

//! Goodput as a picture: a bar for each way of moving messages over each kind of capped cables, up to the median, and a line for the
//! range of the repeats.

use std::path::Path;

use anyhow::anyhow;
use anyhow::Context;
use anyhow::Result;
use plotters::prelude::ChartBuilder;
use plotters::prelude::Color;
use plotters::prelude::ErrorBar;
use plotters::prelude::IntoDrawingArea;
use plotters::prelude::IntoFont;
use plotters::prelude::Palette;
use plotters::prelude::Palette99;
use plotters::prelude::Rectangle;
use plotters::prelude::SVGBackend;
use plotters::prelude::Text;
use plotters::prelude::BLACK;
use plotters::prelude::WHITE;

use super::figure::Figures;
use super::figure::Metric;
use super::report::ranged;
use super::report::way;
use super::spread::Spread;

/// Width of the picture, and height of a bar with the space around it, in pixels.
const WIDTH: u32 = 960;
const BAR: u32 = 40;

/// Pixels of the ends of the line that shows a range.
const WHISKER: u32 = 8;

/// Pixels of the axis, of the space around the picture, and of letters.
const AXIS: u32 = 60;
const MARGIN: u32 = 15;
const LETTERS: u32 = 15;

/// Where the axis ends, in percent: a little more than all.
const END: f64 = 105.0;

/// The part of its space that a bar leaves free on either side.
const GAP: f64 = 0.15;

/// Where the text in a bar begins: from its left end, in percent, and from its lower edge, as a part of its space.
const TEXT: (f64, f64) = (1.0, 0.65);

/// A bar.
struct Bar {
    name: String,
    percent: Spread,
}

/// Draws the picture, if there is goodput.
pub fn draw(figures: &Figures, path: &Path) -> Result<()> {
    let mut bars: Vec<Bar> = figures
        .all()
        .filter(|figure| figure.subject.metric == Metric::Goodput)
        .map(|figure| {
            let subject = figure.subject;
            let way = way(subject.transport, subject.verb, subject.flows);
            let percent = figure.spread.scaled(100.0);
            let found = ranged(percent, 1);
            Bar {
                name: format!("{way}, {}: {found} %", subject.cables.name()),
                percent,
            }
        })
        .collect();
    if bars.is_empty() {
        return Ok(());
    }
    // The first is to be at the top.
    bars.reverse();
    picture(path, &bars)
        .map_err(|error| anyhow!("{error}"))
        .with_context(|| format!("draw {}", path.display()))
}

fn picture(path: &Path, bars: &[Bar]) -> Result<(), Box<dyn std::error::Error>> {
    let rows = u32::try_from(bars.len())?;
    let area = SVGBackend::new(path, (WIDTH, rows * BAR + AXIS + 2 * MARGIN)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(MARGIN)
        .x_label_area_size(AXIS)
        .build_cartesian_2d(0.0..END, 0.0..f64::from(rows))?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc("payload in % of what the cables let through")
        .draw()?;
    for (row, bar) in (0..rows).zip(bars) {
        let bottom = f64::from(row);
        let corners = [
            (0.0, bottom + GAP),
            (bar.percent.median, bottom + 1.0 - GAP),
        ];
        let colour = Palette99::pick(0).mix(0.5).filled();
        chart.draw_series([Rectangle::new(corners, colour)])?;
        let Spread { min, median, max } = bar.percent;
        let range =
            ErrorBar::new_horizontal(bottom + 0.5, min, median, max, BLACK.filled(), WHISKER);
        chart.draw_series([range])?;
        let place = (TEXT.0, bottom + TEXT.1);
        let font = ("sans-serif", LETTERS).into_font();
        chart.draw_series([Text::new(bar.name.clone(), place, font)])?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::figure::Cables;
    use super::super::figure::Subject;
    use super::super::figure::Transport;
    use super::super::figure::Verb;
    use super::*;

    #[test]
    fn a_bar_says_what_it_is_of() {
        let mut figures = Figures::default();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("goodput.svg");
        draw(&figures, &path).unwrap();
        assert!(!path.exists());
        let subject = Subject {
            cables: Cables::TwoToOne,
            ..Subject::new(Metric::Goodput, Transport::Roce, Verb::Write, 1 << 20)
        };
        for value in [0.987, 0.981, 0.989] {
            figures.add(subject, value);
        }
        draw(&figures, &path).unwrap();
        let picture = std::fs::read_to_string(&path).unwrap();
        assert!(picture.contains("usb4_roce WRITE, two cables of 2:1: 98.7 (98.1..98.9) %"));
    }
}
