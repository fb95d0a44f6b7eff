// SPDX-License-Identifier: GPL-2.0

//! State and counters, as the control socket tells them.

use serde::Deserialize;
use serde::Serialize;

use crate::connection::Connection;
use crate::counters::DirectionCounters;
use crate::counters::NhiCounters;
use crate::fault::Faults;
use crate::link::LinkState;
use crate::link::Plug;
use crate::ring_status::RingStatus;
use crate::topology::NhiRef;

/// State and counters of everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// All cables, in the order of the topology.
    pub cables: Vec<CableStatus>,
    /// All NHIs, in the order of the topology.
    pub nhis: Vec<NhiStatus>,
}

/// State and counters of one cable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CableStatus {
    /// Name of the cable.
    pub name: String,
    /// Whether it is plugged in.
    pub plug: Plug,
    /// Whether the link is up: plugged in, and both hosts' drivers are ready for it.
    pub link: LinkState,
    /// Counters of frames from `a` to `b`.
    pub a_to_b: DirectionCounters,
    /// Counters of frames from `b` to `a`.
    pub b_to_a: DirectionCounters,
    /// Faults from `a` to `b`.
    pub a_to_b_faults: Faults,
    /// Faults from `b` to `a`.
    pub b_to_a_faults: Faults,
}

/// State and counters of one NHI.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NhiStatus {
    /// Which one.
    pub nhi: NhiRef,
    /// Whether a virtual machine is connected to its socket.
    pub connection: Connection,
    /// Its counters.
    pub counters: NhiCounters,
    /// The rings that its driver has started.
    pub rings: Vec<RingStatus>,
}
