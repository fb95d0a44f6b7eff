// SPDX-License-Identifier: GPL-2.0

//! The results as pictures: a line for each way of moving messages, through the medians, over the size of the messages; bars show
//! the range of the repeats.

use std::path::Path;

use anyhow::anyhow;
use anyhow::Context;
use anyhow::Result;
use plotters::prelude::ChartBuilder;
use plotters::prelude::Circle;
use plotters::prelude::Color;
use plotters::prelude::ErrorBar;
use plotters::prelude::IntoDrawingArea;
use plotters::prelude::IntoLogRange;
use plotters::prelude::LineSeries;
use plotters::prelude::Palette;
use plotters::prelude::Palette99;
use plotters::prelude::PathElement;
use plotters::prelude::SVGBackend;
use plotters::prelude::BLACK;
use plotters::prelude::WHITE;

use super::figure::Figures;
use super::figure::Metric;
use super::figure::Verb;
use super::report::way;
use super::spread::Spread;
use super::target::size;

/// Width and height of a picture in pixels.
const PICTURE: (u32, u32) = (960, 600);

/// Pixels of the labels beside the axes and around the picture.
const LABELS: u32 = 60;
const MARGIN: u32 = 15;

/// Pixels of a point, and of a line in the legend.
const POINT: u32 = 3;
const LEGEND: i32 = 20;

/// Space beside the outermost points, as a factor.
const SPACE: f64 = 1.5;

/// A line of a picture.
struct Line {
    name: String,
    /// Bytes of a message, and what was found.
    points: Vec<(f64, Spread)>,
}

/// Draws all pictures into `directory`.
pub fn draw(figures: &Figures, directory: &Path) -> Result<()> {
    let pictures = [
        (Metric::Bandwidth, "bandwidth.svg", "MB/s", 1e-6),
        (Metric::Latency, "latency.svg", "us", 1.0),
        (
            Metric::Cpu,
            "cpu.svg",
            "us of both hosts' CPUs for 4 KiB",
            1e6,
        ),
        (
            Metric::Instructions,
            "instructions.svg",
            "thousands of instructions per message, both hosts",
            1e-3,
        ),
    ];
    for (metric, file, unit, scale) in pictures {
        let lines = lines(figures, metric, scale);
        if !lines.is_empty() {
            let path = directory.join(file);
            picture(&path, unit, &lines)
                .map_err(|error| anyhow!("{error}"))
                .with_context(|| format!("draw {}", path.display()))?;
        }
    }
    Ok(())
}

/// The lines of a metric: bytes, and of the verbs WRITE.
fn lines(figures: &Figures, metric: Metric, scale: f64) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for figure in figures.all() {
        let subject = figure.subject;
        let drawn = subject.metric == metric && matches!(subject.verb, Verb::Bytes | Verb::Write);
        // A logarithmic axis has no place for what is not positive.
        if !drawn || figure.spread.min <= 0.0 {
            continue;
        }
        let name = way(subject.transport, subject.verb, subject.flows);
        let point = (subject.bytes as f64, figure.spread.scaled(scale));
        match lines.iter_mut().find(|line| line.name == name) {
            Some(line) => line.points.push(point),
            None => lines.push(Line {
                name,
                points: vec![point],
            }),
        }
    }
    for line in &mut lines {
        line.points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    lines
}

/// The least and the greatest of `values`, with space beside them.
fn range(values: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (least, most) = values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    least / SPACE..most * SPACE
}

fn medians(line: &Line) -> impl Iterator<Item = (f64, f64)> + '_ {
    let points = line.points.iter();
    points.map(|(bytes, found)| (*bytes, found.median))
}

fn picture(path: &Path, unit: &str, lines: &[Line]) -> Result<(), Box<dyn std::error::Error>> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let area = SVGBackend::new(path, PICTURE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .margin(MARGIN)
        .x_label_area_size(LABELS)
        .y_label_area_size(LABELS)
        .build_cartesian_2d(
            range(points().map(|point| point.0)).log_scale(),
            range(points().flat_map(|(_, found)| [found.min, found.max])).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc("message")
        .x_label_formatter(&|bytes| size(bytes.round() as u64))
        .y_desc(unit)
        .draw()?;
    for (number, line) in lines.iter().enumerate() {
        let colour = Palette99::pick(number).to_rgba();
        chart
            .draw_series(LineSeries::new(medians(line), colour))?
            .label(line.name.as_str())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + LEGEND, y)], colour));
        chart.draw_series(medians(line).map(|point| Circle::new(point, POINT, colour.filled())))?;
        chart.draw_series(line.points.iter().map(|(bytes, found)| {
            let Spread { min, median, max } = *found;
            ErrorBar::new_vertical(*bytes, min, median, max, colour.filled(), 2 * POINT)
        }))?;
    }
    chart
        .configure_series_labels()
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::figure::Subject;
    use super::super::figure::Transport;
    use super::*;

    #[test]
    fn a_picture_names_its_lines() {
        let mut figures = Figures::default();
        for (bytes, value) in [(64, 1e6), (4096, 5e6), (4096, 6e6)] {
            let subject = Subject::new(Metric::Bandwidth, Transport::Roce, Verb::Write, bytes);
            figures.add(subject, value);
        }
        let directory = tempfile::tempdir().unwrap();
        draw(&figures, directory.path()).unwrap();
        let picture = std::fs::read_to_string(directory.path().join("bandwidth.svg")).unwrap();
        assert!(picture.contains("usb4_roce WRITE"));
        assert!(!directory.path().join("latency.svg").exists());
    }
}
