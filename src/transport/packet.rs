// SPDX-License-Identifier: GPL-2.0

//! Ethernet frames of the network interface: where the headers are that unfinished ones need.
//!
//! What is found in a packet is all that a network stack has to know to finish it, and it holds for the packet's real
//! length: a packet of which its state cannot be true is refused, whoever it comes from.

use super::frame::PacketState;
use super::frame::SegmentPayload;

/// Bytes of an Ethernet header.
pub const ETHERNET_HEADER: usize = 14;

/// The longest headers that are looked at: Ethernet, and IPv4 and TCP with all of their options.
pub const LONGEST_HEADERS: usize = ETHERNET_HEADER + 60 + 60;

mod ether_type {
    /// Where it is.
    pub(super) const AT: usize = 12;
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const IPV6: u16 = 0x86dd;
}

/// RFC 791.
mod ipv4 {
    pub(super) const LEAST_LEN: usize = 20;
    pub(super) const TOTAL_LEN: usize = 2;
    pub(super) const FRAGMENT: usize = 6;
    pub(super) const PROTOCOL: usize = 9;
    /// "More fragments", and the offset: both zero in what is no fragment.
    pub(super) const IS_FRAGMENT: u16 = 0x3fff;
}

/// RFC 8200.
mod ipv6 {
    pub(super) const LEN: usize = 40;
    pub(super) const PAYLOAD_LEN: usize = 4;
    pub(super) const NEXT_HEADER: usize = 6;
}

/// RFC 9293.
mod tcp {
    pub(super) const NUMBER: u8 = 6;
    pub(super) const LEAST_LEN: usize = 20;
    pub(super) const DATA_OFFSET: usize = 12;
    pub(super) const FLAGS: usize = 13;
    pub(super) const CHECKSUM: usize = 16;
    /// "Congestion window reduced" (RFC 3168).
    pub(super) const CWR: u8 = 0x80;
}

/// RFC 768.
mod udp {
    pub(super) const NUMBER: u8 = 17;
    pub(super) const LEN: usize = 8;
    pub(super) const CHECKSUM: usize = 6;
}

/// Version of IP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IpVersion {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// What becomes of TCP's "congestion window reduced" when a packet is cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Congestion {
    /// It is not set.
    Silent,
    /// The first segment alone has it.
    WindowReduced,
}

/// How a packet is to be cut.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Segmentation {
    /// Payload of each segment; the last may have less.
    pub payload: SegmentPayload,
    /// How many there will be, two at least.
    pub count: u16,
    /// Below TCP.
    pub ip: IpVersion,
    /// About congestion.
    pub congestion: Congestion,
}

/// What is to be done to a packet, and where. Positions count from the packet's first byte.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Remainder {
    /// Where TCP's or UDP's header begins, and what the checksum covers.
    pub checksum_start: u16,
    /// Where the checksum is, from there on.
    pub checksum_offset: u16,
    /// Where the payload begins.
    pub headers: u16,
    /// How to cut the packet, if it is to be cut.
    pub segmentation: Option<Segmentation>,
}

impl Remainder {
    /// Length of the longest packet that a network is to see of one of `len` bytes.
    pub fn longest_packet(&self, len: usize) -> usize {
        match self.segmentation {
            Some(segmentation) => {
                usize::from(self.headers) + usize::from(segmentation.payload.get())
            }
            None => len,
        }
    }
}

/// The packet cannot be in the state that was named.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused;

/// An Ethernet frame, as far as it can be seen.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    head: &'a [u8],
    len: usize,
}

/// TCP or UDP in a packet.
struct Transport {
    ip: IpVersion,
    protocol: u8,
    /// Where its header begins.
    at: usize,
    /// Where it ends, as IP says: not behind the packet's end.
    end: usize,
}

impl<'a> Packet<'a> {
    /// A packet of `len` bytes, the first of which are `head`; those behind need not be visible.
    pub fn new(head: &'a [u8], len: usize) -> Self {
        let head = head.get(..len).unwrap_or(head);
        Self { head, len }
    }

    /// Bytes of the headers that are known: Ethernet's at least, if the packet has so many.
    pub fn headers(&self) -> usize {
        let known = match self.transport() {
            Some(transport) => self.payload_at(&transport).unwrap_or(transport.at),
            None => ETHERNET_HEADER,
        };
        known.min(self.len)
    }

