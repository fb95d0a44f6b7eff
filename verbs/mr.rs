// SPDX-License-Identifier: GPL-2.0

//! Memory regions: registered memory, its keys, and the references segments hold on it.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::new_spinlock;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::SpinLock;

use super::device::RoceDevice;
use super::number_table::NumberTable;
use super::objects::Objects;
use super::pd::PdId;
use super::random::random;
use super::rdma::unsupported;
use super::rdma::Access;
use super::rdma::AccessFlags;
use super::rdma::MrChange;
use super::rdma::MrKeys;
use super::rdma::MrOps;
use super::rdma::MrRequest;
use super::rdma::Pd;
use super::rdma::Umem;
use super::rdma::UserData;
use super::users::Users;
use crate::page_vec::PageVec;
use crate::page_vec::MAX_SGE;

/// Bits of a key that say nothing about which region it is; the rest is its number.
const VARIANT_BITS: u32 = 8;

/// Most regions at a time.
pub(crate) const MAX_REGIONS: usize = 1 << 18;

/// A key names a region, in local (lkey) and remote (rkey) accesses alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u32);

/// Checks what a registration asks for.
///
/// Fails with `EOPNOTSUPP` for kinds of regions this device does not have, and with `EINVAL` for
/// remote write without local write (IBTA 10.6.3.1).
fn check(access: AccessFlags) -> Result {
    let supported =
        Access::LocalWrite | Access::RemoteWrite | Access::RemoteRead | Access::RemoteAtomic;
    if !supported.contains_all(access) {
        return Err(unsupported());
    }
    if access.contains_any(Access::RemoteWrite | Access::RemoteAtomic)
        && !access.contains(Access::LocalWrite)
    {
        return Err(EINVAL);
    }
    Ok(())
}

/// An access that the region does not allow: wrong key, PD, rights or range. Which of them is not
/// told to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AccessDenied;

/// What an access needs of a region.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Needs {
    /// The protection domain of the QP.
    pub(crate) pd: PdId,
    /// The rights. None are needed to read for the process itself.
    pub(crate) access: AccessFlags,
}

/// Who may do what.
#[derive(Clone, Copy)]
struct Rights {
    pd: PdId,
    access: AccessFlags,
}

/// Registered memory of a process, pinned.
///
/// # Lifetime
///
/// The pages stay pinned until the last [`RegionUse`] is gone; [`RegionTable::deregister`] waits for
/// that. Uses last as long as one segment is copied, never as long as a work request is outstanding.
#[pin_data]
pub(crate) struct MemoryRegion {
    key: Key,
    iova: u64,
    length: u64,
    /// Taken alone.
    #[pin]
    rights: SpinLock<Rights>,
    /// Bytes of the first page that precede the region.
    head: usize,
    pages: KVVec<NonNull<bindings::page>>,
    /// Entered with the table locked, so that a deregistration, which removes the region first, sees
    /// every use there will ever be.
    #[pin]
    users: Users,
    /// Pins `pages`.
    umem: Umem,
}

// SAFETY: The page pointers are only handed on as numbers of pages that the region keeps pinned; all
// other fields are `Send` and `Sync`.
unsafe impl Send for MemoryRegion {}
// SAFETY: As above.
unsafe impl Sync for MemoryRegion {}

impl MemoryRegion {
    /// Checks an access to `len` bytes from `address` on, and says where they begin in the pages.
    fn offset(&self, address: u64, len: usize, needs: Needs) -> Result<usize, AccessDenied> {
        let start = address.checked_sub(self.iova).ok_or(AccessDenied)?;
        let end = start.checked_add(len as u64).ok_or(AccessDenied)?;
        let rights = *self.rights.lock();
        if end > self.length || rights.pd != needs.pd || !rights.access.contains_all(needs.access) {
            return Err(AccessDenied);
        }
        Ok(self.head + start as usize)
    }

    /// Appends the pages of `len` bytes from `address` on.
    fn fill(
        &self,
        address: u64,
        len: usize,
        needs: Needs,
        pages: &mut PageVec,
    ) -> Result<(), AccessDenied> {
        let mut at = self.offset(address, len, needs)?;
        let mut left = len;
        while left > 0 {
            let in_page = at % PAGE_SIZE;
            let chunk = left.min(PAGE_SIZE - in_page);
            let page = *self.pages.get(at / PAGE_SIZE).ok_or(AccessDenied)?;
            // SAFETY: The page is pinned by the umem until no `RegionUse` is left, and the caller
            // keeps one for as long as the list is used.
            unsafe { pages.push(page, in_page, chunk) }.map_err(|_| AccessDenied)?;
            at += chunk;
            left -= chunk;
        }
        Ok(())
    }
}

/// Keeps a region registered while a segment is copied from or to it.
pub(crate) struct RegionUse(Arc<MemoryRegion>);

impl Drop for RegionUse {
    fn drop(&mut self) {
        self.0.users.leave();
    }
}

