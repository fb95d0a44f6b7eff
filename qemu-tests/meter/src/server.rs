// SPDX-License-Identifier: GPL-2.0

//! The serving end.

use std::io::Read;
use std::io::Write;
use std::thread;

use anyhow::Context;
use anyhow::Result;

use crate::order::Order;
use crate::order::Pattern;
use crate::order::ORDER;
use crate::payload;
use crate::wire::Coalescing;
use crate::wire::Wire;

/// Serves all other ends, each until it is done.
pub fn run(wires: &[Wire]) -> Result<()> {
    thread::scope(|scope| {
        let serving: Vec<_> = wires
            .iter()
            .map(|wire| scope.spawn(move || serve(wire)))
            .collect();
        let ended = serving.into_iter().map(|one| match one.join() {
            Ok(ended) => ended,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        // Waits for all.
        ended.fold(Ok(()), Result::and)
    })
}

fn serve(mut wire: &Wire) -> Result<()> {
    // Confirmations must not wait for more.
    wire.coalesce(Coalescing::Off)?;
    loop {
        let (pattern, bytes, count) = match Order::receive(&mut wire)? {
            Order::End => return wire.write_all(&[0; ORDER]).context("say goodbye"),
            Order::Move {
                pattern,
                bytes,
                count,
            } => (pattern, bytes, count),
        };
        match pattern {
            Pattern::Bulk => {
                payload::drain(wire, bytes, count)?;
                wire.write_all(&[0; ORDER]).context("confirm")?;
            }
            Pattern::Duplex => {
                payload::exchange(wire, bytes, count)?;
                wire.write_all(&[0; ORDER]).context("confirm")?;
            }
            Pattern::PingPong => {
                let mut message = vec![0; bytes as usize];
                for _ in 0..count {
                    wire.read_exact(&mut message).context("receive a message")?;
                    wire.write_all(&message).context("send it back")?;
                }
            }
        }
    }
}
