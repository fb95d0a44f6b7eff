// SPDX-License-Identifier: GPL-2.0

//! Per-rail statistics.

use core::fmt;
use core::fmt::Write;

use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;

/// A number that only grows.
pub struct Counter(Atomic<u64>);

impl Counter {
    /// A counter at zero.
    const fn new() -> Self {
        Self(Atomic::new(0))
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }

    /// Adds one.
    pub fn increment(&self) {
        self.add(1);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The counters of a rail. They go on when the rail is reopened.
pub struct Counters {
    /// Frames sent on behalf of queue pairs and the network interface.
    pub tx_frames: Counter,
    /// Payload bytes in them.
    pub tx_bytes: Counter,
    /// Frames sent on the rail's own behalf: handshake, acknowledgements, reports of loss.
    pub tx_control: Counter,
    /// Calls of the stream's write function.
    pub tx_writes: Counter,
    /// Frames delivered to queue pairs and the network interface.
    pub rx_frames: Counter,
    /// Payload bytes in them.
    pub rx_bytes: Counter,
    /// Frames received on the rail's own behalf.
    pub rx_control: Counter,
    /// Calls of the stream's read function.
    pub rx_reads: Counter,
    /// Reads that met damage and gave an error.
    pub rx_read_errors: Counter,
    /// Frames that came twice, were refused, or that nobody wanted.
    pub rx_discarded: Counter,
    /// Payloads whose checksum was wrong.
    pub rx_checksum_errors: Counter,
    /// 64-byte units skipped in search of a header.
    pub rx_resyncs: Counter,
    /// Frames handed back to be sent again, over this rail or another.
    pub tx_lost: Counter,
    /// How often the stream was opened.
    pub opens: Counter,
    /// How often the rail came up.
    pub ups: Counter,
}

impl Counters {
    /// All counters at zero.
    pub const fn new() -> Self {
        Self {
            tx_frames: Counter::new(),
            tx_bytes: Counter::new(),
            tx_control: Counter::new(),
            tx_writes: Counter::new(),
            rx_frames: Counter::new(),
            rx_bytes: Counter::new(),
            rx_control: Counter::new(),
            rx_reads: Counter::new(),
            rx_read_errors: Counter::new(),
            rx_discarded: Counter::new(),
            rx_checksum_errors: Counter::new(),
            rx_resyncs: Counter::new(),
            tx_lost: Counter::new(),
            opens: Counter::new(),
            ups: Counter::new(),
        }
    }

    /// Frames of queue pairs and the network interface, either way.
    pub fn frames(&self) -> u64 {
        self.tx_frames.get() + self.rx_frames.get()
    }

    /// Writes one `name value` pair a line.
    pub fn show(&self, out: &mut impl Write) -> fmt::Result {
        let lines = [
            ("tx_frames", &self.tx_frames),
            ("tx_bytes", &self.tx_bytes),
            ("tx_control", &self.tx_control),
            ("tx_writes", &self.tx_writes),
            ("tx_lost", &self.tx_lost),
            ("rx_frames", &self.rx_frames),
            ("rx_bytes", &self.rx_bytes),
            ("rx_control", &self.rx_control),
            ("rx_reads", &self.rx_reads),
            ("rx_read_errors", &self.rx_read_errors),
            ("rx_discarded", &self.rx_discarded),
            ("rx_checksum_errors", &self.rx_checksum_errors),
            ("rx_resyncs", &self.rx_resyncs),
            ("opens", &self.opens),
            ("ups", &self.ups),
        ];
        for (name, counter) in lines {
            writeln!(out, "{name} {}", counter.get())?;
        }
        Ok(())
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}
