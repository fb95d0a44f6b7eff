// SPDX-License-Identifier: GPL-2.0

//! Memory regions.

use super::{
    access::AccessFlags,
    driver::Driver,
    error::unsupported,
    kernel_memory::for_each_page,
    object::init_in_place,
    protection_domain::Pd,
    user_data::UserData, //
};
use crate::verbs::bindings;
use core::{
    mem::MaybeUninit,
    ops::Deref,
    ptr::NonNull, //
};
use kernel::{
    alloc::KBox,
    error::from_result,
    ffi::c_int,
    page::PAGE_SIZE,
    prelude::*,
    types::Opaque, //
};
use pin_init::PinInit;

/// A memory region.
///
/// Dereferences to the driver's part.
///
/// # Invariants
///
/// A `&MemoryRegion` exists only while the region is registered: both members are initialised, and
/// neither moves.
#[repr(C)]
pub struct MemoryRegion<D: Driver> {
    raw: Opaque<bindings::ib_mr>,
    data: MaybeUninit<D::Mr>,
}

/// The keys of a memory region.
#[derive(Clone, Copy, Debug)]
pub struct MrKeys {
    /// Names the region in work requests of its owner.
    pub lkey: u32,
    /// Names the region in work requests of remote peers.
    pub rkey: u32,
}

/// What the user asks of a new memory region.
#[derive(Clone, Copy, Debug)]
pub struct MrRequest {
    /// Where the memory is in the calling process.
    pub start: u64,
    /// Number of bytes.
    pub length: u64,
    /// The address that work requests use for `start`. Equal to it modulo the page size.
    pub iova: u64,
    /// Access flags.
    pub access: AccessFlags,
}

/// A change of a memory region. Its memory and its keys stay.
pub struct MrChange<'a, D: Driver> {
    /// New protection domain.
    pub pd: Option<&'a Pd<D>>,
    /// New rights. The driver has to check that the memory is pinned for them.
    pub access: Option<AccessFlags>,
}

/// The driver's part of a memory region.
#[vtable]
pub trait MrOps<D: Driver>: Sized + Send + Sync {
    /// Registers memory of the calling process.
    fn register(
        pd: &Pd<D>,
        request: MrRequest,
        user: Option<UserData<'_, D>>,
    ) -> impl PinInit<Self, Error>;

    /// Makes a region for the kernel, of at most `max_pages` pages, which it lists ([`MrOps::add_page`]) and registers by
    /// work requests.
    fn allocate(pd: &Pd<D>, max_pages: u32) -> impl PinInit<Self, Error>;

    /// Makes a region of all of the kernel's memory.
    fn of_kernel(pd: &Pd<D>, access: AccessFlags) -> impl PinInit<Self, Error>;

    /// Begins a new list of pages of a region of [`MrOps::allocate`], for its next registration. In any context.
    ///
    /// # Errors
    ///
    /// `EINVAL` for other regions.
    fn begin_pages(&self) -> Result;

    /// Adds a page to that list. In any context.
    ///
    /// # Errors
    ///
    /// As [`MrOps::begin_pages`]; `ENOMEM` when it is full.
    ///
    /// # Safety
    ///
    /// The page must stay allocated until no work request registers the region any more: until one that ends that has
    /// completed, or the region has been deregistered.
    unsafe fn add_page(&self, page: NonNull<kernel::bindings::page>) -> Result;

    /// The region's keys.
    fn keys(&self) -> MrKeys;

    /// Changes protection domain or rights. `ib_core` lets nobody else use the region as an object
    /// meanwhile; segments may be copied from and to it.
    fn change(&self, _change: MrChange<'_, D>) -> Result {
        kernel::build_error!(kernel::error::VTABLE_DEFAULT_ERROR)
    }

    /// Ends the region. Nobody may touch its memory once this has returned. It is dropped then.
    ///
    /// # Errors
    ///
    /// `EBUSY` while memory windows are bound to it; it lives on then.
    fn deregister(&self) -> Result;
}

