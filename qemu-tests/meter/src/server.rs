// SPDX-License-Identifier: GPL-2.0

//! The serving end.

use std::io::Read;
use std::io::Write;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use crate::order::Order;
use crate::order::Pattern;
use crate::order::ORDER;
use crate::wire::Coalescing;
use crate::wire::Wire;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Serves until the other end is done.
pub fn run(mut wire: Wire) -> Result<()> {
    // Confirmations must not wait for more.
    wire.coalesce(Coalescing::Off)?;
    loop {
        match Order::receive(&mut wire)? {
            Order::End => return wire.write_all(&[0; ORDER]).context("say goodbye"),
            Order::Move {
                pattern: Pattern::Bulk,
                bytes,
                count,
            } => {
                drain(&mut wire, u64::from(bytes) * count)?;
                wire.write_all(&[0; ORDER]).context("confirm")?;
            }
            Order::Move {
                pattern: Pattern::PingPong,
                bytes,
                count,
            } => {
                let mut message = vec![0; bytes as usize];
                for _ in 0..count {
                    wire.read_exact(&mut message).context("receive a message")?;
                    wire.write_all(&message).context("send it back")?;
                }
            }
        }
    }
}

fn drain(wire: &mut impl Read, mut left: u64) -> Result<()> {
    let mut buffer = vec![0; CHUNK];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let read = wire.read(&mut buffer[..most]).context("receive")?;
        ensure!(read > 0, "the other end closed the stream");
        left -= read as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_what_is_asked_for_is_drained() {
        let data = vec![0; 3 * CHUNK];
        let mut rest = data.as_slice();
        drain(&mut rest, 2 * CHUNK as u64 + 5).unwrap();
        assert_eq!(rest.len(), CHUNK - 5);
        assert!(drain(&mut rest, CHUNK as u64).is_err());
    }
}
