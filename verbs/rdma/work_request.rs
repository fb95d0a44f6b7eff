// SPDX-License-Identifier: GPL-2.0

//! Work requests of users in the kernel, whose queue pairs are for datagrams.

use super::{
    address_handle::AddressHandle,
    driver::Driver, //
};
use crate::verbs::bindings;
use core::{
    marker::PhantomData,
    slice, //
};
use kernel::prelude::*;

/// A scatter/gather element.
#[derive(Clone, Copy, Debug)]
pub struct Element {
    /// Address: in the kernel's memory, or in a memory region.
    pub address: u64,
    /// Bytes.
    pub length: u32,
    /// Key; zero for the kernel's memory (`ib_device.local_dma_lkey`).
    pub lkey: u32,
}

/// A list of elements.
///
/// # Invariants
///
/// The elements are those of a work request, valid for `'a`.
#[derive(Clone, Copy)]
pub struct ElementList<'a>(&'a [bindings::ib_sge]);

impl<'a> ElementList<'a> {
    /// # Safety
    ///
    /// `list` must point to `count` elements that are valid for `'a`, unless that is 0.
    unsafe fn from_raw(list: *const bindings::ib_sge, count: kernel::ffi::c_int) -> Result<Self> {
        let count = usize::try_from(count)?;
        if count == 0 {
            return Ok(Self(&[]));
        }
        // SAFETY: By the requirements of this function.
        Ok(Self(unsafe { slice::from_raw_parts(list, count) }))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Bytes in all.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|element| u64::from(element.length)).sum()
    }

    /// The elements.
    pub fn iter(&self) -> impl Iterator<Item = Element> + use<'a> {
        self.0.iter().map(|raw| Element {
            address: raw.addr,
            length: raw.length,
            lkey: raw.lkey,
        })
    }
}

/// A send work request of a queue pair for datagrams.
pub struct SendRequest<'a, D: Driver> {
    raw: &'a bindings::ib_send_wr,
    _driver: PhantomData<fn() -> D>,
}

/// Where a datagram goes.
pub struct DatagramTarget<'a, D: Driver> {
    /// The address.
    pub address: &'a AddressHandle<D>,
    /// The queue pair.
    pub qpn: u32,
    /// Its Q_Key.
    pub qkey: u32,
}

impl<'a, D: Driver> SendRequest<'a, D> {
    /// # Safety
    ///
    /// `raw` must be a work request for a queue pair for datagrams of a device of `D`, and all that it names must be valid for
    /// `'a`.
    pub(super) unsafe fn from_raw(raw: &'a bindings::ib_send_wr) -> Self {
        Self {
            raw,
            _driver: PhantomData,
        }
    }

    /// Its name.
    pub fn wr_id(&self) -> u64 {
        // SAFETY: Both members of the union have the same size, and any bits are a number.
        unsafe { self.raw.__bindgen_anon_1.wr_id }
    }

    /// `enum ib_send_flags`.
    pub fn flags(&self) -> u32 {
        u32::from_ne_bytes(self.raw.send_flags.to_ne_bytes())
    }

    /// Its elements.
    ///
    /// # Errors
    ///
    /// `EINVAL` when there are fewer than none.
    pub fn elements(&self) -> Result<ElementList<'a>> {
        // SAFETY: By the requirements of `from_raw`.
        unsafe { ElementList::from_raw(self.raw.sg_list, self.raw.num_sge) }
    }

    /// Its payload, when it is to be copied at once (`IB_SEND_INLINE`).
    ///
    /// # Errors
    ///
    /// As [`Self::elements`].
    pub fn inline_data(&self) -> Result<impl Iterator<Item = &'a [u8]>> {
        Ok(self.elements()?.iter().map(|element| {
            let from = element.address as *const u8;
            match element.length {
                0 => &[][..],
                // SAFETY: By the requirements of `from_raw`: the elements of such a request are addresses of the kernel.
                length => unsafe { slice::from_raw_parts(from, length as usize) },
            }
        }))
    }

    /// The immediate data of a SEND, which is all that is sent as a datagram.
    ///
    /// # Errors
    ///
    /// `EINVAL` for another request.
    pub fn immediate(&self) -> Result<Option<u32>> {
        match self.raw.opcode {
            bindings::ib_wr_opcode_IB_WR_SEND => Ok(None),
            // SAFETY: Any bits are a number.
            bindings::ib_wr_opcode_IB_WR_SEND_WITH_IMM => unsafe {
                Ok(Some(u32::from_be(self.raw.ex.imm_data)))
            },
            _ => Err(EINVAL),
        }
    }

    /// Where it goes.
    pub fn target(&self) -> DatagramTarget<'a, D> {
        let raw: *const bindings::ib_send_wr = self.raw;
        // SAFETY: By the requirements of `from_raw`: requests for such a queue pair are embedded in this struct, whose first
        // member they are, and name an address handle of the device.
        unsafe {
            let request = &*raw.cast::<bindings::ib_ud_wr>();
            DatagramTarget {
                address: &*request.ah.cast(),
                qpn: request.remote_qpn,
                qkey: request.remote_qkey,
            }
        }
    }
}

/// A receive work request.
pub struct ReceiveRequest<'a> {
    raw: &'a bindings::ib_recv_wr,
}

impl<'a> ReceiveRequest<'a> {
    /// # Safety
    ///
    /// All that the work request names must be valid for `'a`.
    pub(super) unsafe fn from_raw(raw: &'a bindings::ib_recv_wr) -> Self {
        Self { raw }
    }

    /// Its name.
    pub fn wr_id(&self) -> u64 {
        // SAFETY: Both members of the union have the same size, and any bits are a number.
        unsafe { self.raw.__bindgen_anon_1.wr_id }
    }

    /// Its elements.
    ///
    /// # Errors
    ///
    /// `EINVAL` when there are fewer than none.
    pub fn elements(&self) -> Result<ElementList<'a>> {
        // SAFETY: By the requirements of `from_raw`.
        unsafe { ElementList::from_raw(self.raw.sg_list, self.raw.num_sge) }
    }
}
