// SPDX-License-Identifier: GPL-2.0

//! Memory regions: registered memory, its keys, and the references segments hold on it.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::new_mutex;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::Arc;
use kernel::sync::Mutex;

use crate::base::number_table::NumberTable;
use crate::base::page_vec::PageVec;
use crate::base::page_vec::MAX_SGE;
use crate::base::page_word;
use crate::base::random::random;
use crate::base::revocable::CountedRevocable;
use crate::base::revocable::Guard;
use crate::transport::opcode::WORD;
use crate::verbs::abi::limits;
use crate::verbs::access::check_supported;
use crate::verbs::limits::MAX_REGIONS;
use crate::verbs::pd::PdId;
use crate::verbs::pd::ProtectionDomain;
use crate::verbs::rdma::Access;
use crate::verbs::rdma::AccessFlags;
use crate::verbs::rdma::Driver;
use crate::verbs::rdma::MrChange;
use crate::verbs::rdma::MrKeys;
use crate::verbs::rdma::MrOps;
use crate::verbs::rdma::MrRequest;
use crate::verbs::rdma::Pd;
use crate::verbs::rdma::Umem;
use crate::verbs::rdma::UserData;

const _: () = assert!(
    MAX_SGE == limits::MAX_SGE as usize,
    "pages are listed of as many elements as processes may name"
);

/// Bits of a key that say nothing about which region it is; the rest is its number.
const VARIANT_BITS: u32 = 8;

/// A key names a region, in local (lkey) and remote (rkey) accesses alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(pub(crate) u32);

