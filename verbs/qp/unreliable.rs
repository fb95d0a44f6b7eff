// SPDX-License-Identifier: GPL-2.0

//! Unreliable connections: the protocol's, by a QP's attributes.

use kernel::prelude::*;

use super::attributes::Attributes;
use super::limits::SEGMENT;
use crate::base::kernel_tables::KernelTables;
use crate::transport::ids::Qpn;
use crate::transport::unreliable::ReceiverConfig;
use crate::transport::unreliable::SenderConfig;
use crate::transport::unreliable::UnreliableConnection;
use crate::transport::unreliable::UnreliableCounters;
use crate::transport::unreliable::UnreliableMessage;
use crate::verbs::counters::Counter;
use crate::verbs::counters::Counters;

/// The service of an unreliable connection.
pub(super) struct UnreliableService {
    pub(super) connection: UnreliableConnection<KernelTables>,
    /// What of the protocol's counters has been added to the port's.
    counted: UnreliableCounters,
}

impl UnreliableService {
    /// One that is not connected, with room for `max_active` requests: a power of two.
    pub(super) fn new(max_active: usize) -> Result<Self> {
        let messages =
            KVVec::from_elem(UnreliableMessage::default(), max_active, GFP_KERNEL_ACCOUNT)?;
        Ok(Self {
            connection: UnreliableConnection::new(messages).map_err(|_| EINVAL)?,
            counted: UnreliableCounters::default(),
        })
    }

    /// Connects the receiver.
    pub(super) fn start_receiving(&mut self, qpn: Qpn, attributes: &Attributes) {
        self.connection.start_receiver(ReceiverConfig {
            local_qpn: qpn,
            remote_qpn: attributes.destination_qpn,
            initial_psn: attributes.rq_psn,
        });
    }

    /// Connects the sender.
    pub(super) fn start_sending(&mut self, qpn: Qpn, attributes: &Attributes) {
        self.connection.start_sender(SenderConfig {
            local_qpn: qpn,
            remote_qpn: attributes.destination_qpn,
            initial_psn: attributes.sq_psn,
            segment: SEGMENT,
        });
    }

    /// Adds what the protocol has counted to the port's counters.
    pub(super) fn count(&mut self, counters: &Counters) {
        let now = self.connection.counters();
        let before = core::mem::replace(&mut self.counted, now);
        if now == before {
            return;
        }
        let (old, new) = (before.receiver, now.receiver);
        for (counter, old, new) in [
            (
                Counter::UcLostSegments,
                before.sender.lost_segments,
                now.sender.lost_segments,
            ),
            (
                Counter::UcBrokenMessages,
                old.broken_messages,
                new.broken_messages,
            ),
            (Counter::UcOrphanSegments, old.orphans, new.orphans),
            (Counter::UcOvertakenSegments, old.overtaken, new.overtaken),
            (Counter::UcNoReceive, old.no_receive, new.no_receive),
            (Counter::UcRefusedMessages, old.refused, new.refused),
            (Counter::BogusFrames, old.bogus, new.bogus),
        ] {
            counters.add(counter, new.wrapping_sub(old));
        }
    }
}
