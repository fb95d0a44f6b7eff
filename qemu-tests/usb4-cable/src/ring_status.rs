// SPDX-License-Identifier: GPL-2.0

//! What a ring waits for: by it a stall is told to be the sender's, the receiver's or the cable's.

use serde::Deserialize;
use serde::Serialize;

/// Which way frames go through a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RingKind {
    /// From the host.
    Transmit,
    /// To the host.
    Receive,
}

/// Whether the driver is to hear of completed descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InterruptState {
    /// Nothing is to be told.
    Quiet,
    /// It is told at once, or when the vector's interval has passed.
    Due,
    /// The driver has masked the ring's interrupt, and is told when it unmasks it.
    Masked,
}

/// A ring that its driver has started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingStatus {
    /// Which way frames go.
    pub kind: RingKind,
    /// Its number; 0 is the control channel's.
    pub number: u8,
    /// Descriptors posted and not completed yet: frames that wait for the cable, or room for frames. None if they are not
    /// where the driver says: the ring has stopped then.
    pub posted: Option<u16>,
    /// Its interrupt.
    pub interrupt: InterruptState,
}
