// SPDX-License-Identifier: GPL-2.0

//! Work requests of users in the kernel.

use super::{
    address_handle::AddressHandle,
    driver::Driver, //
};
use crate::verbs::bindings;
use core::{
    marker::PhantomData,
    slice, //
};
use kernel::{
    error::from_result,
    ffi::c_int,
    prelude::*, //
};

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
    unsafe fn from_raw(list: *const bindings::ib_sge, count: c_int) -> Result<Self> {
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

/// What requests a queue pair takes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum RequestKind {
    /// Those of a connection.
    Connected,
    /// Datagrams.
    Datagram,
}

/// A send work request.
pub struct SendRequest<'a, D: Driver> {
    raw: &'a bindings::ib_send_wr,
    kind: RequestKind,
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

/// Memory of the peer.
#[derive(Clone, Copy, Debug)]
pub struct RemoteMemory {
    /// Address.
    pub address: u64,
    /// Key.
    pub rkey: u32,
}

/// How the memory of a region is to be registered, whose pages have been listed.
#[derive(Clone, Copy, Debug)]
pub struct FastRegistration {
    /// The address that work requests use for its first byte.
    pub address: u64,
    /// Bytes.
    pub length: u64,
    /// Its key from then on.
    pub key: u32,
    /// `enum ib_access_flags`.
    pub access: u32,
}

/// What a work request asks for.
pub enum WorkOperation<'a, D: Driver> {
    /// SEND, perhaps with immediate data, as a datagram.
    Datagram(Option<u32>, DatagramTarget<'a, D>),
    /// SEND, perhaps with immediate data.
    Send(Option<u32>),
    /// SEND that makes a key of the peer invalid.
    SendInvalidate(u32),
    /// RDMA WRITE, perhaps with immediate data.
    Write(Option<u32>, RemoteMemory),
    /// RDMA READ.
    Read(RemoteMemory),
    /// ATOMIC COMPARE AND SWAP: with what it is compared, and what it becomes.
    CompareSwap(RemoteMemory, u64, u64),
    /// ATOMIC FETCH AND ADD.
    FetchAdd(RemoteMemory, u64),
    /// Make a key invalid.
    LocalInvalidate(u32),
    /// Register memory.
    Register(FastRegistration),
}

impl<'a, D: Driver> SendRequest<'a, D> {
    /// # Safety
    ///
    /// `raw` must be a work request for a queue pair of a device of `D` that takes requests of this kind, and all that it names
    /// must be valid for `'a`.
    pub(super) unsafe fn from_raw(raw: &'a bindings::ib_send_wr, kind: RequestKind) -> Self {
        Self {
            raw,
            kind,
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

    /// The whole request, of which the common part is the first member.
    ///
    /// # Safety
    ///
    /// Requests with the opcode and the kind of this one must be embedded in a `T`.
    unsafe fn whole<T>(&self) -> &'a T {
        let raw: *const bindings::ib_send_wr = self.raw;
        // SAFETY: By the requirements of this function and of `from_raw`.
        unsafe { &*raw.cast() }
    }

    fn immediate(&self) -> u32 {
        // SAFETY: Any bits are a number.
        u32::from_be(unsafe { self.raw.ex.imm_data })
    }

    fn invalid_key(&self) -> u32 {
        // SAFETY: Any bits are a number.
        unsafe { self.raw.ex.invalidate_rkey }
    }

    fn target(&self) -> DatagramTarget<'a, D> {
        // SAFETY: All datagrams are. They name an address handle of the device, by the requirements of `from_raw`.
        unsafe {
            let request = self.whole::<bindings::ib_ud_wr>();
            DatagramTarget {
                address: &*request.ah.cast(),
                qpn: request.remote_qpn,
                qkey: request.remote_qkey,
            }
        }
    }

