// SPDX-License-Identifier: GPL-2.0

//! The header of the network that a datagram is said to have come over, as RoCE v2 puts it before the message: IPv6, or 20
//! bytes of zeroes and IPv4 (IBTA annex A17). Who receives a datagram reads the sender's address in it.

use crate::transport::frame::NETWORK_HEADER_LEN;

/// Where IPv4's begins.
const IPV4_AT: usize = NETWORK_HEADER_LEN - IPV4_LEN;
const IPV4_LEN: usize = 20;
/// First byte of an IPv4 header without options.
const IPV4_VERSION_AND_LENGTH: u8 = 0x45;
/// Flag of IPv4: not to be fragmented.
const DONT_FRAGMENT: u8 = 0x40;
/// First half byte of an IPv6 header.
const IPV6_VERSION: u32 = 6 << 28;
const FLOW_LABEL: u32 = (1 << 20) - 1;
/// Number of UDP among IP's protocols.
const UDP: u8 = 17;
/// What RoCE v2 puts around a message: headers of UDP, transport and datagram, and its checksum.
const AROUND_MESSAGE: u32 = 8 + 12 + 8 + 4;
/// The first 12 bytes of an IPv4 address that is written as one of IPv6.
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// A global identifier: an IPv6 address, or an IPv4 address as one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Gid(pub [u8; 16]);

impl Gid {
    /// The IPv4 address, if it is one.
    fn ipv4(&self) -> Option<[u8; 4]> {
        let (prefix, address) = self.0.split_last_chunk::<4>()?;
        (*prefix == MAPPED).then_some(*address)
    }

    fn from_ipv4(address: [u8; 4]) -> Self {
        let mut gid = [0; 16];
        let (prefix, rest) = gid.split_at_mut(MAPPED.len());
        prefix.copy_from_slice(&MAPPED);
        rest.copy_from_slice(&address);
        Self(gid)
    }

    /// Whether it is that of a multicast group.
    pub fn is_multicast(&self) -> bool {
        match self.ipv4() {
            // 224.0.0.0/4
            Some([first, ..]) => first >> 4 == 0xe,
            None => self.0[0] == 0xff,
        }
    }
}

/// The way of a datagram.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Path {
    /// Where it comes from.
    pub source: Gid,
    /// Where it goes.
    pub destination: Gid,
    /// Class of traffic, or IPv4's type of service.
    pub traffic_class: u8,
    /// Flow label, 20 bits. IPv4 has none.
    pub flow_label: u32,
    /// Hops it may take.
    pub hop_limit: u8,
}

impl Path {
    /// The header before a message of `len` bytes, at most [`MAX_DATAGRAM`](crate::transport::frame::MAX_DATAGRAM).
    pub fn network_header(&self, len: u32) -> [u8; NETWORK_HEADER_LEN] {
        let mut header = [0; NETWORK_HEADER_LEN];
        let carried = (len.next_multiple_of(4) + AROUND_MESSAGE) as u16;
        match self.source.ipv4().zip(self.destination.ipv4()) {
            Some((source, destination)) => {
                let ip = &mut header[IPV4_AT..];
                ip[0] = IPV4_VERSION_AND_LENGTH;
                ip[1] = self.traffic_class;
                ip[2..4].copy_from_slice(&(carried + IPV4_LEN as u16).to_be_bytes());
                ip[6] = DONT_FRAGMENT;
                ip[8] = self.hop_limit;
                ip[9] = UDP;
                ip[12..16].copy_from_slice(&source);
                ip[16..20].copy_from_slice(&destination);
                let checksum = ipv4_checksum(ip);
                ip[10..12].copy_from_slice(&checksum.to_be_bytes());
            }
            None => {
                let first = IPV6_VERSION
                    | u32::from(self.traffic_class) << 20
                    | self.flow_label & FLOW_LABEL;
                header[0..4].copy_from_slice(&first.to_be_bytes());
                header[4..6].copy_from_slice(&carried.to_be_bytes());
                header[6] = UDP;
                header[7] = self.hop_limit;
                header[8..24].copy_from_slice(&self.source.0);
                header[24..40].copy_from_slice(&self.destination.0);
            }
        }
        header
    }
}

/// Where the datagram with the network header at the start of `payload` goes, if it is one.
pub fn destination(payload: &[u8]) -> Option<Gid> {
    let header: &[u8; NETWORK_HEADER_LEN] = payload.first_chunk()?;
    if header[0] >> 4 == (IPV6_VERSION >> 28) as u8 {
        return Some(Gid(*header.last_chunk()?));
    }
    if header[IPV4_AT] == IPV4_VERSION_AND_LENGTH {
        return Some(Gid::from_ipv4(*header.last_chunk()?));
    }
    None
}

/// The checksum of a header whose field for it is zero (RFC 791).
fn ipv4_checksum(header: &[u8]) -> u16 {
    let sum: u32 = header
        .chunks_exact(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word[1]))
        .sum();
    // Ten words cannot carry more than this.
    let folded = (sum & 0xffff) + (sum >> 16);
    !((folded & 0xffff) + (folded >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipv4_path() -> Path {
        Path {
            source: Gid::from_ipv4([10, 0, 0, 1]),
            destination: Gid::from_ipv4([10, 0, 0, 2]),
            traffic_class: 3,
            flow_label: 0xf_ffff,
            hop_limit: 64,
        }
    }

    #[test]
    fn ipv4_comes_behind_zeroes_and_adds_up() {
        let path = ipv4_path();
        let header = path.network_header(5);
        assert_eq!(header[..20], [0; 20]);
        let ip = &header[20..];
        assert_eq!(ip[..2], [0x45, 3]);
        assert_eq!(u16::from_be_bytes([ip[2], ip[3]]), 20 + 8 + 32);
        assert_eq!(ip[8..10], [64, 17]);
        // With its checksum in place, a header sums up to nothing.
        assert_eq!(ipv4_checksum(ip), 0);
        assert_eq!(destination(&header), Some(path.destination));
    }

    #[test]
    fn ipv6_has_all_of_the_path() {
        let path = Path {
            source: Gid([0xfe; 16]),
            destination: Gid([0xfd; 16]),
            ..ipv4_path()
        };
        let header = path.network_header(4096);
        assert_eq!(header[..4], [0x60, 0x3f, 0xff, 0xff]);
        assert_eq!(u16::from_be_bytes([header[4], header[5]]), 4096 + 32);
        assert_eq!(header[6..8], [17, 64]);
        assert_eq!(header[8..24], path.source.0);
        assert_eq!(destination(&header), Some(path.destination));
    }

    #[test]
    fn what_is_no_header_leads_nowhere() {
        assert_eq!(destination(&[0; NETWORK_HEADER_LEN]), None);
        assert_eq!(destination(&[0x60; NETWORK_HEADER_LEN - 1]), None);
    }

    #[test]
    fn groups_of_both_kinds_are_known() {
        assert!(Gid::from_ipv4([239, 1, 2, 3]).is_multicast());
        assert!(!Gid::from_ipv4([10, 1, 2, 3]).is_multicast());
        let mut group = [0; 16];
        group[0] = 0xff;
        assert!(Gid(group).is_multicast());
        assert!(!Gid([0xfe; 16]).is_multicast());
    }
}
