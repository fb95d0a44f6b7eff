// SPDX-License-Identifier: GPL-2.0

//! Queues shared with a process that does not keep the rules.

use kernel::prelude::*;
use kernel::sync::Arc;

use crate::verbs::rdma::MmapBuffer;

/// The process's side of a queue.
struct Process(Arc<MmapBuffer>);

impl Process {
    /// Writes a word of the queue's header.
    fn store(&self, offset: usize, value: u32) {
        // SAFETY: Header words are aligned and within the first page of the buffer.
        unsafe {
            self.0
                .as_ptr()
                .as_ptr()
                .add(offset)
                .cast::<u32>()
                .write_volatile(value)
        };
    }

    /// Reads a word of the queue's header.
    fn load(&self, offset: usize) -> u32 {
        // SAFETY: As in `store`.
        unsafe {
            self.0
                .as_ptr()
                .as_ptr()
                .add(offset)
                .cast::<u32>()
                .read_volatile()
        }
    }

    /// Writes the first byte of a slot of 64 bytes.
    fn fill(&self, slot: usize, byte: u8) {
        use crate::verbs::abi::queue_layout::DATA_OFFSET;
        // SAFETY: The tests only use slots that are there.
        unsafe {
            self.0
                .as_ptr()
                .as_ptr()
                .add(DATA_OFFSET + slot * 64)
                .write_volatile(byte)
        };
    }
}

#[kunit_tests(usb4_roce_queue)]
mod tests {
    use super::*;
    use crate::verbs::abi::queue_layout::CONSUMER_OFFSET;
    use crate::verbs::abi::queue_layout::INDEX_MASK_OFFSET;
    use crate::verbs::abi::queue_layout::LOG2_ELEMENT_SIZE_OFFSET;
    use crate::verbs::abi::queue_layout::PRODUCER_OFFSET;
    use crate::verbs::queue::EventQueue;
    use crate::verbs::queue::Remainder;
    use crate::verbs::queue::WorkQueue;

    #[test]
    fn the_header_tells_the_geometry() -> Result {
        let queue = WorkQueue::new(5, 100)?;
        let process = Process(queue.memory());
        assert_eq!(process.load(LOG2_ELEMENT_SIZE_OFFSET), 7);
        assert_eq!(process.load(INDEX_MASK_OFFSET), 7);
        assert_eq!(queue.capacity(), 7);
        Ok(())
    }

    #[test]
    fn nothing_is_taken_from_an_empty_queue() -> Result {
        let mut queue = WorkQueue::new(3, 64)?;
        assert!(queue.take().is_none());
        assert_eq!(queue.waiting(), 0);
        Ok(())
    }

    #[test]
    fn elements_are_taken_in_order_and_released() -> Result {
        let mut queue = WorkQueue::new(3, 64)?;
        let process = Process(queue.memory());
        process.fill(0, 10);
        process.fill(1, 11);
        process.store(PRODUCER_OFFSET, 2);
        assert_eq!(queue.waiting(), 2);
        let mut byte = [0];
        let first = queue.take().ok_or(EINVAL)?;
        queue.read(first, 0, &mut byte);
        assert_eq!(byte, [10]);
        let second = queue.take().ok_or(EINVAL)?;
        queue.read(second, 0, &mut byte);
        assert_eq!(byte, [11]);
        assert!(queue.take().is_none());
        assert_eq!(process.load(CONSUMER_OFFSET), 0);
        queue.release();
        assert_eq!(process.load(CONSUMER_OFFSET), 1);
        queue.release();
        queue.release();
        assert_eq!(process.load(CONSUMER_OFFSET), 2);
        Ok(())
    }

    #[test]
    fn elements_are_overwritten_in_their_place() -> Result {
        let mut queue = WorkQueue::new(3, 64)?;
        let process = Process(queue.memory());
        queue.write_all(62, &[7; 8]);
        for slot in 0..4 {
            process.fill(slot, 1);
        }
        process.store(PRODUCER_OFFSET, 2);
        let first = queue.take().ok_or(EINVAL)?;
        queue.write(first, 0, &[9, 9]);
        let second = queue.take().ok_or(EINVAL)?;
        let mut element = [0; 64];
        queue.read(first, 0, &mut element);
        assert_eq!((element[0], element[1], element[2]), (9, 9, 0));
        assert_eq!((element[61], element[62], element[63]), (0, 7, 7));
        queue.read(second, 0, &mut element);
        assert_eq!((element[0], element[62], element[63]), (1, 7, 7));
        Ok(())
    }

    #[test]
    fn wild_producer_indices_stay_inside() -> Result {
        let mut queue = WorkQueue::new(3, 64)?;
        let process = Process(queue.memory());
        process.store(PRODUCER_OFFSET, u32::MAX);
        let mut taken = 0;
        while queue.take().is_some() {
            taken += 1;
        }
        assert_eq!(taken, 3);
        Ok(())
    }

