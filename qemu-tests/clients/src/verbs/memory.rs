// SPDX-License-Identifier: GPL-2.0

//! Memory that a device may read and write behind the compiler's back.

use std::ffi::c_void;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use nix::sys::memfd::memfd_create;
use nix::sys::memfd::MFdFlags;
use nix::sys::mman::madvise;
use nix::sys::mman::mmap;
use nix::sys::mman::mmap_anonymous;
use nix::sys::mman::munmap;
use nix::sys::mman::MapFlags;
use nix::sys::mman::MmapAdvise;
use nix::sys::mman::ProtFlags;
use nix::unistd::ftruncate;

/// How a [`Buffer`] is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Ordinary memory.
    ReadWrite,
    /// The process, and so the device on its behalf, may not write.
    ReadOnly,
    /// Address space without access: registering it must fail.
    None,
}

/// Page-aligned memory, zeroed, unmapped on drop.
///
/// No reference into it is ever handed out: bytes are copied in and out, so a device that writes
/// at any moment breaks no rule of the language.
pub struct Buffer {
    base: NonNull<c_void>,
    len: usize,
    protection: Protection,
}

/// Addresses of a [`Buffer`]. They may be used as long as it exists.
#[derive(Clone, Copy, Debug)]
pub struct Pages {
    address: usize,
    len: usize,
}

impl Pages {
    /// Has the process forget which pages are there. Those of a shared file are found again by who looks.
    pub fn forget(self) -> nix::Result<()> {
        self.advise(MmapAdvise::MADV_DONTNEED)
    }

    /// Has the kernel put into swap what it can. Pages that are in use stay.
    pub fn swap_out(self) -> nix::Result<()> {
        self.advise(MmapAdvise::MADV_PAGEOUT)
    }

    fn advise(self, advice: MmapAdvise) -> nix::Result<()> {
        let address = NonNull::new(self.address as *mut c_void).ok_or(nix::errno::Errno::EINVAL)?;
        // SAFETY: The caller keeps the buffer; nobody has references to its bytes, which may change at any time.
        unsafe { madvise(address, self.len, advice) }
    }
}

/// Bytes compared per step: bounds the private copy while staying in the first cache levels.
const COMPARE_STEP: usize = 32 << 10;

impl Buffer {
    /// Maps `len` bytes (at least 1) of ordinary memory.
    pub fn new(len: usize) -> nix::Result<Self> {
        Self::with_protection(len, Protection::ReadWrite)
    }

    /// Maps `len` bytes (at least 1).
    pub fn with_protection(len: usize, protection: Protection) -> nix::Result<Self> {
        let length = NonZeroUsize::new(len).ok_or(nix::errno::Errno::EINVAL)?;
        let flags = match protection {
            Protection::ReadWrite => ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            Protection::ReadOnly => ProtFlags::PROT_READ,
            Protection::None => ProtFlags::PROT_NONE,
        };
        // SAFETY: A new private anonymous mapping at an address that the kernel chooses aliases
        // nothing.
        let base = unsafe { mmap_anonymous(None, length, flags, MapFlags::MAP_PRIVATE)? };
        Ok(Self {
            base,
            len,
            protection,
        })
    }

    /// Maps `len` bytes of address space with only three `tile`s of memory behind them: the first tile, the
    /// last one, and one that is seen everywhere in between. Fails with `EINVAL` unless `tile` is a multiple of
    /// the page size and `len` one of `tile`, at least three times as much.
    pub fn tiled(len: usize, tile: usize) -> nix::Result<Self> {
        let tile_length = NonZeroUsize::new(tile).ok_or(nix::errno::Errno::EINVAL)?;
        if len % tile != 0 || len / tile < 3 {
            return Err(nix::errno::Errno::EINVAL);
        }
        let file = memfd_create("tiles", MFdFlags::MFD_CLOEXEC)?;
        let offset_of =
            |tiles: usize| i64::try_from(tiles * tile).map_err(|_| nix::errno::Errno::EINVAL);
        ftruncate(&file, offset_of(3)?)?;
        let mut this = Self::with_protection(len, Protection::None)?;
        let last = len / tile - 1;
        for place in 0..=last {
            let source = match place {
                0 => 0,
                _ if place == last => 2,
                _ => 1,
            };
            // SAFETY: It replaces a part of the mapping just made, which nobody else knows yet. A shared
            // mapping of a private file is as good as any memory that changes behind the compiler's back.
            unsafe {
                mmap(
                    NonZeroUsize::new(this.address(place * tile) as usize),
                    tile_length,
                    ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                    MapFlags::MAP_SHARED | MapFlags::MAP_FIXED,
                    &file,
                    offset_of(source)?,
                )?;
            }
        }
        this.protection = Protection::ReadWrite;
        Ok(this)
    }

    /// Puts new memory, zeroed, into the place of all there was.
    pub fn renew(&self) -> nix::Result<()> {
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_ANONYMOUS | MapFlags::MAP_FIXED;
        // SAFETY: It replaces the mapping that is this buffer's, whose bytes nobody has references to.
        unsafe { self.replace(ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags)? };
        Ok(())
    }

    /// Puts a new file, zeroed, into the place of all memory there was: what it contains stays when its pages are unmapped.
    pub fn share(&self) -> nix::Result<()> {
        let file = memfd_create("shared", MFdFlags::MFD_CLOEXEC)?;
        let len = i64::try_from(self.len).map_err(|_| nix::errno::Errno::EINVAL)?;
        ftruncate(&file, len)?;
        let length = NonZeroUsize::new(self.len).ok_or(nix::errno::Errno::EINVAL)?;
        // SAFETY: As in `renew`.
        unsafe {
            mmap(
                NonZeroUsize::new(self.address(0) as usize),
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED | MapFlags::MAP_FIXED,
                &file,
                0,
            )?;
        }
        Ok(())
    }

