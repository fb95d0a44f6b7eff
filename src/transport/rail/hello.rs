// SPDX-License-Identifier: GPL-2.0

//! The handshake message: who speaks, which version, and what it has seen of the peer.

use crate::transport::checksum::Algorithm;
use crate::transport::ids::RailSeq;
use crate::transport::limits::Limits;

/// Version of the protocol. Both ends must speak the same.
pub const PROTOCOL_VERSION: u16 = 6;

/// Length of a hello on the wire.
pub const HELLO_LEN: usize = 128;

/// Longest hello that is listened to.
pub const LONGEST_HELLO: usize = 4 * HELLO_LEN;

/// Longest name of a node in bytes.
pub const NODE_NAME_LEN: usize = 48;

/// A stable name of a host: its node GUID.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct NodeGuid(pub u64);

/// Abilities beyond those of the version that an end offers; what both offer is used.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Features(pub u64);

impl Features {
    /// The plain protocol.
    pub const NONE: Self = Self(0);

    /// The processor has instructions for CRC-32C.
    pub const FAST_CRC32C: Self = Self(1);

    /// Datagrams may be unfinished: see [`PacketState`](crate::transport::frame::PacketState).
    pub const UNFINISHED_DATAGRAMS: Self = Self(2);

    /// COMPARE AND SWAP, FETCH AND ADD.
    pub const ATOMICS: Self = Self(1 << 2);

    /// ATOMIC WRITE.
    pub const ATOMIC_WRITE: Self = Self(1 << 3);

    /// FLUSH.
    pub const FLUSH: Self = Self(1 << 4);

    /// Queue pairs may have unreliable connections.
    pub const UNRELIABLE_CONNECTIONS: Self = Self(1 << 6);

    /// Unreliable datagrams are understood.
    pub const UNRELIABLE_DATAGRAMS: Self = Self(1 << 7);

    /// Those of both sets together.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Features of both sets.
    pub const fn both(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of `these` are among them.
    pub const fn contains(self, these: Self) -> bool {
        self.0 & these.0 == these.0
    }

    /// What the checksums of a session with an end that offers `other` are. That end finds the same.
    pub const fn checksums_with(self, other: Self) -> Algorithm {
        if self.both(other).contains(Self::FAST_CRC32C) {
            Algorithm::Crc32c
        } else {
            Algorithm::Xxh64
        }
    }
}

/// What an end says about itself; the same on all its rails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The host.
    pub node_guid: NodeGuid,
    /// Ethernet address of its network interface.
    pub mac: [u8; 6],
    /// Optional features of the host.
    pub features: Features,
    /// What the host can take from its peers.
    pub limits: Limits,
    /// Name for log lines: UTF-8 padded with zeroes.
    pub name: [u8; NODE_NAME_LEN],
}

impl Identity {
    /// The node's name, as far as it is text. Where it would break out of a log line, it ends.
    pub fn name(&self) -> &str {
        let bytes = self.name.split(|&byte| byte == 0).next().unwrap_or(&[]);
        let text = match core::str::from_utf8(bytes) {
            Ok(name) => name,
            Err(error) => {
                let valid = bytes.get(..error.valid_up_to()).unwrap_or(&[]);
                core::str::from_utf8(valid).unwrap_or("")
            }
        };
        text.split(char::is_control).next().unwrap_or("")
    }
}

/// What a hello is known by, and echoed as: its session, and its number there.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Challenge {
    /// Session id: random, not zero, new whenever a stream is opened.
    pub session: u64,
    /// Counts the hellos of a session, from 1.
    pub nonce: u32,
}

/// Whether the sender of a hello knows that its reader is in sync with the peer's writer.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[repr(u8)]
pub enum ReaderSync {
    /// Not known yet.
    #[default]
    Unproven = 0,
    /// Known to be in sync.
    InSync = 1,
}

