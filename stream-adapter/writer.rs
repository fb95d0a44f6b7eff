// SPDX-License-Identifier: GPL-2.0

//! The writing side of a rail: control frames first, then whatever the client has to send; small frames
//! share one write.

use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::time::msecs_to_jiffies;
use kernel::time::Jiffies;

use super::client::Outgoing;
use super::client::Payload;
use super::client::RailClient;
use super::client::TxBuffer;
use super::kthread::should_stop;
use super::rail::Fault;
use super::rail::Shared;
use super::rail::State;
use super::rail::Window;
use super::staging::Staging;
use super::stream_file::StreamFile;
use crate::checksum::KernelCrc;
use crate::clock;
use crate::page_vec::PageVec;
use crate::page_vec::MAX_PAYLOAD;
use crate::transport::checksum::Seed;
use crate::transport::frame::padded;
use crate::transport::frame::HEADER_LEN;
use crate::transport::frame::STREAM_FRAME;
use crate::transport::ids::Instant;
use crate::transport::ids::RailSeq;
use crate::transport::rail::endpoint::ControlFrame;

/// Where the padding of payloads in pages is taken from: zeroes at the end of the buffer.
const PADDING_AT: usize = STREAM_FRAME + HEADER_LEN + MAX_PAYLOAD;

/// Small frames gathered for one write, one more frame of any length, and padding.
const BUFFER_LEN: usize = PADDING_AT + HEADER_LEN;

/// How long a stream that was just opened is left alone, unless the peer speaks first. A frame that is under
/// way while the peer opens its end may escape its driver's count, and then its reader lags until it opens
/// the stream anew; ends that close and open together both get through that before anyone speaks.
const QUIET_MS: u32 = 1_000;

/// The longest sleep, when nothing at all is due.
const SLEEP_MS: u32 = 1_000;

/// The writer's own state.
///
/// # Invariants
///
/// The first `gathered` bytes of `buffer` are whole frames not yet written, at most [`STREAM_FRAME`] bytes.
/// The bytes from [`PADDING_AT`] on are zero.
pub(super) struct Writer<C: RailClient> {
    shared: Arc<Shared<C>>,
    file: Arc<StreamFile>,
    buffer: Staging,
    gathered: usize,
    pages: PageVec,
    list: PageVec,
}

/// What the endpoint allows at the moment.
enum Room {
    /// A frame with this number and checksum seed.
    Frame(RailSeq, Seed),
    /// Nothing: the rail is not up, or its window is full.
    None,
}

impl<C: RailClient> Writer<C> {
    pub(super) fn new(shared: Arc<Shared<C>>, file: Arc<StreamFile>) -> Result<Self> {
        Ok(Self {
            shared,
            file,
            buffer: Staging::new(BUFFER_LEN)?,
            gathered: 0,
            pages: PageVec::new(),
            list: PageVec::new(),
        })
    }

    /// The thread's body.
    pub(super) fn run(&mut self) {
        if let Err(error) = self.work() {
            if !should_stop() {
                self.shared.fail(Fault::Stream(error));
            }
        }
        self.shared.farewell.raise();
    }

    /// Works until the stream fails or is to be closed.
    fn work(&mut self) -> Result {
        // The reader raises the event when it has got a greeting, the supervisor when it closes.
        let _ = self.shared.kick.wait(msecs_to_jiffies(QUIET_MS));
        while !should_stop() {
            self.gather_control()?;
            if self.shared.inner.lock().state == State::Closing {
                return self.say_goodbye();
            }
            if self.send_next()? {
                continue;
            }
            if self.gathered > 0 {
                self.flush()?;
                continue;
            }
            self.sleep();
        }
        Ok(())
    }

    /// Sleeps until the client or the reader has something to do, or something is due by the clock.
    fn sleep(&self) {
        let longest = msecs_to_jiffies(SLEEP_MS);
        let mut inner = self.shared.inner.lock();
        let deadline = inner.endpoint.deadline();
        inner.writer_sleeps_until = deadline.unwrap_or(Instant(u64::MAX));
        drop(inner);
        let timeout = deadline.map_or(longest, clock::jiffies_until);
        // A deadline that has passed is the supervisor's business; do not spin meanwhile.
        let timeout: Jiffies = timeout.clamp(1, longest);
        let _ = self.shared.kick.wait(timeout);
        self.shared.inner.lock().writer_sleeps_until = Instant(0);
    }

    /// Adds the rail's own frames that are due.
    fn gather_control(&mut self) -> Result {
        loop {
            let mut inner = self.shared.inner.lock();
            let frame = inner.endpoint.next_control::<KernelCrc>(clock::now());
            drop(inner);
            match frame {
                Some(frame) => self.gather(&frame)?,
                None => return Ok(()),
            }
        }
    }

    fn say_goodbye(&mut self) -> Result {
        let mut inner = self.shared.inner.lock();
        let frame = inner.endpoint.goodbye::<KernelCrc>(clock::now());
        drop(inner);
        if let Some(frame) = frame {
            self.gather(&frame)?;
        }
        self.flush()
    }