    #[test]
    fn no_more_is_outstanding_than_fits() -> Result {
        let mut queue = WorkQueue::new(3, 64)?;
        let process = Process(queue.memory());
        let mut taken = 0;
        for producer in 0..64 {
            process.store(PRODUCER_OFFSET, producer);
            while queue.take().is_some() {
                taken += 1;
            }
        }
        assert_eq!(taken, 3);
        queue.release();
        process.store(PRODUCER_OFFSET, 1);
        Ok(())
    }

    #[test]
    fn a_discarded_queue_is_empty() -> Result {
        let mut queue = WorkQueue::new(7, 64)?;
        let process = Process(queue.memory());
        process.store(PRODUCER_OFFSET, 5);
        let _ = queue.take();
        queue.discard();
        assert!(queue.take().is_none());
        assert_eq!(process.load(CONSUMER_OFFSET), 5);
        Ok(())
    }

    #[test]
    fn completions_fill_up_and_drain() -> Result {
        let mut queue = EventQueue::new(3, 64)?;
        let process = Process(queue.memory());
        let capacity = queue.capacity();
        for _ in 0..capacity {
            assert!(queue.push(&[1; 64]).is_ok());
        }
        assert!(queue.push(&[1; 64]).is_err());
        assert_eq!(process.load(PRODUCER_OFFSET), capacity);
        process.store(CONSUMER_OFFSET, 1);
        assert!(queue.push(&[1; 64]).is_ok());
        Ok(())
    }

    #[test]
    fn a_resized_queue_keeps_what_was_in_it() -> Result {
        let mut small = EventQueue::new(3, 64)?;
        for byte in 1..=3 {
            assert!(small.push(&[byte; 64]).is_ok());
        }
        let mut large = EventQueue::new(15, 64)?;
        let mut transfer = small.transfer();
        assert_eq!(
            large.take_over(&small, &mut transfer),
            Ok(Remainder::Nothing)
        );
        let process = Process(large.memory());
        assert_eq!(process.load(PRODUCER_OFFSET), 3);
        assert!(!large.is_empty());
        Ok(())
    }

    #[test]
    fn a_resize_that_does_not_fit_is_refused() -> Result {
        let mut large = EventQueue::new(7, 64)?;
        for byte in 0..5 {
            assert!(large.push(&[byte; 64]).is_ok());
        }
        let mut small = EventQueue::new(3, 64)?;
        let mut transfer = large.transfer();
        assert_eq!(small.take_over(&large, &mut transfer), Err(EINVAL));
        assert!(small.is_empty());
        Ok(())
    }

    #[test]
    fn a_large_queue_is_resized_step_by_step_while_it_is_added_to() -> Result {
        let mut old = EventQueue::new(1023, 64)?;
        for _ in 0..500 {
            assert!(old.push(&[1; 64]).is_ok());
        }
        let mut new = EventQueue::new(2047, 64)?;
        let mut transfer = old.transfer();
        let (mut steps, mut added) = (0, 500);
        while new.take_over(&old, &mut transfer)? == Remainder::More {
            steps += 1;
            if steps < 4 {
                assert!(old.push(&[2; 64]).is_ok());
                added += 1;
            }
        }
        assert!(steps > 2);
        assert_eq!(Process(new.memory()).load(PRODUCER_OFFSET), added);
        Ok(())
    }

    #[test]
    fn a_work_queue_is_resized_while_elements_are_taken() -> Result {
        let mut old = WorkQueue::new(255, 64)?;
        let process = Process(old.memory());
        for slot in 0..200 {
            process.fill(slot, slot as u8);
        }
        process.store(PRODUCER_OFFSET, 200);
        let mut new = WorkQueue::new(511, 64)?;
        let mut transfer = old.transfer();
        let mut taken = 0;
        while new.take_over(&old, &mut transfer)? == Remainder::More {
            assert!(old.take().is_some());
            old.release();
            taken += 1;
        }
        assert!(taken > 1);
        assert_eq!(new.waiting(), 200 - taken);
        let mut byte = [0];
        for expected in taken..200 {
            let element = new.take().ok_or(EINVAL)?;
            new.read(element, 0, &mut byte);
            assert_eq!(u32::from(byte[0]), expected);
            new.release();
        }
        assert!(new.take().is_none());
        assert_eq!(Process(new.memory()).load(CONSUMER_OFFSET), 200);
        Ok(())
    }

    #[test]
    fn a_process_that_keeps_adding_does_not_keep_a_resize_going() -> Result {
        let old = WorkQueue::new(255, 64)?;
        let process = Process(old.memory());
        let mut new = WorkQueue::new(127, 64)?;
        let mut transfer = old.transfer();
        let mut result = Ok(Remainder::More);
        for round in 1..=8 {
            process.store(PRODUCER_OFFSET, 65 * round);
            result = new.take_over(&old, &mut transfer);
            if result != Ok(Remainder::More) {
                break;
            }
        }
        assert_eq!(result, Err(EINVAL));
        Ok(())
    }
}
