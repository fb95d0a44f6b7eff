// SPDX-License-Identifier: GPL-2.0

//! A queue pair of a host.

use std::collections::HashMap;

use usb4_roce::transport::connection::Connection;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::MessageSlot;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::ReceiveSlot;
use usb4_roce::transport::rail_set::RailSet;
use usb4_roce::transport::responder::Receive;

use super::up::Up;
use crate::heap::Heap;

/// A queue pair, as the verbs layer has it.
pub struct QueuePair {
    pub qpn: Qpn,
    pub peer: usize,
    pub connection: usize,
    /// Which end of the connection this is.
    pub side: usize,
    pub protocol: Connection<Heap>,
    pub ring: usize,
    /// Receives taken in this life, in order, and how many of them have completed.
    pub(super) taken: Vec<Receive>,
    pub(super) ended: usize,
    /// Message index by slot.
    pub slots: HashMap<MessageSlot, usize>,
    pub in_error: bool,
    /// Segments have arrived before the responder was started.
    pub missed: bool,
    /// Requests that rails have handed back, to be sent again behind what was to come after them.
    pub handed_back: u64,
    pub is_destroyed: bool,
}

impl QueuePair {
    pub fn new(qpn: Qpn, peer: usize, ring: usize, protocol: Connection<Heap>) -> Self {
        Self {
            qpn,
            peer,
            connection: usize::MAX,
            side: 0,
            protocol,
            ring,
            taken: Vec::new(),
            ended: 0,
            slots: HashMap::new(),
            in_error: false,
            missed: false,
            handed_back: 0,
            is_destroyed: false,
        }
    }

    /// Begins a new life.
    pub fn begin(&mut self, connection: usize, side: usize) {
        self.connection = connection;
        self.side = side;
        self.taken.clear();
        self.ended = 0;
        self.slots.clear();
        self.in_error = false;
        self.missed = false;
        self.handed_back = 0;
    }

    pub(super) fn ordinal(&self, slot: ReceiveSlot) -> usize {
        self.taken
            .iter()
            .rposition(|receive| receive.slot == slot)
            .expect("receive was never taken")
    }

    /// The rails over which it has frames, of those that are up.
    pub(super) fn rails_with_frames(&self, up: RailSet, now: Instant) -> RailSet {
        self.protocol.rails_with_frames(now, &Up(up))
    }
}
