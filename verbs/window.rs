// SPDX-License-Identifier: GPL-2.0

//! Memory windows: rights to parts of regions that are given, and taken away, by work requests (IBTA 10.6.7).

use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::SpinLock;

use crate::transport::ids::Qpn;
use crate::verbs::address_range::AddressRange;
use crate::verbs::memory_key::AccessDenied;
use crate::verbs::memory_key::Key;
use crate::verbs::memory_key::Needs;
use crate::verbs::pd::PdId;
use crate::verbs::rdma::Access;
use crate::verbs::rdma::AccessFlags;
use crate::verbs::rdma::MwType;

/// What a region is to windows.
pub(crate) struct Ground {
    pub(crate) pd: PdId,
    pub(crate) access: AccessFlags,
    pub(crate) addresses: AddressRange,
}

/// The regions that windows may be bound to. Neither function sleeps.
pub(crate) trait Grounds {
    /// One more window is bound to the region that `key` names, if there is one and `check` gives something. The region
    /// stays as it is until it has been let go of as often.
    fn hold<R>(&self, key: Key, check: impl FnOnce(&Ground) -> Option<R>) -> Option<R>;

    /// One window less is bound to the region.
    fn release(&self, key: Key);
}

/// Who binds a window or invalidates its key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binder {
    pub(crate) qp: Qpn,
    pub(crate) pd: PdId,
}

/// How a window is to be bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BindRequest {
    /// Its key until now.
    pub(crate) window: Key,
    /// The low bits of its new key.
    pub(crate) variant: u32,
    /// The region.
    pub(crate) region: Key,
    /// Address, in the region, of the first byte.
    pub(crate) address: u64,
    /// Number of bytes; with 0, a window of type 1 is not bound any more, to any region.
    pub(crate) length: u64,
    /// What peers may do; if zero-based, by offsets instead of addresses.
    pub(crate) access: AccessFlags,
}

/// A window cannot be bound as asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BindRefused;

/// What a window is bound to.
#[derive(Clone, Copy)]
struct Binding {
    region: Key,
    /// Bytes of the region before the window.
    start: u64,
    /// Those that peers use.
    addresses: AddressRange,
    access: AccessFlags,
    /// The QP whose peer may use it; that of any in the domain if there is none.
    qp: Option<Qpn>,
}

struct State {
    key: Key,
    binding: Option<Binding>,
}

/// A memory window.
///
/// # Locking
///
/// `state` is a spinlock, with the regions' own inside.
pub(crate) struct Window {
    pd: PdId,
    window_type: MwType,
    state: Pin<KBox<SpinLock<State>>>,
}

impl Binding {
    /// Where in its region an access is.
    fn offset(&self, address: u64, len: usize, needs: Needs) -> Result<u64, AccessDenied> {
        let offset = self.addresses.offset_of(address, len as u64);
        let is_its_qp = match self.qp {
            Some(qp) => needs.peer_of == Some(qp),
            None => needs.peer_of.is_some(),
        };
        let is_allowed = is_its_qp && self.access.contains_all(needs.access);
        offset
            .filter(|_| is_allowed)
            .map(|offset| self.start + offset)
            .ok_or(AccessDenied)
    }
}

impl BindRequest {
    /// Checks the request against the region (IBTA 10.6.7.2), and says how many bytes of it are before the window.
    fn start_in(&self, pd: PdId, ground: &Ground) -> Option<u64> {
        let start = ground.addresses.offset_of(self.address, self.length)?;
        let writes = Access::RemoteWrite | Access::RemoteAtomic;
        let may_be_written = ground.access.contains(Access::LocalWrite);
        let is_allowed = ground.pd == pd
            && ground.access.contains(Access::MwBind)
            && (may_be_written || !self.access.contains_any(writes));
        is_allowed.then_some(start)
    }
}

impl Window {
    /// A window that is not bound.
    pub(crate) fn new(key: Key, pd: PdId, window_type: MwType) -> Result<Self> {
        let state = State { key, binding: None };
        Ok(Self {
            pd,
            window_type,
            state: KBox::pin_init(new_spinlock!(state), GFP_KERNEL_ACCOUNT)?,
        })
    }

    /// Binds the window. What it was bound to before is not accessed by it any more, but for accesses that have begun.
    pub(crate) fn bind(
        &self,
        binder: Binder,
        request: &BindRequest,
        grounds: &impl Grounds,
    ) -> Result<(), BindRefused> {
        let rights = Access::RemoteRead | Access::RemoteWrite | Access::RemoteAtomic;
        let is_zero_based = request.access.contains(Access::ZeroBased);
        let mut state = self.state.lock();
        let is_possible = match self.window_type {
            MwType::One => !is_zero_based,
            MwType::Two => state.binding.is_none() && request.length > 0,
        };
        let is_known = state.key == request.window && self.pd == binder.pd;
        // Programs ask for local rights as well, which mean nothing: a window is for peers.
        let known = rights | Access::ZeroBased | Access::LocalWrite;
        if !is_known || !is_possible || !known.contains_all(request.access) {
            return Err(BindRefused);
        }
        let binding = if request.length == 0 {
            None
        } else {
            let check = |ground: &Ground| request.start_in(self.pd, ground);
            let start = grounds.hold(request.region, check).ok_or(BindRefused)?;
            Some(Binding {
                region: request.region,
                start,
                addresses: AddressRange {
                    start: if is_zero_based { 0 } else { request.address },
                    length: request.length,
                },
                access: request.access & rights,
                qp: match self.window_type {
                    MwType::One => None,
                    MwType::Two => Some(binder.qp),
                },
            })
        };
        state.key = Key::new(request.window.number(), request.variant);
        if let Some(old) = core::mem::replace(&mut state.binding, binding) {
            grounds.release(old.region);
        }
        Ok(())
    }

    /// Makes the key of a window of type 2 invalid. No access by it begins after this.
    pub(crate) fn invalidate(
        &self,
        binder: Binder,
        key: Key,
        grounds: &impl Grounds,
    ) -> Result<(), AccessDenied> {
        let mut state = self.state.lock();
        let region = match &state.binding {
            // Only windows of type 2 belong to a queue pair.
            Some(binding) if state.key == key && self.pd == binder.pd => {
                (binding.qp == Some(binder.qp)).then_some(binding.region)
            }
            Some(_) | None => None,
        };
        let region = region.ok_or(AccessDenied)?;
        state.binding = None;
        grounds.release(region);
        Ok(())
    }

    /// Has the window not bound any more, whatever it was bound to.
    pub(crate) fn unbind(&self, grounds: &impl Grounds) {
        let mut state = self.state.lock();
        if let Some(binding) = state.binding.take() {
            grounds.release(binding.region);
        }
    }

    /// Checks an access, and applies `f` to the region it is to and the offset there. The window stays bound meanwhile; `f`
    /// runs under a spinlock.
    pub(crate) fn access<R>(
        &self,
        key: Key,
        address: u64,
        len: usize,
        needs: Needs,
        f: impl FnOnce(Key, u64) -> Result<R, AccessDenied>,
    ) -> Result<R, AccessDenied> {
        let state = self.state.lock();
        match &state.binding {
            Some(binding) if state.key == key && self.pd == needs.pd => {
                f(binding.region, binding.offset(address, len, needs)?)
            }
            Some(_) | None => Err(AccessDenied),
        }
    }

    /// The window's key.
    pub(crate) fn key(&self) -> Key {
        self.state.lock().key
    }
}
