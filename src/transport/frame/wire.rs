// SPDX-License-Identifier: GPL-2.0

//! The 64 bytes of a header as they lie on the wire.

use super::error::FrameError;
use super::size::HEADER_LEN;
use crate::transport::checksum::Checksum;
use crate::transport::checksum::Seed;
use crate::transport::ids::Psn;
use crate::transport::ids::Qpn;

/// Where each field begins. What it means depends on the kind of frame.
mod field {
    pub(super) const SYNC_WORD: usize = 0;
    pub(super) const CHECKSUM: usize = 4;
    pub(super) const SEQ: usize = 8;
    pub(super) const ACK: usize = 12;
    pub(super) const KIND: usize = 16;
    pub(super) const OPCODE: usize = 17;
    pub(super) const FLAGS: usize = 18;
    pub(super) const PAYLOAD_LEN: usize = 20;
    pub(super) const PAYLOAD_CHECKSUM: usize = 24;
    pub(super) const DEST_QPN: usize = 28;
    pub(super) const SRC_QPN: usize = 32;
    pub(super) const PSN: usize = 36;
    pub(super) const RSN: usize = 40;
    pub(super) const RKEY: usize = 44;
    pub(super) const VA: usize = 48;
    pub(super) const OFFSET: usize = 56;
    pub(super) const IMM: usize = 60;
}

/// Where the checksummed part begins.
const CHECKSUMMED: usize = field::SEQ;

/// A header that has the sync word and the checksum of its session: fields may be read.
pub(super) struct WireHeader<'a>(&'a [u8; HEADER_LEN]);

impl<'a> WireHeader<'a> {
    /// The header at the start of `bytes`.
    ///
    /// # Errors
    ///
    /// If there is none of a session with this seed.
    pub(super) fn new_checked<C: Checksum>(
        bytes: &'a [u8],
        seed: Seed,
    ) -> Result<Self, FrameError> {
        let header = bytes.first_chunk().ok_or(FrameError::Short)?;
        let wire = Self(header);
        if wire.u32_at::<{ field::SYNC_WORD }>() != seed.sync_word() {
            return Err(FrameError::SyncWord);
        }
        if wire.u32_at::<{ field::CHECKSUM }>() != seed.checksum::<C>(&header[CHECKSUMMED..]) {
            return Err(FrameError::Checksum);
        }
        Ok(wire)
    }

    pub(super) fn seq(&self) -> u32 {
        self.u32_at::<{ field::SEQ }>()
    }

    pub(super) fn ack(&self) -> u32 {
        self.u32_at::<{ field::ACK }>()
    }

    pub(super) fn kind(&self) -> u8 {
        self.0[field::KIND]
    }

    pub(super) fn opcode(&self) -> u8 {
        self.0[field::OPCODE]
    }

    pub(super) fn flags(&self) -> u16 {
        u16::from_le_bytes([self.0[field::FLAGS], self.0[field::FLAGS + 1]])
    }

    pub(super) fn payload_len(&self) -> u32 {
        self.u32_at::<{ field::PAYLOAD_LEN }>()
    }

    pub(super) fn payload_checksum(&self) -> u32 {
        self.u32_at::<{ field::PAYLOAD_CHECKSUM }>()
    }

    /// Nothing if the field has more than 24 bits.
    pub(super) fn dest_qpn(&self) -> Option<Qpn> {
        qpn(self.u32_at::<{ field::DEST_QPN }>())
    }

    /// Nothing if the field has more than 24 bits.
    pub(super) fn src_qpn(&self) -> Option<Qpn> {
        qpn(self.u32_at::<{ field::SRC_QPN }>())
    }

    pub(super) fn psn(&self) -> u32 {
        self.u32_at::<{ field::PSN }>()
    }

    pub(super) fn rsn(&self) -> u32 {
        self.u32_at::<{ field::RSN }>()
    }

    pub(super) fn rkey(&self) -> u32 {
        self.u32_at::<{ field::RKEY }>()
    }