    /// Takes all memory away; the addresses stay the buffer's. Nothing may be written or read before it is renewed.
    pub fn vacate(&self) -> nix::Result<()> {
        let flags = MapFlags::MAP_PRIVATE | MapFlags::MAP_ANONYMOUS | MapFlags::MAP_FIXED;
        // SAFETY: As in `renew`.
        unsafe { self.replace(ProtFlags::PROT_NONE, flags) }
    }

    /// # Safety
    ///
    /// `flags` must say that the mapping is anonymous, and at a fixed address.
    unsafe fn replace(&self, protection: ProtFlags, flags: MapFlags) -> nix::Result<()> {
        let address = NonZeroUsize::new(self.address(0) as usize);
        let length = NonZeroUsize::new(self.len).ok_or(nix::errno::Errno::EINVAL)?;
        // SAFETY: The range is this buffer's mapping; the caller promises the rest.
        unsafe { mmap_anonymous(address, length, protection, flags)? };
        Ok(())
    }

    /// The memory's addresses, for threads that change how it is mapped.
    pub fn pages(&self) -> Pages {
        Pages {
            address: self.base.as_ptr() as usize,
            len: self.len,
        }
    }

    /// Size in bytes as asked for.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Always false: an empty mapping cannot be made.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The virtual address of byte `offset`.
    pub fn address(&self, offset: usize) -> u64 {
        self.base.as_ptr() as u64 + offset as u64
    }

    /// Copies `bytes` to `offset`. Panics outside the buffer or when it is not writable.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert_eq!(self.protection, Protection::ReadWrite);
        let target = self.checked(offset..offset + bytes.len());
        // SAFETY: `checked` proved that the range lies in the live mapping, which is writable;
        // `bytes` is a reference and never points into a `Buffer`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), target, bytes.len()) }
    }

    /// Copies from `offset` into `bytes`. Panics outside the buffer or when it is not readable.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        assert_ne!(self.protection, Protection::None);
        let source = self.checked(offset..offset + bytes.len());
        // SAFETY: `checked` proved that the range lies in the live mapping, which is readable; the
        // target is a unique reference outside of it.
        unsafe { std::ptr::copy_nonoverlapping(source, bytes.as_mut_ptr(), bytes.len()) }
    }

    /// A copy of `range`.
    pub fn to_vec(&self, range: Range<usize>) -> Vec<u8> {
        let mut bytes = vec![0; range.len()];
        self.read(range.start, &mut bytes);
        bytes
    }

    /// Compares the bytes at `offset` with `expected` and gives the offset within `expected` of the
    /// first that differs.
    pub fn first_difference(&self, offset: usize, expected: &[u8]) -> Option<usize> {
        let mut copy = [0; COMPARE_STEP];
        for (step, expected) in expected.chunks(COMPARE_STEP).enumerate() {
            let start = step * COMPARE_STEP;
            let copy = &mut copy[..expected.len()];
            self.read(offset + start, copy);
            if copy != expected {
                return copy
                    .iter()
                    .zip(expected)
                    .position(|(found, wanted)| found != wanted)
                    .map(|at| start + at);
            }
        }
        None
    }

    /// Loads the aligned 8 bytes at `offset` at once; what the device wrote before them is visible
    /// to later reads.
    pub fn load_u64(&self, offset: usize) -> u64 {
        self.atomic(offset).load(Ordering::Acquire)
    }

    /// Stores the aligned 8 bytes at `offset` at once, after everything written before.
    pub fn store_u64(&self, offset: usize, value: u64) {
        assert_eq!(self.protection, Protection::ReadWrite);
        self.atomic(offset).store(value, Ordering::Release);
    }

    /// Adds to the aligned 8 bytes at `offset`, at once. Gives what they were before.
    pub fn fetch_add_u64(&self, offset: usize, value: u64) -> u64 {
        assert_eq!(self.protection, Protection::ReadWrite);
        self.atomic(offset).fetch_add(value, Ordering::AcqRel)
    }

    /// Makes the aligned 8 bytes at `offset` `new` if they are `old`, at once. Says whether they were.
    pub fn compare_swap_u64(&self, offset: usize, old: u64, new: u64) -> bool {
        assert_eq!(self.protection, Protection::ReadWrite);
        self.atomic(offset)
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    fn atomic(&self, offset: usize) -> &AtomicU64 {
        assert_ne!(self.protection, Protection::None);
        assert_eq!(offset % size_of::<u64>(), 0, "unaligned 8-byte access");
        let at = self.checked(offset..offset + size_of::<u64>());
        // SAFETY: In bounds (`checked`), aligned (the mapping starts on a page), initialised (the
        // kernel zeroes it) and alive as long as `self`. All other accesses to this memory are
        // copies through raw pointers by the same thread, since `Buffer` is not `Sync`.
        unsafe { AtomicU64::from_ptr(at.cast()) }
    }

    fn checked(&self, range: Range<usize>) -> *mut u8 {
        assert!(
            range.start <= range.end && range.end <= self.len,
            "{range:?} is outside a buffer of {} bytes",
            self.len
        );
        // SAFETY: The offset is within the mapping, as just checked.
        unsafe { self.base.as_ptr().cast::<u8>().add(range.start) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: This is the mapping made in `with_protection`; every `Mr` on it borrows `self`
        // and is gone, and no reference to its bytes was ever handed out.
        if let Err(error) = unsafe { munmap(self.base, self.len) } {
            eprintln!("munmap of a buffer: {error}");
        }
    }
}
