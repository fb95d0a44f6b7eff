// SPDX-License-Identifier: GPL-2.0

//! What was counted: per direction of a cable, and per NHI.

use serde::Deserialize;
use serde::Serialize;

/// One direction of one cable, since the program started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectionCounters {
    /// Frames put into the receiver's ring, corrupted ones included.
    pub frames: u64,
    /// Bytes of these frames.
    pub bytes: u64,
    /// Frames dropped because the receiver had no path, ring or buffer and nobody asked for
    /// end-to-end flow control, or because the link went down while they were in flight.
    pub dropped: u64,
    /// Frames lost by the [`lose_one_in`](crate::fault::Faults::lose_one_in) fault.
    pub lost: u64,
    /// Frames delivered damaged and marked by the
    /// [`corrupt_one_in`](crate::fault::Faults::corrupt_one_in) fault.
    pub corrupted: u64,
    /// Frames delivered without an interrupt by the
    /// [`late_interrupt_one_in`](crate::fault::Faults::late_interrupt_one_in) fault.
    pub late_interrupts: u64,
    /// Frames that did not arrive at once, because of the [`latency_us`](crate::fault::Faults::latency_us) fault.
    pub delayed: u64,
    /// Frames refused by the receiving ring's start or end of frame mask.
    pub masked: u64,
    /// Times a sending ring went from moving to held by end-to-end flow control.
    pub e2e_holds: u64,
    /// XDomain control packets passed on to the other host.
    pub xdomain_packets: u64,
}

/// One NHI, since the program started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NhiCounters {
    /// Interrupts raised.
    pub interrupts: u64,
    /// Register accesses that the front end passed on, posted writes included.
    pub traps: u64,
    /// Control packets received from the host.
    pub control_packets: u64,
    /// Control packets from the host that were malformed and ignored.
    pub bad_control_packets: u64,
    /// Descriptors that point outside the guest's memory, or rings that do.
    pub bad_dma: u64,
    /// Host router and function resets.
    pub resets: u64,
}
