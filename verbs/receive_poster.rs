// SPDX-License-Identifier: GPL-2.0

//! Posting of receives by users in the kernel.

use kernel::prelude::*;
use kernel::static_lock_class;

use crate::base::irq_lock::IrqLock;
use crate::verbs::abi::encode;
use crate::verbs::kernel_elements::bytes_of;
use crate::verbs::queue::Full;
use crate::verbs::queue::WorkProducer;
use crate::verbs::rdma::ReceiveRequest;

/// Adds receives to a queue, in any context.
///
/// # Locking
///
/// The queue has a lock of its own, which is innermost.
pub(crate) struct ReceivePoster {
    queue: Pin<KBox<IrqLock<WorkProducer>>>,
    max_sge: u32,
}

impl ReceivePoster {
    /// One for a new queue of receives with at most that many elements.
    pub(crate) fn new(queue: WorkProducer, max_sge: u32) -> Result<Self> {
        let queue = IrqLock::new(queue, c"usb4_roce_receive_poster", static_lock_class!());
        Ok(Self {
            queue: KBox::pin_init(queue, GFP_KERNEL_ACCOUNT)?,
            max_sge,
        })
    }

    /// Adds a receive.
    ///
    /// # Errors
    ///
    /// `EINVAL` for too many elements, `ENOMEM` when the queue is full.
    pub(crate) fn post(&self, request: &ReceiveRequest<'_>) -> Result {
        let (bytes, count) = bytes_of(request.elements()?, self.max_sge)?;
        let header = encode::receive_header(request.wr_id(), count as u32);
        let rest = bytes[..count].iter().map(|element| &element[..]);
        self.queue.lock().push(&header, rest).map_err(|Full| ENOMEM)
    }
}
