// SPDX-License-Identifier: GPL-2.0

//! Unfinished packets of bytes that anyone may have sent, in a state that their header says.

use usb4_roce::transport::checksum::Seed;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::PacketState;
use usb4_roce::transport::frame::HEADER_LEN;
use usb4_roce::transport::packet::Packet;
use usb4_roce::transport::packet::LONGEST_HEADERS;

use super::frame::signed;

/// Kind of a datagram, and where its header says so.
const KIND: (usize, u8) = (16, 8);

/// Length of the payload, which the packet's own replaces.
const PAYLOAD_LEN: std::ops::Range<usize> = 20..24;

pub fn run(data: &[u8]) {
    let (header, packet) = data.split_at(data.len().min(HEADER_LEN));
    let mut bytes = [0; HEADER_LEN];
    bytes[..header.len()].copy_from_slice(header);
    bytes[KIND.0] = KIND.1;
    bytes[PAYLOAD_LEN].copy_from_slice(&(packet.len() as u32).to_le_bytes());
    let Some(header) = signed(&bytes, Seed::HANDSHAKE) else {
        return;
    };
    let Body::Datagram(state) = header.body else {
        panic!("a datagram was decoded as {:?}", header.body);
    };
    let whole = Packet::new(packet, packet.len());
    assert!(whole.headers() <= packet.len().min(LONGEST_HEADERS));
    let Ok(Some(left)) = whole.remainder(state) else {
        return;
    };
    let headers = usize::from(left.headers);
    assert!(headers <= packet.len() && headers <= LONGEST_HEADERS);
    assert!(usize::from(left.checksum_start) + usize::from(left.checksum_offset) + 2 <= headers);
    match left.segmentation {
        Some(cut) => {
            let payload = packet.len() - headers;
            assert_eq!(state, PacketState::SegmentsDue(cut.payload));
            assert_eq!(payload.div_ceil(cut.payload.get().into()), cut.count.into());
            assert!(cut.count > 1);
        }
        None => assert_eq!(state, PacketState::ChecksumDue),
    }
    // A sender that sees no more than the headers agrees.
    let head = Packet::new(&packet[..headers], packet.len());
    assert_eq!(head.remainder(state), Ok(Some(left)));
}