    pub(super) fn va(&self) -> u64 {
        let low = self.u32_at::<{ field::VA }>();
        let high = self.u32_at::<{ field::VA + 4 }>();
        u64::from(low) | u64::from(high) << 32
    }

    pub(super) fn offset(&self) -> u32 {
        self.u32_at::<{ field::OFFSET }>()
    }

    pub(super) fn imm(&self) -> u32 {
        self.u32_at::<{ field::IMM }>()
    }

    fn u32_at<const AT: usize>(&self) -> u32 {
        u32::from_le_bytes([self.0[AT], self.0[AT + 1], self.0[AT + 2], self.0[AT + 3]])
    }
}

/// A number of 24 bits; nothing if the field has more.
pub(super) const fn psn(field: u32) -> Option<Psn> {
    if field <= Psn::MASK {
        Some(Psn::new(field))
    } else {
        None
    }
}

const fn qpn(field: u32) -> Option<Qpn> {
    if field <= Qpn::MASK {
        Some(Qpn::new(field))
    } else {
        None
    }
}

/// A header that is being written: what is not set is zero.
pub(super) struct WireHeaderMut([u8; HEADER_LEN]);

impl WireHeaderMut {
    pub(super) const fn new() -> Self {
        Self([0; HEADER_LEN])
    }

    /// Makes it a header of the session with this seed.
    pub(super) fn seal<C: Checksum>(mut self, seed: Seed) -> [u8; HEADER_LEN] {
        self.put::<{ field::SYNC_WORD }>(seed.sync_word());
        let checksum = seed.checksum::<C>(&self.0[CHECKSUMMED..]);
        self.put::<{ field::CHECKSUM }>(checksum);
        self.0
    }

    pub(super) fn set_seq(&mut self, seq: u32) {
        self.put::<{ field::SEQ }>(seq);
    }

    pub(super) fn set_ack(&mut self, ack: u32) {
        self.put::<{ field::ACK }>(ack);
    }

    pub(super) fn set_kind(&mut self, kind: u8) {
        self.0[field::KIND] = kind;
    }

    pub(super) fn set_opcode(&mut self, opcode: u8) {
        self.0[field::OPCODE] = opcode;
    }

    pub(super) fn set_flags(&mut self, flags: u16) {
        self.0[field::FLAGS..field::FLAGS + 2].copy_from_slice(&flags.to_le_bytes());
    }

    pub(super) fn set_payload_len(&mut self, len: u32) {
        self.put::<{ field::PAYLOAD_LEN }>(len);
    }

    pub(super) fn set_payload_checksum(&mut self, checksum: u32) {
        self.put::<{ field::PAYLOAD_CHECKSUM }>(checksum);
    }

    pub(super) fn set_qpns(&mut self, dest: Qpn, src: Qpn) {
        self.put::<{ field::DEST_QPN }>(dest.get());
        self.put::<{ field::SRC_QPN }>(src.get());
    }

    pub(super) fn set_psn(&mut self, psn: u32) {
        self.put::<{ field::PSN }>(psn);
    }

    pub(super) fn set_rsn(&mut self, rsn: u32) {
        self.put::<{ field::RSN }>(rsn);
    }

    pub(super) fn set_rkey(&mut self, rkey: u32) {
        self.put::<{ field::RKEY }>(rkey);
    }

    pub(super) fn set_va(&mut self, va: u64) {
        self.0[field::VA..field::VA + 8].copy_from_slice(&va.to_le_bytes());
    }

    pub(super) fn set_offset(&mut self, offset: u32) {
        self.put::<{ field::OFFSET }>(offset);
    }

    pub(super) fn set_imm(&mut self, imm: u32) {
        self.put::<{ field::IMM }>(imm);
    }

    fn put<const AT: usize>(&mut self, value: u32) {
        self.0[AT..AT + 4].copy_from_slice(&value.to_le_bytes());
    }
}
