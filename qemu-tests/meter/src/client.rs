// SPDX-License-Identifier: GPL-2.0

//! The measuring end.

use std::io::Read;
use std::io::Write;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::Context;
use anyhow::Result;
use serde::Serialize;

use crate::order::Order;
use crate::order::Pattern;
use crate::order::ORDER;
use crate::payload;
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
    /// Messages on each connection, of a duplex transfer in each direction.
    count: u64,
    connections: usize,
    /// Of the whole.
    seconds: f64,
    /// Half the median round trip, of a ping-pong.
    #[serde(skip_serializing_if = "Option::is_none")]
    one_way_us: Option<f64>,
}

/// Measures each task `repeats` times, in turn, over all `wires` at once, and prints the figures. On each, `count` messages move, if
/// that is given, else as many as take about [`GOAL`].
pub fn run(wires: &[Wire], tasks: &[Task], repeats: u32, count: Option<u64>) -> Result<()> {
    let mut counts = Vec::new();
    for task in tasks {
        counts.push(match count {
            Some(count) => count,
            None => calibrate(wires, task)?,
        });
    }
    for _ in 0..repeats {
        for (task, count) in tasks.iter().zip(&counts) {
            let figure = measure(wires, task, *count)?;
            println!("{}", serde_json::to_string(&figure)?);
        }
    }
    for mut wire in wires {
        Order::End.send(&mut wire)?;
        // Until the other end has read everything, closing a stream device would lose it.
        wire.read_exact(&mut [0; ORDER])
            .context("wait for the other end")?;
    }
    Ok(())
}

/// How many messages take about [`GOAL`].
fn calibrate(wires: &[Wire], task: &Task) -> Result<u64> {
    let mut count = FIRST;
    loop {
        let seconds = measure(wires, task, count)?.seconds;
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

fn measure(wires: &[Wire], task: &Task, count: u64) -> Result<Figure> {
    let began = Instant::now();
    let mut times = thread::scope(|scope| -> Result<Vec<Duration>> {
        let moving: Vec<_> = wires
            .iter()
            .map(|wire| scope.spawn(move || move_messages(wire, task, count)))
            .collect();
        let mut times = Vec::new();
        for one in moving {
            match one.join() {
                Ok(moved) => times.extend(moved?),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        Ok(times)
    })?;
    let seconds = began.elapsed().as_secs_f64();
    let half = (!times.is_empty()).then(|| median(&mut times).as_secs_f64() / 2.0);
    Ok(Figure {
        pattern: task.pattern,
        bytes: task.bytes,
        count,
        connections: wires.len(),
        seconds,
        one_way_us: half.map(|seconds| seconds * 1e6),
    })
}

/// Moves `count` messages, to the last byte's arrival. Gives the times of round trips, if there are any.
fn move_messages(mut wire: &Wire, task: &Task, count: u64) -> Result<Vec<Duration>> {
    let Task { pattern, bytes } = *task;
    let mut times = Vec::new();
    wire.coalesce(Coalescing::Off)?;
    Order::Move {
        pattern,
        bytes,
        count,
    }
    .send(&mut wire)?;
    match pattern {
        Pattern::PingPong => {
            let mut message = vec![0; bytes as usize];
            for _ in 0..count {
                let sent = Instant::now();
                wire.write_all(&message).context("send a message")?;
                wire.read_exact(&mut message).context("get it back")?;
                times.push(sent.elapsed());
            }
        }
        Pattern::Bulk | Pattern::Duplex => {
            wire.coalesce(Coalescing::On)?;
            match pattern {
                Pattern::Duplex => payload::exchange(wire, bytes, count)?,
                _ => payload::send(wire, bytes, count)?,
            }
            // What was held back goes out now.
            wire.coalesce(Coalescing::Off)?;
            wire.read_exact(&mut [0; ORDER])
                .context("wait for the confirmation")?;
        }
    }
    Ok(times)
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