/// The regions one segment is copied from or to.
pub(crate) struct Regions {
    uses: [Option<RegionUse>; MAX_SGE],
    count: usize,
}

impl Regions {
    /// None yet.
    pub(crate) const fn new() -> Self {
        Self {
            uses: [const { None }; MAX_SGE],
            count: 0,
        }
    }

    /// Adds one; there are at most [`MAX_SGE`].
    pub(crate) fn add(&mut self, region: RegionUse) {
        if let Some(place) = self.uses.get_mut(self.count) {
            *place = Some(region);
            self.count += 1;
        }
    }
}

/// All regions of the device.
#[pin_data]
pub(crate) struct RegionTable {
    #[pin]
    regions: NumberTable<MemoryRegion>,
}

impl RegionTable {
    /// An empty table.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // Number 0 stays free: a zeroed key never names a region.
            regions <- NumberTable::new(1..1 << (u32::BITS - VARIANT_BITS), MAX_REGIONS),
        })
    }

    /// Registers pinned memory that the QPs of `pd` see at `iova`.
    pub(crate) fn register(
        &self,
        umem: Umem,
        pd: PdId,
        iova: u64,
        access: AccessFlags,
    ) -> Result<Arc<MemoryRegion>> {
        let head = umem.offset();
        let length = umem.len() as u64;
        iova.checked_add(length).ok_or(EINVAL)?;
        let mut pages = KVVec::with_capacity(umem.page_count(), GFP_KERNEL)?;
        for page in umem.pages() {
            pages.push(page, GFP_KERNEL)?;
        }
        self.regions.add(|number| {
            let variant = random() & ((1 << VARIANT_BITS) - 1);
            Arc::pin_init(
                pin_init!(MemoryRegion {
                    key: Key(number << VARIANT_BITS | variant),
                    iova,
                    length,
                    rights <- new_spinlock!(Rights { pd, access }),
                    head,
                    pages,
                    users <- Users::new(),
                    umem,
                }),
                GFP_KERNEL,
            )
        })
    }

    /// Appends the pages of `len` bytes at `address` of the region that `key` names.
    ///
    /// The list may be used as long as the returned reference lives.
    pub(crate) fn resolve(
        &self,
        key: Key,
        address: u64,
        len: usize,
        needs: Needs,
        pages: &mut PageVec,
    ) -> Result<RegionUse, AccessDenied> {
        let region = self.acquire(key)?;
        region.0.fill(address, len, needs, pages)?;
        Ok(region)
    }

    /// Whether an access to these bytes is allowed now.
    pub(crate) fn check(
        &self,
        key: Key,
        address: u64,
        len: usize,
        needs: Needs,
    ) -> Result<(), AccessDenied> {
        self.acquire(key)?.0.offset(address, len, needs).map(|_| ())
    }

    fn acquire(&self, key: Key) -> Result<RegionUse, AccessDenied> {
        self.regions
            .find_with(key.0 >> VARIANT_BITS, |region| {
                if region.key != key {
                    return None;
                }
                region.users.enter();
                Some(RegionUse(region.into()))
            })
            .ok_or(AccessDenied)
    }

    /// Makes the region's key invalid and waits until nothing is copied from or to the region any more.
    pub(crate) fn deregister(&self, region: &MemoryRegion) {
        let Some(region) = self.regions.remove(region.key.0 >> VARIANT_BITS) else {
            return;
        };
        region.users.close();
    }
}

/// A region as its process sees it.
pub(crate) struct RegisteredRegion {
    region: Arc<MemoryRegion>,
    objects: Arc<Objects>,
}

impl RegisteredRegion {
    fn build(pd: &Pd<RoceDevice>, request: MrRequest) -> Result<Self> {
        check(request.access)?;
        let objects = pd.device().objects().clone();
        let umem = Umem::pin(pd.device(), request.start, request.length, request.access)?;
        let region = objects
            .regions
            .register(umem, pd.id(), request.iova, request.access)?;
        Ok(Self { region, objects })
    }
}

#[vtable]
impl MrOps<RoceDevice> for RegisteredRegion {
    fn register(
        pd: &Pd<RoceDevice>,
        request: MrRequest,
        _user: Option<UserData<'_, RoceDevice>>,
    ) -> impl PinInit<Self, Error> {
        Self::build(pd, request)
    }

    fn keys(&self) -> MrKeys {
        let Key(key) = self.region.key;
        MrKeys {
            lkey: key,
            rkey: key,
        }
    }

    fn change(&self, change: MrChange<'_, RoceDevice>) -> Result {
        if let Some(access) = change.access {
            check(access)?;
            self.region.umem.check_access(access)?;
        }
        let mut rights = self.region.rights.lock();
        if let Some(access) = change.access {
            rights.access = access;
        }
        if let Some(pd) = change.pd {
            rights.pd = pd.id();
        }
        Ok(())
    }

    fn deregister(&self) {
        self.objects.regions.deregister(&self.region);
    }
}
