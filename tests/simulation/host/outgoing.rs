// SPDX-License-Identifier: GPL-2.0

//! A frame that a host sends.

use usb4_roce::transport::attempt::Attempt;
use usb4_roce::transport::frame::AckHeader;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::rail::InFlight;

use crate::ledger::Message;

/// A frame to send.
pub struct Outgoing {
    pub body: Body,
    pub payload: Vec<u8>,
    pub item: InFlight,
    /// Whether a processor may write to the payload while it is sent.
    pub steadiness: Steadiness,
}

/// Whether a payload stays as it is while it is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Steadiness {
    /// It does, or has been copied.
    Steady,
    /// It may change after its checksum has been computed.
    Changing,
}

impl Steadiness {
    /// What is small, and what is sent again, is copied before.
    pub(super) fn of(message: &Message, len: u32, attempt: Attempt) -> Self {
        if message.changes && len > SMALL_PAYLOAD && attempt == Attempt::First {
            Self::Changing
        } else {
            Self::Steady
        }
    }
}

impl Outgoing {
    /// An acknowledgement of a queue pair.
    pub(super) fn acknowledgement_of(qpn: Qpn, ack: AckHeader) -> Self {
        Self {
            body: Body::Ack(ack),
            payload: Vec::new(),
            item: InFlight::Ack { qpn },
            steadiness: Steadiness::Steady,
        }
    }
}
