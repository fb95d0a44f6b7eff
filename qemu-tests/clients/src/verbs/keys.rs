// SPDX-License-Identifier: GPL-2.0

//! Numbers that name verbs objects. Each is a type of its own so that they cannot be mixed up.

use std::fmt;

use serde::Deserialize;
use serde::Serialize;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $format:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }
    };
}

number!(
    /// A queue pair number, 24 bits.
    Qpn(u32),
    "{:#08x}"
);
number!(
    /// A packet sequence number, 24 bits.
    Psn(u32),
    "{:#08x}"
);
number!(
    /// A local memory key.
    Lkey(u32),
    "{:#010x}"
);
number!(
    /// A remote memory key.
    Rkey(u32),
    "{:#010x}"
);
number!(
    /// An index into a port's GID table.
    GidIndex(u8),
    "{}"
);
number!(
    /// A port of a device, from 1.
    PortNum(u8),
    "{}"
);

/// An address in a peer's registered memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteAddr {
    /// The peer's virtual address.
    pub address: u64,
    /// The key that permits access to it.
    pub rkey: Rkey,
}

impl RemoteAddr {
    /// The address `offset` bytes further on, under the same key.
    pub fn plus(self, offset: usize) -> Self {
        Self {
            address: self.address.wrapping_add(offset as u64),
            rkey: self.rkey,
        }
    }
}
