// SPDX-License-Identifier: GPL-2.0

//! The kernel's hash functions are those the wire format names.

use kernel::prelude::*;

#[kunit_tests(usb4_roce_checksum)]
mod tests {
    use crate::base::checksum::KernelHash;
    use crate::base::checksum::PiecewiseHash;
    use crate::transport::checksum::Algorithm;
    use crate::transport::checksum::Checksum;
    use crate::transport::checksum::RunningChecksum;
    use crate::transport::checksum::Seed;

    /// A session of each kind.
    fn sessions() -> [Seed; 2] {
        [Algorithm::Xxh64, Algorithm::Crc32c]
            .map(|algorithm| Seed::of_session::<KernelHash>(1, 2, algorithm))
    }

    /// From the published test vectors of xxHash.
    #[test]
    fn check_value_of_xxhash() {
        assert_eq!(KernelHash::xxh64(0, b"abc"), 0x44bc_2cf5_ad77_0999);
    }

    /// The published one, which is inverted before and after.
    #[test]
    fn check_value_of_crc32c() {
        assert_eq!(!KernelHash::crc32c(!0, b"123456789"), 0xe306_9283);
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let data: [u8; 100] = core::array::from_fn(|at| at as u8);
        let mut same = true;
        for seed in sessions() {
            let whole = seed.checksum::<KernelHash>(&data);
            for cut in 0..=data.len() {
                let (head, tail) = data.split_at(cut);
                let mut hash = PiecewiseHash::new(seed);
                for piece in [head, tail] {
                    // SAFETY: A slice is readable for its length.
                    unsafe { hash.update_raw(piece.as_ptr(), piece.len()) };
                }
                same &= hash.finish() == whole;
            }
        }
        assert!(same);
    }

    #[test]
    fn sessions_differ() {
        for seed in sessions() {
            let algorithm = seed.algorithm();
            assert_eq!(seed, Seed::of_session::<KernelHash>(2, 1, algorithm));
            let other = Seed::of_session::<KernelHash>(1, 3, algorithm);
            assert_ne!(
                seed.checksum::<KernelHash>(&[]),
                other.checksum::<KernelHash>(&[])
            );
        }
    }

    #[test]
    fn every_flipped_bit_shows() {
        let mut seen = true;
        for seed in sessions() {
            let mut data = [0x5au8; 64];
            let good = seed.checksum::<KernelHash>(&data);
            for bit in 0..data.len() * 8 {
                data[bit / 8] ^= 1 << (bit % 8);
                seen &= seed.checksum::<KernelHash>(&data) != good;
                data[bit / 8] ^= 1 << (bit % 8);
            }
        }
        assert!(seen);
    }
}
