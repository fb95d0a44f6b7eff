// SPDX-License-Identifier: GPL-2.0

//! What writes frames into an open stream: takes them from the client, completes them, lets small ones
//! share one write, and writes long ones together.

use kernel::prelude::*;
use kernel::sync::Arc;

use super::client::Afterwards;
use super::client::Outgoing;
use super::client::Payload;
use super::client::RailClient;
use super::client::TxBuffer;
use super::frame_batch::FrameBatch;
use super::rail_state::Shared;
use super::rail_state::State;
use super::rail_state::Window;
use super::stream_file::StreamFile;
use crate::base::bounce_buffer::BounceBuffer;
use crate::base::checksum::KernelHash;
use crate::base::clock;
use crate::base::page_vec::PageVec;
use crate::base::page_vec::MAX_PAYLOAD;
use crate::transport::checksum::Seed;
use crate::transport::frame::padded;
use crate::transport::frame::HEADER_LEN;
use crate::transport::frame::STREAM_FRAME;
use crate::transport::ids::RailSeq;
use crate::transport::rail::endpoint::ControlFrame;

/// Small frames queued for one write, and one more frame of any length.
const BUFFER_LEN: usize = STREAM_FRAME + HEADER_LEN + MAX_PAYLOAD;

/// Whether anything was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// It was, or may have to be.
    Something,
    /// There was nothing to send.
    Nothing,
}

/// Writes into an open stream. Only who holds it does.
///
/// # Invariants
///
/// The first `queued` bytes of `buffer` are whole frames not yet written, at most [`STREAM_FRAME`] bytes
/// and a multiple of [`HEADER_LEN`]. They come before those of `batch`, of which there are none when a call has succeeded.
pub(super) struct FrameWriter<C: RailClient> {
    file: Arc<StreamFile>,
    buffer: BounceBuffer,
    queued: usize,
    pages: PageVec,
    list: PageVec,
    batch: FrameBatch<C::Ticket>,
}

/// What the endpoint allows at the moment.
enum Room {
    /// A frame with this number and checksum seed.
    Frame(RailSeq, Seed),
    /// Nothing: the rail is not up, or its window is full.
    Closed,
}

impl<C: RailClient> FrameWriter<C> {
    pub(super) fn new(file: Arc<StreamFile>) -> Result<Self> {
        Ok(Self {
            file,
            buffer: BounceBuffer::new(BUFFER_LEN)?,
            queued: 0,
            pages: PageVec::new(),
            list: PageVec::new(),
            batch: FrameBatch::new()?,
        })
    }

    /// Writes what the client has to send as long as it is small and shares one frame of the stream, and
    /// never waits. What cannot be written now stays queued, and what did not fit was not asked for: says
    /// whether the transmitting thread has to see to either.
    pub(super) fn try_send_direct(&mut self, shared: &Shared<C>) -> Result<Sent> {
        let left = loop {
            // The client wakes a rail only after it had nothing for it, so somebody has to hear it say that.
            let Some(room) = (STREAM_FRAME - self.queued).checked_sub(HEADER_LEN) else {
                break Sent::Something;
            };
            if self.send_next(shared, room as u32, Afterwards::Rests)? == Sent::Nothing {
                break Sent::Nothing;
            }
        };
        if self.queued == 0 {
            return Ok(left);
        }
        self.list.clear();
        // SAFETY: The buffer lives as long as `self`, and nothing changes it during the write below, the only use of the list.
        unsafe { self.buffer.push_to(0..self.queued, &mut self.list)? };
        // Whatever is the matter, a full ring or the stream's end: the transmitting thread will see.
        if self.file.try_write(&self.list).is_err() {
            shared.client.busy(shared.id);
            return Ok(Sent::Something);
        }
        shared.counters.tx_writes.increment();
        self.queued = 0;
        Ok(left)
    }

    /// Adds the rail's own frames that are due.
    pub(super) fn queue_control(&mut self, shared: &Shared<C>) -> Result {
        loop {
            let mut inner = shared.inner.lock();
            let frame = inner.endpoint.next_control::<KernelHash>(clock::now());
            drop(inner);
            match frame {
                Some(frame) => self.queue(shared, &frame)?,
                None => return Ok(()),
            }
        }
    }

    /// Writes a goodbye, the last thing that is written.
    pub(super) fn say_goodbye(&mut self, shared: &Shared<C>) -> Result {
        let mut inner = shared.inner.lock();
        let frame = inner.endpoint.goodbye::<KernelHash>(clock::now());
        drop(inner);
        if let Some(frame) = frame {
            self.queue(shared, &frame)?;
        }
        self.write_queued(shared).map(|_| ())
    }

    fn queue(&mut self, shared: &Shared<C>, frame: &ControlFrame) -> Result {
        let bytes = frame.bytes();
        if self.queued + bytes.len() > STREAM_FRAME {
            self.write_queued(shared)?;
        }
        self.buffer.bytes_mut()[self.queued..][..bytes.len()].copy_from_slice(bytes);
        self.queued += bytes.len();
        shared.counters.tx_control.increment();
        Ok(())
    }

    /// Writes what was queued.
    pub(super) fn write_queued(&mut self, shared: &Shared<C>) -> Result<Sent> {
        let len = core::mem::take(&mut self.queued);
        if len == 0 {
            return Ok(Sent::Nothing);
        }
        self.write_buffer(shared, 0, len)?;
        Ok(Sent::Something)
    }

