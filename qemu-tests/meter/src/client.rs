// SPDX-License-Identifier: GPL-2.0

//! The measuring end.

use std::io::Read;
use std::io::Write;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use serde::Serialize;

use crate::order::Order;
use crate::order::Pattern;
use crate::order::ORDER;
use crate::wire::Coalescing;
use crate::wire::Wire;

/// How long a measurement should take. It has to be long against the scheduler's ticks.
const GOAL: Duration = Duration::from_millis(800);

/// Messages of the first, unreported attempt, which tells how many fill the time.
const FIRST: u64 = 8;

/// An attempt at least this long tells it well enough.
const TELLING: Duration = Duration::from_millis(100);

/// Most messages of a measurement.
pub const MOST: u64 = 1 << 20;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Task {
    /// In which way messages move.
    pub pattern: Pattern,
    /// Bytes of a message.
    pub bytes: u32,
}

/// A measurement.
#[derive(Debug, Serialize)]
struct Figure {
    pattern: Pattern,
    bytes: u32,
    count: u64,
    /// Of the whole.
    seconds: f64,
    /// Half the median round trip, of a ping-pong.
    #[serde(skip_serializing_if = "Option::is_none")]
    one_way_us: Option<f64>,
}

/// Measures each task `repeats` times, in turn, and prints the figures. Each moves `count` messages, if that is given,
/// else as many as take about [`GOAL`].
pub fn run(mut wire: Wire, tasks: &[Task], repeats: u32, count: Option<u64>) -> Result<()> {
    let mut counts = Vec::new();
    for task in tasks {
        counts.push(match count {
            Some(count) => count,
            None => calibrate(&mut wire, task)?,
        });
    }
    for _ in 0..repeats {
        for (task, count) in tasks.iter().zip(&counts) {
            let figure = measure(&mut wire, task, *count)?;
            println!("{}", serde_json::to_string(&figure)?);
        }
    }
    Order::End.send(&mut wire)?;
    // Until the other end has read everything, closing a stream device would lose it.
    wire.read_exact(&mut [0; ORDER])
        .context("wait for the other end")
}

/// How many messages take about [`GOAL`].
fn calibrate(wire: &mut Wire, task: &Task) -> Result<u64> {
    let mut count = FIRST;
    loop {
        let seconds = measure(wire, task, count)?.seconds;
        let wanted = scaled(count, seconds, GOAL);
        if seconds >= TELLING.as_secs_f64() || wanted <= count {
            return Ok(wanted.max(1));
        }
        count = scaled(count, seconds, TELLING * 2);
    }
}

/// How many messages take `goal` if `count` took `seconds`.
fn scaled(count: u64, seconds: f64, goal: Duration) -> u64 {
    let wanted = count as f64 / seconds * goal.as_secs_f64();
    // Saturates, also where nothing was measurable.
    (wanted as u64).clamp(1, MOST)
}

fn measure(wire: &mut Wire, task: &Task, count: u64) -> Result<Figure> {
    let Task { pattern, bytes } = *task;
    let mut message = vec![0; bytes as usize];
    wire.coalesce(Coalescing::Off)?;
    Order::Move {
        pattern,
        bytes,
        count,
    }
    .send(wire)?;
    let (seconds, one_way_us) = match pattern {
        Pattern::Bulk => {
            wire.coalesce(Coalescing::On)?;
            let began = Instant::now();
            for _ in 0..count {
                wire.write_all(&message).context("send a message")?;
            }
            // What was held back goes out now.
            wire.coalesce(Coalescing::Off)?;
            wire.read_exact(&mut [0; ORDER])
                .context("wait for the confirmation")?;
            (began.elapsed().as_secs_f64(), None)
        }
        Pattern::PingPong => {
            let mut times = Vec::new();
            let began = Instant::now();
            for _ in 0..count {
                let sent = Instant::now();
                wire.write_all(&message).context("send a message")?;
                wire.read_exact(&mut message).context("get it back")?;
                times.push(sent.elapsed());
            }
            let half = median(&mut times).as_secs_f64() / 2.0;
            (began.elapsed().as_secs_f64(), Some(half * 1e6))
        }
    };
    Ok(Figure {
        pattern,
        bytes,
        count,
        seconds,
        one_way_us,
    })
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_scale_with_time() {
        assert_eq!(scaled(10, 0.1, Duration::from_secs(1)), 100);
        assert_eq!(scaled(10, 100.0, Duration::from_secs(1)), 1);
        assert_eq!(scaled(10, 0.0, Duration::from_secs(1)), MOST);
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        let mut times: Vec<_> = [5, 1, 9].map(Duration::from_micros).to_vec();
        assert_eq!(median(&mut times), Duration::from_micros(5));
    }
}
