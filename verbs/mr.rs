// SPDX-License-Identifier: GPL-2.0

//! Memory regions and windows: registered memory, its keys, and the references segments hold on it.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::new_mutex;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use kernel::sync::Mutex;

use crate::base::number_table::NumberTable;
use crate::base::page_vec::PageVec;
use crate::base::page_vec::MAX_SGE;
use crate::base::page_word;
use crate::base::random::random;
use crate::base::revocable::CountedRevocable;
use crate::base::revocable::Guard;
use crate::base::revocable::Hold;
use crate::transport::opcode::WORD;
use crate::verbs::abi::limits;
use crate::verbs::access::check_region;
use crate::verbs::access::check_writes;
use crate::verbs::access_error::Stop;
use crate::verbs::access_error::Unresolved;
use crate::verbs::address_range::AddressRange;
use crate::verbs::fast_region::FastRegion;
use crate::verbs::fast_region::Registration;
use crate::verbs::fast_region::RegistrationRefused;
use crate::verbs::limits::MAX_REGIONS;
use crate::verbs::limits::MAX_WINDOWS;
use crate::verbs::memory_key;
use crate::verbs::on_demand::OnDemandMemory;
use crate::verbs::pd::PdId;
use crate::verbs::pd::ProtectionDomain;
use crate::verbs::rdma::unsupported;
use crate::verbs::rdma::Access;
use crate::verbs::rdma::AccessFlags;
use crate::verbs::rdma::Device;
use crate::verbs::rdma::Driver;
use crate::verbs::rdma::MrRequest;
use crate::verbs::rdma::MwType;
use crate::verbs::rdma::Pd;
use crate::verbs::rdma::Umem;
use crate::verbs::window::BindRefused;
use crate::verbs::window::BindRequest;
use crate::verbs::window::Binder;
use crate::verbs::window::Ground;
use crate::verbs::window::Grounds;
use crate::verbs::window::Window;

pub(crate) use crate::verbs::memory_key::AccessDenied;
pub(crate) use crate::verbs::memory_key::Initiator;
pub(crate) use crate::verbs::memory_key::Key;
pub(crate) use crate::verbs::memory_key::Needs;

const _: () = assert!(
    MAX_SGE == limits::MAX_SGE as usize,
    "pages are listed of as many elements as processes may name"
);

/// Where numbers of windows begin; those of regions are below.
const FIRST_WINDOW: u32 = memory_key::NUMBERS / 2;
/// Where numbers of fast regions begin; those of other ones are below.
const FIRST_FAST_REGION: u32 = FIRST_WINDOW / 2;

/// What a key names, if anything.
enum Named {
    Region,
    FastRegion,
    Window,
}

fn named_by(key: Key) -> Named {
    match key.number() {
        FIRST_WINDOW.. => Named::Window,
        FIRST_FAST_REGION.. => Named::FastRegion,
        _ => Named::Region,
    }
}

/// Checks what a registration asks for.
///
/// Fails with `EOPNOTSUPP` for kinds of regions this device does not have, and with `EINVAL` for
/// remote write without local write (IBTA 10.6.3.1).
fn check(access: AccessFlags) -> Result {
    check_region(access)?;
    check_writes(access)
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
        // SAFETY: The pages are pinned until no `RegionUse` is left, and the caller keeps one for as long as the list is
        // used.
        unsafe { pages.push_from(&self.pages, self.head + start, len) }.map_err(|_| AccessDenied)
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

    /// Calls `copy` with the pages of `len` bytes from byte `start` on.
    #[inline(never)]
    fn with_pages(
        &self,
        start: usize,
        len: usize,
        copy: impl FnOnce(&mut PageVec) -> Result,
    ) -> Result<(), AccessDenied> {
        let mut pages = PageVec::new();
        self.fill(start, len, &mut pages)?;
        copy(&mut pages).map_err(|_| AccessDenied)
    }
}

/// The memory of a region.
#[derive(Clone)]
enum Memory {
    /// It is there as long as the region.
    Pinned(Arc<PinnedMemory>),
    /// It is looked for when it is accessed.
    OnDemand(Arc<OnDemandMemory>),
}

impl Memory {
    /// The memory of the calling process that `request` names.
    fn of_caller<D: Driver>(device: &Device<D>, request: &MrRequest) -> Result<Self> {
        let MrRequest {
            start,
            length,
            access,
            ..
        } = *request;
        Ok(if access.contains(Access::OnDemand) {
            let memory = OnDemandMemory::of_caller(start, length, access)?;
            Self::OnDemand(Arc::new(memory, GFP_KERNEL_ACCOUNT)?)
        } else {
            let umem = Umem::pin(device, start, length, access)?;
            Self::Pinned(Arc::new(PinnedMemory::new(umem)?, GFP_KERNEL_ACCOUNT)?)
        })
    }

