// SPDX-License-Identifier: GPL-2.0

//! Memory shared between a driver and a process.

use crate::verbs::bindings;
use core::ptr::NonNull;
use kernel::{
    alloc::KVVec,
    error::to_result,
    mm::virt::VmaNew,
    new_mutex,
    page::{
        page_align,
        PAGE_SIZE, //
    },
    prelude::*,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// Zeroed memory that can be mapped into a process.
///
/// Mappings hold the pages themselves, so that they may outlive the buffer. A process can change
/// the content at any time: the driver has to treat it as it treats user memory.
///
/// # Invariants
///
/// `memory` is an area of `size` bytes of `vmalloc()`, in pages that may be mapped into processes.
pub struct MmapBuffer {
    memory: NonNull<u8>,
    size: usize,
}

// SAFETY: The area may be used and freed from any thread.
unsafe impl Send for MmapBuffer {}
// SAFETY: Shared access gives out no more than a raw pointer.
unsafe impl Sync for MmapBuffer {}

impl MmapBuffer {
    /// Allocates `size` bytes, rounded up to whole pages, at the expense of the calling process. May sleep.
    ///
    /// # Errors
    ///
    /// `EINVAL` for a size of zero or one that overflows, `ENOMEM`.
    pub fn new(size: usize) -> Result<Arc<Self>> {
        let size = page_align(size).filter(|&size| size != 0).ok_or(EINVAL)?;
        // SAFETY: The size is not zero.
        let memory = unsafe { bindings::rdma_shim_alloc_user(size) };
        let memory = NonNull::new(memory).ok_or(ENOMEM)?;

        // INVARIANT: As just allocated. An error of `Arc::new` drops the value.
        Ok(Arc::new(
            Self {
                memory: memory.cast(),
                size,
            },
            GFP_KERNEL_ACCOUNT,
        )?)
    }

    /// The first byte, page aligned. Valid as long as the buffer.
    pub fn as_ptr(&self) -> NonNull<u8> {
        self.memory
    }

    /// Number of bytes, a multiple of the page size.
    pub fn size(&self) -> usize {
        self.size
    }
}

impl Drop for MmapBuffer {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants, and nobody uses the area through this buffer any more.
        unsafe { bindings::vfree(self.memory.as_ptr().cast()) };
    }
}

/// A process wants to map memory of the driver.
///
/// [`VmaNew`] has neither the offset nor a way to map pages of `vmalloc()`.
pub struct MmapRequest<'a> {
    vma: &'a VmaNew,
}

impl<'a> MmapRequest<'a> {
    /// # Safety
    ///
    /// `vma` must point to an area that is being set up by `mmap()` during `'a`, which is no longer
    /// than the pointer is kept there.
    pub(super) unsafe fn from_raw(vma: &'a *mut bindings::vm_area_struct) -> Self {
        Self {
            // SAFETY: By the requirements of this function.
            vma: unsafe { VmaNew::from_raw((*vma).cast()) },
        }
    }

    /// The offset that the process passes to `mmap()`, in bytes.
    pub fn offset(&self) -> u64 {
        // SAFETY: The area is valid, and nobody else changes it while it is being set up.
        let pages = unsafe { (*self.vma.as_ptr()).vm_pgoff };

        // `mmap()` limits the offset to what `loff_t` can hold.
        (pages as u64) * (PAGE_SIZE as u64)
    }

    /// Number of bytes to map.
    pub fn size(&self) -> usize {
        self.vma.end() - self.vma.start()
    }

    /// Maps the first [`Self::size`] bytes of `buffer`.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the buffer is smaller.
    pub fn map(self, buffer: &MmapBuffer) -> Result {
        if self.size() > buffer.size() {
            return Err(EINVAL);
        }
        // SAFETY: By the types' invariants the area is being set up, and the memory is an area of
        // `vmalloc()` that is not smaller. Every page that is mapped gets a reference of its own.
        to_result(unsafe {
            bindings::rdma_shim_map_user(self.vma.as_ptr().cast(), buffer.memory.as_ptr().cast())
        })
    }
}

/// Where a process can map a buffer.
#[derive(Clone, Copy, Debug)]
pub struct MmapOffer {
    /// The offset to pass to `mmap()`.
    pub offset: u64,
    /// Number of bytes.
    pub size: usize,
}

/// What mappings that alias each other have to be aligned to.
fn mapping_alignment() -> u64 {
    // SAFETY: The function only returns a constant.
    unsafe { bindings::rdma_shim_shmlba() }
}

struct Pending {
    offset: u64,
    buffer: Arc<MmapBuffer>,
}

struct Offers {
    next_offset: u64,
    pending: KVVec<Pending>,
}

/// The buffers that a process has been offered and has not mapped yet.
///
/// Belongs into the driver's part of a user context. Each buffer can be mapped once, at an offset
/// that the process is not offered twice.
#[pin_data]
pub struct MmapOffers {
    #[pin]
    offers: Mutex<Offers>,
}

impl MmapOffers {
    /// No memory is offered yet.
    pub fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            offers <- new_mutex!(Offers {
                // Offset 0 is what a process passes that was offered nothing.
                next_offset: mapping_alignment(),
                pending: KVVec::new(),
            }),
        })
    }

    /// Offers a buffer. May sleep.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn offer(&self, buffer: Arc<MmapBuffer>) -> Result<MmapOffer> {
        let mut offers = self.offers.lock();
        let offset = offers.next_offset;
        let size = buffer.size();
        let next_offset = (size as u64)
            .checked_next_multiple_of(mapping_alignment())
            .and_then(|size| offset.checked_add(size))
            .ok_or(ENOSPC)?;

        offers
            .pending
            .push(Pending { offset, buffer }, GFP_KERNEL_ACCOUNT)?;
        offers.next_offset = next_offset;
        Ok(MmapOffer { offset, size })
    }

    /// Takes an offer back, when the object that the buffer belongs to goes away. Does nothing when
    /// the process has mapped it.
    pub fn withdraw(&self, offset: u64) {
        drop(self.take(offset));
    }

    fn take(&self, offset: u64) -> Option<Arc<MmapBuffer>> {
        let mut offers = self.offers.lock();
        let position = offers
            .pending
            .iter()
            .position(|pending| pending.offset == offset)?;

        offers
            .pending
            .remove(position)
            .ok()
            .map(|pending| pending.buffer)
    }

    /// Maps the buffer that has been offered at the request's offset. The offer ends even if this
    /// fails.
    ///
    /// # Errors
    ///
    /// `EINVAL` when there is none, or it is smaller than what is to be mapped.
    pub fn map(&self, request: MmapRequest<'_>) -> Result {
        let buffer = self.take(request.offset()).ok_or(EINVAL)?;

        request.map(&buffer)
    }
}
