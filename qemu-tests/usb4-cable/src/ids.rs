// SPDX-License-Identifier: GPL-2.0

//! What is numbered: a router's ports and adapters, the paths between them, an NHI's rings.

use crate::topology::PORTS_PER_NHI;

/// Number of an adapter of a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdapterNumber(pub u8);

/// The adapter that the NHI's rings are behind: the last one.
pub const NHI_ADAPTER: AdapterNumber = AdapterNumber(1 + 2 * PORTS_PER_NHI);

/// A port of an NHI's router: less than [`PORTS_PER_NHI`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortNumber(pub u8);

impl PortNumber {
    /// All ports.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..PORTS_PER_NHI).map(Self)
    }

    /// Position in an array of all ports.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    /// Its first lane adapter, by which the connection manager names the port.
    pub fn lane_0(self) -> AdapterNumber {
        AdapterNumber(1 + 2 * self.0)
    }

    /// Its second lane adapter.
    pub fn lane_1(self) -> AdapterNumber {
        AdapterNumber(2 + 2 * self.0)
    }

    /// The port of a lane adapter.
    pub fn of_adapter(adapter: AdapterNumber) -> Option<Self> {
        Self::all().find(|port| [port.lane_0(), port.lane_1()].contains(&adapter))
    }
}

/// Number of a path on one link, or of a ring on the NHI adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HopId(pub u16);

/// Number of transmit and of receive rings. With 32 every bit field fills whole registers.
pub const RINGS: usize = 32;

/// Number of a ring, less than [`RINGS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RingNumber(u8);

impl RingNumber {
    /// The control channel's ring.
    pub const CONTROL: Self = Self(0);

    /// The rings but the control channel's.
    pub fn data() -> impl Iterator<Item = Self> {
        (Self::CONTROL.0 + 1..RINGS as u8).map(Self)
    }

    /// The ring at a position in an array of all rings, if there are that many.
    pub fn at(index: usize) -> Option<Self> {
        let number = u8::try_from(index).ok()?;
        (index < RINGS).then_some(Self(number))
    }

    /// The ring that a path leads to or comes from.
    pub fn of_hop(hop: HopId) -> Option<Self> {
        Self::at(usize::from(hop.0))
    }

    /// The path that leads to the ring or comes from it.
    pub fn hop(self) -> HopId {
        HopId(u16::from(self.0))
    }

    /// Position in an array of all rings.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}
