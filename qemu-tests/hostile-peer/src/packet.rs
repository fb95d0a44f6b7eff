// SPDX-License-Identifier: GPL-2.0

//! Ethernet frames with TCP or UDP of which something is wrong.

use rand::seq::IndexedRandom;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// Numbers of protocols above IP, some of which have a checksum that may be due.
const PROTOCOLS: [u8; 4] = [6, 17, 1, 132];

/// One frame in so many is for everybody, whose TCP and UDP nobody looks at; the others are for the host.
const TO_ALL_ONE_IN: u32 = 4;

/// A frame from `source` to the host `destination`, or to everybody: IP and what is above it as they should be, mostly, and up to four bytes of their headers as
/// they should not.
pub fn bent(rng: &mut ChaCha8Rng, source: [u8; 6], destination: [u8; 6]) -> Vec<u8> {
    let ip_len = if rng.random_ratio(1, 2) { 20 } else { 40 };
    let protocol = PROTOCOLS.choose(rng).copied().unwrap_or(6);
    let longest = if rng.random_ratio(1, 4) {
        60_000
    } else {
        3_000
    };
    let headers = ETHERNET + ip_len + 20;
    let len = headers + rng.random_range(0..longest);
    let mut frame = vec![rng.random(); len];
    if rng.random_ratio(1, TO_ALL_ONE_IN) {
        frame[..6].fill(0xff);
    } else {
        frame[..6].copy_from_slice(&destination);
    }
    frame[6..12].copy_from_slice(&source);
    let behind = (len - ETHERNET) as u16;
    let (ethernet, ip) = frame.split_at_mut(ETHERNET);
    let (ip, transport) = ip.split_at_mut(ip_len);
    ip.fill(0);
    if ip_len == 20 {
        ethernet[12..].copy_from_slice(&[0x08, 0x00]);
        ip[0] = 0x45;
        ip[2..4].copy_from_slice(&behind.to_be_bytes());
        ip[8] = 64;
        ip[9] = protocol;
        ip[12..].copy_from_slice(&[10, 55, 0, 2, 10, 55, 0, 1]);
        let checksum = checksum(ip);
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    } else {
        ethernet[12..].copy_from_slice(&[0x86, 0xdd]);
        ip[0] = 0x60;
        ip[4..6].copy_from_slice(&(behind - 40).to_be_bytes());
        ip[6] = protocol;
        ip[7] = 64;
        ip[8..].fill(0xfe);
    }
    transport[12] = 5 << 4;
    for _ in 0..rng.random_range(0..5) {
        let at = rng.random_range(12..headers);
        frame[at] = rng.random();
    }
    let cut = rng.random_ratio(1, 8);
    if cut {
        frame.truncate(rng.random_range(0..=headers));
    }
    frame
}

/// IPv4's, over a header whose own is zero (RFC 1071).
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2);
    let sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !(sum as u16 + (sum >> 16) as u16)
}
