// SPDX-License-Identifier: GPL-2.0

//! Memory of a process as the process itself sees it, page by page at the time of each access.
//!
//! A thread of the kernel works in the address space of the process for as long as it copies, so that whatever becomes of
//! its mappings (unmapped, moved, copied on write, protected, swapped out) holds here as it does for the process.
//! Nothing is pinned, and nothing is remembered that would have to be invalidated.

use crate::verbs::bindings;
use core::{
    ffi::c_void,
    marker::PhantomData, //
};
use kernel::{
    error::to_result,
    mm::Mm,
    prelude::*,
    sync::aref::ARef, //
};

/// What a page is needed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageUse {
    /// To be read.
    Read,
    /// To be written: a copy of its own is made for the process where it shares the page.
    Write,
}

/// Why a thread cannot work in an address space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CannotEnter {
    /// It has ended with its last process.
    Ended,
    /// The thread is one of another process: only threads of the kernel may.
    WrongThread,
}

/// The address space of a process. It may end while this exists.
pub struct AddressSpace(ARef<Mm>);

impl AddressSpace {
    /// That of the calling process.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the caller is a thread of the kernel.
    pub fn of_caller() -> Result<Self> {
        let caller = current!();
        let mm: &Mm = caller.mm().ok_or(EINVAL)?;
        Ok(Self(mm.into()))
    }

    fn as_raw(&self) -> *mut c_void {
        self.0.as_raw().cast()
    }

    /// Has the calling thread work in it. Does not sleep.
    pub fn enter(&self) -> Result<Inside<'_>, CannotEnter> {
        // SAFETY: The pointer is only compared.
        let presence = if unsafe { bindings::rdma_shim_mm_is_current(self.as_raw()) } {
            Presence::Native
        // SAFETY: The function only looks at the calling thread.
        } else if !unsafe { bindings::rdma_shim_mm_may_borrow() } {
            return Err(CannotEnter::WrongThread);
        // SAFETY: The address space is referenced, and the thread is one that may.
        } else if unsafe { bindings::rdma_shim_mm_borrow(self.as_raw()) } {
            Presence::Borrowed
        } else {
            return Err(CannotEnter::Ended);
        };
        // INVARIANT: As just looked up, or arranged for.
        Ok(Inside {
            space: self,
            presence,
            _not_send: PhantomData,
        })
    }

    /// Makes the page with that address present for such a use. It may be gone again when this returns. Sleeps, for as
    /// long as whoever has the page's contents takes: a file system, or a program that serves faults (userfaultfd).
    ///
    /// # Errors
    ///
    /// `EFAULT` when there is no such page, `EINTR` when the caller is killed, and others of page faults.
    pub fn fault_in(&self, address: u64, page_use: PageUse) -> Result {
        // SAFETY: The address space is referenced.
        to_result(unsafe {
            match page_use {
                PageUse::Read => bindings::rdma_shim_mm_fault_in_to_read(self.as_raw(), address),
                PageUse::Write => bindings::rdma_shim_mm_fault_in_to_write(self.as_raw(), address),
            }
        })
    }
}

/// How the calling thread came to be in an address space.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Presence {
    /// It belongs to the process.
    Native,
    /// It is one of the kernel, and leaves it again.
    Borrowed,
}

/// The calling thread works in the address space.
///
/// # Invariants
///
/// It does, as `presence` says.
pub struct Inside<'a> {
    space: &'a AddressSpace,
    presence: Presence,
    _not_send: PhantomData<*mut ()>,
}

impl Inside<'_> {
    /// Copies `to.len()` bytes at `address`, as far as pages are present that the process may read. Returns how many that
    /// were. Does not sleep.
    pub fn read(&self, address: u64, to: &mut [u8]) -> usize {
        // SAFETY: `to` is writable for its length. The address is checked by the function.
        unsafe { bindings::rdma_shim_read_user(to.as_mut_ptr().cast(), address, to.len()) }
    }

    /// Copies `from` to `address`, as far as pages are present that the process may write. Returns how many bytes that were.
    /// The last `ordered` bytes, at most all, become visible to the process in the order of their addresses, aligned words
    /// at once, and after all others. Does not sleep.
    pub fn write(&self, address: u64, from: &[u8], ordered: usize) -> usize {
        let ordered = ordered.min(from.len());
        // SAFETY: `from` is readable for its length, of which `ordered` is no more. The address is checked by the function.
        unsafe {
            bindings::rdma_shim_write_user(address, from.as_ptr().cast(), from.len(), ordered)
        }
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        if self.presence == Presence::Borrowed {
            // SAFETY: By the type's invariants; this is the same thread, as the type is not `Send`.
            unsafe { bindings::rdma_shim_mm_give_back(self.space.as_raw()) };
        }
    }
}
