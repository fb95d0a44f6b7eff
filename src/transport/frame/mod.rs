// SPDX-License-Identifier: GPL-2.0

//! The 64-byte header of every frame, and its coding. See `wire-format.md`.
//!
//! Decoding takes untrusted bytes: it accepts only what this version defines, and what it returns
//! is in range.

use super::checksum::Checksum;
use super::checksum::Seed;
use super::ids::NakSerial;
use super::ids::Psn;
use super::ids::Qpn;
use super::ids::RailSeq;
use super::ids::Rkey;
use super::ids::Rsn;
use super::opcode::Opcode;
use super::opcode::MAX_MESSAGE;
use super::status::NakCode;
use super::timing::RnrTimer;

/// Length of a header. Frames begin at multiples of it in the stream; payloads are padded to it.
pub const HEADER_LEN: usize = 64;

/// What one frame of the stream carries: the size of the largest small frame.
pub const STREAM_FRAME: usize = 4096;

/// Largest payload of a frame that fits one frame of the stream.
pub const SMALL_PAYLOAD: u32 = (STREAM_FRAME - HEADER_LEN) as u32;

/// Largest payload of any frame: header and payload are 16 full frames of the stream.
pub const MAX_PAYLOAD: u32 = (16 * STREAM_FRAME - HEADER_LEN) as u32;

/// Where the checksummed part of a header begins.
const CHECKSUM_START: usize = 8;

/// Length of a payload with its padding.
pub const fn padded(payload_len: u32) -> u32 {
    let unit = HEADER_LEN as u32;
    payload_len.saturating_add(unit - 1) & !(unit - 1)
}

/// Properties of a request segment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SegmentFlags(u16);

impl SegmentFlags {
    /// First segment of its message.
    pub const FIRST: Self = Self(1 << 0);
    /// Last segment of its message.
    pub const LAST: Self = Self(1 << 1);
    /// The receiver's completion is solicited.
    pub const SOLICITED: Self = Self(1 << 2);
    /// To be placed only when all segments before it have been.
    pub const ORDERED: Self = Self(1 << 3);
    /// An acknowledgement is wanted once this segment has been processed.
    pub const ACK_REQUEST: Self = Self(1 << 4);
    /// Sent before: for a READ already accepted, its responses are wanted again.
    pub const REPEAT: Self = Self(1 << 5);

    const DEFINED: u16 = 0x3f;

    /// No property.
    pub const fn none() -> Self {
        Self(0)
    }

    /// Whether all of `flags` are set.
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These flags and `flags`.
    #[must_use]
    pub const fn with(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

/// A segment of a request, from requester to responder.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestHeader {
    /// Queue pair it is for.
    pub dest_qpn: Qpn,
    /// Queue pair it comes from.
    pub src_qpn: Qpn,
    /// Its number.
    pub psn: Psn,
    /// What to do with it.
    pub opcode: Opcode,
    /// Its properties.
    pub flags: SegmentFlags,
    /// How many receives the messages before this one use up. READ: unused.
    pub rsn: Rsn,
    /// Remote key. SEND: unused.
    pub rkey: Rkey,
    /// Remote address of this segment's first byte. SEND: unused.
    pub va: u64,
    /// Where the segment begins within its message, below 2^31. READ: how many bytes to read,
    /// up to 2^31.
    pub offset: u32,
    /// Immediate data, as the user gave it. READ: largest payload of a response segment.
    pub imm: u32,
    /// READ: the requester has all responses before this one. Else unused.
    pub response_psn: Psn,
    /// Bytes that follow the header.
    pub payload_len: u32,
}

/// A segment of the answer to a READ, from responder to requester.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ResponseHeader {
    /// Queue pair it is for.
    pub dest_qpn: Qpn,
    /// Queue pair it comes from.
    pub src_qpn: Qpn,
    /// Its number in the responses' own space.
    pub response_psn: Psn,
    /// The READ it answers.
    pub request_psn: Psn,
    /// Where it begins within the READ's data.
    pub offset: u32,
    /// Bytes that follow the header.
    pub payload_len: u32,
}

/// What an acknowledgement says besides its numbers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Syndrome {
    /// All is well.
    Ack,
    /// No receive request was there for the request at the acknowledged PSN: repeat from there
    /// after this time.
    RnrNak(RnrTimer),
    /// The segment at the acknowledged PSN was dropped: repeat from there at once.
    SequenceNak,
    /// The request at the acknowledged PSN is refused for good.
    Nak(NakCode),
    /// The READ with this PSN, accepted before, cannot be completed. All READs before it were.
    ReadNak {
        /// PSN of the READ's request.
        psn: Psn,
        /// Why.
        code: NakCode,
    },
}

