// SPDX-License-Identifier: GPL-2.0

//! Header of a datagram: what is left to do to the Ethernet frame that it carries.
//!
//! A host's network stack leaves checksums, and the cutting of TCP's data into segments, to the last that can do it. Between
//! hosts that both know how, nobody does it at all: a rail's own checksum protects what it carries. Where a packet's headers
//! are is not said but read from the packet, by sender and receiver alike, so that there is nothing to lie about.

use super::wire::WireHeader;
use super::wire::WireHeaderMut;

mod code {
    pub(super) const FINISHED: u8 = 0;
    pub(super) const CHECKSUM_DUE: u8 = 1;
    pub(super) const SEGMENTS_DUE: u8 = 2;
}

/// Bytes of TCP payload in each segment of a packet that is still in one piece.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SegmentPayload(u16);

impl SegmentPayload {
    /// The fewest: what Linux leaves of its least segment of 48 bytes when all of TCP's options are used. With fewer, one packet
    /// would become tens of thousands.
    pub const LEAST: Self = Self(8);

    /// The most. Linux takes one more for a list of segments (`GSO_BY_FRAGS`).
    const MOST: u16 = u16::MAX - 1;

    /// Nothing if those are too few, or too many.
    pub const fn new(bytes: u16) -> Option<Self> {
        if bytes >= Self::LEAST.0 && bytes <= Self::MOST {
            Some(Self(bytes))
        } else {
            None
        }
    }

    /// The number of bytes.
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// What is left to do to a packet before it may go to a network.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum PacketState {
    /// Nothing.
    #[default]
    Finished,
    /// The field for TCP's or UDP's checksum has the sum of the pseudo header: the rest is to be added.
    ChecksumDue,
    /// TCP's payload is to be cut into segments of that size. The checksum of each is due too.
    SegmentsDue(SegmentPayload),
}

impl PacketState {
    pub(super) fn emit(self, wire: &mut WireHeaderMut) {
        match self {
            Self::Finished => wire.set_opcode(code::FINISHED),
            Self::ChecksumDue => wire.set_opcode(code::CHECKSUM_DUE),
            Self::SegmentsDue(payload) => {
                wire.set_opcode(code::SEGMENTS_DUE);
                wire.set_offset(payload.get().into());
            }
        }
    }

    pub(super) fn parse(wire: &WireHeader<'_>) -> Option<Self> {
        match wire.opcode() {
            code::FINISHED => Some(Self::Finished),
            code::CHECKSUM_DUE => Some(Self::ChecksumDue),
            code::SEGMENTS_DUE => {
                let payload = u16::try_from(wire.offset()).ok()?;
                Some(Self::SegmentsDue(SegmentPayload::new(payload)?))
            }
            _ => None,
        }
    }
}
