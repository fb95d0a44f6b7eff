// SPDX-License-Identifier: GPL-2.0

//! Long frames that are made one after the other, and then written without a pause.
//!
//! Making a frame takes about as long as writing it, most of all its checksum. A rail that writes each one as it is made wakes the other
//! end of the stream for each, which finds it, and sleeps again. Frames that are no longer than one alone may be share a write, and so
//! a frame of the stream where one ends and the next begins: of messages of 4 KiB, each has two otherwise, the second with a few bytes.

use core::ops::Range;

use kernel::prelude::*;

use crate::base::bounce_buffer::BounceBuffer;
use crate::base::page_vec::PageVec;
use crate::base::page_vec::MAX_PAYLOAD;
use crate::transport::frame::HEADER_LEN;
use crate::transport::frame::STREAM_FRAME;
use crate::transport::ids::Duration;
use crate::transport::ids::Instant;

/// Most frames of a batch: half of what a stream's ring of the usual size holds. What is in a batch goes over no other rail, and holds up
/// what is small.
const MOST_FRAMES: usize = 8;

/// How long a batch may take to be written: as long as that, what is in it goes over no other rail, and what is small waits.
const LONGEST_WRITE: Duration = Duration::from_micros(3_000);

/// Where the padding of all payloads is taken from: zeroes behind the headers.
const PADDING: Range<usize> = MOST_FRAMES * HEADER_LEN..(MOST_FRAMES + 1) * HEADER_LEN;

/// Most bytes of a write: as many as the longest frame has.
const LONGEST: usize = HEADER_LEN + MAX_PAYLOAD;

/// Bytes of frames that are made in less time than the other end of the stream takes to wake up: such wait for each other, whatever is
/// under way.
const BRIEF: usize = 12 * STREAM_FRAME;

/// Frames that are written at once.
struct Write {
    /// Their bytes.
    list: PageVec,
    /// How many they are.
    frames: usize,
}

/// The frames, and memory for their headers. `T` is what keeps a payload alive.
///
/// # Invariants
///
/// - The first `len` of `tickets` are there, one for each frame; header `i` of `buffer` is that of frame `i`.
/// - The frames are in the first `pending` of `writes`, in their order. No other list is used.
/// - The bytes of `buffer` at [`PADDING`] are zero.
pub struct FrameBatch<T> {
    tickets: KVec<Option<T>>,
    writes: KVec<Write>,
    len: usize,
    pending: usize,
    /// How many frames there may be: as many as the stream takes without ado.
    limit: usize,
    buffer: BounceBuffer,
}

impl<T> FrameBatch<T> {
    /// No frames.
    pub fn new() -> Result<Self> {
        let mut tickets = KVec::with_capacity(MOST_FRAMES, GFP_KERNEL)?;
        let mut writes = KVec::with_capacity(MOST_FRAMES, GFP_KERNEL)?;
        for _ in 0..MOST_FRAMES {
            tickets.push(None, GFP_KERNEL)?;
            let write = Write {
                list: PageVec::new(),
                frames: 0,
            };
            writes.push(write, GFP_KERNEL)?;
        }
        // INVARIANT: The buffer is all zero.
        Ok(Self {
            tickets,
            writes,
            len: 0,
            pending: 0,
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

    /// Whether what there is takes less time to be made than the other end of the stream to wake up.
    pub fn is_brief(&self) -> bool {
        let bytes: usize = self.writes[..self.pending]
            .iter()
            .map(|write| write.list.len())
            .sum();
        bytes < BRIEF
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
        let slot = self.tickets.get_mut(self.len).ok_or(ENOSPC)?;
        let len = HEADER_LEN + payload.len() + padding;
        let has_room = |write: &Write| {
            write.list.len() + len <= LONGEST && write.list.has_room_for_frame(payload)
        };
        let index = if self.writes[..self.pending].last().is_some_and(has_room) {
            self.pending - 1
        } else {
            let write = &mut self.writes[self.pending];
            write.list.clear();
            write.frames = 0;
            self.pending
        };
        let write = &mut self.writes[index];
        self.buffer.bytes_mut()[at..][..HEADER_LEN].copy_from_slice(header);
        // SAFETY: The list is used by `write` only, before which neither the header nor the padding change, and which keeps the ticket
        // until then. The buffer lives as long as the list.
        unsafe {
            self.buffer.push_to(at..at + HEADER_LEN, &mut write.list)?;
            write.list.append(payload)?;
            self.buffer
                .push_to(PADDING.start..PADDING.start + padding, &mut write.list)?;
        }
        write.frames += 1;
        *slot = Some(ticket);
        // INVARIANT: This one has its ticket, and is in the last write.
        self.len += 1;
        self.pending = index + 1;
        Ok(())
    }

    /// Has all frames written by `write`, in their order and as few times as may be, and forgets them; with the first write that fails
    /// all others. The next batch may be longer if that does not take long by the clock `now`, and has to be shorter if it does.
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
        let mut tickets = self.tickets[..core::mem::take(&mut self.len)].iter_mut();
        for pending in &self.writes[..core::mem::take(&mut self.pending)] {
            result = result.and_then(|()| write(&pending.list));
            let written = tickets.by_ref().take(pending.frames);
            written.for_each(|ticket| *ticket = None);
        }
        if now() > start.after(LONGEST_WRITE) {
            self.limit = (self.limit / 2).max(1);
        } else if was_full {
            self.limit = (2 * self.limit).min(MOST_FRAMES);
        }
        result
    }
}
