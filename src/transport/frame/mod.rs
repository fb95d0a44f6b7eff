// SPDX-License-Identifier: GPL-2.0

//! The 64-byte header of every frame, and its coding. See `wire-format.md`.
//!
//! Decoding takes untrusted bytes: it accepts only what this version defines, and what it returns
//! is in range.

mod ack;
mod datagram;
mod error;
mod execute;
mod request;
mod response;
mod segment;
mod size;
mod unreliable;
mod unreliable_datagram;
mod wire;

use super::checksum::Checksum;
use super::checksum::Seed;
use super::ids::RailSeq;
use wire::WireHeader;
use wire::WireHeaderMut;

pub use ack::AckHeader;
pub use ack::Syndrome;
pub use datagram::PacketState;
pub use datagram::SegmentPayload;
pub use error::FrameError;
pub use execute::Action;
pub use execute::ExecuteRequest;
pub use execute::Flush;
pub use execute::FlushPlacement;
pub use execute::FlushSelectivity;
pub use execute::Operands;
pub use request::DataSegment;
pub use request::Operation;
pub use request::ReadRequest;
pub use request::RequestHeader;
pub use request::SegmentFlags;
pub use response::ResponseHeader;
pub use segment::Extent;
pub use segment::SegmentSize;
pub use size::padded;
pub use size::HEADER_LEN;
pub use size::MAX_DATAGRAM;
pub use size::MAX_PAYLOAD;
pub use size::NETWORK_HEADER_LEN;
pub use size::SHORT_MESSAGE;
pub use size::SMALL_PAYLOAD;
pub use size::STREAM_FRAME;
pub use unreliable::UnreliableHeader;
pub use unreliable::UnreliableOperation;
pub use unreliable_datagram::DatagramHeader;
pub use unreliable_datagram::Network;

/// The kinds of frames and what each carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Body {
    /// Handshake; its payload is a `Hello`.
    Hello,
    /// Nothing but its acknowledgement. It takes no sequence number of its own: it shows the
    /// number the next frame will have.
    Nop {
        /// Whether the peer should answer at once.
        reply: NopReply,
        /// The loss whose report this confirms; from and to are equal if it confirms none.
        confirmed: (RailSeq, RailSeq),
    },
    /// Frames `from..to` of this rail did not arrive intact. It takes no number, as `Nop`.
    Lost {
        /// The first one missing.
        from: RailSeq,
        /// The one after the last one missing.
        to: RailSeq,
    },
    /// The sender is about to close the rail. Takes no sequence number.
    Goodbye,
    /// Segment of a request.
    Request(RequestHeader),
    /// Segment of a READ's answer.
    Response(ResponseHeader),
    /// State of a queue pair.
    Ack(AckHeader),
    /// An Ethernet frame of the network interface.
    Datagram(PacketState),
    /// Segment of an unreliable connection.
    Unreliable(UnreliableHeader),
    /// An unreliable datagram.
    UnreliableDatagram(DatagramHeader),
}

/// Whether a `Nop` wants to be answered by another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum NopReply {
    /// No answer needed.
    Unneeded = 0,
    /// Answer at once, with anything.
    Wanted = 1,
}

impl NopReply {
    const fn from_wire(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::Unneeded),
            1 => Some(Self::Wanted),
            _ => None,
        }
    }
}

/// A decoded header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Number of the frame on its rail.
    pub seq: RailSeq,
    /// The sender has received all frames before this one.
    pub ack: RailSeq,
    /// Bytes that follow the header, without padding; at most [`MAX_PAYLOAD`].
    pub payload_len: u32,
    /// Checksum of those bytes.
    pub payload_checksum: u32,
    /// What kind of frame it is, with the fields of that kind.
    pub body: Body,
}

mod kind {
    pub(super) const HELLO: u8 = 1;
    pub(super) const NOP: u8 = 2;
    pub(super) const LOST: u8 = 3;
    pub(super) const GOODBYE: u8 = 4;
    pub(super) const REQUEST: u8 = 5;
    pub(super) const RESPONSE: u8 = 6;
    pub(super) const ACK: u8 = 7;
    pub(super) const DATAGRAM: u8 = 8;
    pub(super) const UNRELIABLE_DATAGRAM: u8 = 9;
    pub(super) const UNRELIABLE: u8 = 10;
}