    fn length(&self) -> u64 {
        match self {
            Self::Pinned(memory) => memory.length,
            Self::OnDemand(memory) => memory.length(),
        }
    }

    /// Checks whether it may be accessed by `access` as it was registered.
    fn check_access(&self, access: AccessFlags) -> Result {
        match self {
            Self::Pinned(_) if access.contains(Access::OnDemand) => Err(unsupported()),
            Self::Pinned(memory) => memory.umem.check_access(access),
            Self::OnDemand(memory) => memory.check_access(access),
        }
    }
}

/// A registration of memory, as it is until it is changed or ends.
///
/// # Lifetime
///
/// It is changed by putting another into its place. [`RegionTable::replace`] and
/// [`RegionTable::deregister`] return when no [`RegionUse`] of the old one is left. Uses last as long as one
/// segment is copied, never as long as a work request is outstanding.
///
/// A region to which windows are bound is neither changed nor ended (IBTA 10.6.7.2.6).
pub(crate) struct Region {
    key: Key,
    iova: u64,
    rights: Rights,
    memory: Memory,
    /// Windows that are bound to it. Changed with the table locked.
    windows: Atomic<u32>,
}

impl Region {
    fn new(key: Key, iova: u64, rights: Rights, memory: Memory) -> Self {
        Self {
            key,
            iova,
            rights,
            memory,
            windows: Atomic::new(0),
        }
    }

    /// Whether no window is bound to it.
    fn is_free(&self) -> bool {
        self.windows.load(Relaxed) == 0
    }

    /// Checks an access to `len` bytes from `address` on, and says where in the memory they begin.
    fn offset(&self, address: u64, len: usize, needs: Needs) -> Result<usize, AccessDenied> {
        let start = self.addresses().offset_of(address, len as u64);
        start
            .filter(|_| self.allows(needs))
            .map(|start| start as usize)
            .ok_or(AccessDenied)
    }

    fn addresses(&self) -> AddressRange {
        AddressRange {
            start: self.iova,
            length: self.memory.length(),
        }
    }

    /// Whether an access is allowed, wherever it is to.
    fn allows(&self, needs: Needs) -> bool {
        self.rights.pd == needs.pd && self.rights.access.contains_all(needs.access)
    }
}

/// Keeps a region registered as it is while a segment is copied from or to it.
pub(crate) struct RegionUse {
    region: Guard<Region>,
    window: Option<Guard<Window>>,
}

/// Keeps a region, of whatever kind, as it is while a segment is copied from or to its pages.
pub(crate) struct MemoryUse {
    memory: Hold,
    window: Option<Hold>,
}

impl From<RegionUse> for MemoryUse {
    fn from(used: RegionUse) -> Self {
        Self {
            memory: used.region.into(),
            window: used.window.map(Hold::from),
        }
    }
}

impl RegionUse {
    /// Copies `to.len()` bytes from byte `from` of the memory on, as far as pages are present. Returns how many that were.
    /// Does not sleep. The range must have been checked ([`RegionTable::open`]).
    pub(crate) fn read(&self, from: u64, to: &mut [u8]) -> Result<usize, Stop> {
        let len = to.len();
        match &self.region.memory {
            Memory::Pinned(memory) => memory
                .with_pages(from as usize, len, |pages| pages.copy_to_slice(0, to))
                .map(|()| len)
                .map_err(Stop::from),
            Memory::OnDemand(memory) => memory.read(from, to),
        }
    }

    /// Copies `from` to byte `to` of the memory and on, as far as pages are present, `ordered` bytes at the end in order.
    /// Returns how many bytes that were. Does not sleep. The range must have been checked ([`RegionTable::open`]).
    pub(crate) fn write(&self, to: u64, from: &[u8], ordered: usize) -> Result<usize, Stop> {
        let len = from.len();
        match &self.region.memory {
            Memory::Pinned(memory) => memory
                .with_pages(to as usize, len, |pages| {
                    pages.copy_from_slice_in_order(from)
                })
                .map(|()| len)
                .map_err(Stop::from),
            Memory::OnDemand(memory) => memory.write(to, from, ordered),
        }
    }

    /// The memory, if its pages are found on demand.
    pub(crate) fn on_demand(&self) -> Option<&Arc<OnDemandMemory>> {
        match &self.region.memory {
            Memory::Pinned(_) => None,
            Memory::OnDemand(memory) => Some(memory),
        }
    }
}

