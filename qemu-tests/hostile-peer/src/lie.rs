// SPDX-License-Identifier: GPL-2.0

//! Frames that are signed as they should be and say what they should not.

use rand::seq::IndexedRandom;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use usb4_roce::transport::checksum::Seed;
use usb4_roce::transport::frame::HEADER_LEN;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailSeq;

use crate::checksum::HostHash;
use crate::target::Victim;

/// A field of a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    at: usize,
    width: usize,
}

/// The fields of a header, as the wire format has them.
pub mod field {
    use super::Field;

    const fn of(at: usize, width: usize) -> Field {
        Field { at, width }
    }

    pub const SEQ: Field = of(8, 4);
    pub const ACK: Field = of(12, 4);
    pub const KIND: Field = of(16, 1);
    pub const OPCODE: Field = of(17, 1);
    pub const FLAGS: Field = of(18, 2);
    pub const PAYLOAD_LEN: Field = of(20, 4);
    pub const PAYLOAD_CHECKSUM: Field = of(24, 4);
    pub const DEST_QPN: Field = of(28, 4);
    pub const SRC_QPN: Field = of(32, 4);
    pub const PSN: Field = of(36, 4);
    pub const RSN: Field = of(40, 4);
    pub const RKEY: Field = of(44, 4);
    pub const VA: Field = of(48, 8);
    pub const OFFSET: Field = of(56, 4);
    pub const IMM: Field = of(60, 4);

    /// Those that say what a frame is about.
    pub const ALL: [Field; 12] = [
        KIND,
        OPCODE,
        FLAGS,
        PAYLOAD_LEN,
        DEST_QPN,
        SRC_QPN,
        PSN,
        RSN,
        RKEY,
        VA,
        OFFSET,
        IMM,
    ];
}

/// Values at which something changes.
const BOUNDARIES: [u64; 24] = [
    0,
    1,
    2,
    7,
    8,
    63,
    64,
    SMALL_PAYLOAD as u64 - 1,
    SMALL_PAYLOAD as u64,
    SMALL_PAYLOAD as u64 + 1,
    4096,
    MAX_PAYLOAD as u64 - 64,
    MAX_PAYLOAD as u64,
    MAX_PAYLOAD as u64 + 1,
    Qpn::MASK as u64 - 1,
    Qpn::MASK as u64,
    Qpn::MASK as u64 + 1,
    (1 << 31) - 1,
    1 << 31,
    (1 << 31) + 1,
    u32::MAX as u64 - 1,
    u32::MAX as u64,
    u64::MAX - 4095,
    u64::MAX,
];

/// How far a value that is nearly right is off.
const NEARBY: [i64; 14] = [
    -4096, -256, -255, -64, -16, -2, -1, 1, 2, 16, 64, 255, 256, 4096,
];

/// Kinds of frames, from hello on.
const KINDS: u64 = 8;

/// Some of these kinds.
mod kind {
    pub const NOP: u64 = 2;
    pub const LOST: u64 = 3;
    pub const GOODBYE: u64 = 4;
    pub const REQUEST: u64 = 5;
    pub const ACK: u64 = 7;
    pub const DATAGRAM: u64 = 8;
}

/// The opcode of a READ.
const READ: u64 = 5;

/// The header of any frame, which may be no header at all.
#[derive(Clone, Copy)]
pub struct Lie(pub [u8; HEADER_LEN]);

impl Lie {
    /// The value of a field.
    pub fn get(&self, field: Field) -> u64 {
        let mut bytes = [0; 8];
        bytes[..field.width].copy_from_slice(&self.0[field.at..][..field.width]);
        u64::from_le_bytes(bytes)
    }

    /// Sets a field, cutting off what does not fit.
    pub fn set(&mut self, field: Field, value: u64) {
        self.0[field.at..][..field.width].copy_from_slice(&value.to_le_bytes()[..field.width]);
    }