    /// What it asks for.
    ///
    /// # Errors
    ///
    /// `EINVAL` for what such a queue pair does not do.
    pub fn operation(&self) -> Result<WorkOperation<'a, D>> {
        match self.kind {
            RequestKind::Datagram => self.datagram(),
            RequestKind::Connected => self.connected(),
        }
    }

    fn datagram(&self) -> Result<WorkOperation<'a, D>> {
        let immediate = match self.raw.opcode {
            bindings::ib_wr_opcode_IB_WR_SEND => None,
            bindings::ib_wr_opcode_IB_WR_SEND_WITH_IMM => Some(self.immediate()),
            _ => return Err(EINVAL),
        };
        Ok(WorkOperation::Datagram(immediate, self.target()))
    }

    fn connected(&self) -> Result<WorkOperation<'a, D>> {
        // To be looked at for requests that have it.
        let remote = || {
            // SAFETY: Those that have it are.
            let request = unsafe { self.whole::<bindings::ib_rdma_wr>() };
            RemoteMemory {
                address: request.remote_addr,
                rkey: request.rkey,
            }
        };
        // As above.
        let atomic = || {
            // SAFETY: As above.
            let request = unsafe { self.whole::<bindings::ib_atomic_wr>() };
            let word = RemoteMemory {
                address: request.remote_addr,
                rkey: request.rkey,
            };
            (word, request.compare_add, request.swap)
        };
        Ok(match self.raw.opcode {
            bindings::ib_wr_opcode_IB_WR_SEND => WorkOperation::Send(None),
            bindings::ib_wr_opcode_IB_WR_SEND_WITH_IMM => {
                WorkOperation::Send(Some(self.immediate()))
            }
            bindings::ib_wr_opcode_IB_WR_SEND_WITH_INV => {
                WorkOperation::SendInvalidate(self.invalid_key())
            }
            bindings::ib_wr_opcode_IB_WR_RDMA_WRITE => WorkOperation::Write(None, remote()),
            bindings::ib_wr_opcode_IB_WR_RDMA_WRITE_WITH_IMM => {
                WorkOperation::Write(Some(self.immediate()), remote())
            }
            bindings::ib_wr_opcode_IB_WR_RDMA_READ => WorkOperation::Read(remote()),
            bindings::ib_wr_opcode_IB_WR_ATOMIC_CMP_AND_SWP => {
                let (word, compare, swap) = atomic();
                WorkOperation::CompareSwap(word, compare, swap)
            }
            bindings::ib_wr_opcode_IB_WR_ATOMIC_FETCH_AND_ADD => {
                let (word, add, _) = atomic();
                WorkOperation::FetchAdd(word, add)
            }
            bindings::ib_wr_opcode_IB_WR_LOCAL_INV => {
                WorkOperation::LocalInvalidate(self.invalid_key())
            }
            bindings::ib_wr_opcode_IB_WR_REG_MR => WorkOperation::Register(self.registration()),
            _ => return Err(EINVAL),
        })
    }

    fn registration(&self) -> FastRegistration {
        // SAFETY: Those requests are. They name a region of the device, by the requirements of `from_raw`.
        unsafe {
            let request = self.whole::<bindings::ib_reg_wr>();
            FastRegistration {
                address: (*request.mr).iova,
                length: (*request.mr).length,
                key: request.key,
                access: u32::from_ne_bytes(request.access.to_ne_bytes()),
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

/// Posts a list of receives, one after the other, until one fails.
///
/// # Safety
///
/// `wr` must be such a list, or null, and `bad_wr` where to report the one that was not posted.
pub(super) unsafe fn post_receives(
    wr: *const bindings::ib_recv_wr,
    bad_wr: *mut *const bindings::ib_recv_wr,
    post: impl Fn(&ReceiveRequest<'_>) -> Result,
) -> c_int {
    from_result(|| {
        let mut next = wr;
        // SAFETY: By the requirements of this function.
        while let Some(raw) = unsafe { next.as_ref() } {
            // SAFETY: As above.
            post(&unsafe { ReceiveRequest::from_raw(raw) }).inspect_err(|_| {
                // SAFETY: As above.
                unsafe { *bad_wr = next };
            })?;
            next = raw.next;
        }
        Ok(0)
    })
}
