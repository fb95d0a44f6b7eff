// SPDX-License-Identifier: GPL-2.0

//! A cable: two ends, whether it is plugged in, and a channel for each direction.

use std::time::Instant;

use crate::channel::Channel;
use crate::ids::PortNumber;
use crate::link::Direction;
use crate::link::LinkState;
use crate::link::Plug;
use crate::status::CableStatus;

/// Position of an NHI in the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NhiIndex(pub usize);

/// Position of a cable in the fabric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CableIndex(pub usize);

/// Where a cable ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The NHI.
    pub nhi: NhiIndex,
    /// The port of its router.
    pub port: PortNumber,
}

/// A cable.
pub struct Cable {
    name: String,
    a: End,
    b: End,
    /// Whether it is plugged in.
    pub plug: Plug,
    /// Whether its link is up.
    pub link: LinkState,
    a_to_b: Channel,
    b_to_a: Channel,
}

impl Cable {
    /// A perfect cable, plugged in.
    pub fn new(name: String, a: End, b: End, now: Instant) -> Self {
        Self {
            name,
            a,
            b,
            plug: Plug::Plugged,
            link: LinkState::Down,
            a_to_b: Channel::new(now),
            b_to_a: Channel::new(now),
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Both ends.
    pub fn ends(&self) -> [End; 2] {
        [self.a, self.b]
    }

    /// The direction that leads away from `end`.
    pub fn direction_from(&self, end: End) -> Direction {
        if end == self.a {
            Direction::AToB
        } else {
            Direction::BToA
        }
    }

    /// Where a direction comes from and leads to.
    pub fn route(&self, direction: Direction) -> (End, End) {
        match direction {
            Direction::AToB => (self.a, self.b),
            Direction::BToA => (self.b, self.a),
        }
    }

    /// The channel of a direction.
    pub fn channel_mut(&mut self, direction: Direction) -> &mut Channel {
        match direction {
            Direction::AToB => &mut self.a_to_b,
            Direction::BToA => &mut self.b_to_a,
        }
    }

    /// State and counters.
    pub fn status(&self) -> CableStatus {
        CableStatus {
            name: self.name.clone(),
            plug: self.plug,
            link: self.link,
            a_to_b: self.a_to_b.counters().clone(),
            b_to_a: self.b_to_a.counters().clone(),
            a_to_b_faults: self.a_to_b.faults().clone(),
            b_to_a_faults: self.b_to_a.faults().clone(),
        }
    }
}
