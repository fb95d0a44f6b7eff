// SPDX-License-Identifier: GPL-2.0

//! Unfinished packets: what an honest stack leaves undone is found where it is, and nothing else passes.

use proptest::collection::vec;
use proptest::prelude::*;
use usb4_roce::transport::frame::PacketState;
use usb4_roce::transport::frame::SegmentPayload;
use usb4_roce::transport::packet::Congestion;
use usb4_roce::transport::packet::IpVersion;
use usb4_roce::transport::packet::Packet;
use usb4_roce::transport::packet::Refused;
use usb4_roce::transport::packet::Remainder;
use usb4_roce::transport::packet::Segmentation;
use usb4_roce::transport::packet::ETHERNET_HEADER;
use usb4_roce::transport::packet::LONGEST_HEADERS;

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A packet as a stack would make it.
#[derive(Clone, Debug)]
struct Honest {
    ip: IpVersion,
    protocol: u8,
    /// Words of options of IPv4.
    ip_options: usize,
    /// Words of TCP's options.
    tcp_options: usize,
    tcp_flags: u8,
    payload: usize,
}

impl Honest {
    fn ip_header(&self) -> usize {
        match self.ip {
            IpVersion::V4 => 20 + 4 * self.ip_options,
            IpVersion::V6 => 40,
        }
    }

    fn transport_at(&self) -> usize {
        ETHERNET_HEADER + self.ip_header()
    }

    fn headers(&self) -> usize {
        let transport = match self.protocol {
            TCP => 20 + 4 * self.tcp_options,
            _ => 8,
        };
        self.transport_at() + transport
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0x5a; self.headers() + self.payload];
        let ip_len = (bytes.len() - ETHERNET_HEADER) as u16;
        let ip = &mut bytes[ETHERNET_HEADER..];
        let ether_type: u16 = match self.ip {
            IpVersion::V4 => {
                ip[0] = 0x45 + self.ip_options as u8;
                ip[2..4].copy_from_slice(&ip_len.to_be_bytes());
                ip[6..8].copy_from_slice(&0x4000u16.to_be_bytes());
                ip[9] = self.protocol;
                0x0800
            }
            IpVersion::V6 => {
                ip[0] = 0x60;
                ip[4..6].copy_from_slice(&(ip_len - 40).to_be_bytes());
                ip[6] = self.protocol;
                0x86dd
            }
        };
        bytes[12..14].copy_from_slice(&ether_type.to_be_bytes());
        if self.protocol == TCP {
            let at = self.transport_at();
            bytes[at + 12] = (5 + self.tcp_options as u8) << 4;
            bytes[at + 13] = self.tcp_flags;
        }
        bytes
    }
}

fn honest_of(
    protocol: impl Strategy<Value = u8>,
    payload: std::ops::Range<usize>,
) -> impl Strategy<Value = Honest> {
    let ip = prop_oneof![Just(IpVersion::V4), Just(IpVersion::V6)];
    let options = (0..=10usize, 0..=10usize);
    (ip, protocol, options, any::<u8>(), payload).prop_map(
        |(ip, protocol, (ip_options, tcp_options), tcp_flags, payload)| Honest {
            ip,
            protocol,
            ip_options,
            tcp_options,
            tcp_flags,
            payload,
        },
    )
}

fn honest() -> impl Strategy<Value = Honest> {
    honest_of(prop_oneof![Just(TCP), Just(UDP)], 0..3_000)
}

fn honest_tcp() -> impl Strategy<Value = Honest> {
    honest_of(Just(TCP), 2..65_000)
}

fn segments(bytes: u16) -> PacketState {
    PacketState::SegmentsDue(SegmentPayload::new(bytes).unwrap())
}

fn state() -> impl Strategy<Value = PacketState> {
    prop_oneof![
        Just(PacketState::Finished),
        Just(PacketState::ChecksumDue),
        (SegmentPayload::LEAST.get()..u16::MAX).prop_map(segments),
        (SegmentPayload::LEAST.get()..64).prop_map(segments),
    ]
}

fn remainder(bytes: &[u8], state: PacketState) -> Result<Option<Remainder>, Refused> {
    Packet::new(bytes, bytes.len()).remainder(state)
}

