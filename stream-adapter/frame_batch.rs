// SPDX-License-Identifier: GPL-2.0

//! Long frames that are made one after the other, and then written without a pause.
//!
//! Making a frame takes about as long as writing it, most of all its checksum. A rail that writes each one as it is made wakes the other
//! end of the stream for each, which finds it, and sleeps again.

use core::ops::Range;

use kernel::prelude::*;

use crate::base::bounce_buffer::BounceBuffer;
use crate::base::page_vec::PageVec;
use crate::transport::frame::HEADER_LEN;
use crate::transport::ids::Duration;
use crate::transport::ids::Instant;

/// Most frames of a batch: half of what a stream's ring of the usual size holds. What is in a batch goes over no other rail, and holds up
/// what is small.
const MOST_FRAMES: usize = 8;

/// How long a batch may take to be written: as long as that, what is in it goes over no other rail, and what is small waits.
const LONGEST_WRITE: Duration = Duration::from_micros(3_000);

/// Where the padding of all payloads is taken from: zeroes behind the headers.
const PADDING: Range<usize> = MOST_FRAMES * HEADER_LEN..(MOST_FRAMES + 1) * HEADER_LEN;

/// A frame that is to be written.
struct Frame<T> {
    /// Its bytes.
    list: PageVec,
    /// Keeps those of the payload alive.
    ticket: Option<T>,
}

/// The frames, and memory for their headers. `T` is what keeps a payload alive.
///
/// # Invariants
///
/// - The first `len` of `frames` have a list and a ticket; header `i` of `buffer` is that of frame `i`. No other list is used.
/// - The bytes of `buffer` at [`PADDING`] are zero.
pub struct FrameBatch<T> {
    frames: KVec<Frame<T>>,
    len: usize,
    /// How many frames there may be: as many as the stream takes without ado.
    limit: usize,
    buffer: BounceBuffer,
}

impl<T> FrameBatch<T> {
    /// No frames.
    pub fn new() -> Result<Self> {
        let mut frames = KVec::with_capacity(MOST_FRAMES, GFP_KERNEL)?;
        for _ in 0..MOST_FRAMES {
            let frame = Frame {
                list: PageVec::new(),
                ticket: None,
            };
            frames.push(frame, GFP_KERNEL)?;
        }
        // INVARIANT: The buffer is all zero.
        Ok(Self {
            frames,
            len: 0,
            limit: 1,
            buffer: BounceBuffer::new(PADDING.end)?,
        })
    }

    /// The number of frames.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether another one would be too many.
    pub fn is_full(&self) -> bool {
        self.len >= self.limit
    }

    /// Adds a frame: `header`, the bytes of `payload`, which `ticket` keeps alive, and so many bytes of padding, at most
    /// [`HEADER_LEN`].
    ///
    /// # Errors
    ///
    /// `ENOSPC` if the payload has too many parts, or there are far more frames than may be.
    pub fn push(
        &mut self,
        header: &[u8; HEADER_LEN],
        payload: &PageVec,
        padding: usize,
        ticket: T,
    ) -> Result {
        let at = self.len * HEADER_LEN;
        let frame = self.frames.get_mut(self.len).ok_or(ENOSPC)?;
        self.buffer.bytes_mut()[at..][..HEADER_LEN].copy_from_slice(header);
        frame.list.clear();
        // SAFETY: The list is used by `write` only, before which neither the header nor the padding change, and which keeps the ticket
        // until then. The buffer lives as long as the list.
        unsafe {
            self.buffer.push_to(at..at + HEADER_LEN, &mut frame.list)?;
            frame.list.append(payload)?;
            self.buffer
                .push_to(PADDING.start..PADDING.start + padding, &mut frame.list)?;
        }
        frame.ticket = Some(ticket);
        // INVARIANT: This one has both.
        self.len += 1;
        Ok(())
    }

    /// Has all frames written by `write`, in their order, and forgets them; with the first that cannot be written all others. The
    /// next batch may be longer if that does not take long by the clock `now`, and has to be shorter if it does.
    pub fn write(
        &mut self,
        now: impl Fn() -> Instant,
        mut write: impl FnMut(&PageVec) -> Result,
    ) -> Result {
        if self.is_empty() {
            return Ok(());
        }
        let start = now();
        let was_full = self.is_full();
        let mut result = Ok(());
        for frame in &mut self.frames[..core::mem::take(&mut self.len)] {
            result = result.and_then(|()| write(&frame.list));
            frame.ticket = None;
        }
        if now() > start.after(LONGEST_WRITE) {
            self.limit = (self.limit / 2).max(1);
        } else if was_full {
            self.limit = (2 * self.limit).min(MOST_FRAMES);
        }
        result
    }
}
