// SPDX-License-Identifier: GPL-2.0

//! Address handles.

use core::num::NonZeroU32;

use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;

use super::abi::response;
use super::device::RoceDevice;
use super::quota::Place;
use super::rdma::AhAttributes;
use super::rdma::AhOps;
use super::rdma::Pd;
use super::rdma::UserData;

/// A path that a process has named. There are no datagrams that could take it, so nothing is kept of it.
pub(crate) struct PathHandle {
    _place: Place,
}

/// A number for the process to tell its handles apart.
fn number() -> NonZeroU32 {
    static NEXT: Atomic<u32> = Atomic::new(1);
    NonZeroU32::new(NEXT.fetch_add(1, Relaxed)).unwrap_or(NonZeroU32::MIN)
}

impl PathHandle {
    fn build(pd: &Pd<RoceDevice>, user: UserData<'_, RoceDevice>) -> Result<Self> {
        let place = pd.device().objects().path_handles.take()?;
        user.respond(&response::encode_ah(number()))?;
        Ok(Self { _place: place })
    }
}

impl AhOps<RoceDevice> for PathHandle {
    fn create(
        pd: &Pd<RoceDevice>,
        _path: AhAttributes,
        user: UserData<'_, RoceDevice>,
    ) -> impl PinInit<Self, Error> {
        PathHandle::build(pd, user)
    }

    fn destroy(&self) {}
}
