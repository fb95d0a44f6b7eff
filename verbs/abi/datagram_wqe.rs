// SPDX-License-Identifier: GPL-2.0

//! What send work requests of UD QPs say besides: where the datagram goes.

use core::num::NonZeroU32;

use super::bytes::load_array;
use super::bytes::load_u16;
use super::bytes::load_u32;
use super::send_wqe::HEADER_SIZE;

const REMOTE_QPN: usize = 24;
const REMOTE_QKEY: usize = 28;
const PKEY_INDEX: usize = 32;
const AH_NUMBER: usize = 36;
const AV_MAC: usize = 58;
const AV_GID: usize = 64;

/// Where the destination's address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressRef {
    /// In the address handle with that number.
    Handle(NonZeroU32),
    /// In the request itself: providers before rdma-core 39 copy what they know of the address handle.
    Inline {
        /// Hardware address of the next hop.
        mac: [u8; 6],
        /// The destination.
        gid: [u8; 16],
    },
}

/// A datagram's destination: `wr.wr.ud`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatagramTarget {
    /// The QP.
    pub qpn: u32,
    /// Its Q_Key.
    pub qkey: u32,
    /// Index of the partition key.
    pub pkey_index: u16,
    /// The address.
    pub address: AddressRef,
}

impl DatagramTarget {
    /// Reads a copy of a WQE's header. Nothing is checked.
    pub fn decode(header: &[u8; HEADER_SIZE]) -> Self {
        let number = load_u32::<AH_NUMBER, HEADER_SIZE>(header);
        Self {
            qpn: load_u32::<REMOTE_QPN, HEADER_SIZE>(header),
            qkey: load_u32::<REMOTE_QKEY, HEADER_SIZE>(header),
            pkey_index: load_u16::<PKEY_INDEX, HEADER_SIZE>(header),
            address: match NonZeroU32::new(number) {
                Some(number) => AddressRef::Handle(number),
                None => AddressRef::Inline {
                    mac: load_array::<AV_MAC, 6, HEADER_SIZE>(header),
                    gid: load_array::<AV_GID, 16, HEADER_SIZE>(header),
                },
            },
        }
    }
}