/// What the receiver relies on, whoever made the packet.
fn check(bytes: &[u8], state: PacketState) {
    let packet = Packet::new(bytes, bytes.len());
    assert!(packet.headers() <= bytes.len().min(LONGEST_HEADERS));
    let Ok(Some(left)) = packet.remainder(state) else {
        return;
    };
    assert_ne!(state, PacketState::Finished);
    let headers = usize::from(left.headers);
    assert!(headers <= bytes.len() && headers <= LONGEST_HEADERS);
    assert_eq!(headers, packet.headers());
    assert!(usize::from(left.checksum_start) >= ETHERNET_HEADER + 20);
    assert!(usize::from(left.checksum_start) + usize::from(left.checksum_offset) + 2 <= headers);
    let Some(cut) = left.segmentation else {
        assert_eq!(state, PacketState::ChecksumDue);
        return;
    };
    assert_eq!(left.checksum_offset, 16);
    let payload = bytes.len() - headers;
    let size = usize::from(cut.payload.get());
    assert!(cut.count >= 2 && size >= 8);
    assert!(payload > size * (usize::from(cut.count) - 1));
    assert!(payload <= size * usize::from(cut.count));
    assert_eq!(left.longest_packet(bytes.len()), headers + size);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn a_finished_packet_may_be_anything(bytes in vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(remainder(&bytes, PacketState::Finished), Ok(None));
    }

    #[test]
    fn a_checksum_that_is_due_is_found(honest in honest()) {
        let left = remainder(&honest.bytes(), PacketState::ChecksumDue).unwrap().unwrap();
        prop_assert_eq!(usize::from(left.checksum_start), honest.transport_at());
        prop_assert_eq!(left.checksum_offset, if honest.protocol == TCP { 16 } else { 6 });
        prop_assert_eq!(usize::from(left.headers), honest.headers());
        prop_assert_eq!(left.segmentation, None);
    }

    #[test]
    fn segments_that_are_due_are_counted(
        honest in honest_tcp(), size in SegmentPayload::LEAST.get()..60_000,
    ) {
        let bytes = honest.bytes();
        let found = remainder(&bytes, segments(size));
        let count = honest.payload.div_ceil(size.into());
        if count < 2 {
            prop_assert_eq!(found, Err(Refused));
        } else {
            let congestion = if honest.tcp_flags & 0x80 == 0 {
                Congestion::Silent
            } else {
                Congestion::WindowReduced
            };
            let expected = Segmentation {
                payload: SegmentPayload::new(size).unwrap(),
                count: count as u16,
                ip: honest.ip,
                congestion,
            };
            prop_assert_eq!(found.unwrap().unwrap().segmentation, Some(expected));
        }
        check(&bytes, segments(size));
    }

    /// A sender sees the beginning of a packet only; what it takes for true there, the receiver does too.
    #[test]
    fn the_headers_alone_say_the_same(honest in honest(), state in state(), hidden in any::<bool>()) {
        let bytes = honest.bytes();
        let head = if hidden { &bytes[..honest.headers()] } else { &bytes[..] };
        prop_assert_eq!(Packet::new(head, bytes.len()).remainder(state), remainder(&bytes, state));
    }

    #[test]
    fn a_cut_header_is_refused(honest in honest(), state in state(), cut in 0..200usize) {
        let bytes = honest.bytes();
        let cut = cut.min(honest.headers() - 1);
        let found = remainder(&bytes[..cut], state);
        let expected = match state {
            PacketState::Finished => Ok(None),
            _ => Err(Refused),
        };
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn udp_is_not_cut(honest in honest_of(Just(UDP), 20..3_000), size in 8..20u16) {
        prop_assert_eq!(remainder(&honest.bytes(), segments(size)), Err(Refused));
    }

    #[test]
    fn fragments_are_finished(honest in honest(), fragment in 1..0x4000u16) {
        let honest = Honest { ip: IpVersion::V4, ..honest };
        let mut bytes = honest.bytes();
        bytes[20..22].copy_from_slice(&fragment.to_be_bytes());
        prop_assert_eq!(remainder(&bytes, PacketState::ChecksumDue), Err(Refused));
    }

    /// A stack trims what lies behind IP's end: it would count segments that are not there, and sum what is not the packet's.
    #[test]
    fn what_is_unfinished_reaches_to_the_end(honest in honest_of(Just(TCP), 100..1_000), more in 1..100usize) {
        let mut bytes = honest.bytes();
        bytes.extend(vec![0; more]);
        prop_assert_eq!(remainder(&bytes, segments(50)), Err(Refused));
        prop_assert_eq!(remainder(&bytes, PacketState::ChecksumDue), Err(Refused));
    }

    #[test]
    fn one_changed_byte_breaks_no_promise(
        honest in honest(), at in 0..LONGEST_HEADERS, byte in any::<u8>(), state in state(),
    ) {
        let mut bytes = honest.bytes();
        let at = at % honest.headers();
        bytes[at] = byte;
        check(&bytes, state);
    }

    #[test]
    fn anything_is_survived(bytes in vec(any::<u8>(), 0..200), state in state()) {
        check(&bytes, state);
    }
}

#[test]
fn too_small_segments_cannot_be() {
    for bytes in 0..SegmentPayload::LEAST.get() {
        assert_eq!(SegmentPayload::new(bytes), None);
    }
}
