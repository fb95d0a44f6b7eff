// SPDX-License-Identifier: GPL-2.0

//! Where datagrams go: what address handles stand for.

use kernel::prelude::*;
use kernel::sync::Arc;

use crate::base::number_table::NumberTable;
use crate::transport::unreliable_datagram::Gid;
use crate::transport::unreliable_datagram::Path;
use crate::verbs::abi::datagram_wqe::AddressRef;
use crate::verbs::limits::MAX_PATH_HANDLES;
use crate::verbs::netdev::MacAddress;
use crate::verbs::pd::PdId;

/// Numbers of address handles; not zero, which means that there is none.
const NUMBERS: core::ops::Range<u32> = 1..1 << 24;

/// Who gets a datagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Destination {
    /// A QP of this host.
    Host(MacAddress),
    /// The QPs of a multicast group, on all hosts.
    #[default]
    Group,
}

/// What an address handle stands for. It is copied when it is used: datagrams under way do not need the handle.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Address {
    /// Who gets what is sent there.
    pub(crate) destination: Destination,
    /// What the receiver is told of the way.
    pub(crate) path: Path,
}

/// An address handle.
pub(crate) struct PathEntry {
    /// The domain whose QPs may use it.
    pub(crate) pd: PdId,
    /// Hardware address of the next hop.
    pub(crate) mac: [u8; 6],
    /// What it stands for.
    pub(crate) address: Address,
}

/// Address handles by number.
pub(crate) type PathTable = NumberTable<PathEntry>;

impl PathEntry {
    /// An empty table.
    pub(crate) fn table() -> impl PinInit<PathTable> {
        NumberTable::new(NUMBERS, MAX_PATH_HANDLES)
    }
}

/// The address that a request of a QP of `pd` names, if there is such an address handle.
///
/// A request that does not say which one is believed if there is any with the same hardware address and destination: no process
/// sends to where it was not allowed to.
pub(crate) fn look_up(table: &PathTable, pd: PdId, named: &AddressRef) -> Option<Address> {
    match named {
        AddressRef::Handle(number) => table.find_with(number.get(), |entry| {
            (entry.pd == pd).then_some(entry.address)
        }),
        AddressRef::Inline { mac, gid } => {
            let gid = Gid(*gid);
            let mut number = NUMBERS.start;
            while let Some((found, entry)) = table.find_from(number) {
                if entry.pd == pd && entry.mac == *mac && entry.address.path.destination == gid {
                    return Some(entry.address);
                }
                number = found + 1;
            }
            None
        }
    }
}

/// A device with address handles.
pub(crate) trait HasPaths {
    /// All of them.
    fn paths(&self) -> &Arc<PathTable>;
}
