// SPDX-License-Identifier: GPL-2.0

//! Messages without contents.

use std::io::Read;
use std::io::Write;
use std::thread;

use anyhow::ensure;
use anyhow::Context;
use anyhow::Result;

use crate::wire::Wire;

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// Sends `count` messages of `bytes`.
pub fn send(mut to: impl Write, bytes: u32, count: u64) -> Result<()> {
    let message = vec![0; bytes as usize];
    for _ in 0..count {
        to.write_all(&message).context("send a message")?;
    }
    Ok(())
}

/// Reads what has the length of `count` messages of `bytes`.
pub fn drain(mut from: impl Read, bytes: u32, count: u64) -> Result<()> {
    let mut left = u64::from(bytes) * count;
    let mut buffer = vec![0; CHUNK];
    while left > 0 {
        let most = usize::try_from(left).unwrap_or(CHUNK).min(CHUNK);
        let read = from.read(&mut buffer[..most]).context("receive")?;
        ensure!(read > 0, "the other end closed the stream");
        left -= read as u64;
    }
    Ok(())
}

/// Sends and reads as much at the same time.
pub fn exchange(wire: &Wire, bytes: u32, count: u64) -> Result<()> {
    thread::scope(|scope| {
        let sender = scope.spawn(|| send(wire, bytes, count));
        let drained = drain(wire, bytes, count);
        match sender.join() {
            Ok(sent) => sent.and(drained),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exactly_what_is_asked_for_is_drained() {
        let data = vec![0; 3 * CHUNK];
        let mut rest = data.as_slice();
        drain(&mut rest, 1 << 10, 2 << 10).unwrap();
        assert_eq!(rest.len(), CHUNK);
        drain(&mut rest, 5, 1).unwrap();
        assert_eq!(rest.len(), CHUNK - 5);
        assert!(drain(&mut rest, 1 << 20, 1).is_err());
    }

    #[test]
    fn what_is_sent_has_the_length_of_all_messages() {
        let mut sent = Vec::new();
        send(&mut sent, 100, 7).unwrap();
        assert_eq!(sent.len(), 700);
    }
}