impl<D: Driver> MemoryRegion<D> {
    /// The region that `ib_core` names by `raw`, for no longer than the pointer is kept there.
    ///
    /// # Safety
    ///
    /// `raw` must be the head of a region that is registered as long as the returned reference is
    /// used.
    unsafe fn from_raw(raw: &*mut bindings::ib_mr) -> &Self {
        // SAFETY: By the requirements of this function; `raw` is the first member of a `repr(C)`
        // struct.
        unsafe { &*(*raw).cast() }
    }

    fn allocate(pd: &Pd<D>, data: impl PinInit<D::Mr, Error>) -> Result<*mut bindings::ib_mr> {
        let mut this = KBox::<Self>::new_uninit(GFP_KERNEL_ACCOUNT)?;
        let slot = this.as_mut_ptr();

        // SAFETY: `slot` is valid to write. The box is leaked below or freed without dropping its
        // content, so that what is initialised here stays in place.
        unsafe {
            init_in_place(core::ptr::addr_of_mut!((*slot).data).cast(), data)?;
            core::ptr::addr_of_mut!((*slot).raw).write(Opaque::zeroed());
        }
        let raw = KBox::into_raw(this).cast::<bindings::ib_mr>();

        // SAFETY: The region has just been initialised and nobody else knows it.
        unsafe {
            let keys = Self::from_raw(&raw).keys();

            (*raw).device = (*pd.as_raw()).device;
            (*raw).pd = pd.as_raw();
            (*raw).lkey = keys.lkey;
            (*raw).rkey = keys.rkey;
        }
        Ok(raw)
    }
}

impl<D: Driver> Deref for MemoryRegion<D> {
    type Target = D::Mr;

