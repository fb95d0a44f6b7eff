// SPDX-License-Identifier: GPL-2.0

//! Packets of the control channel, ring 0 (`drivers/thunderbolt/ctl.c` and `tb_msgs.h`).

use crate::frame::PdfField;
use crate::ids::AdapterNumber;

/// Bytes of the checksum that ends a packet.
const CRC_SIZE: usize = size_of::<u32>();
/// Dwords of the header: the route.
const HEADER_DWORDS: usize = 2;
/// Largest packet, checksum included.
const MAX_PACKET: usize = 256;

/// Set in the first dword of what comes from a router.
const FROM_ROUTER: u32 = 1 << 31;
const ROUTE_HIGH_MASK: u32 = 0x3f_ffff;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// Read from a config space, and the answer.
    Read,
    /// Write to a config space, and the answer.
    Write,
    /// Notification, negative answer, or acknowledgement of a hotplug event.
    Error,
    /// Acknowledgement of a notification.
    NotifyAck,
    /// Hotplug event.
    Hotplug,
    /// XDomain request.
    XdomainRequest,
    /// XDomain response, and what `thunderbolt_net` sends as requests.
    XdomainResponse,
    /// Anything else, which a host router ignores.
    Other(PdfField),
}

impl PacketKind {
    const NUMBERED: [(u8, Self); 7] = [
        (1, Self::Read),
        (2, Self::Write),
        (3, Self::Error),
        (4, Self::NotifyAck),
        (5, Self::Hotplug),
        (6, Self::XdomainRequest),
        (7, Self::XdomainResponse),
    ];
}

impl From<PdfField> for PacketKind {
    fn from(pdf: PdfField) -> Self {
        Self::NUMBERED
            .iter()
            .find(|(number, _)| *number == pdf.0)
            .map_or(Self::Other(pdf), |(_, kind)| *kind)
    }
}

impl From<PacketKind> for PdfField {
    fn from(kind: PacketKind) -> Self {
        if let PacketKind::Other(pdf) = kind {
            return pdf;
        }
        PacketKind::NUMBERED
            .iter()
            .find(|(_, numbered)| *numbered == kind)
            .map_or(Self(0), |(number, _)| Self(*number))
    }
}

/// The way to a router: an adapter number for each hop, eight bits each, the first hop lowest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route(pub u64);

impl Route {
    /// The host router itself.
    pub const HOST: Self = Self(0);

    /// What is behind `adapter` of the host router.
    pub fn behind(adapter: AdapterNumber) -> Self {
        Self(u64::from(adapter.0))
    }

    /// The adapter of the host router through which the route leaves it.
    pub fn first_hop(self) -> AdapterNumber {
        AdapterNumber(self.0 as u8)
    }
}

/// Why a packet is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Not whole dwords, too short or too long.
    #[error("{0} bytes are no control packet")]
    Length(usize),
    /// The checksum is wrong.
    #[error("wrong checksum")]
    Crc,
}

/// A control packet without its checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlPacket {
    /// What it is.
    pub kind: PacketKind,
    /// What follows the route.
    pub body: Vec<u32>,
    /// Where it comes from or goes to.
    pub route: Route,
}

impl ControlPacket {
    /// Takes a frame of the control ring apart.
    pub fn decode(pdf: PdfField, bytes: &[u8]) -> Result<Self, PacketError> {
        let length = PacketError::Length(bytes.len());
        if bytes.len() > MAX_PACKET || bytes.len() % size_of::<u32>() != 0 {
            return Err(length);
        }
        let (content, crc) = bytes.split_last_chunk::<CRC_SIZE>().ok_or(length)?;
        if crc32c::crc32c(content) != u32::from_be_bytes(*crc) {
            return Err(PacketError::Crc);
        }
        let mut dwords = content.chunks_exact(size_of::<u32>()).map(|dword| {
            dword
                .iter()
                .fold(0, |value, byte| value << 8 | u32::from(*byte))
        });
        let (Some(high), Some(low)) = (dwords.next(), dwords.next()) else {
            return Err(length);
        };
        Ok(Self {
            kind: pdf.into(),
            route: Route(u64::from(high & ROUTE_HIGH_MASK) << u32::BITS | u64::from(low)),
            body: dwords.collect(),
        })
    }

    /// The frame that carries the packet to the host, with its checksum.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity((HEADER_DWORDS + self.body.len() + 1) * CRC_SIZE);
        let high = (self.route.0 >> u32::BITS) as u32 & ROUTE_HIGH_MASK | FROM_ROUTER;
        for dword in [high, self.route.0 as u32].iter().chain(&self.body) {
            bytes.extend(dword.to_be_bytes());
        }
        let crc = crc32c::crc32c(&bytes);
        bytes.extend(crc.to_be_bytes());
        bytes
    }
}

