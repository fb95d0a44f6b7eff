// SPDX-License-Identifier: GPL-2.0

//! The kernel's CRC-32 is the one the wire format names.

use kernel::prelude::*;

#[kunit_tests(usb4_roce_checksum)]
mod tests {
    use crate::checksum::KernelCrc;
    use crate::transport::checksum::Checksum;

    /// Check value of CRC-32: its digest of the ASCII digits 1 to 9, inverted at both ends as Ethernet does.
    const CHECK_VALUE: u32 = 0xcbf4_3926;

    fn digest(data: &[u8]) -> u32 {
        !KernelCrc::crc32(!0, data)
    }

    #[test]
    fn check_value() {
        assert_eq!(digest(b"123456789"), CHECK_VALUE);
    }

    #[test]
    fn empty_data_leaves_the_state() {
        assert_eq!(KernelCrc::crc32(0x1234_5678, &[]), 0x1234_5678);
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        let data = b"the payload of a segment, in pieces";
        let whole = KernelCrc::crc32(7, data);
        let mut same = true;
        for cut in 0..=data.len() {
            let (head, tail) = data.split_at(cut);
            same &= KernelCrc::crc32(KernelCrc::crc32(7, head), tail) == whole;
        }
        assert!(same);
    }

    #[test]
    fn every_flipped_bit_shows() {
        let mut data = [0x5au8; 64];
        let good = digest(&data);
        let mut seen = true;
        for bit in 0..data.len() * 8 {
            data[bit / 8] ^= 1 << (bit % 8);
            seen &= digest(&data) != good;
            data[bit / 8] ^= 1 << (bit % 8);
        }
        assert!(seen);
    }
}