    /// What is to be done to the packet if its state is `state`; `None` if nothing is.
    ///
    /// # Errors
    ///
    /// [`Refused`] if that cannot be its state: there has to be TCP or UDP for a checksum, directly behind IP, in no
    /// fragment, up to the packet's very end; and for segments, TCP with more payload than fits one.
    pub fn remainder(&self, state: PacketState) -> Result<Option<Remainder>, Refused> {
        let payload = match state {
            PacketState::Finished => return Ok(None),
            PacketState::ChecksumDue => None,
            PacketState::SegmentsDue(payload) => Some(payload),
        };
        self.unfinished(payload).map(Some).ok_or(Refused)
    }

    fn unfinished(&self, payload: Option<SegmentPayload>) -> Option<Remainder> {
        let transport = self.transport()?;
        if transport.end != self.len {
            // Who adds the rest of the checksum may do so over all there is.
            return None;
        }
        let headers = self.payload_at(&transport)?;
        let checksum_offset = match transport.protocol {
            tcp::NUMBER => tcp::CHECKSUM,
            _ => udp::CHECKSUM,
        };
        let segmentation = match payload {
            Some(payload) => Some(self.segmentation(&transport, headers, payload)?),
            None => None,
        };
        Some(Remainder {
            checksum_start: u16::try_from(transport.at).ok()?,
            checksum_offset: checksum_offset as u16,
            headers: u16::try_from(headers).ok()?,
            segmentation,
        })
    }

    fn segmentation(
        &self,
        transport: &Transport,
        headers: usize,
        payload: SegmentPayload,
    ) -> Option<Segmentation> {
        if transport.protocol != tcp::NUMBER {
            return None;
        }
        let count = (self.len - headers).div_ceil(usize::from(payload.get()));
        let congestion = if self.byte(transport.at + tcp::FLAGS)? & tcp::CWR != 0 {
            Congestion::WindowReduced
        } else {
            Congestion::Silent
        };
        Some(Segmentation {
            payload,
            count: u16::try_from(count).ok().filter(|&count| count > 1)?,
            ip: transport.ip,
            congestion,
        })
    }

    /// TCP or UDP directly behind IP, if that is there and no fragment.
    fn transport(&self) -> Option<Transport> {
        let transport = match self.u16(ether_type::AT)? {
            ether_type::IPV4 => self.behind_ipv4()?,
            ether_type::IPV6 => self.behind_ipv6()?,
            _ => return None,
        };
        let is_known = matches!(transport.protocol, tcp::NUMBER | udp::NUMBER);
        let is_whole = transport.at <= transport.end && transport.end <= self.len;
        (is_known && is_whole).then_some(transport)
    }

    fn behind_ipv4(&self) -> Option<Transport> {
        const IP: usize = ETHERNET_HEADER;
        let first = self.byte(IP)?;
        let len = usize::from(first & 0xf) * 4;
        let fragment = self.u16(IP + ipv4::FRAGMENT)?;
        if first >> 4 != 4 || len < ipv4::LEAST_LEN || fragment & ipv4::IS_FRAGMENT != 0 {
            return None;
        }
        Some(Transport {
            ip: IpVersion::V4,
            protocol: self.byte(IP + ipv4::PROTOCOL)?,
            at: IP + len,
            end: IP + usize::from(self.u16(IP + ipv4::TOTAL_LEN)?),
        })
    }

    fn behind_ipv6(&self) -> Option<Transport> {
        const IP: usize = ETHERNET_HEADER;
        if self.byte(IP)? >> 4 != 6 {
            return None;
        }
        Some(Transport {
            ip: IpVersion::V6,
            protocol: self.byte(IP + ipv6::NEXT_HEADER)?,
            at: IP + ipv6::LEN,
            end: IP + ipv6::LEN + usize::from(self.u16(IP + ipv6::PAYLOAD_LEN)?),
        })
    }

    /// Where the payload of TCP or UDP begins, if all of the header is there.
    fn payload_at(&self, transport: &Transport) -> Option<usize> {
        let len = match transport.protocol {
            tcp::NUMBER => {
                let len = usize::from(self.byte(transport.at + tcp::DATA_OFFSET)? >> 4) * 4;
                Some(len).filter(|&len| len >= tcp::LEAST_LEN)?
            }
            _ => udp::LEN,
        };
        let payload_at = transport.at + len;
        (payload_at <= transport.end && payload_at <= self.head.len()).then_some(payload_at)
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.head.get(at).copied()
    }

    fn u16(&self, at: usize) -> Option<u16> {
        Some(u16::from_be_bytes([self.byte(at)?, self.byte(at + 1)?]))
    }
}