/// A config space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// Path table of an adapter.
    Paths,
    /// An adapter's registers.
    Adapter,
    /// The router's registers.
    Router,
    /// Counters of an adapter.
    Counters,
}

/// Address dword of a read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigAddress(pub u32);

impl ConfigAddress {
    const ADAPTER_SHIFT: u32 = 19;
    const ADAPTER_MASK: u32 = 0x3f;

    /// First dword.
    pub fn offset(self) -> usize {
        (self.0 & 0x1fff) as usize
    }

    /// Number of dwords.
    pub fn dwords(self) -> usize {
        (self.0 >> 13 & 0x3f) as usize
    }

    /// The adapter it is about, unless it is the router's space.
    pub fn adapter(self) -> AdapterNumber {
        AdapterNumber((self.0 >> Self::ADAPTER_SHIFT & Self::ADAPTER_MASK) as u8)
    }

    /// The space.
    pub fn space(self) -> Space {
        match self.0 >> 25 & 3 {
            0 => Space::Paths,
            1 => Space::Adapter,
            2 => Space::Router,
            _ => Space::Counters,
        }
    }

    /// The same with another adapter: answers carry the adapter the request came in through.
    #[must_use]
    pub fn with_adapter(self, adapter: AdapterNumber) -> Self {
        let others = self.0 & !(Self::ADAPTER_MASK << Self::ADAPTER_SHIFT);
        Self(others | (u32::from(adapter.0) & Self::ADAPTER_MASK) << Self::ADAPTER_SHIFT)
    }
}

/// Code of an error packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ErrorCode {
    /// Nothing is connected to the adapter.
    NotConnected = 0,
    /// The space does not have the dwords asked for. Also the answer to what lies beyond a link
    /// to another domain: it makes the driver look for an XDomain (`tb_scan_port()`).
    InvalidSpace = 2,
    /// Acknowledgement of a hotplug event, from the host.
    AckPlugEvent = 7,
}

/// Body of an error packet.
pub fn error_body(code: ErrorCode, adapter: AdapterNumber) -> u32 {
    code as u32 | u32::from(adapter.0) << u8::BITS
}

/// Whether the body of an error packet acknowledges the hotplug event of an adapter, and which.
pub fn acknowledged_adapter(body: &[u32]) -> Option<AdapterNumber> {
    let word = body.first()?;
    (word & 0xff == ErrorCode::AckPlugEvent as u32)
        .then_some(AdapterNumber((word >> u8::BITS & 0x3f) as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_survives_the_wire() {
        let packet = ControlPacket {
            kind: PacketKind::XdomainRequest,
            route: Route::behind(AdapterNumber(3)),
            body: vec![1, 0xdead_beef],
        };
        let bytes = packet.encode();
        assert_eq!(bytes[0], 0x80, "comes from a router");
        assert_eq!(bytes[7], 3);
        assert_eq!(ControlPacket::decode(PdfField(6), &bytes), Ok(packet));
    }

    #[test]
    fn malformed_packets_are_errors() {
        let decode = |bytes: &[u8]| ControlPacket::decode(PdfField(1), bytes);
        let good = ControlPacket {
            kind: PacketKind::Read,
            route: Route::HOST,
            body: vec![7],
        }
        .encode();
        for len in 0..good.len() {
            assert!(decode(&good[..len]).is_err(), "{len} bytes");
        }
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&bad), Err(PacketError::Crc));
        }
        // A checksum and nothing else is right but too short.
        assert_eq!(decode(&[0; 4]), Err(PacketError::Length(4)));
        assert_eq!(decode(&[0; 4096]), Err(PacketError::Length(4096)));
    }

    #[test]
    fn kinds_and_numbers() {
        for number in 0..16 {
            let kind = PacketKind::from(PdfField(number));
            assert_eq!(PdfField::from(kind), PdfField(number));
        }
        assert_eq!(PacketKind::from(PdfField(5)), PacketKind::Hotplug);
    }

    #[test]
    fn address_fields() {
        let address = ConfigAddress(5 | 9 << 13 | 3 << 19 | 1 << 25 | 2 << 27);
        assert_eq!(address.offset(), 5);
        assert_eq!(address.dwords(), 9);
        assert_eq!(address.adapter(), AdapterNumber(3));
        assert_eq!(address.space(), Space::Adapter);
        let other = address.with_adapter(AdapterNumber(5));
        assert_eq!(other.adapter(), AdapterNumber(5));
        assert_eq!(other.with_adapter(AdapterNumber(3)), address);
    }
}
