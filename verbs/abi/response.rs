// SPDX-License-Identifier: GPL-2.0

//! The driver's part of commands and their responses: where a queue can be mapped, and object numbers.

use core::num::NonZeroU32;

/// `struct mminfo`, which is all that the responses to creating and resizing a CQ have: what the process passes to
/// mmap(2) to see a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct MmapInfo {
    /// File offset.
    pub offset: u64,
    /// Bytes.
    pub size: u32,
    reserved: u32,
}

impl MmapInfo {
    /// Stands for "no such queue".
    pub const NONE: Self = Self::new(0, 0);

    /// A queue of `size` bytes at `offset`.
    pub const fn new(offset: u64, size: u32) -> Self {
        Self {
            offset,
            size,
            reserved: 0,
        }
    }
}

/// `struct rxe_create_qp_resp`.
#[repr(C)]
pub struct CreateQpResponse {
    /// The receive queue; none for a QP with a shared one.
    pub receive: MmapInfo,
    /// The send queue.
    pub send: MmapInfo,
}

/// `struct rxe_create_srq_resp`.
#[repr(C)]
pub struct CreateSrqResponse {
    /// The queue.
    pub queue: MmapInfo,
    /// Its number.
    pub number: u32,
    reserved: u32,
}

impl CreateSrqResponse {
    /// A shared receive queue with that number.
    pub const fn new(queue: MmapInfo, number: u32) -> Self {
        Self {
            queue,
            number,
            reserved: 0,
        }
    }
}

/// `struct rxe_create_ah_resp`.
#[repr(C)]
pub struct CreateAhResponse {
    /// Its number.
    pub number: u32,
    reserved: u32,
}

impl CreateAhResponse {
    /// An address handle with that number; zero would mean "pass an inline AV".
    pub const fn new(number: NonZeroU32) -> Self {
        Self {
            number: number.get(),
            reserved: 0,
        }
    }
}

/// `struct rxe_modify_srq_cmd`.
#[repr(C)]
pub struct ModifySrqCommand {
    /// The user address the new queue's [`MmapInfo`] is written to.
    pub mmap_info_address: u64,
}

// No bytes between or behind the fields: all that is written to a process is in one of them.
const _: () = assert!(size_of::<MmapInfo>() == size_of::<u64>() + 2 * size_of::<u32>());
const _: () = assert!(size_of::<CreateQpResponse>() == 2 * size_of::<MmapInfo>());
const _: () =
    assert!(size_of::<CreateSrqResponse>() == size_of::<MmapInfo>() + 2 * size_of::<u32>());
const _: () = assert!(size_of::<CreateAhResponse>() == 2 * size_of::<u32>());
const _: () = assert!(size_of::<ModifySrqCommand>() == size_of::<u64>());