    fn deref(&self) -> &Self::Target {
        // SAFETY: By the type's invariants.
        unsafe { self.data.assume_init_ref() }
    }
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.reg_user_mr` of a device of `D`.
pub(super) unsafe extern "C" fn reg_user_mr<D: Driver>(
    pd: *mut bindings::ib_pd,
    start: u64,
    length: u64,
    iova: u64,
    access: c_int,
    dmah: *mut bindings::ib_dmah,
    udata: *mut bindings::ib_udata,
) -> *mut bindings::ib_mr {
    // SAFETY: `ib_core` passes an existing domain and the call's `udata`.
    let (pd, user) = unsafe { (Pd::<D>::from_raw(&pd), UserData::from_raw(&udata)) };
    let register = || {
        if !dmah.is_null() {
            return Err(unsupported());
        }
        let request = MrRequest {
            start,
            length,
            iova,
            access: AccessFlags::from_raw(access)?,
        };
        MemoryRegion::allocate(pd, D::Mr::register(pd, request, user))
    };

    register().unwrap_or_else(|error| error.to_ptr())
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.rereg_user_mr` of a device of `D`.
pub(super) unsafe extern "C" fn rereg_user_mr<D: Driver>(
    mr: *mut bindings::ib_mr,
    flags: c_int,
    _start: u64,
    _length: u64,
    _iova: u64,
    access: c_int,
    pd: *mut bindings::ib_pd,
    _udata: *mut bindings::ib_udata,
) -> *mut bindings::ib_mr {
    // SAFETY: `ib_core` passes a registered region, and a domain if that is to change.
    let this = unsafe { MemoryRegion::<D>::from_raw(&mr) };
    let flags = bindings::ib_mr_rereg_flags::from_ne_bytes(flags.to_ne_bytes());
    let has = |flag| flags & flag != 0;
    let change = || {
        if has(bindings::ib_mr_rereg_flags_IB_MR_REREG_TRANS) {
            return Err(unsupported());
        }
        this.change(MrChange {
            pd: has(bindings::ib_mr_rereg_flags_IB_MR_REREG_PD)
                // SAFETY: As above.
                .then(|| unsafe { Pd::from_raw(&pd) }),
            access: has(bindings::ib_mr_rereg_flags_IB_MR_REREG_ACCESS)
                .then(|| AccessFlags::from_raw(access))
                .transpose()?,
        })
    };

    // Null tells `ib_core` that the region is still the same one.
    change().map_or_else(|error| error.to_ptr(), |()| core::ptr::null_mut())
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.dereg_mr` of a device of `D`.
pub(super) unsafe extern "C" fn dereg_mr<D: Driver>(
    mr: *mut bindings::ib_mr,
    _udata: *mut bindings::ib_udata,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes a region of `MemoryRegion::allocate`.
        unsafe { MemoryRegion::<D>::from_raw(&mr) }.deregister()?;
        // SAFETY: As above; it uses the region no more when this succeeds.
        let mut this = unsafe { KBox::from_raw(mr.cast::<MemoryRegion<D>>()) };

        // SAFETY: The driver's part is initialised and dropped only here.
        unsafe { this.data.assume_init_drop() };
        Ok(0)
    })
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.get_dma_mr` of a device of `D`.
pub(super) unsafe extern "C" fn get_dma_mr<D: Driver>(
    pd: *mut bindings::ib_pd,
    access: c_int,
) -> *mut bindings::ib_mr {
    // SAFETY: `ib_core` passes an existing domain.
    let pd = unsafe { Pd::<D>::from_raw(&pd) };
    let make = || MemoryRegion::allocate(pd, D::Mr::of_kernel(pd, AccessFlags::from_raw(access)?));

    make().unwrap_or_else(|error| error.to_ptr())
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.alloc_mr` of a device of `D`.
pub(super) unsafe extern "C" fn alloc_mr<D: Driver>(
    pd: *mut bindings::ib_pd,
    mr_type: bindings::ib_mr_type,
    max_pages: u32,
) -> *mut bindings::ib_mr {
    // SAFETY: `ib_core` passes an existing domain.
    let pd = unsafe { Pd::<D>::from_raw(&pd) };
    let allocate = || {
        if mr_type != bindings::ib_mr_type_IB_MR_TYPE_MEM_REG {
            return Err(unsupported());
        }
        MemoryRegion::allocate(pd, D::Mr::allocate(pd, max_pages))
    };

    allocate().unwrap_or_else(|error| error.to_ptr())
}

/// Lists the pages of as many elements of the list as fit, and says how many that were.
///
/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.map_mr_sg` of a device of `D`.
pub(super) unsafe extern "C" fn map_mr_sg<D: Driver>(
    mr: *mut bindings::ib_mr,
    list: *mut bindings::scatterlist,
    count: c_int,
    offset: *mut kernel::ffi::c_uint,
) -> c_int {
    from_result(|| {
        // SAFETY: `ib_core` passes a region of `MemoryRegion::allocate`, with the size of pages set.
        let (this, page_size) = unsafe { (MemoryRegion::<D>::from_raw(&mr), (*mr).page_size) };
        if page_size as usize != PAGE_SIZE {
            return Err(EINVAL);
        }
        this.begin_pages()?;
        // SAFETY: The caller passes a list that is mapped for the device, so by addresses of the kernel.
        Ok(unsafe { bindings::ib_sg_to_pages(mr, list, count, offset, Some(set_page::<D>)) })
    })
}

/// # Safety
///
/// To be called for [`map_mr_sg`] only.
unsafe extern "C" fn set_page<D: Driver>(mr: *mut bindings::ib_mr, address: u64) -> c_int {
    from_result(|| {
        // SAFETY: `map_mr_sg` has passed this region.
        let this = unsafe { MemoryRegion::<D>::from_raw(&mr) };
        // SAFETY: The user maps its own memory, and keeps it until the region is registered no more.
        unsafe { for_each_page(address, PAGE_SIZE, |page, _, _| this.add_page(page)) }?;
        Ok(0)
    })
}
