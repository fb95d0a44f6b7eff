// SPDX-License-Identifier: GPL-2.0

//! What QPs need to wait for pages of processes: threads to do so, and memory to keep payloads in meanwhile.

use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use kernel::workqueue::Queue;

use crate::base::workers::Workers;

/// Most bytes of payloads that wait for pages at a time: nobody is charged for them.
const MAX_WAITING: usize = 64 << 20;

/// Threads and memory of the device's QPs for waiting for pages.
pub(crate) struct Pagers {
    workers: Workers,
    /// Bytes that wait.
    waiting: Atomic<usize>,
}

impl Pagers {
    /// Fails with `ENOMEM`.
    pub(crate) fn new() -> Result<Arc<Self>> {
        let this = Self {
            workers: Workers::sleepy(c"usb4_roce_paging")?,
            waiting: Atomic::new(0),
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }

    /// Where QPs put works that wait for pages.
    pub(crate) fn queue(&self) -> &Queue {
        self.workers.queue()
    }

    /// Waits until no QP waits for pages any more. To be called when all of them are destroyed; sleeps until the processes
    /// whose pages are waited for have come to their ends.
    pub(crate) fn outwait(&self) {
        self.workers.flush();
    }

    /// Memory for a payload of `len` bytes. Fails with `ENOMEM`, also when too many wait.
    pub(crate) fn buffer(self: &Arc<Self>, len: usize) -> Result<PayloadBuffer> {
        let share = Share {
            pagers: self.clone(),
            len,
        };
        if self.waiting.fetch_add(len, Relaxed) > MAX_WAITING - len {
            return Err(ENOMEM);
        }
        let flags = GFP_KERNEL | __GFP_NOWARN;
        Ok(PayloadBuffer {
            bytes: KVVec::from_elem(0, len, flags)?,
            _share: share,
        })
    }
}

/// So many bytes of those that may wait.
struct Share {
    pagers: Arc<Pagers>,
    len: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pagers.waiting.fetch_sub(self.len, Relaxed);
    }
}

/// A payload that waits for pages.
pub(crate) struct PayloadBuffer {
    /// The payload.
    pub(crate) bytes: KVVec<u8>,
    _share: Share,
}
