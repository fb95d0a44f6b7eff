// SPDX-License-Identifier: GPL-2.0

//! Fast regions: memory of the kernel that its users list page by page, and register and invalidate by work requests
//! (IBTA 10.6.3.8).

use core::ptr::NonNull;

use kernel::bindings;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::static_lock_class;
use kernel::sync::atomic::Atomic;

use crate::base::irq_lock::IrqLock;
use crate::base::page_vec::PageVec;
use crate::base::page_word;
use crate::verbs::access::check_registration;
use crate::verbs::address_range::AddressRange;
use crate::verbs::memory_key::AccessDenied;
use crate::verbs::memory_key::Initiator;
use crate::verbs::memory_key::Key;
use crate::verbs::memory_key::Needs;
use crate::verbs::pd::PdId;
use crate::verbs::rdma::Access;
use crate::verbs::rdma::AccessFlags;

/// Most pages of a region: 2 MiB.
pub(crate) const MAX_PAGES: u32 = 512;

/// How memory is to be registered.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Registration {
    /// Its key from then on: of the region's number, in any variant.
    pub(crate) key: Key,
    /// Those that requests use. What the first one is modulo the page size follows from the pages.
    pub(crate) addresses: AddressRange,
    /// Who may do what.
    pub(crate) access: AccessFlags,
}

/// Memory cannot be registered as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RegistrationRefused;

/// Pages of the kernel, in order.
struct PageList(KVVec<NonNull<bindings::page>>);

// SAFETY: The pointers are only handed on as numbers of pages.
unsafe impl Send for PageList {}
// SAFETY: As above.
unsafe impl Sync for PageList {}

/// Whether pages have been listed since the last registration.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Listing {
    /// None have: those that were registered are registered again.
    Unchanged,
    /// Others have.
    New,
}

struct State {
    /// The key that it was made with, or last registered by.
    key: Key,
    /// Those that are registered next, as users list them before they ask to end what is registered. Neither list is ever
    /// longer than what has been allocated.
    listed: PageList,
    listing: Listing,
    /// Those that are registered, or were.
    registered: PageList,
    /// None while the key is not valid.
    registration: Option<Registration>,
}

/// A fast region.
///
/// # Lifetime
///
/// Its pages are the user's, who keeps them until the key is invalid and nothing is copied by it any more: that is when a
/// request that makes it invalid completes, and when the region is gone.
///
/// # Locking
///
/// `state` excludes interrupts, as pages may be listed in any context, and is innermost.
pub(crate) struct FastRegion {
    pd: PdId,
    capacity: usize,
    state: Pin<KBox<IrqLock<State>>>,
}

/// Bytes of `address` into its page.
fn in_page(address: u64) -> usize {
    address as usize % PAGE_SIZE
}

impl State {
    /// Checks an access to `len` bytes at `address`, and says where in the first page they begin, counted from there.
    fn offset(
        &self,
        key: Key,
        address: u64,
        len: usize,
        needs: Needs,
    ) -> Result<usize, AccessDenied> {
        let registration = self.registration.as_ref().ok_or(AccessDenied)?;
        let is_allowed = self.key == key && registration.access.contains_all(needs.access);
        let addresses = registration.addresses;
        let start = addresses.offset_of(address, len as u64);
        start
            .filter(|_| is_allowed)
            .map(|start| in_page(addresses.start) + start as usize)
            .ok_or(AccessDenied)
    }
}

impl FastRegion {
    /// One for at most `capacity` pages, which has none and whose key, which has this number, is not valid.
    pub(crate) fn new(key: Key, pd: PdId, capacity: u32) -> Result<Self> {
        let capacity = capacity as usize;
        let list = || KVVec::with_capacity(capacity, GFP_KERNEL_ACCOUNT).map(PageList);
        let state = State {
            key,
            listed: list()?,
            listing: Listing::Unchanged,
            registered: list()?,
            registration: None,
        };
        let state = KBox::pin_init(
            IrqLock::new(state, c"usb4_roce_fast_region", static_lock_class!()),
            GFP_KERNEL_ACCOUNT,
        )?;
        Ok(Self {
            pd,
            capacity,
            state,
        })
    }

    /// Begins a new list of pages.
    pub(crate) fn begin_pages(&self) {
        let mut state = self.state.lock();
        state.listed.0.clear();
        state.listing = Listing::New;
    }