/// A handshake message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hello {
    /// Identity of the sending host.
    pub identity: Identity,
    /// The sender's own session and the number of this hello.
    pub own: Challenge,
    /// The newest hello it has received in this session; zeroes if none.
    pub echo: Challenge,
    /// Whether the sender's reader is in sync.
    pub sync: ReaderSync,
    /// Number of the first frame it will send.
    pub first_seq: RailSeq,
}

/// Why a payload is not a hello.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HelloError {
    /// The payload is too short.
    Short,
    /// The peer speaks this version, which is not ours.
    Version(u16),
    /// A field is out of range.
    Field,
}

impl Hello {
    /// Encodes the message.
    pub fn encode(&self) -> [u8; HELLO_LEN] {
        let mut out = [0; HELLO_LEN];
        out[0..2].copy_from_slice(&PROTOCOL_VERSION.to_le_bytes());
        out[2..4].copy_from_slice(&self.identity.limits.window.to_le_bytes());
        out[4..8].copy_from_slice(&self.identity.limits.max_payload.to_le_bytes());
        out[8..16].copy_from_slice(&self.identity.features.0.to_le_bytes());
        out[16..24].copy_from_slice(&self.own.session.to_le_bytes());
        out[24..28].copy_from_slice(&self.own.nonce.to_le_bytes());
        out[28..32].copy_from_slice(&self.echo.nonce.to_le_bytes());
        out[32..40].copy_from_slice(&self.echo.session.to_le_bytes());
        out[40..48].copy_from_slice(&self.identity.node_guid.0.to_le_bytes());
        out[48..54].copy_from_slice(&self.identity.mac);
        out[54] = self.sync as u8;
        out[55] = self.identity.limits.max_rd_atomic;
        out[56..60].copy_from_slice(&self.first_seq.0.to_le_bytes());
        out[64..64 + NODE_NAME_LEN].copy_from_slice(&self.identity.name);
        out
    }

    /// Decodes a message.
    ///
    /// # Errors
    ///
    /// [`HelloError`] if the payload is not a hello of our version. Longer payloads are accepted, for
    /// what later minor additions may append.
    pub fn decode(bytes: &[u8]) -> Result<Self, HelloError> {
        let head: [u8; 2] = array_at(bytes, 0)?;
        let version = u16::from_le_bytes(head);
        if version != PROTOCOL_VERSION {
            return Err(HelloError::Version(version));
        }
        let hello = Self {
            identity: Identity {
                limits: Limits {
                    max_payload: u32::from_le_bytes(array_at(bytes, 4)?),
                    window: u16::from_le_bytes(array_at(bytes, 2)?),
                    max_rd_atomic: u8::from_le_bytes(array_at(bytes, 55)?),
                },
                features: Features(u64::from_le_bytes(array_at(bytes, 8)?)),
                node_guid: NodeGuid(u64::from_le_bytes(array_at(bytes, 40)?)),
                mac: array_at(bytes, 48)?,
                name: array_at(bytes, 64)?,
            },
            own: Challenge {
                session: u64::from_le_bytes(array_at(bytes, 16)?),
                nonce: u32::from_le_bytes(array_at(bytes, 24)?),
            },
            echo: Challenge {
                nonce: u32::from_le_bytes(array_at(bytes, 28)?),
                session: u64::from_le_bytes(array_at(bytes, 32)?),
            },
            sync: match array_at(bytes, 54)? {
                [0] => ReaderSync::Unproven,
                [1] => ReaderSync::InSync,
                [_] => return Err(HelloError::Field),
            },
            first_seq: RailSeq(u32::from_le_bytes(array_at(bytes, 56)?)),
        };
        if bytes.len() < HELLO_LEN {
            return Err(HelloError::Short);
        }
        let identity = &hello.identity;
        let in_range = hello.own.session != 0
            && hello.own.nonce != 0
            && identity.node_guid.0 != 0
            && identity.limits.is_valid();
        if in_range {
            Ok(hello)
        } else {
            Err(HelloError::Field)
        }
    }
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], HelloError> {
    bytes
        .get(at..at + N)
        .and_then(|part| part.try_into().ok())
        .ok_or(HelloError::Short)
}
