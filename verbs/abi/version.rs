// SPDX-License-Identifier: GPL-2.0

//! Which version of the module processes are told of.

/// The manifest of the workspace, which is where the version is. The makefiles read it from there too.
const MANIFEST: &str = include_str!("../../Cargo.toml");

/// As people read it.
pub const TEXT: &str = version_of(MANIFEST);

/// The value of the first line that begins with `version = "`.
const fn version_of(manifest: &str) -> &str {
    const KEY: &[u8] = b"\nversion = \"";
    let mut rest = manifest.as_bytes();
    while !begins_with(rest, KEY) {
        rest = rest.split_at(1).1;
    }
    let value = rest.split_at(KEY.len()).1;
    let mut end = 0;
    while value[end] != b'"' {
        end += 1;
    }
    match core::str::from_utf8(value.split_at(end).0) {
        Ok(version) => version,
        Err(_) => panic!("the version is no text"),
    }
}

const fn begins_with(text: &[u8], key: &[u8]) -> bool {
    let mut at = 0;
    while at < key.len() {
        if at >= text.len() || text[at] != key[at] {
            return false;
        }
        at += 1;
    }
    true
}

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
    fn it_is_found_behind_other_lines() {
        assert_eq!(
            version_of("[a]\nrust-version = \"1\"\nversion = \"2.3\"\nversion = \"4\"\n"),
            "2.3"
        );
    }

    #[test]
    fn parts_have_16_bits_each() {
        assert_eq!(number(b"1.2.34"), 1 << 32 | 2 << 16 | 34);
    }
}
