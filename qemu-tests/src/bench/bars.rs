// SPDX-License-Identifier: GPL-2.0

//! What is measured with messages of one size, as pictures: a bar for each way of moving them, up to the median, and a line for the range
//! of the repeats.

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

use super::figure::Cables;
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

/// Where the axis ends: a little behind the longest bar, as a factor.
const SPACE: f64 = 1.05;

/// The part of its space that a bar leaves free on either side.
const GAP: f64 = 0.15;

/// Where the text in a bar begins: from its left end, as a part of the axis, and from its lower edge, as a part of its space.
const TEXT: (f64, f64) = (0.01, 0.65);

/// A bar.
struct Bar {
    name: String,
    found: Spread,
}

/// Draws all pictures into `directory`.
pub fn draw(figures: &Figures, directory: &Path) -> Result<()> {
    let pictures = [
        (
            Metric::Goodput,
            "goodput.svg",
            "payload in % of what the cables let through",
            100.0,
        ),
        (
            Metric::DuplexGoodput,
            "duplex-goodput.svg",
            "payload each way, of both at once, in % of what the cables let through",
            100.0,
        ),
        (
            Metric::Rate,
            "rate.svg",
            "thousands of messages per second, 16 in flight on each QP",
            1e-3,
        ),
        (Metric::Duplex, "duplex.svg", "MB/s each way", 1e-6),
        (
            Metric::Accesses,
            "storage-rate.svg",
            "thousands of 4 KiB requests per second, 16 under way",
            1e-3,
        ),
        (
            Metric::AccessBandwidth,
            "storage-bandwidth.svg",
            "MB/s of 1 MiB requests, 4 under way",
            1e-6,
        ),
    ];
    for (metric, file, unit, factor) in pictures {
        let bars = bars(figures, metric, factor);
        if !bars.is_empty() {
            let path = directory.join(file);
            picture(&path, unit, &bars)
                .map_err(|error| anyhow!("{error}"))
                .with_context(|| format!("draw {}", path.display()))?;
        }
    }
    Ok(())
}

/// The bars of a metric, from below.
fn bars(figures: &Figures, metric: Metric, factor: f64) -> Vec<Bar> {
    let of = figures
        .all()
        .filter(|figure| figure.subject.metric == metric);
    let mut bars: Vec<Bar> = of
        .map(|figure| {
            let subject = figure.subject;
            let mut name = way(subject.transport, subject.verb, subject.flows);
            if subject.cables != Cables::One {
                name = format!("{name}, {}", subject.cables.name());
            }
            let found = figure.spread.scaled(factor);
            Bar {
                name: format!("{name}: {}", ranged(found, 1)),
                found,
            }
        })
        .collect();
    // The first is to be at the top.
    bars.reverse();
    bars
}

fn picture(path: &Path, unit: &str, bars: &[Bar]) -> Result<(), Box<dyn std::error::Error>> {
    let longest = bars.iter().map(|bar| bar.found.max).fold(0.0, f64::max);
    let end = longest * SPACE;
    let rows = u32::try_from(bars.len())?;
    let area = SVGBackend::new(path, (WIDTH, rows * BAR + AXIS + 2 * MARGIN)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(MARGIN)
        .x_label_area_size(AXIS)
        .build_cartesian_2d(0.0..end, 0.0..f64::from(rows))?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_desc(unit)
        .draw()?;
    for (row, bar) in (0..rows).zip(bars) {
        let bottom = f64::from(row);
        let corners = [(0.0, bottom + GAP), (bar.found.median, bottom + 1.0 - GAP)];
        let colour = Palette99::pick(0).mix(0.5).filled();
        chart.draw_series([Rectangle::new(corners, colour)])?;
        let Spread { min, median, max } = bar.found;
        let range =
            ErrorBar::new_horizontal(bottom + 0.5, min, median, max, BLACK.filled(), WHISKER);
        chart.draw_series([range])?;
        let place = (TEXT.0 * end, bottom + TEXT.1);
        let font = ("sans-serif", LETTERS).into_font();
        chart.draw_series([Text::new(bar.name.clone(), place, font)])?;
    }
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::figure::Subject;
    use super::super::figure::Transport;
    use super::super::figure::Verb;
    use super::*;

    #[test]
    fn a_bar_says_what_it_is_of() {
        let mut figures = Figures::default();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("goodput.svg");
        draw(&figures, directory.path()).unwrap();
        assert!(!path.exists());
        let subject = Subject {
            cables: Cables::TwoToOne,
            ..Subject::new(Metric::Goodput, Transport::Roce, Verb::Write, 1 << 20)
        };
        for value in [0.987, 0.981, 0.989] {
            figures.add(subject, value);
        }
        draw(&figures, directory.path()).unwrap();
        let picture = std::fs::read_to_string(&path).unwrap();
        assert!(picture.contains("usb4_roce WRITE, two cables of 2:1: 98.7 (98.1..98.9)"));
    }
}
