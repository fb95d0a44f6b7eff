// SPDX-License-Identifier: GPL-2.0

//! Posting of work requests by users in the kernel.

use kernel::prelude::*;
use kernel::static_lock_class;

use super::queue_pair::State;
use crate::base::irq_lock::IrqLock;
use crate::verbs::abi::encode;
use crate::verbs::abi::encode::Follows;
use crate::verbs::abi::limits::MAX_SGE;
use crate::verbs::abi::scatter::Sge;
use crate::verbs::abi::scatter::SGE_SIZE;
use crate::verbs::abi::send_wqe::Immediate;
use crate::verbs::abi::send_wqe::SendFlags;
use crate::verbs::abi::send_wqe::SendLimits;
use crate::verbs::ah::PathHandle;
use crate::verbs::queue::Full;
use crate::verbs::queue::WorkProducer;
use crate::verbs::rdma::Driver;
use crate::verbs::rdma::ElementList;
use crate::verbs::rdma::ReceiveRequest;
use crate::verbs::rdma::SendRequest;

/// What the elements of a request are written to, on their way into a queue.
type ElementBytes = [[u8; SGE_SIZE]; MAX_SGE as usize];

/// Adds work requests to the queues of a QP, in any context.
///
/// # Locking
///
/// Each queue has a lock of its own, which is innermost.
#[pin_data]
pub(super) struct Poster {
    #[pin]
    send: IrqLock<WorkProducer>,
    #[pin]
    receive: IrqLock<WorkProducer>,
    limits: SendLimits,
    max_receive_sge: u32,
}

/// The elements as they go into a queue, of which there are at most `limit`.
fn bytes_of(elements: ElementList<'_>, limit: u32) -> Result<(ElementBytes, usize)> {
    let count = elements.count();
    if count > limit as usize {
        return Err(EINVAL);
    }
    let mut bytes = [[0; SGE_SIZE]; MAX_SGE as usize];
    for (place, element) in bytes.iter_mut().zip(elements.iter()) {
        *place = encode::element(&Sge {
            address: element.address,
            length: element.length,
            lkey: element.lkey,
        });
    }
    Ok((bytes, count))
}

impl Poster {
    /// One for a new QP, whose receives are its own.
    pub(super) fn new(state: &State, max_receive_sge: u32) -> Result<Pin<KBox<Self>>> {
        let send = state.send_queue.producer_side();
        let receive = state.receive_queue.producer_side().ok_or(EINVAL)?;
        KBox::pin_init(
            pin_init!(Self {
                send <- IrqLock::new(send, c"usb4_roce_poster_send", static_lock_class!()),
                receive <- IrqLock::new(receive, c"usb4_roce_poster_receive", static_lock_class!()),
                limits: state.send_queue.limits(),
                max_receive_sge,
            }),
            GFP_KERNEL,
        )
    }

    /// Adds a datagram.
    pub(super) fn post_send<D>(&self, request: &SendRequest<'_, D>) -> Result
    where
        D: Driver<Ah = PathHandle>,
    {
        let target = request.target();
        let PathHandle::Kernel(way) = &**target.address else {
            return Err(EINVAL);
        };
        let elements = request.elements()?;
        let flags = SendFlags::from_bits(request.flags());
        let immediate = request.immediate()?.map(Immediate);
        let header = |follows| {
            let mut header = encode::send_header(request.wr_id(), immediate, flags, follows);
            encode::address(&mut header, target.qpn, target.qkey, way);
            header
        };
        if flags.contains(SendFlags::INLINE) {
            let length = u32::try_from(elements.total())?;
            if length > self.limits.max_inline {
                return Err(EINVAL);
            }
            let header = header(Follows::Bytes(length));
            return self.push_send(&header, request.inline_data()?);
        }
        let (bytes, count) = bytes_of(elements, self.limits.max_sge)?;
        let header = header(Follows::Elements(count as u32));
        self.push_send(&header, bytes[..count].iter().map(|element| &element[..]))
    }

    fn push_send<'a>(&self, header: &[u8], rest: impl Iterator<Item = &'a [u8]>) -> Result {
        let pushed = self.send.lock().push(header, rest);
        pushed.map_err(|Full| ENOMEM)
    }

    /// Adds a receive.
    pub(super) fn post_receive(&self, request: &ReceiveRequest<'_>) -> Result {
        let (bytes, count) = bytes_of(request.elements()?, self.max_receive_sge)?;
        let header = encode::receive_header(request.wr_id(), count as u32);
        let rest = bytes[..count].iter().map(|element| &element[..]);
        let pushed = self.receive.lock().push(&header, rest);
        pushed.map_err(|Full| ENOMEM)
    }
}