    /// Signs the header: its checksum is right.
    pub fn sign(&mut self, seed: Seed) {
        self.0[0..4].copy_from_slice(&seed.sync_word().to_le_bytes());
        let checksum = seed.checksum::<HostHash>(&self.0[8..]);
        self.0[4..8].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Makes one to three fields wrong, mostly by a little.
    pub fn bend(&mut self, rng: &mut ChaCha8Rng) {
        for _ in 0..rng.random_range(1..=3) {
            let Some(&field) = field::ALL.choose(rng) else {
                return;
            };
            let value = if rng.random_ratio(1, 2) {
                let off = NEARBY.choose(rng).copied().unwrap_or(1);
                self.get(field).wrapping_add_signed(off)
            } else {
                any(rng)
            };
            self.set(field, value);
        }
    }

    /// A frame made up from the beginning, mostly of a kind there is, to a queue pair there is, about memory
    /// there is; with the numbers `seq` and `ack`.
    pub fn wild(rng: &mut ChaCha8Rng, victim: &Victim, seq: RailSeq, ack: RailSeq) -> Self {
        let mut lie = Self([0; HEADER_LEN]);
        for field in field::ALL {
            let value = any(rng);
            lie.set(field, value);
        }
        lie.set(field::SEQ, u64::from(seq.0));
        lie.set(field::ACK, u64::from(ack.0));
        if rng.random_ratio(15, 16) {
            lie.set(field::KIND, rng.random_range(1..=KINDS));
            lie.set(field::OPCODE, rng.random_range(0..=6));
            lie.set(field::FLAGS, rng.random_range(0..=0x3f));
        }
        if let Some(target) = victim.queue_pairs.choose(rng) {
            if rng.random_ratio(7, 8) {
                lie.set(field::DEST_QPN, target.qpn.into());
                lie.set(field::SRC_QPN, target.peer_qpn.into());
                let psn = target.psn.wrapping_add(rng.random_range(0..400)) & Qpn::MASK;
                lie.set(field::PSN, psn.into());
            }
        }
        if let Some(region) = victim.regions.choose(rng) {
            if rng.random_ratio(7, 8) {
                lie.set(field::RKEY, region.key.into());
                lie.set(field::VA, near(rng, region.address, region.length.into()));
            }
        }
        if rng.random_ratio(3, 4) {
            lie.set(
                field::PAYLOAD_LEN,
                rng.random_range(0..=SMALL_PAYLOAD).into(),
            );
        }
        if rng.random_ratio(7, 8) {
            lie.keep_form(rng);
        }
        lie
    }

    /// A datagram of which something is left to do, mostly of what there is; with the numbers `seq` and `ack`.
    pub fn datagram(rng: &mut ChaCha8Rng, seq: RailSeq, ack: RailSeq) -> Self {
        let mut lie = Self([0; HEADER_LEN]);
        lie.set(field::SEQ, u64::from(seq.0));
        lie.set(field::ACK, u64::from(ack.0));
        lie.set(field::KIND, kind::DATAGRAM);
        lie.set(field::OPCODE, rng.random_range(0..=3));
        let bytes = if rng.random_ratio(1, 4) {
            any(rng)
        } else {
            rng.random_range(0..3_000)
        };
        lie.set(field::OFFSET, bytes);
        lie
    }

    /// Changes what would make the module look no further, and most of the frames that end the rail into others.
    fn keep_form(&mut self, rng: &mut ChaCha8Rng) {
        let ends_rail = [kind::LOST, kind::GOODBYE].contains(&self.get(field::KIND));
        if ends_rail && rng.random_ratio(7, 8) {
            self.set(field::KIND, kind::ACK);
        }
        let is_read = self.get(field::KIND) == kind::REQUEST && self.get(field::OPCODE) == READ;
        let never_has_payload = [kind::NOP, kind::LOST, kind::GOODBYE, kind::ACK];
        if is_read || never_has_payload.contains(&self.get(field::KIND)) {
            self.set(field::PAYLOAD_LEN, 0);
        }
        if is_read {
            self.set(field::OFFSET, rng.random_range(0..9_000));
            self.set(field::IMM, SMALL_PAYLOAD.into());
        }
        if self.get(field::KIND) == kind::ACK {
            self.set(field::FLAGS, rng.random_range(1..=3));
            self.set(field::OPCODE, rng.random_range(0..=4));
        }
    }
}

/// Any number: one where something changes, or a random one.
fn any(rng: &mut ChaCha8Rng) -> u64 {
    match rng.random_range(0..4) {
        0 => rng.random(),
        1 => rng.random_range(0..100_000),
        _ => BOUNDARIES.choose(rng).copied().unwrap_or(0),
    }
}

/// An address about an end of a range, or in it.
pub fn near(rng: &mut ChaCha8Rng, start: u64, length: u64) -> u64 {
    let off = NEARBY.choose(rng).copied().unwrap_or(1);
    match rng.random_range(0..4) {
        0 => start.wrapping_add_signed(off),
        1 => (start + length).wrapping_add_signed(off),
        2 => start + length,
        _ => start + rng.random_range(0..length.max(1)),
    }
}

/// What goes behind a header: as many bytes as it says, as far as that is possible at all.
pub fn payload(rng: &mut ChaCha8Rng, len: u64) -> Vec<u8> {
    let len = len.min(u64::from(MAX_PAYLOAD)) as usize;
    vec![rng.random(); len]
}

/// Bytes without any sense; some of them look as if a header of the session with this seed began there.
pub fn noise(rng: &mut ChaCha8Rng, len: usize, seed: Seed) -> Vec<u8> {
    let mut bytes = vec![0; len];
    rng.fill(bytes.as_mut_slice());
    for unit in bytes.chunks_mut(HEADER_LEN) {
        if unit.len() == HEADER_LEN && rng.random_ratio(1, 4) {
            unit[..4].copy_from_slice(&seed.sync_word().to_le_bytes());
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use usb4_roce::transport::frame::Body;
    use usb4_roce::transport::frame::Header;

    #[test]
    fn many_lies_are_believed() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut kinds = [0; KINDS as usize + 1];
        for _ in 0..2_000 {
            let mut lie = Lie::wild(&mut rng, &Victim::default(), RailSeq(1), RailSeq(2));
            lie.sign(Seed::HANDSHAKE);
            if let Ok(header) = Header::decode::<HostHash>(&lie.0, Seed::HANDSHAKE) {
                assert_eq!((header.seq, header.ack), (RailSeq(1), RailSeq(2)));
                assert_eq!(header.body == Body::Hello, lie.get(field::KIND) == 1);
                kinds[lie.get(field::KIND) as usize] += 1;
            }
        }
        assert!(kinds[1..].iter().all(|&count| count > 10), "{kinds:?}");
    }

    #[test]
    fn a_bent_header_differs() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let straight = Lie::wild(&mut rng, &Victim::default(), RailSeq(1), RailSeq(2));
        let bent = (0..20).filter(|_| {
            let mut lie = straight;
            lie.bend(&mut rng);
            lie.0 != straight.0
        });
        assert!(bent.count() > 15);
    }
}
