// SPDX-License-Identifier: GPL-2.0

//! The kernel's hash is the one the wire format names.

use kernel::prelude::*;

#[kunit_tests(usb4_roce_checksum)]
mod tests {
    use crate::checksum::KernelHash;
    use crate::checksum::PiecewiseHash;
    use crate::transport::checksum::Checksum;
    use crate::transport::checksum::Seed;

    const SEED: Seed = Seed::HANDSHAKE;

    fn checksum(data: &[u8]) -> u32 {
        SEED.checksum::<KernelHash>(data)
    }

    /// From the published test vectors of xxHash.
    #[test]
    fn check_value() {
        assert_eq!(KernelHash::xxh64(0, b"abc"), 0x44bc_2cf5_ad77_0999);
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let data: [u8; 100] = core::array::from_fn(|at| at as u8);
        let whole = checksum(&data);
        let mut same = true;
        for cut in 0..=data.len() {
            let (head, tail) = data.split_at(cut);
            let mut hash = PiecewiseHash::new(SEED);
            for piece in [head, tail] {
                // SAFETY: A slice is readable for its length.
                unsafe { hash.update_raw(piece.as_ptr(), piece.len()) };
            }
            same &= hash.finish() == whole;
        }
        assert!(same);
    }

    #[test]
    fn sessions_differ() {
        let session = Seed::of_session::<KernelHash>(1, 2);
        assert_eq!(session, Seed::of_session::<KernelHash>(2, 1));
        assert_ne!(session.checksum::<KernelHash>(&[]), checksum(&[]));
    }

    #[test]
    fn every_flipped_bit_shows() {
        let mut data = [0x5au8; 64];
        let good = checksum(&data);
        let mut seen = true;
        for bit in 0..data.len() * 8 {
            data[bit / 8] ^= 1 << (bit % 8);
            seen &= checksum(&data) != good;
            data[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(seen);
    }
}