    /// Adds a page behind the others of the list.
    ///
    /// # Errors
    ///
    /// `ENOMEM` when it is full.
    ///
    /// # Safety
    ///
    /// The page must stay allocated for as long as the type's documentation says.
    pub(crate) unsafe fn add_page(&self, page: NonNull<bindings::page>) -> Result {
        let mut state = self.state.lock();
        if state.listed.0.len() == self.capacity {
            return Err(ENOMEM);
        }
        let pushed = state.listed.0.push_within_capacity(page);
        pushed.map_err(|_| ENOMEM)
    }

    /// The key that it was made with, or last registered by.
    pub(crate) fn key(&self) -> Key {
        self.state.lock().key
    }

    /// Makes the key valid for the pages that have been listed.
    pub(crate) fn register(
        &self,
        pd: PdId,
        registration: Registration,
    ) -> Result<(), RegistrationRefused> {
        check_registration(registration.access).map_err(|_| RegistrationRefused)?;
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let pages = match state.listing {
            Listing::Unchanged => &state.registered,
            Listing::New => &state.listed,
        };
        let room = pages.0.len() * PAGE_SIZE;
        let AddressRange { start, length } = registration.addresses;
        let end = (in_page(start) as u64).checked_add(length);
        let fits = end.is_some_and(|end| end <= room as u64) && start.checked_add(length).is_some();
        let is_known = self.pd == pd && state.key.number() == registration.key.number();
        if !is_known || !fits || state.registration.is_some() {
            return Err(RegistrationRefused);
        }
        if state.listing == Listing::New {
            core::mem::swap(&mut state.listed, &mut state.registered);
            state.listing = Listing::Unchanged;
        }
        state.key = registration.key;
        state.registration = Some(registration);
        Ok(())
    }

    /// Makes the key invalid: no access by it begins after this. A peer may do so to what was lent to it. Its owner may say
    /// so of one that is invalid already, since the peer may have been faster.
    pub(crate) fn invalidate(
        &self,
        pd: PdId,
        key: Key,
        initiator: Initiator,
    ) -> Result<(), AccessDenied> {
        let mut state = self.state.lock();
        let may = match initiator {
            Initiator::Owner => true,
            Initiator::Peer => state.registration.as_ref().is_some_and(|registration| {
                let lent = Access::RemoteRead | Access::RemoteWrite | Access::RemoteAtomic;
                registration.access.contains_any(lent)
            }),
        };
        if self.pd != pd || state.key != key || !may {
            return Err(AccessDenied);
        }
        state.registration = None;
        Ok(())
    }

    /// Whether an access to these bytes is allowed now.
    pub(crate) fn check(
        &self,
        key: Key,
        address: u64,
        len: usize,
        needs: Needs,
    ) -> Result<(), AccessDenied> {
        self.check_domain(needs)?;
        let state = self.state.lock();
        state.offset(key, address, len, needs).map(|_| ())
    }

    /// Whether an access to all bytes of the region is allowed now.
    pub(crate) fn check_all(&self, key: Key, needs: Needs) -> Result<(), AccessDenied> {
        self.check_domain(needs)?;
        let state = self.state.lock();
        let registered = state.registration.as_ref().ok_or(AccessDenied)?.addresses;
        state.offset(key, registered.start, 0, needs).map(|_| ())
    }

    /// Appends the pages of `len` bytes at `address`. The list may be used as long as the region is kept from ending.
    pub(crate) fn fill(
        &self,
        key: Key,
        address: u64,
        len: usize,
        needs: Needs,
        pages: &mut PageVec,
    ) -> Result<(), AccessDenied> {
        self.check_domain(needs)?;
        let state = self.state.lock();
        let start = state.offset(key, address, len, needs)?;
        // SAFETY: By the requirements of `add_page`: the caller keeps the region from ending for as long as the list is used.
        unsafe { pages.push_from(&state.registered.0, start, len) }.map_err(|_| AccessDenied)
    }

    /// Gives `f`, which runs with interrupts disabled, the aligned word at `address`.
    pub(crate) fn with_word<R>(
        &self,
        key: Key,
        address: u64,
        needs: Needs,
        f: impl FnOnce(&Atomic<u64>) -> R,
    ) -> Result<R, AccessDenied> {
        self.check_domain(needs)?;
        let state = self.state.lock();
        let at = state.offset(key, address, size_of::<u64>(), needs)?;
        let page = *state.registered.0.get(at / PAGE_SIZE).ok_or(AccessDenied)?;
        // SAFETY: As in `fill`; the key is valid until the lock is released.
        unsafe { page_word::with_word(page, at % PAGE_SIZE, f) }.ok_or(AccessDenied)
    }

    fn check_domain(&self, needs: Needs) -> Result<(), AccessDenied> {
        if self.pd == needs.pd {
            Ok(())
        } else {
            Err(AccessDenied)
        }
    }
}
