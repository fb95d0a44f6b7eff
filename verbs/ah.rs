// SPDX-License-Identifier: GPL-2.0

//! Address handles.

use core::num::NonZeroU32;

use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;

use crate::verbs::abi::response::CreateAhResponse;
use crate::verbs::quota::Place;
use crate::verbs::quota::Quota;
use crate::verbs::rdma::AhAttributes;
use crate::verbs::rdma::AhOps;
use crate::verbs::rdma::Driver;
use crate::verbs::rdma::Pd;
use crate::verbs::rdma::UserData;

/// An address handle of a process. UD is unsupported; the address is not stored.
pub(crate) struct PathHandle {
    _place: Place,
}

/// A device with address handles.
pub(crate) trait HasPathHandles {
    /// Their places.
    fn path_handles(&self) -> &Arc<Quota>;
}

/// A number for the process to tell its handles apart.
fn number() -> NonZeroU32 {
    static NEXT: Atomic<u32> = Atomic::new(1);
    NonZeroU32::new(NEXT.fetch_add(1, Relaxed)).unwrap_or(NonZeroU32::MIN)
}

impl PathHandle {
    fn build<D: Driver + HasPathHandles>(pd: &Pd<D>, user: UserData<'_, D>) -> Result<Self> {
        let place = pd.device().driver().path_handles().take()?;
        user.respond(&CreateAhResponse::new(number()))?;
        Ok(Self { _place: place })
    }
}

impl<D: Driver + HasPathHandles> AhOps<D> for PathHandle {
    fn create(pd: &Pd<D>, _path: AhAttributes, user: UserData<'_, D>) -> impl PinInit<Self, Error> {
        PathHandle::build(pd, user)
    }
}
