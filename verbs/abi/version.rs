// SPDX-License-Identifier: GPL-2.0

//! Which version of the module processes are told of.

/// As people read it; the package has the same.
pub const TEXT: &str = "0.1.0";

/// In three 16-bit parts, as user space shows it.
pub const NUMBER: u64 = number(TEXT.as_bytes());

const fn number(text: &[u8]) -> u64 {
    const PART_BITS: u32 = u16::BITS;
    let mut number = 0;
    let mut part = 0;
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'.' => {
                number = number << PART_BITS | part;
                part = 0;
            }
            digit => part = part * 10 + (digit - b'0') as u64,
        }
        at += 1;
    }
    number << PART_BITS | part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_package_s() {
        assert_eq!(TEXT, env!("CARGO_PKG_VERSION"));
    }

    #[test]
    fn parts_have_16_bits_each() {
        assert_eq!(number(b"1.2.34"), 1 << 32 | 2 << 16 | 34);
    }
}
