// SPDX-License-Identifier: GPL-2.0

//! Long frames that are written together.

use core::cell::Cell;

use kernel::prelude::*;
use kernel::sync::Arc;

#[kunit_tests(usb4_roce_frame_batch)]
mod tests {
    use super::*;
    use crate::base::bounce_buffer::BounceBuffer;
    use crate::base::page_vec::PageVec;
    use crate::base::page_vec::MAX_PAYLOAD;
    use crate::stream_adapter::frame_batch::FrameBatch;
    use crate::transport::frame::HEADER_LEN;
    use crate::transport::ids::Instant;

    /// Length of a payload: it needs padding, and begins and ends within a page. Two frames share a write, three are too long for that.
    const LEN: usize = 30_000;

    const PADDING: usize = 48;

    /// Payloads of frames, each of another byte.
    struct Payloads {
        buffer: BounceBuffer,
        list: PageVec,
    }

    impl Payloads {
        fn new() -> Result<Self> {
            Ok(Self {
                buffer: BounceBuffer::new(LEN * usize::from(u8::MAX))?,
                list: PageVec::new(),
            })
        }

        /// That of frame `number`.
        fn list(&mut self, number: u8) -> Result<&PageVec> {
            let range = LEN * usize::from(number)..LEN * (usize::from(number) + 1);
            self.buffer.bytes_mut()[range.clone()].fill(number);
            self.list.clear();
            // SAFETY: The buffer outlives the uses of the list, between which and this nothing changes the range.
            unsafe { self.buffer.push_to(range, &mut self.list)? };
            Ok(&self.list)
        }
    }

    /// Adds frame `number`, kept alive by another reference on `alive`.
    fn push(
        batch: &mut FrameBatch<Arc<()>>,
        payloads: &mut Payloads,
        number: u8,
        alive: &Arc<()>,
    ) -> Result {
        let header = [!number; HEADER_LEN];
        batch.push(&header, payloads.list(number)?, PADDING, alive.clone())
    }

    /// That `list` has frames, of which `next` is the first, and becomes the one behind the last.
    fn check(list: &PageVec, next: &mut u8) -> Result {
        let mut bytes = VVec::from_elem(0xff, HEADER_LEN + LEN + PADDING, GFP_KERNEL)?;
        assert!(!list.is_empty() && list.len() % bytes.len() == 0);
        for at in (0..list.len()).step_by(bytes.len()) {
            list.copy_to_slice(at, &mut bytes)?;
            let (header, rest) = bytes.split_at(HEADER_LEN);
            let (payload, padding) = rest.split_at(LEN);
            assert!(header.iter().all(|&byte| byte == !*next));
            assert!(payload.iter().all(|&byte| byte == *next));
            assert!(padding.iter().all(|&byte| byte == 0));
            *next += 1;
        }
        Ok(())
    }

    /// A clock that stands still.
    fn never() -> Instant {
        Instant(0)
    }

    /// Whether nothing else has a reference on `alive`.
    fn is_alone(alive: Arc<()>) -> bool {
        Arc::into_unique_or_drop(alive).is_some()
    }

    #[test]
    fn frames_are_written_whole_and_in_order() -> Result {
        let (mut batch, mut payloads) = (FrameBatch::new()?, Payloads::new()?);
        let alive = Arc::new((), GFP_KERNEL)?;
        // What goes fast may be more the next time.
        for (first, count, writes) in [(0, 1, 1), (20, 2, 1), (40, 4, 2), (60, 8, 4), (80, 8, 4)] {
            let mut last = first;
            while !batch.is_full() {
                push(&mut batch, &mut payloads, last, &alive)?;
                last += 1;
            }
            assert_eq!(batch.len(), count);
            let (mut next, mut written) = (first, 0);
            batch.write(never, |list| {
                written += 1;
                assert!(list.len() <= HEADER_LEN + MAX_PAYLOAD);
                check(list, &mut next)
            })?;
            assert_eq!((next, written), (last, writes));
            assert!(batch.is_empty());
        }
        assert!(is_alone(alive));
        Ok(())
    }

    #[test]
    fn what_is_long_is_not_brief() -> Result {
        let (mut batch, mut payloads) = (FrameBatch::new()?, Payloads::new()?);
        let alive = Arc::new((), GFP_KERNEL)?;
        for brief in [true, false] {
            push(&mut batch, &mut payloads, 0, &alive)?;
            assert_eq!(batch.is_brief(), brief);
        }
        batch.write(never, |_| Ok(()))?;
        assert!(batch.is_brief());
        Ok(())
    }

    #[test]
    fn where_writing_takes_long_batches_are_short() -> Result {
        let (mut batch, mut payloads) = (FrameBatch::new()?, Payloads::new()?);
        let alive = Arc::new((), GFP_KERNEL)?;
        let time = Cell::new(0);
        let slow = || {
            time.set(time.get() + 1_000_000_000);
            Instant(time.get())
        };
        for count in [1, 2, 4, 8] {
            while !batch.is_full() {
                push(&mut batch, &mut payloads, 0, &alive)?;
            }
            assert_eq!(batch.len(), count);
            batch.write(never, |_| Ok(()))?;
        }
        for count in [8, 4, 2, 1, 1] {
            while !batch.is_full() {
                push(&mut batch, &mut payloads, 0, &alive)?;
            }
            assert_eq!(batch.len(), count);
            batch.write(slow, |_| Ok(()))?;
        }
        Ok(())
    }

    #[test]
    fn behind_a_frame_that_cannot_be_written_none_is() -> Result {
        let (mut batch, mut payloads) = (FrameBatch::new()?, Payloads::new()?);
        let alive = Arc::new((), GFP_KERNEL)?;
        for number in 0..8 {
            push(&mut batch, &mut payloads, number, &alive)?;
        }
        let (mut next, mut tried) = (0, 0);
        let written = batch.write(never, |list| {
            check(list, &mut next)?;
            tried += 1;
            if tried == 2 {
                Err(ENXIO)
            } else {
                Ok(())
            }
        });
        assert!(written == Err(ENXIO));
        assert_eq!(tried, 2);
        assert!(batch.is_empty());
        assert!(is_alone(alive));
        Ok(())
    }

    #[test]
    fn memory_is_kept_until_its_frame_has_been_written() -> Result {
        let (mut batch, mut payloads) = (FrameBatch::new()?, Payloads::new()?);
        let alive = Arc::new((), GFP_KERNEL)?;
        push(&mut batch, &mut payloads, 0, &alive)?;
        assert!(!is_alone(alive));
        batch.write(never, |list| check(list, &mut 0))
    }
}
