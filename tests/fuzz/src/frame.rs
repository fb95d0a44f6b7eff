// SPDX-License-Identifier: GPL-2.0

//! Headers and hellos of bytes that anyone may have sent.

use usb4_roce::transport::checksum::Seed;
use usb4_roce::transport::frame::padded;
use usb4_roce::transport::frame::Header;
use usb4_roce::transport::frame::HEADER_LEN;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::rail::hello::Hello;
use usb4_roce::transport::rail::hello::PROTOCOL_VERSION;

use super::checksum::HostHash;

/// Makes any bytes pass for a header as far as sync word and checksum go.
pub fn sign(bytes: &mut [u8; HEADER_LEN], seed: Seed) {
    bytes[0..4].copy_from_slice(&seed.sync_word().to_le_bytes());
    let checksum = seed.checksum::<HostHash>(&bytes[8..]);
    bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
}

/// The header that any bytes are, once signed.
pub fn signed(data: &[u8], seed: Seed) -> Option<Header> {
    let mut bytes = [0; HEADER_LEN];
    let len = data.len().min(HEADER_LEN);
    bytes[..len].copy_from_slice(&data[..len]);
    sign(&mut bytes, seed);
    Header::decode::<HostHash>(&bytes, seed).ok()
}

pub fn run(data: &[u8]) {
    let seed = Seed::HANDSHAKE;
    let _ = Header::decode::<HostHash>(data, seed);
    if let Some(header) = signed(data, seed) {
        assert!(header.payload_len <= MAX_PAYLOAD);
        assert_eq!(padded(header.payload_len) % HEADER_LEN as u32, 0);
        let again = header.encode::<HostHash>(seed);
        assert_eq!(Header::decode::<HostHash>(&again, seed), Ok(header));
    }
    let mut data = data.to_vec();
    if let Some(version) = data.get_mut(..2) {
        version.copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
    }
    if let Ok(hello) = Hello::decode(&data) {
        assert!(hello.identity.limits.is_valid());
        assert!(!hello.identity.name().contains(char::is_control));
        assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    }
}
