// SPDX-License-Identifier: GPL-2.0

//! What users in the kernel post and poll.

use kernel::prelude::*;

use crate::transport::frame::Network;
use crate::transport::status::CompletionStatus;
use crate::verbs::abi::completion::Completion;
use crate::verbs::abi::completion::Contents;
use crate::verbs::abi::completion::Extra;
use crate::verbs::abi::completion::WcOpcode;
use crate::verbs::abi::send_wqe::Immediate;

fn completion(wr_id: u64) -> Completion {
    Completion {
        wr_id,
        status: CompletionStatus::Success,
        opcode: WcOpcode::Receive,
        byte_len: 296,
        extra: Extra::Immediate(Immediate(0x0a0b_0c0d)),
        qp_num: 1,
        src_qp: 7,
        contents: Contents::NetworkHeader(Network::Ipv4),
    }
}

#[kunit_tests(usb4_roce_kernel_user)]
mod tests {
    use super::*;
    use crate::base::irq_lock::IrqLock;
    use crate::base::number_table::NumberTable;
    use crate::verbs::kernel_completions::KernelCompletion;
    use crate::verbs::kernel_completions::KernelCompletions;
    use crate::verbs::queue::Full;
    use crate::verbs::queue::Overflow;
    use crate::verbs::queue::WorkQueue;
    use crate::verbs::rdma::CompletionExtra;
    use crate::verbs::rdma::CompletionNetwork;
    use crate::verbs::rdma::QpReference;
    use kernel::static_lock_class;
    use kernel::sync::Arc;

    fn irqs_are_disabled() -> bool {
        // SAFETY: The function only looks at the processor.
        unsafe { crate::base::bindings::base_shim_irqs_disabled() }
    }

    #[test]
    fn interrupts_are_disabled_while_the_lock_is_held() -> Result {
        let lock: Pin<KBox<IrqLock<u32>>> = KBox::pin_init(
            IrqLock::new(1, c"usb4_roce_kunit", static_lock_class!()),
            GFP_KERNEL,
        )?;
        let other: Pin<KBox<IrqLock<u32>>> = KBox::pin_init(
            IrqLock::new(2, c"usb4_roce_kunit_other", static_lock_class!()),
            GFP_KERNEL,
        )?;
        {
            let mut value = lock.lock();
            assert!(irqs_are_disabled());
            *value += *other.lock();
            // The end of the inner one does not enable them.
            assert!(irqs_are_disabled());
        }
        assert!(!irqs_are_disabled());
        let value = lock.try_lock().ok_or(EBUSY)?;
        assert_eq!(*value, 3);
        assert!(irqs_are_disabled());
        Ok(())
    }

    #[test]
    fn elements_are_taken_as_the_kernel_has_added_them() -> Result {
        let mut queue = WorkQueue::new(3, 64)?;
        let mut producer = queue.producer_side();
        for round in 0..5u8 {
            for number in 0..3 {
                let tail = [round; 4];
                let rest = [&tail[..], &[number]];
                let pushed = producer.push(&[0x55, number], rest.into_iter());
                assert_eq!(pushed, Ok(()));
            }
            assert_eq!(producer.push(&[0], core::iter::empty()), Err(Full));
            for number in 0..3 {
                let taken = queue.take().ok_or(EINVAL)?;
                let mut bytes = [0; 7];
                queue.read(taken, 0, &mut bytes);
                assert_eq!(bytes, [0x55, number, round, round, round, round, number]);
                // Taken is not released.
                assert_eq!(producer.push(&[0], core::iter::empty()), Err(Full));
            }
            for _ in 0..3 {
                queue.release();
            }
            assert!(queue.take().is_none());
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_an_element_is_left_out() -> Result {
        let mut queue = WorkQueue::new(2, 64)?;
        let mut producer = queue.producer_side();
        let long = [0xaa; 100];
        let pushed = producer.push(&long, [&long[..]].into_iter());
        assert_eq!(pushed, Ok(()));
        assert_eq!(producer.push(&[1], core::iter::empty()), Ok(()));
        queue.take().ok_or(EINVAL)?;
        let second = queue.take().ok_or(EINVAL)?;
        let mut first_byte = [0];
        queue.read(second, 0, &mut first_byte);
        assert_eq!(first_byte, [1]);
        Ok(())
    }

    #[test]
    fn elements_added_to_a_queue_that_is_emptied_are_gone() -> Result {
        let mut queue = WorkQueue::new(3, 64)?;
        let mut producer = queue.producer_side();
        assert_eq!(producer.push(&[1], core::iter::empty()), Ok(()));
        queue.discard();
        assert!(queue.take().is_none());
        assert_eq!(producer.push(&[2], core::iter::empty()), Ok(()));
        let taken = queue.take().ok_or(EINVAL)?;
        let mut byte = [0];
        queue.read(taken, 0, &mut byte);
        assert_eq!(byte, [2]);
        Ok(())
    }

    #[test]
    fn completions_are_polled_in_order_and_not_more_than_fit() -> Result {
        let mut completions = KernelCompletions::new(3)?;
        assert_eq!(completions.capacity(), 3);
        let add = |completions: &mut KernelCompletions, wr_id| {
            completions
                .push(KernelCompletion {
                    completion: completion(wr_id),
                    qp: QpReference::new(core::ptr::null_mut()),
                })
                .map_err(|Overflow| ENOMEM)
        };
        let mut next = 0;
        for round in 0..4 {
            for _ in 0..3 {
                add(&mut completions, next)?;
                next += 1;
            }
            assert!(add(&mut completions, 99).is_err());
            for at in 0..3 {
                assert!(!completions.is_empty());
                let taken = completions.pop().ok_or(EINVAL)?;
                assert_eq!(taken.completion.wr_id, round * 3 + at);
            }
            assert!(completions.is_empty() && completions.pop().is_none());
        }
        Ok(())
    }

    #[test]
    fn a_datagram_is_told_of_as_it_came() {
        let polled = KernelCompletion {
            completion: completion(5),
            qp: QpReference::new(core::ptr::null_mut()),
        }
        .work_completion();
        assert_eq!((polled.wr_id, polled.status, polled.opcode), (5, 0, 1 << 7));
        assert_eq!((polled.byte_len, polled.src_qp), (296, 7));
        assert_eq!(polled.extra, CompletionExtra::Immediate(0x0a0b_0c0d));
        assert_eq!(polled.network, Some(CompletionNetwork::Ipv4));
    }

    #[test]
    fn a_number_of_its_own_is_given_once() -> Result {
        let table: Arc<NumberTable<u32>> = Arc::pin_init(NumberTable::new(2..100, 2), GFP_KERNEL)?;
        let make = || Ok(Arc::new(7u32, GFP_KERNEL)?);
        table.add_at(1, make)?;
        assert_eq!(table.add_at(1, make).err(), Some(EBUSY));
        table.add(|number| {
            assert_ne!(number, 1);
            make()
        })?;
        assert_eq!(table.add_at(0, make).err(), Some(ENOMEM));
        table.remove(1);
        table.add_at(1, make)?;
        Ok(())
    }
}