    fn write_buffer(&mut self, shared: &Shared<C>, at: usize, len: usize) -> Result {
        self.list.clear();
        // SAFETY: The buffer lives as long as `self`, and nothing changes it during the write below, the
        // only use of the list.
        unsafe { self.buffer.push_to(at..at + len, &mut self.list)? };
        shared.counters.tx_writes.increment();
        self.file.write(&self.list)
    }

    fn room(shared: &Shared<C>) -> Room {
        let mut inner = shared.inner.lock();
        // Nothing follows a goodbye.
        if inner.state != State::Closing && inner.endpoint.can_send(MAX_PAYLOAD as u32) {
            if let Some(seed) = inner.endpoint.seed() {
                return Room::Frame(inner.endpoint.next_seq(), seed);
            }
        }
        inner.window = Window::Full;
        Room::Closed
    }

    /// Sends the client's next frame, of whatever length, if it has one and the window has room, and some more if they are
    /// long. If it has none, what was queued must be written, and the client asked again.
    pub(super) fn send_any(&mut self, shared: &Shared<C>) -> Result<Sent> {
        let mut sent = Sent::Nothing;
        loop {
            let batched = self.batch.len();
            let afterwards = if self.queued == 0 && batched == 0 {
                Afterwards::Rests
            } else {
                Afterwards::AsksAgain
            };
            if self.send_next(shared, MAX_PAYLOAD as u32, afterwards)? == Sent::Nothing {
                break;
            }
            sent = Sent::Something;
            // What has not got into the batch ends the turn: others want the writer.
            if self.batch.len() <= batched || !self.may_wait(shared) {
                break;
            }
        }
        self.write_batch(shared)?;
        Ok(sent)
    }

    /// Whether the frames of the batch may wait for another one: if they are brief, or as much is under way as they are, which keeps the
    /// other end busy meanwhile. So the first long ones go one by one.
    fn may_wait(&self, shared: &Shared<C>) -> bool {
        let is_other_end_busy =
            || shared.inner.lock().endpoint.in_flight() as usize > 2 * self.batch.len();
        !self.batch.is_full() && (self.batch.is_brief() || is_other_end_busy())
    }

    /// Sends the client's next frame, with at most `longest` bytes of payload, if it has one and the window
    /// has room. If not, the rail does as `afterwards` says.
    fn send_next(
        &mut self,
        shared: &Shared<C>,
        longest: u32,
        afterwards: Afterwards,
    ) -> Result<Sent> {
        let Room::Frame(seq, seed) = Self::room(shared) else {
            return Ok(Sent::Nothing);
        };
        let mut tx = TxBuffer::new(
            &mut self.buffer,
            self.queued,
            &mut self.pages,
            longest,
            afterwards,
        );
        let Some(outgoing) = shared.client.next(shared.id, seq, &mut tx) else {
            return Ok(Sent::Nothing);
        };
        self.send(shared, seq, seed, outgoing)?;
        Ok(Sent::Something)
    }

    fn send(
        &mut self,
        shared: &Shared<C>,
        seq: RailSeq,
        seed: Seed,
        outgoing: Outgoing<C::Ticket>,
    ) -> Result {
        let payload_at = self.queued + HEADER_LEN;
        let (len, checksum) = match outgoing.payload {
            Payload::Empty => (0, seed.checksum::<KernelHash>(&[])),
            Payload::Staged(len) => {
                let payload = &self.buffer.bytes()[payload_at..][..len];
                (len, seed.checksum::<KernelHash>(payload))
            }
            Payload::Pages => (self.pages.len(), self.pages.checksum(seed)),
        };

        let len_on_wire = len as u32;
        let mut inner = shared.inner.lock();
        let header = if inner.endpoint.seed() == Some(seed) {
            inner.endpoint.stamp(
                outgoing.body,
                len_on_wire,
                checksum,
                outgoing.item,
                clock::now(),
            )
        } else {
            None
        };
        drop(inner);
        let Some(header) = header else {
            // The rail went down meanwhile.
            shared.lose(seq, outgoing.item);
            return Ok(());
        };

        let header = header.encode::<KernelHash>(seed);
        shared.counters.tx_frames.increment();
        shared.counters.tx_bytes.add(len as u64);

        let padding = padded(len_on_wire) as usize - len;
        match outgoing.payload {
            Payload::Pages => {
                self.write_queued(shared)?;
                self.batch
                    .push(&header, &self.pages, padding, outgoing.ticket)
            }
            Payload::Empty | Payload::Staged(_) => {
                self.write_batch(shared)?;
                self.buffer.bytes_mut()[self.queued..][..HEADER_LEN].copy_from_slice(&header);
                self.buffer.bytes_mut()[payload_at + len..][..padding].fill(0);
                self.send_staged(shared, HEADER_LEN + len + padding)
            }
        }
    }

    /// Sends a frame of `frame_len` bytes behind what was queued, or adds it to that.
    fn send_staged(&mut self, shared: &Shared<C>, frame_len: usize) -> Result {
        if self.queued + frame_len <= STREAM_FRAME {
            self.queued += frame_len;
            return Ok(());
        }
        let at = self.queued;
        self.write_queued(shared)?;
        self.write_buffer(shared, at, frame_len)
    }

    /// Writes the batch.
    fn write_batch(&mut self, shared: &Shared<C>) -> Result {
        let Self { batch, file, .. } = self;
        batch.write(clock::now, |frame| {
            shared.counters.tx_writes.increment();
            file.write(frame)
        })
    }
}