    fn gather(&mut self, frame: &ControlFrame) -> Result {
        let bytes = frame.bytes();
        if self.gathered + bytes.len() > STREAM_FRAME {
            self.flush()?;
        }
        self.buffer.bytes_mut()[self.gathered..][..bytes.len()].copy_from_slice(bytes);
        self.gathered += bytes.len();
        self.shared.counters.tx_control.increment();
        Ok(())
    }

    /// Writes what was gathered.
    fn flush(&mut self) -> Result {
        let len = core::mem::take(&mut self.gathered);
        self.write_buffer(0, len)
    }

    fn write_buffer(&mut self, at: usize, len: usize) -> Result {
        if len == 0 {
            return Ok(());
        }
        self.list.clear();
        // SAFETY: The buffer lives as long as `self`, and nothing changes it during the write below, the
        // only use of the list.
        unsafe { self.buffer.push_to(at..at + len, &mut self.list)? };
        self.shared.counters.tx_writes.increment();
        self.file.write(&self.list)
    }

    fn room(&self) -> Room {
        let mut inner = self.shared.inner.lock();
        if inner.endpoint.can_send(MAX_PAYLOAD as u32) {
            if let Some(seed) = inner.endpoint.seed() {
                return Room::Frame(inner.endpoint.next_seq(), seed);
            }
        }
        inner.window = Window::Full;
        Room::None
    }

    /// Sends the client's next frame, if it has one and the window has room; says whether it did.
    fn send_next(&mut self) -> Result<bool> {
        let Room::Frame(seq, seed) = self.room() else {
            return Ok(false);
        };
        let mut tx = TxBuffer::new(&mut self.buffer, self.gathered, &mut self.pages);
        let Some(outgoing) = self.shared.client.next(self.shared.id, seq, &mut tx) else {
            return Ok(false);
        };
        let sent = self.send(seq, seed, &outgoing);
        // The payload's pages are not used any more, so the ticket may go.
        drop(outgoing);
        sent?;
        Ok(true)
    }

    fn send(&mut self, seq: RailSeq, seed: Seed, outgoing: &Outgoing<C::Ticket>) -> Result {
        let payload_at = self.gathered + HEADER_LEN;
        let (len, crc) = match outgoing.payload {
            Payload::None => (0, seed.payload_crc::<KernelCrc>(&[])),
            Payload::Staged(len) => {
                let payload = &self.buffer.bytes()[payload_at..][..len];
                (len, seed.payload_crc::<KernelCrc>(payload))
            }
            Payload::Pages => (self.pages.len(), self.pages.crc32c(seed.state())),
        };

        let len_on_wire = len as u32;
        let mut inner = self.shared.inner.lock();
        let header = if inner.endpoint.seed() == Some(seed) {
            inner
                .endpoint
                .stamp(outgoing.body, len_on_wire, crc, outgoing.item, clock::now())
        } else {
            None
        };
        drop(inner);
        let Some(header) = header else {
            // The rail went down meanwhile.
            self.shared.give_up(seq, outgoing.item);
            return Ok(());
        };

        let header_bytes = header.encode::<KernelCrc>(seed);
        self.buffer.bytes_mut()[self.gathered..][..HEADER_LEN].copy_from_slice(&header_bytes);
        self.shared.counters.tx_frames.increment();
        self.shared.counters.tx_bytes.add(len as u64);

        let padding = padded(len_on_wire) as usize - len;
        match outgoing.payload {
            Payload::Pages => self.send_pages(padding),
            Payload::None | Payload::Staged(_) => {
                self.buffer.bytes_mut()[payload_at + len..][..padding].fill(0);
                self.send_staged(HEADER_LEN + len + padding)
            }
        }
    }

    /// Sends a frame of `frame_len` bytes behind what was gathered, or adds it to that.
    fn send_staged(&mut self, frame_len: usize) -> Result {
        if self.gathered + frame_len <= STREAM_FRAME {
            self.gathered += frame_len;
            return Ok(());
        }
        let at = self.gathered;
        self.flush()?;
        self.write_buffer(at, frame_len)
    }

    /// Sends a frame whose header lies behind what was gathered and whose payload lies in pages.
    fn send_pages(&mut self, padding: usize) -> Result {
        let at = self.gathered;
        self.flush()?;
        self.list.clear();
        // SAFETY: The buffer lives as long as `self`, the pages as long as the ticket that our caller
        // holds; both outlast the write below, the only use of the list. The header and the padding do
        // not change meanwhile.
        unsafe {
            self.buffer.push_to(at..at + HEADER_LEN, &mut self.list)?;
            self.list.append(&self.pages, 0)?;
            self.buffer
                .push_to(PADDING_AT..PADDING_AT + padding, &mut self.list)?;
        }
        self.shared.counters.tx_writes.increment();
        self.file.write(&self.list)
    }
}