/// The regions one segment is copied from or to.
pub(crate) struct Regions {
    uses: [Option<Hold>; MAX_SGE],
    count: usize,
    /// The one through which it is. Only peers use windows, one for each segment.
    window: Option<Hold>,
}

impl Regions {
    /// No region yet.
    pub(crate) const fn new() -> Self {
        Self {
            uses: [const { None }; MAX_SGE],
            count: 0,
            window: None,
        }
    }

    /// Adds one; there are at most [`MAX_SGE`].
    pub(crate) fn add(&mut self, used: MemoryUse) {
        if let Some(place) = self.uses.get_mut(self.count) {
            *place = Some(used.memory);
            self.count += 1;
        }
        if used.window.is_some() {
            self.window = used.window;
        }
    }

    /// Ends all uses: the memory may be deregistered from now on.
    pub(crate) fn clear(&mut self) {
        for place in self.uses.iter_mut().take(self.count) {
            *place = None;
        }
        self.count = 0;
        self.window = None;
    }
}

/// Regions by number.
type RegionsByNumber = NumberTable<CountedRevocable<Region>>;

/// All regions and windows of the device.
#[pin_data]
pub(crate) struct RegionTable {
    /// A use of a region begins with the table locked, and a region is revoked after it has been taken out: so
    /// every use is seen that there will ever be.
    #[pin]
    regions: RegionsByNumber,
    /// The same holds for fast regions,
    #[pin]
    fast_regions: NumberTable<CountedRevocable<FastRegion>>,
    /// and for windows.
    #[pin]
    windows: NumberTable<CountedRevocable<Window>>,
}

impl Grounds for RegionsByNumber {
    fn hold<R>(&self, key: Key, check: impl FnOnce(&Ground) -> Option<R>) -> Option<R> {
        self.find_with(key.number(), |region| {
            let ground = Ground {
                pd: region.rights.pd,
                access: region.rights.access,
                addresses: region.addresses(),
            };
            let result = check(&ground).filter(|_| region.key == key)?;
            region.windows.fetch_add(1, Relaxed);
            Some(result)
        })
    }

    fn release(&self, key: Key) {
        self.find_with(key.number(), |region| {
            region.windows.fetch_sub(1, Relaxed);
            Some(())
        });
    }
}

