// SPDX-License-Identifier: GPL-2.0

//! How many objects of a kind there may be.

use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;

/// So many objects of a kind, and no more.
///
/// # Invariants
///
/// `used` is the number of places that exist, at most `limit`.
pub(crate) struct Quota {
    used: Atomic<u32>,
    limit: u32,
}

impl Quota {
    /// Places for `limit` objects.
    pub(crate) fn new(limit: u32) -> Result<Arc<Self>> {
        let quota = Self {
            used: Atomic::new(0),
            limit,
        };
        Ok(Arc::new(quota, GFP_KERNEL)?)
    }

    /// A place for one more object. Fails with `ENOMEM` when there is none.
    pub(crate) fn take(self: &Arc<Self>) -> Result<Place> {
        let mut used = self.used.load(Relaxed);
        while used < self.limit {
            match self.used.cmpxchg(used, used + 1, Relaxed) {
                // INVARIANT: There is one more place, and it was below the limit.
                Ok(_) => return Ok(Place(self.clone())),
                Err(now) => used = now,
            }
        }
        Err(ENOMEM)
    }
}

/// The place of an object in its quota; free again when this is dropped.
pub(crate) struct Place(Arc<Quota>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Relaxed);
    }
}