/// State of a queue pair's receiving sides, from peer to peer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AckHeader {
    /// Queue pair it is for.
    pub dest_qpn: Qpn,
    /// Queue pair it comes from.
    pub src_qpn: Qpn,
    /// The responder has processed all requests before this PSN.
    pub psn: Psn,
    /// The requester has placed all responses before this one.
    pub response_psn: Psn,
    /// What the responder says about the request at `psn`.
    pub syndrome: Syndrome,
    /// Number of the syndrome: a new one for every new NAK, so that one that is repeated
    /// (acknowledgements are state) is acted upon once.
    pub nak_serial: NakSerial,
}

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
    Datagram,
}

/// Whether a `Nop` wants to be answered by another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NopReply {
    /// No answer needed.
    Unneeded,
    /// Answer at once, with anything.
    Wanted,
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
    /// The rest.
    pub body: Body,
}

/// Why 64 bytes are not a header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FrameError {
    /// Fewer than 64 bytes.
    Short,
    /// The first word is not that of the session.
    SyncWord,
    /// The checksum is wrong.
    Checksum,
    /// The checksum is right, but a field has a value that is not defined.
    Field,
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
}

mod syndrome {
    pub(super) const ACK: u8 = 0;
    pub(super) const RNR_NAK: u8 = 1;
    pub(super) const SEQUENCE_NAK: u8 = 2;
    pub(super) const NAK: u8 = 3;
    pub(super) const READ_NAK: u8 = 4;
}

/// The fields of a header as they lie on the wire.
#[derive(Clone, Copy, Default)]
struct Raw {
    seq: u32,
    ack: u32,
    kind: u8,
    opcode: u8,
    flags: u16,
    payload_len: u32,
    payload_checksum: u32,
    dest_qpn: u32,
    src_qpn: u32,
    psn: u32,
    rsn: u32,
    rkey: u32,
    va: u64,
    offset: u32,
    imm: u32,
}

impl Raw {
    /// All but the first two words, which depend on the session.
    fn write(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[8..12].copy_from_slice(&self.seq.to_le_bytes());
        out[12..16].copy_from_slice(&self.ack.to_le_bytes());
        out[16] = self.kind;
        out[17] = self.opcode;
        out[18..20].copy_from_slice(&self.flags.to_le_bytes());
        out[20..24].copy_from_slice(&self.payload_len.to_le_bytes());
        out[24..28].copy_from_slice(&self.payload_checksum.to_le_bytes());
        out[28..32].copy_from_slice(&self.dest_qpn.to_le_bytes());
        out[32..36].copy_from_slice(&self.src_qpn.to_le_bytes());
        out[36..40].copy_from_slice(&self.psn.to_le_bytes());
        out[40..44].copy_from_slice(&self.rsn.to_le_bytes());
        out[44..48].copy_from_slice(&self.rkey.to_le_bytes());
        out[48..56].copy_from_slice(&self.va.to_le_bytes());
        out[56..60].copy_from_slice(&self.offset.to_le_bytes());
        out[60..64].copy_from_slice(&self.imm.to_le_bytes());
        out
    }

    fn read(bytes: &[u8; HEADER_LEN]) -> Self {
        let u32_at = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        Self {
            seq: u32_at(8),
            ack: u32_at(12),
            kind: bytes[16],
            opcode: bytes[17],
            flags: u16::from_le_bytes([bytes[18], bytes[19]]),
            payload_len: u32_at(20),
            payload_checksum: u32_at(24),
            dest_qpn: u32_at(28),
            src_qpn: u32_at(32),
            psn: u32_at(36),
            rsn: u32_at(40),
            rkey: u32_at(44),
            va: u64::from(u32_at(48)) | u64::from(u32_at(52)) << 32,
            offset: u32_at(56),
            imm: u32_at(60),
        }
    }
}

