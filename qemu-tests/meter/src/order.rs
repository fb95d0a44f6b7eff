// SPDX-License-Identifier: GPL-2.0

//! What the measuring end tells the serving one to do next. It is the first thing on the wire each time.

use std::io::Read;
use std::io::Write;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;
use clap::ValueEnum;
use serde::Serialize;

/// Largest message in bytes: what both ends have memory for.
pub const MOST_BYTES: u32 = 16 << 20;

/// Bytes of an encoded order, and of the confirmation that ends a transfer.
pub const ORDER: usize = 64;

/// Begins each order, so that ends that are out of step notice.
const MAGIC: u32 = 0x4d45_5445;

/// The number of an order to end.
const END: u32 = 0;

/// Who sends what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Pattern {
    /// The measuring end sends messages one after the other; the serving end confirms when it has all.
    Bulk,
    /// The serving end sends each message back.
    PingPong,
    /// Both ends send as many messages at the same time; the serving end confirms when it has all.
    Duplex,
}

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Move messages.
    Move {
        /// In this way.
        pattern: Pattern,
        /// Bytes of a message.
        bytes: u32,
        /// Number of messages.
        count: u64,
    },
    /// Nothing more is to come.
    End,
}

impl Pattern {
    fn number(self) -> u32 {
        match self {
            Pattern::Bulk => 1,
            Pattern::PingPong => 2,
            Pattern::Duplex => 3,
        }
    }
}

impl Order {
    /// Writes it.
    pub fn send(&self, to: &mut impl Write) -> Result<()> {
        let (number, bytes, count) = match *self {
            Order::End => (END, 0, 0),
            Order::Move {
                pattern,
                bytes,
                count,
            } => (pattern.number(), bytes, count),
        };
        let mut encoded = [0; ORDER];
        encoded[..4].copy_from_slice(&MAGIC.to_le_bytes());
        encoded[4..8].copy_from_slice(&number.to_le_bytes());
        encoded[8..12].copy_from_slice(&bytes.to_le_bytes());
        encoded[12..20].copy_from_slice(&count.to_le_bytes());
        to.write_all(&encoded).context("send an order")
    }

    /// Reads one.
    pub fn receive(from: &mut impl Read) -> Result<Self> {
        let mut encoded = [0; ORDER];
        from.read_exact(&mut encoded).context("receive an order")?;
        let mut rest = encoded.as_slice();
        let magic = take::<4>(&mut rest).map(u32::from_le_bytes);
        ensure!(magic == Some(MAGIC), "the ends are out of step");
        let number = take::<4>(&mut rest).map(u32::from_le_bytes);
        let bytes = take::<4>(&mut rest).map(u32::from_le_bytes);
        let count = take::<8>(&mut rest).map(u64::from_le_bytes);
        let (Some(number), Some(bytes), Some(count)) = (number, bytes, count) else {
            bail!("the order is too short");
        };
        if number == END {
            return Ok(Order::End);
        }
        ensure!(bytes <= MOST_BYTES, "a message of {bytes} bytes is too big");
        let all = [Pattern::Bulk, Pattern::PingPong, Pattern::Duplex];
        let pattern = all.into_iter().find(|pattern| pattern.number() == number);
        Ok(Order::Move {
            pattern: pattern.with_context(|| format!("there is no pattern {number}"))?,
            bytes,
            count,
        })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_survive_the_wire() {
        let order = Order::Move {
            pattern: Pattern::PingPong,
            bytes: 4096,
            count: 1 << 40,
        };
        let duplex = Order::Move {
            pattern: Pattern::Duplex,
            bytes: 1,
            count: 2,
        };
        for order in [order, duplex, Order::End] {
            let mut wire = Vec::new();
            order.send(&mut wire).unwrap();
            assert_eq!(wire.len(), ORDER);
            assert_eq!(Order::receive(&mut wire.as_slice()).unwrap(), order);
        }
    }

    #[test]
    fn ends_out_of_step_notice() {
        assert!(Order::receive(&mut [0; ORDER].as_slice()).is_err());
    }
}