impl Header {
    /// Encodes the header for the session with this seed.
    pub fn encode<C: Checksum>(&self, seed: Seed) -> [u8; HEADER_LEN] {
        let mut wire = WireHeaderMut::new();
        wire.set_seq(self.seq.0);
        wire.set_ack(self.ack.0);
        wire.set_payload_len(self.payload_len);
        wire.set_payload_checksum(self.payload_checksum);
        self.body.emit(&mut wire);
        wire.seal::<C>(seed)
    }

    /// Decodes the header at the start of `bytes`.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if there is no valid header of a session with this seed.
    pub fn decode<C: Checksum>(bytes: &[u8], seed: Seed) -> Result<Self, FrameError> {
        let wire = WireHeader::new_checked::<C>(bytes, seed)?;
        Self::parse(&wire).ok_or(FrameError::Field)
    }

    /// Length of the frame in the stream: header, payload and padding.
    pub const fn frame_len(&self) -> u32 {
        HEADER_LEN as u32 + padded(self.payload_len)
    }

    fn parse(wire: &WireHeader<'_>) -> Option<Self> {
        let payload_len = wire.payload_len();
        if payload_len > MAX_PAYLOAD {
            return None;
        }
        let body = Body::parse(wire)?;
        if payload_len > 0 && !body.may_carry_payload() {
            return None;
        }
        Some(Self {
            seq: RailSeq(wire.seq()),
            ack: RailSeq(wire.ack()),
            payload_len,
            payload_checksum: wire.payload_checksum(),
            body,
        })
    }
}

impl Body {
    const fn may_carry_payload(&self) -> bool {
        match self {
            Self::Hello
            | Self::Request(_)
            | Self::Response(_)
            | Self::Datagram(_)
            | Self::Unreliable(_)
            | Self::UnreliableDatagram(_) => true,
            Self::Nop { .. } | Self::Lost { .. } | Self::Goodbye | Self::Ack(_) => false,
        }
    }

    const fn kind(&self) -> u8 {
        match self {
            Self::Hello => kind::HELLO,
            Self::Nop { .. } => kind::NOP,
            Self::Lost { .. } => kind::LOST,
            Self::Goodbye => kind::GOODBYE,
            Self::Request(_) => kind::REQUEST,
            Self::Response(_) => kind::RESPONSE,
            Self::Ack(_) => kind::ACK,
            Self::Datagram(_) => kind::DATAGRAM,
            Self::Unreliable(_) => kind::UNRELIABLE,
            Self::UnreliableDatagram(_) => kind::UNRELIABLE_DATAGRAM,
        }
    }

    fn emit(&self, wire: &mut WireHeaderMut) {
        wire.set_kind(self.kind());
        match self {
            Self::Hello | Self::Goodbye => {}
            Self::Nop {
                reply,
                confirmed: (from, to),
            } => {
                wire.set_opcode(*reply as u8);
                wire.set_psn(from.0);
                wire.set_rsn(to.0);
            }
            Self::Lost { from, to } => {
                wire.set_psn(from.0);
                wire.set_rsn(to.0);
            }
            Self::Request(request) => request.emit(wire),
            Self::Response(response) => response.emit(wire),
            Self::Ack(ack) => ack.emit(wire),
            Self::Datagram(state) => state.emit(wire),
            Self::Unreliable(segment) => segment.emit(wire),
            Self::UnreliableDatagram(datagram) => datagram.emit(wire),
        }
    }

    fn parse(wire: &WireHeader<'_>) -> Option<Self> {
        Some(match wire.kind() {
            kind::HELLO => Self::Hello,
            kind::NOP => Self::Nop {
                reply: NopReply::from_wire(wire.opcode())?,
                confirmed: (RailSeq(wire.psn()), RailSeq(wire.rsn())),
            },
            kind::LOST => Self::Lost {
                from: RailSeq(wire.psn()),
                to: RailSeq(wire.rsn()),
            },
            kind::GOODBYE => Self::Goodbye,
            kind::REQUEST => Self::Request(RequestHeader::parse(wire)?),
            kind::RESPONSE => Self::Response(ResponseHeader::parse(wire)?),
            kind::ACK => Self::Ack(AckHeader::parse(wire)?),
            kind::DATAGRAM => Self::Datagram(PacketState::parse(wire)?),
            kind::UNRELIABLE => Self::Unreliable(UnreliableHeader::parse(wire)?),
            kind::UNRELIABLE_DATAGRAM => Self::UnreliableDatagram(DatagramHeader::parse(wire)?),
            _ => return None,
        })
    }
}