impl Header {
    /// Encodes the header for the session with this seed.
    pub fn encode<C: Checksum>(&self, seed: Seed) -> [u8; HEADER_LEN] {
        let mut bytes = self.to_raw().write();
        bytes[0..4].copy_from_slice(&seed.sync_word().to_le_bytes());
        let checksum = seed.checksum::<C>(&bytes[CHECKSUM_START..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Decodes the header at the start of `bytes`.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if there is no valid header of a session with this seed.
    pub fn decode<C: Checksum>(bytes: &[u8], seed: Seed) -> Result<Self, FrameError> {
        let bytes: &[u8; HEADER_LEN] = bytes
            .get(..HEADER_LEN)
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(FrameError::Short)?;
        if bytes[0..4] != seed.sync_word().to_le_bytes() {
            return Err(FrameError::SyncWord);
        }
        let checksum = seed.checksum::<C>(&bytes[CHECKSUM_START..]);
        if bytes[4..8] != checksum.to_le_bytes() {
            return Err(FrameError::Checksum);
        }
        Self::from_raw(&Raw::read(bytes)).ok_or(FrameError::Field)
    }

    /// Length of the frame in the stream: header, payload and padding.
    pub const fn frame_len(&self) -> u32 {
        HEADER_LEN as u32 + padded(self.payload_len)
    }

    fn to_raw(self) -> Raw {
        let raw = Raw {
            seq: self.seq.0,
            ack: self.ack.0,
            payload_len: self.payload_len,
            payload_checksum: self.payload_checksum,
            ..Raw::default()
        };
        match self.body {
            Body::Hello => Raw {
                kind: kind::HELLO,
                ..raw
            },
            Body::Nop { reply, confirmed } => Raw {
                kind: kind::NOP,
                psn: confirmed.0 .0,
                rsn: confirmed.1 .0,
                opcode: match reply {
                    NopReply::Unneeded => 0,
                    NopReply::Wanted => 1,
                },
                ..raw
            },
            Body::Lost { from, to } => Raw {
                kind: kind::LOST,
                psn: from.0,
                rsn: to.0,
                ..raw
            },
            Body::Goodbye => Raw {
                kind: kind::GOODBYE,
                ..raw
            },
            Body::Request(request) => Raw {
                kind: kind::REQUEST,
                opcode: request.opcode as u8,
                flags: request.flags.0,
                dest_qpn: request.dest_qpn.get(),
                src_qpn: request.src_qpn.get(),
                psn: request.psn.get(),
                rsn: match request.opcode {
                    Opcode::Read => request.response_psn.get(),
                    _ => request.rsn.0,
                },
                rkey: request.rkey.0,
                va: request.va,
                offset: request.offset,
                imm: request.imm,
                payload_len: request.payload_len,
                ..raw
            },
            Body::Response(response) => Raw {
                kind: kind::RESPONSE,
                dest_qpn: response.dest_qpn.get(),
                src_qpn: response.src_qpn.get(),
                psn: response.response_psn.get(),
                rsn: response.request_psn.get(),
                offset: response.offset,
                payload_len: response.payload_len,
                ..raw
            },
            Body::Ack(ack) => ack.to_raw(raw),
            Body::Datagram => Raw {
                kind: kind::DATAGRAM,
                ..raw
            },
        }
    }

    fn from_raw(raw: &Raw) -> Option<Self> {
        if raw.payload_len > MAX_PAYLOAD {
            return None;
        }
        let body = match raw.kind {
            kind::HELLO => Body::Hello,
            kind::NOP => Body::Nop {
                reply: match raw.opcode {
                    0 => NopReply::Unneeded,
                    1 => NopReply::Wanted,
                    _ => return None,
                },
                confirmed: (RailSeq(raw.psn), RailSeq(raw.rsn)),
            },
            kind::LOST => Body::Lost {
                from: RailSeq(raw.psn),
                to: RailSeq(raw.rsn),
            },
            kind::GOODBYE => Body::Goodbye,
            kind::REQUEST => Body::Request(RequestHeader::from_raw(raw)?),
            kind::RESPONSE => Body::Response(ResponseHeader::from_raw(raw)?),
            kind::ACK => Body::Ack(AckHeader::from_raw(raw)?),
            kind::DATAGRAM => Body::Datagram,
            _ => return None,
        };
        let may_carry_payload = match body {
            Body::Hello | Body::Request(_) | Body::Response(_) | Body::Datagram => true,
            Body::Nop { .. } | Body::Lost { .. } | Body::Goodbye | Body::Ack(_) => false,
        };
        if raw.payload_len != 0 && !may_carry_payload {
            return None;
        }
        Some(Self {
            seq: RailSeq(raw.seq),
            ack: RailSeq(raw.ack),
            payload_len: raw.payload_len,
            payload_checksum: raw.payload_checksum,
            body,
        })
    }
}

/// Takes a 24-bit number from a 32-bit field.
fn psn(field: u32) -> Option<Psn> {
    (field <= Psn::MASK).then_some(Psn::new(field))
}

/// Takes a 24-bit number from a 32-bit field.
fn qpn(field: u32) -> Option<Qpn> {
    (field <= Qpn::MASK).then_some(Qpn::new(field))
}

impl RequestHeader {
    fn from_raw(raw: &Raw) -> Option<Self> {
        let opcode = Opcode::from_wire(raw.opcode)?;
        if raw.flags & !SegmentFlags::DEFINED != 0 {
            return None;
        }
        let (rsn, response_psn) = match opcode {
            Opcode::Read => (Rsn(0), psn(raw.rsn)?),
            _ => (Rsn(raw.rsn), Psn::new(0)),
        };
        let request = Self {
            dest_qpn: qpn(raw.dest_qpn)?,
            src_qpn: qpn(raw.src_qpn)?,
            psn: psn(raw.psn)?,
            opcode,
            flags: SegmentFlags(raw.flags),
            rsn,
            rkey: Rkey(raw.rkey),
            va: raw.va,
            offset: raw.offset,
            imm: raw.imm,
            response_psn,
            payload_len: raw.payload_len,
        };
        let end = request.offset.checked_add(request.payload_len)?;
        if end > MAX_MESSAGE {
            return None;
        }
        if opcode == Opcode::Read && (raw.payload_len != 0 || !is_segment_size(raw.imm)) {
            return None;
        }
        Some(request)
    }

    /// READ: how many bytes are asked for.
    pub const fn read_length(&self) -> u32 {
        self.offset
    }

    /// READ: the largest payload of a response segment, within
    /// [`SMALL_PAYLOAD`]..=[`MAX_PAYLOAD`].
    pub const fn read_segment(&self) -> u32 {
        self.imm
    }
}

/// Whether segments of a message may carry this much: a multiple of 64 that is neither wastefully
/// small nor larger than a frame.
pub const fn is_segment_size(bytes: u32) -> bool {
    bytes >= SMALL_PAYLOAD && bytes <= MAX_PAYLOAD && bytes % HEADER_LEN as u32 == 0
}

impl ResponseHeader {
    fn from_raw(raw: &Raw) -> Option<Self> {
        let end = raw.offset.checked_add(raw.payload_len)?;
        if end > MAX_MESSAGE {
            return None;
        }
        Some(Self {
            dest_qpn: qpn(raw.dest_qpn)?,
            src_qpn: qpn(raw.src_qpn)?,
            response_psn: psn(raw.psn)?,
            request_psn: psn(raw.rsn)?,
            offset: raw.offset,
            payload_len: raw.payload_len,
        })
    }
}

impl AckHeader {
    fn to_raw(self, raw: Raw) -> Raw {
        let (code, detail, read_psn) = match self.syndrome {
            Syndrome::Ack => (syndrome::ACK, 0, Psn::new(0)),
            Syndrome::RnrNak(timer) => (syndrome::RNR_NAK, timer.encoding(), Psn::new(0)),
            Syndrome::SequenceNak => (syndrome::SEQUENCE_NAK, 0, Psn::new(0)),
            Syndrome::Nak(code) => (syndrome::NAK, code as u8, Psn::new(0)),
            Syndrome::ReadNak { psn, code } => (syndrome::READ_NAK, code as u8, psn),
        };
        Raw {
            kind: kind::ACK,
            opcode: code,
            flags: detail.into(),
            dest_qpn: self.dest_qpn.get(),
            src_qpn: self.src_qpn.get(),
            psn: self.psn.get(),
            rsn: self.response_psn.get(),
            offset: read_psn.get(),
            imm: self.nak_serial.0,
            ..raw
        }
    }

    fn from_raw(raw: &Raw) -> Option<Self> {
        let detail = u8::try_from(raw.flags).ok()?;
        let syndrome = match raw.opcode {
            syndrome::ACK => Syndrome::Ack,
            syndrome::RNR_NAK if detail < 32 => Syndrome::RnrNak(RnrTimer::new(detail)),
            syndrome::SEQUENCE_NAK => Syndrome::SequenceNak,
            syndrome::NAK => Syndrome::Nak(NakCode::from_wire(detail)?),
            syndrome::READ_NAK => Syndrome::ReadNak {
                psn: psn(raw.offset)?,
                code: NakCode::from_wire(detail)?,
            },
            _ => return None,
        };
        Some(Self {
            dest_qpn: qpn(raw.dest_qpn)?,
            src_qpn: qpn(raw.src_qpn)?,
            psn: psn(raw.psn)?,
            response_psn: psn(raw.rsn)?,
            syndrome,
            nak_serial: NakSerial(raw.imm),
        })
    }
}
