// SPDX-License-Identifier: GPL-2.0

//! Memory that a stream is read into, parts of which socket buffers keep.

use core::ptr::NonNull;

use kernel::prelude::*;

use crate::base::lending_buffer::Arrived;
use crate::verbs::bindings;
use crate::verbs::netdev::SocketBuffer;

/// A socket buffer that keeps what has arrived, but for a copy of its first `headers` bytes.
fn keep(arrived: &Arrived<'_>, headers: u32) -> Result<SocketBuffer> {
    assert!(arrived.may_be_kept());
    let bytes = arrived.bytes();
    let len = bytes.len() as u32;
    // SAFETY: The bytes may be kept, and there are more of them than `headers`. A socket buffer needs no device.
    let skb = unsafe {
        bindings::verbs_shim_skb_keep(
            core::ptr::null_mut(),
            bytes.as_ptr().cast(),
            len,
            headers,
            len,
        )
    };
    // SAFETY: It is new, and ours.
    Ok(unsafe { SocketBuffer::new(NonNull::new(skb).ok_or(ENOMEM)?) })
}

#[kunit_tests(usb4_roce_lending_buffer)]
mod tests {
    use super::*;
    use crate::base::lending_buffer::LendingBuffer;
    use crate::base::lending_buffer::BUFFER_LEN;

    const LEN: usize = 50_000;

    /// A buffer with pages in a row, which begins with `LEN` bytes of `value`, and goes on with another one.
    fn filled(value: u8) -> Result<LendingBuffer> {
        let mut buffer = LendingBuffer::new()?;
        let (first, rest) = buffer.room(0).split_at_mut(LEN);
        first.fill(value);
        rest[..10].fill(!value);
        Ok(buffer)
    }

    #[test]
    fn what_is_left_moves_to_the_front() -> Result {
        let mut buffer = filled(7)?;
        let before = buffer.bytes(0..1).as_ptr();
        buffer.move_to_front(LEN..LEN + 10);
        assert_eq!(buffer.bytes(0..10), [!7; 10]);
        assert_eq!(buffer.bytes(0..1).as_ptr(), before);
        Ok(())
    }

    #[test]
    fn memory_that_nobody_has_kept_is_used_again() -> Result {
        let mut buffer = filled(7)?;
        let before = buffer.bytes(0..1).as_ptr();
        assert!(buffer.lend(0..LEN).may_be_kept());
        buffer.move_to_front(LEN..LEN);
        assert_eq!(buffer.bytes(0..1).as_ptr(), before);
        Ok(())
    }

    #[test]
    fn what_is_kept_is_not_written_to() -> Result {
        let mut buffer = filled(7)?;
        let kept = keep(&buffer.lend(0..LEN), 100)?;
        // There is room behind it still.
        buffer.room(LEN + 10).fill(1);
        buffer.move_to_front(LEN..LEN + 10);
        assert_eq!(buffer.bytes(0..10), [!7; 10]);
        buffer.room(10).fill(2);
        let mut copy = VVec::from_elem(0, LEN, GFP_KERNEL)?;
        assert_eq!(kept.copy_to(&mut copy)?, LEN);
        assert!(copy.iter().all(|&byte| byte == 7));
        Ok(())
    }

    #[test]
    fn what_is_read_next_goes_behind_what_is_kept() -> Result {
        let mut buffer = filled(7)?;
        assert!(!buffer.goes_on_at(LEN));
        let kept = keep(&buffer.lend(0..LEN), 100)?;
        assert!(buffer.goes_on_at(LEN));
        assert!(!buffer.goes_on_at(BUFFER_LEN - LEN));
        drop(kept);
        assert!(!buffer.goes_on_at(LEN));
        Ok(())
    }

    #[test]
    fn what_is_kept_outlives_the_buffer() -> Result {
        let mut buffer = filled(9)?;
        let kept = keep(&buffer.lend(0..LEN), 0)?;
        drop(buffer);
        let mut copy = VVec::from_elem(0, LEN, GFP_KERNEL)?;
        kept.copy_to(&mut copy)?;
        assert!(copy.iter().all(|&byte| byte == 9));
        Ok(())
    }

    #[test]
    fn there_is_always_something_to_lend() -> Result {
        let mut buffer = LendingBuffer::new()?;
        let mut kept = KVec::new();
        for round in 0..8 {
            buffer.room(0).fill(round);
            kept.push(keep(&buffer.lend(0..BUFFER_LEN / 2), 64)?, GFP_KERNEL)?;
            kept.push(
                keep(&buffer.lend(BUFFER_LEN / 2..BUFFER_LEN), 64)?,
                GFP_KERNEL,
            )?;
            buffer.move_to_front(BUFFER_LEN..BUFFER_LEN);
        }
        let mut copy = VVec::from_elem(0, BUFFER_LEN / 2, GFP_KERNEL)?;
        for (index, kept) in kept.iter().enumerate() {
            kept.copy_to(&mut copy)?;
            assert!(copy.iter().all(|&byte| usize::from(byte) == index / 2));
        }
        Ok(())
    }
}
