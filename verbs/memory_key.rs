// SPDX-License-Identifier: GPL-2.0

//! Keys of memory, and what an access by one needs.

use crate::transport::ids::Qpn;
use crate::verbs::pd::PdId;
use crate::verbs::rdma::AccessFlags;

/// Bits of a key that say nothing about what it names; the rest is its number.
const VARIANT_BITS: u32 = 8;

/// Numbers that keys have room for.
pub(crate) const NUMBERS: u32 = 1 << (u32::BITS - VARIANT_BITS);

/// A key names a memory region, in local (lkey) and remote (rkey) accesses alike, or a memory window, in remote
/// accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u32);

impl Key {
    /// The key of what has this number, below [`NUMBERS`]: one of many, by the low bits of `variant`.
    pub(crate) fn new(number: u32, variant: u32) -> Self {
        Self(number << VARIANT_BITS | variant & ((1 << VARIANT_BITS) - 1))
    }

    /// Number of what the key names.
    pub(crate) fn number(self) -> u32 {
        self.0 >> VARIANT_BITS
    }
}

/// An access that the memory's owner does not allow: wrong key, PD, queue pair, rights or range. Which of them is not
/// told to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AccessDenied;

/// Who makes a key invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Initiator {
    /// Who has the memory, by a request.
    Owner,
    /// The peer, by a SEND.
    Peer,
}

/// What an access needs of a region or a window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// The protection domain of the QP.
    pub(crate) pd: PdId,
    /// The QP whose peer asks for it; none if the process itself does.
    pub(crate) peer_of: Option<Qpn>,
    /// The rights. None are needed to read for the process itself.
    pub(crate) access: AccessFlags,
}
