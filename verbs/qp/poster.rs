// SPDX-License-Identifier: GPL-2.0

//! Posting of work requests by users in the kernel.

use kernel::prelude::*;
use kernel::static_lock_class;

use super::queue_pair::State;
use crate::base::irq_lock::IrqLock;
use crate::transport::frame::Operands;
use crate::verbs::abi::encode;
use crate::verbs::abi::encode::Follows;
use crate::verbs::abi::encode::NotOfTheKernel;
use crate::verbs::abi::send_wqe::Immediate;
use crate::verbs::abi::send_wqe::MemoryRegistration;
use crate::verbs::abi::send_wqe::RemoteAddress;
use crate::verbs::abi::send_wqe::SendFlags;
use crate::verbs::abi::send_wqe::SendLimits;
use crate::verbs::abi::send_wqe::SendOperation;
use crate::verbs::ah::PathHandle;
use crate::verbs::kernel_elements::bytes_of;
use crate::verbs::queue::Full;
use crate::verbs::queue::WorkProducer;
use crate::verbs::rdma::Driver;
use crate::verbs::rdma::ReceiveRequest;
use crate::verbs::rdma::RemoteMemory;
use crate::verbs::rdma::SendRequest;
use crate::verbs::rdma::WorkOperation;
use crate::verbs::receive_poster::ReceivePoster;

/// Adds work requests to the queues of a QP, in any context.
///
/// # Locking
///
/// Its queue has a lock of its own, which is innermost.
#[pin_data]
pub(super) struct Poster {
    #[pin]
    send: IrqLock<WorkProducer>,
    receive: Option<ReceivePoster>,
    limits: SendLimits,
}

/// The operation as it goes into the queue.
fn encoded<D: Driver>(operation: &WorkOperation<'_, D>) -> SendOperation {
    let remote = |memory: RemoteMemory| RemoteAddress {
        address: memory.address,
        rkey: memory.rkey,
    };
    match *operation {
        WorkOperation::Datagram(None, _) | WorkOperation::Send(None) => SendOperation::Send,
        WorkOperation::Datagram(Some(data), _) | WorkOperation::Send(Some(data)) => {
            SendOperation::SendImmediate(Immediate(data))
        }
        WorkOperation::SendInvalidate(key) => SendOperation::SendInvalidate(key),
        WorkOperation::Write(None, to) => SendOperation::Write(remote(to)),
        WorkOperation::Write(Some(data), to) => {
            SendOperation::WriteImmediate(remote(to), Immediate(data))
        }
        WorkOperation::Read(from) => SendOperation::Read(remote(from)),
        WorkOperation::CompareSwap(word, compare, swap) => {
            let operands = Operands {
                first: compare,
                second: swap,
            };
            SendOperation::CompareSwap(remote(word), operands)
        }
        WorkOperation::FetchAdd(word, add) => {
            let operands = Operands {
                first: add,
                second: 0,
            };
            SendOperation::FetchAdd(remote(word), operands)
        }
        WorkOperation::LocalInvalidate(key) => SendOperation::LocalInvalidate(key),
        WorkOperation::Register(registration) => SendOperation::Register(MemoryRegistration {
            address: registration.address,
            length: registration.length,
            key: registration.key,
            access: registration.access,
        }),
    }
}

impl Poster {
    /// One for a new QP.
    pub(super) fn new(state: &State, max_receive_sge: u32) -> Result<Pin<KBox<Self>>> {
        let send = state.send_queue.producer_side();
        let receive = match state.receive_queue.producer_side() {
            Some(queue) => Some(ReceivePoster::new(queue, max_receive_sge)?),
            // Its receives are those of a queue that it shares.
            None => None,
        };
        KBox::pin_init(
            pin_init!(Self {
                send <- IrqLock::new(send, c"usb4_roce_poster_send", static_lock_class!()),
                receive,
                limits: state.send_queue.limits(),
            }),
            GFP_KERNEL,
        )
    }

    /// Adds a send request.
    pub(super) fn post_send<D>(&self, request: &SendRequest<'_, D>) -> Result
    where
        D: Driver<Ah = PathHandle>,
    {
        let operation = request.operation()?;
        let wanted = encoded(&operation);
        let elements = request.elements()?;
        let flags = SendFlags::from_bits(request.flags());
        let header = |follows| {
            let mut header = encode::send_header(request.wr_id(), &wanted, flags, follows)
                .map_err(|NotOfTheKernel| EINVAL)?;
            if let WorkOperation::Datagram(_, target) = &operation {
                let PathHandle::Kernel(way) = &**target.address else {
                    return Err(EINVAL);
                };
                encode::address(&mut header, target.qpn, target.qkey, way);
            }
            Ok(header)
        };
        if flags.contains(SendFlags::INLINE) {
            let length = u32::try_from(elements.total())?;
            if length > self.limits.max_inline {
                return Err(EINVAL);
            }
            let header = header(Follows::Bytes(length))?;
            return self.push_send(&header, request.inline_data()?);
        }
        let (bytes, count) = bytes_of(elements, self.limits.max_sge)?;
        let header = header(Follows::Elements(count as u32))?;
        self.push_send(&header, bytes[..count].iter().map(|element| &element[..]))
    }

    fn push_send<'a>(&self, header: &[u8], rest: impl Iterator<Item = &'a [u8]>) -> Result {
        let pushed = self.send.lock().push(header, rest);
        pushed.map_err(|Full| ENOMEM)
    }

    /// Adds a receive to the QP's own queue.
    pub(super) fn post_receive(&self, request: &ReceiveRequest<'_>) -> Result {
        self.receive.as_ref().ok_or(EINVAL)?.post(request)
    }
}