impl RegionTable {
    /// An empty table.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            // Number 0 stays free: a zeroed key never names a region.
            regions <- NumberTable::new(1..FIRST_FAST_REGION, MAX_REGIONS),
            fast_regions <- NumberTable::new(FIRST_FAST_REGION..FIRST_WINDOW, MAX_REGIONS),
            windows <- NumberTable::new(FIRST_WINDOW..memory_key::NUMBERS, MAX_WINDOWS),
        })
    }

    /// Registers memory that the QPs of `pd` see at `iova`.
    fn register(
        &self,
        memory: Memory,
        pd: PdId,
        iova: u64,
        access: AccessFlags,
    ) -> Result<Arc<CountedRevocable<Region>>> {
        iova.checked_add(memory.length()).ok_or(EINVAL)?;
        self.regions.add(|number| {
            let key = Key::new(number, random());
            let region = Region::new(key, iova, Rights { pd, access }, memory);
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
    ) -> Result<MemoryUse, Unresolved> {
        if let Named::FastRegion = named_by(key) {
            // Counted first: whoever makes the key invalid sees the use, or the use sees that the key is not valid.
            let region = self.acquire_fast_region(key)?;
            region.fill(key, address, len, needs, pages)?;
            return Ok(MemoryUse {
                memory: region.into(),
                window: None,
            });
        }
        let (used, start) = self.acquire(key, address, len, needs)?;
        match &used.region.memory {
            Memory::Pinned(memory) => memory.fill(start, len, pages)?,
            Memory::OnDemand(_) => return Err(Unresolved::OnDemand),
        }
        Ok(used.into())
    }

    /// Begins to copy `len` bytes at `address` of the region that `key` names. Says where in the region's memory they are.
    pub(crate) fn open(
        &self,
        key: Key,
        address: u64,
        len: usize,
        needs: Needs,
    ) -> Result<(RegionUse, u64), AccessDenied> {
        let (used, start) = self.acquire(key, address, len, needs)?;
        Ok((used, start as u64))
    }

    /// Whether an access to these bytes is allowed now.
    pub(crate) fn check(
        &self,
        key: Key,
        address: u64,
        len: usize,
        needs: Needs,
    ) -> Result<(), AccessDenied> {
        match named_by(key) {
            Named::FastRegion => {
                let region = self.acquire_fast_region(key)?;
                region.check(key, address, len, needs)
            }
            Named::Region | Named::Window => self.acquire(key, address, len, needs).map(|_| ()),
        }
    }

    /// Checks an access, and says where in the region's memory it begins. Fast regions have but pages.
    fn acquire(
        &self,
        key: Key,
        address: u64,
        len: usize,
        needs: Needs,
    ) -> Result<(RegionUse, usize), AccessDenied> {
        match named_by(key) {
            Named::Window => return self.acquire_through_window(key, address, len, needs),
            Named::FastRegion => return Err(AccessDenied),
            Named::Region => {}
        }
        let region = self.acquire_region(key)?;
        let start = region.offset(address, len, needs)?;
        let used = RegionUse {
            region,
            window: None,
        };
        Ok((used, start))
    }

    fn acquire_through_window(
        &self,
        key: Key,
        address: u64,
        len: usize,
        needs: Needs,
    ) -> Result<(RegionUse, usize), AccessDenied> {
        // Counted first: whoever unbinds the window sees the use, or the use sees that it is not bound any more.
        let window = self.acquire_window(key)?;
        let (region, start) = window.access(key, address, len, needs, |region, start| {
            Ok((self.acquire_region(region)?, start as usize))
        })?;
        let used = RegionUse {
            region,
            window: Some(window),
        };
        Ok((used, start))
    }

    /// Whether an access to all bytes of the region is allowed now.
    pub(crate) fn check_all(&self, key: Key, needs: Needs) -> Result<(), AccessDenied> {
        if let Named::FastRegion = named_by(key) {
            return self.acquire_fast_region(key)?.check_all(key, needs);
        }
        // A window has no right to any of it.
        if self.acquire_region(key)?.allows(needs) {
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
        if let Named::FastRegion = named_by(key) {
            let region = self.acquire_fast_region(key)?;
            return region.with_word(key, address, needs, f);
        }
        let (used, start) = self.acquire(key, address, WORD as usize, needs)?;
        match &used.region.memory {
            Memory::Pinned(memory) => memory.with_word(start, f),
            // The page may not be present, and nothing here may wait for it.
            Memory::OnDemand(_) => Err(AccessDenied),
        }
    }

    fn acquire_region(&self, key: Key) -> Result<Guard<Region>, AccessDenied> {
        self.regions
            .find_with(key.number(), |region| {
                // SAFETY: Only what has been taken out of the table is revoked.
                (region.key == key).then(|| unsafe { region.access() })
            })
            .ok_or(AccessDenied)
    }

    fn acquire_fast_region(&self, key: Key) -> Result<Guard<FastRegion>, AccessDenied> {
        self.fast_regions
            .find_with(key.number(), |region| {
                // SAFETY: As above.
                Some(unsafe { region.access() })
            })
            .ok_or(AccessDenied)
    }

    fn acquire_window(&self, key: Key) -> Result<Guard<Window>, AccessDenied> {
        self.windows
            .find_with(key.number(), |window| {
                // SAFETY: As above.
                Some(unsafe { window.access() })
            })
            .ok_or(AccessDenied)
    }

    /// Allocates a window of `pd`, which is not bound.
    pub(crate) fn allocate_window(
        &self,
        pd: PdId,
        window_type: MwType,
    ) -> Result<Arc<CountedRevocable<Window>>> {
        self.windows.add(|number| {
            let window = Window::new(Key::new(number, random()), pd, window_type)?;
            Arc::pin_init(CountedRevocable::new(window), GFP_KERNEL_ACCOUNT)
        })
    }

    /// Makes the window's key invalid, for good, and waits until nothing is copied through it any more.
    pub(crate) fn deallocate_window(&self, window: &Window) {
        if let Some(window) = self.windows.remove(window.key().number()) {
            window.unbind(&self.regions);
            window.revoke();
        }
    }

    /// Binds a window. What is still copied by its former key keeps it used, see [`Hold::is_only`].
    pub(crate) fn bind(&self, binder: Binder, request: &BindRequest) -> Result<Hold, BindRefused> {
        let window = self
            .acquire_window(request.window)
            .map_err(|AccessDenied| BindRefused)?;
        window.bind(binder, request, &self.regions)?;
        Ok(window.into())
    }

    /// Makes the key invalid of a window that is bound to the binder's QP, or of a fast region of its domain. What is still
    /// copied by it keeps that used, see [`Hold::is_only`]; nothing new begins to be.
    pub(crate) fn invalidate(
        &self,
        binder: Binder,
        key: Key,
        initiator: Initiator,
    ) -> Result<Hold, AccessDenied> {
        match named_by(key) {
            Named::Region => Err(AccessDenied),
            Named::FastRegion => {
                let region = self.acquire_fast_region(key)?;
                region.invalidate(binder.pd, key, initiator)?;
                Ok(region.into())
            }
            Named::Window => {
                let window = self.acquire_window(key)?;
                window.invalidate(binder, key, &self.regions)?;
                Ok(window.into())
            }
        }
    }

    /// Whether something is still copied from or to the fast region that `key` names, by a key that was valid.
    pub(crate) fn is_fast_region_in_use(&self, key: Key) -> bool {
        let region = match named_by(key) {
            Named::FastRegion => self.acquire_fast_region(key),
            Named::Region | Named::Window => Err(AccessDenied),
        };
        region.is_ok_and(|region| !Hold::from(region).is_only())
    }

    /// Makes a fast region of `pd` for at most `capacity` pages.
    pub(crate) fn allocate_fast_region(
        &self,
        pd: PdId,
        capacity: u32,
    ) -> Result<Arc<CountedRevocable<FastRegion>>> {
        self.fast_regions.add(|number| {
            let region = FastRegion::new(Key::new(number, random()), pd, capacity)?;
            Arc::pin_init(CountedRevocable::new(region), GFP_KERNEL_ACCOUNT)
        })
    }

    /// Makes the key of a fast region valid.
    pub(crate) fn register_fast_region(
        &self,
        binder: Binder,
        registration: Registration,
    ) -> Result<(), RegistrationRefused> {
        let region = match named_by(registration.key) {
            Named::FastRegion => self.acquire_fast_region(registration.key),
            Named::Region | Named::Window => Err(AccessDenied),
        };
        let region = region.map_err(|AccessDenied| RegistrationRefused)?;
        region.register(binder.pd, registration)
    }

    /// Ends a fast region: waits until nothing is copied from or to it any more.
    pub(crate) fn free_fast_region(&self, region: &FastRegion) {
        if let Some(region) = self.fast_regions.remove(region.key().number()) {
            region.revoke();
        }
    }

    /// Makes a region what `rights` say, and waits until nothing is copied any more that they may not allow. Fails with
    /// `EBUSY` if windows are bound to it.
    fn replace(&self, region: &Region, rights: Rights) -> Result<Arc<CountedRevocable<Region>>> {
        let new = Region::new(region.key, region.iova, rights, region.memory.clone());
        let new = Arc::pin_init(CountedRevocable::new(new), GFP_KERNEL_ACCOUNT)?;
        let number = region.key.number();
        let old = self
            .regions
            .replace_if(number, new.clone(), |old| old.is_free())
            .ok_or(EBUSY)?;
        old.revoke();
        Ok(new)
    }

    /// Makes the region's key invalid and waits until nothing is copied from or to the region any more. Fails with
    /// `EBUSY` if windows are bound to it.
    fn deregister(&self, region: &Region) -> Result {
        let region = self
            .regions
            .remove_if(region.key.number(), |region| region.is_free())
            .ok_or(EBUSY)?;
        region.revoke();
        Ok(())
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
    let memory = Memory::of_caller(pd.device(), &request)?;
    pd.device()
        .driver()
        .regions()
        .register(memory, pd.id(), request.iova, request.access)
}

impl RegisteredRegion {
    /// Registers memory of the calling process.
    pub(crate) fn new<D>(pd: &Pd<D>, request: MrRequest) -> impl PinInit<Self, Error> + use<'_, D>
    where
        D: Driver<Pd = ProtectionDomain> + HasRegions,
    {
        pin_init!(Self {
            table: pd.device().driver().regions().clone(),
            region <- new_mutex!(register(pd, request)?),
        }? Error)
    }

    /// Its key.
    pub(crate) fn key(&self) -> Key {
        self.region.lock().key
    }

    /// Changes rights or domain, or both.
    pub(crate) fn change(&self, access: Option<AccessFlags>, pd: Option<PdId>) -> Result {
        let mut region = self.region.lock();
        let mut rights = region.rights;
        if let Some(access) = access {
            check(access)?;
            region.memory.check_access(access)?;
            rights.access = access;
        }
        if let Some(pd) = pd {
            rights.pd = pd;
        }
        *region = self.table.replace(&region, rights)?;
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// `EBUSY` while windows are bound to it.
    pub(crate) fn deregister(&self) -> Result {
        self.table.deregister(&self.region.lock())
    }
}