/// Checks what a registration asks for.
///
/// Fails with `EOPNOTSUPP` for kinds of regions this device does not have, and with `EINVAL` for
/// remote write without local write (IBTA 10.6.3.1).
fn check(access: AccessFlags) -> Result {
    check_supported(access)?;
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

/// PD and access flags of a region.
#[derive(Clone, Copy)]
struct Rights {
    pd: PdId,
    access: AccessFlags,
}

/// Memory of a process.
struct PinnedMemory {
    length: u64,
    /// Bytes of the first page that precede the memory.
    head: usize,
    pages: KVVec<NonNull<bindings::page>>,
    /// Pins `pages`.
    umem: Umem,
}

// SAFETY: The page pointers are only handed on as numbers of pages that stay pinned; all other fields are
// `Send` and `Sync`.
unsafe impl Send for PinnedMemory {}
// SAFETY: As above.
unsafe impl Sync for PinnedMemory {}

impl PinnedMemory {
    fn new(umem: Umem) -> Result<Self> {
        let mut pages = KVVec::with_capacity(umem.page_count(), GFP_KERNEL_ACCOUNT)?;
        for page in umem.pages() {
            pages.push(page, GFP_KERNEL_ACCOUNT)?;
        }
        Ok(Self {
            length: umem.length() as u64,
            head: umem.offset(),
            pages,
            umem,
        })
    }

    /// Appends the pages of `len` bytes from byte `start` on.
    fn fill(&self, start: usize, len: usize, pages: &mut PageVec) -> Result<(), AccessDenied> {
        let mut at = self.head + start;
        let mut left = len;
        while left > 0 {
            let in_page = at % PAGE_SIZE;
            let chunk = left.min(PAGE_SIZE - in_page);
            let page = *self.pages.get(at / PAGE_SIZE).ok_or(AccessDenied)?;
            // SAFETY: The page is pinned until no `RegionUse` is left, and the caller keeps one for as
            // long as the list is used.
            unsafe { pages.push(page, in_page, chunk) }.map_err(|_| AccessDenied)?;
            at += chunk;
            left -= chunk;
        }
        Ok(())
    }

    /// Gives `f` the aligned word at byte `start`, which must be there.
    fn with_word<R>(
        &self,
        start: usize,
        f: impl FnOnce(&Atomic<u64>) -> R,
    ) -> Result<R, AccessDenied> {
        let at = self.head + start;
        let page = *self.pages.get(at / PAGE_SIZE).ok_or(AccessDenied)?;
        // SAFETY: The page is pinned until no `RegionUse` is left, and the caller keeps one.
        unsafe { page_word::with_word(page, at % PAGE_SIZE, f) }.ok_or(AccessDenied)
    }
}

/// A registration of memory, as it is until it is changed or ends.
///
/// # Lifetime
///
/// It is changed by putting another into its place. [`RegionTable::replace`] and
/// [`RegionTable::deregister`] return when no [`RegionUse`] of the old one is left. Uses last as long as one
/// segment is copied, never as long as a work request is outstanding.
pub(crate) struct Region {
    key: Key,
    iova: u64,
    rights: Rights,
    memory: Arc<PinnedMemory>,
}

impl Region {
    /// Checks an access to `len` bytes from `address` on, and says where in the memory they begin.
    fn offset(&self, address: u64, len: usize, needs: Needs) -> Result<usize, AccessDenied> {
        let start = address.checked_sub(self.iova).ok_or(AccessDenied)?;
        let end = start.checked_add(len as u64).ok_or(AccessDenied)?;
        if end > self.memory.length || !self.allows(needs) {
            return Err(AccessDenied);
        }
        Ok(start as usize)
    }

    /// Whether an access is allowed, wherever it is to.
    fn allows(&self, needs: Needs) -> bool {
        self.rights.pd == needs.pd && self.rights.access.contains_all(needs.access)
    }
}

/// Keeps a region registered as it is while a segment is copied from or to it.
pub(crate) type RegionUse = Guard<Region>;

/// The regions one segment is copied from or to.
pub(crate) struct Regions {
    uses: [Option<RegionUse>; MAX_SGE],
    count: usize,
}

impl Regions {
    /// No region yet.
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

    /// Ends all uses: the memory may be deregistered from now on.
    pub(crate) fn clear(&mut self) {
        for place in self.uses.iter_mut().take(self.count) {
            *place = None;
        }
        self.count = 0;
    }
}

/// All regions of the device.
#[pin_data]
pub(crate) struct RegionTable {
    /// A use of a region begins with the table locked, and a region is revoked after it has been taken out: so
    /// every use is seen that there will ever be.
    #[pin]
    regions: NumberTable<CountedRevocable<Region>>,
}

impl Key {
    /// Number of the region that the key names.
    fn number(self) -> u32 {
        self.0 >> VARIANT_BITS
    }
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
    ) -> Result<Arc<CountedRevocable<Region>>> {
        let memory = Arc::new(PinnedMemory::new(umem)?, GFP_KERNEL_ACCOUNT)?;
        iova.checked_add(memory.length).ok_or(EINVAL)?;
        self.regions.add(|number| {
            let variant = random() & ((1 << VARIANT_BITS) - 1);
            let region = Region {
                key: Key(number << VARIANT_BITS | variant),
                iova,
                rights: Rights { pd, access },
                memory,
            };
            Arc::pin_init(CountedRevocable::new(region), GFP_KERNEL_ACCOUNT)
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
        let start = region.offset(address, len, needs)?;
        region.memory.fill(start, len, pages)?;
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
        self.acquire(key)?.offset(address, len, needs).map(|_| ())
    }

    /// Whether an access to all bytes of the region is allowed now.
    pub(crate) fn check_all(&self, key: Key, needs: Needs) -> Result<(), AccessDenied> {
        if self.acquire(key)?.allows(needs) {
            Ok(())
        } else {
            Err(AccessDenied)
        }
    }

    /// Gives `f` the aligned word at `address` of the region that `key` names. The region stays as it is meanwhile.
    pub(crate) fn with_word<R>(
        &self,
        key: Key,
        address: u64,
        needs: Needs,
        f: impl FnOnce(&Atomic<u64>) -> R,
    ) -> Result<R, AccessDenied> {
        let region = self.acquire(key)?;
        let start = region.offset(address, WORD as usize, needs)?;
        region.memory.with_word(start, f)
    }

    fn acquire(&self, key: Key) -> Result<RegionUse, AccessDenied> {
        self.regions
            .find_with(key.number(), |region| {
                // SAFETY: Only what has been taken out of the table is revoked.
                (region.key == key).then(|| unsafe { region.access() })
            })
            .ok_or(AccessDenied)
    }

    /// Makes a region what `rights` say, and waits until nothing is copied any more that they may not allow.
    fn replace(&self, region: &Region, rights: Rights) -> Result<Arc<CountedRevocable<Region>>> {
        let new = CountedRevocable::new(Region {
            key: region.key,
            iova: region.iova,
            rights,
            memory: region.memory.clone(),
        });
        let new = Arc::pin_init(new, GFP_KERNEL_ACCOUNT)?;
        if let Some(old) = self.regions.replace(region.key.number(), new.clone()) {
            old.revoke();
        }
        Ok(new)
    }

    /// Makes the region's key invalid and waits until nothing is copied from or to the region any more.
    fn deregister(&self, region: &Region) {
        if let Some(region) = self.regions.remove(region.key.number()) {
            region.revoke();
        }
    }
}

/// A device with memory regions.
pub(crate) trait HasRegions {
    /// Table of all memory regions.
    fn regions(&self) -> &Arc<RegionTable>;
}

/// A region as its process sees it.
#[pin_data]
pub(crate) struct RegisteredRegion {
    table: Arc<RegionTable>,
    /// What the table has. Held while it is changed.
    #[pin]
    region: Mutex<Arc<CountedRevocable<Region>>>,
}

fn register<D>(pd: &Pd<D>, request: MrRequest) -> Result<Arc<CountedRevocable<Region>>>
where
    D: Driver<Pd = ProtectionDomain> + HasRegions,
{
    check(request.access)?;
    let umem = Umem::pin(pd.device(), request.start, request.length, request.access)?;
    pd.device()
        .driver()
        .regions()
        .register(umem, pd.id(), request.iova, request.access)
}

#[vtable]
impl<D> MrOps<D> for RegisteredRegion
where
    D: Driver<Pd = ProtectionDomain> + HasRegions,
{
    fn register(
        pd: &Pd<D>,
        request: MrRequest,
        _user: Option<UserData<'_, D>>,
    ) -> impl PinInit<Self, Error> {
        pin_init!(Self {
            table: pd.device().driver().regions().clone(),
            region <- new_mutex!(register(pd, request)?),
        }? Error)
    }

    fn keys(&self) -> MrKeys {
        let Key(key) = self.region.lock().key;
        MrKeys {
            lkey: key,
            rkey: key,
        }
    }

    fn change(&self, change: MrChange<'_, D>) -> Result {
        let mut region = self.region.lock();
        let mut rights = region.rights;
        if let Some(access) = change.access {
            check(access)?;
            region.memory.umem.check_access(access)?;
            rights.access = access;
        }
        if let Some(pd) = change.pd {
            rights.pd = pd.id();
        }
        *region = self.table.replace(&region, rights)?;
        Ok(())
    }

    fn deregister(&self) {
        self.table.deregister(&self.region.lock());
    }
}
