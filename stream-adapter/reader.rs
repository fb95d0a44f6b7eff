// SPDX-License-Identifier: GPL-2.0

//! The reading side of a rail: finds frames in the stream, checks them, and brings payloads to where they
//! belong, straight from the stream if they are large.

use kernel::prelude::*;
use kernel::sync::Arc;

use super::client::Placement;
use super::client::RailClient;
use super::client::RxOutcome;
use super::kthread::should_stop;
use super::rail::Fault;
use super::rail::Shared;
use super::staging::Staging;
use super::stream_file::StreamFile;
use super::stream_file::Waiting;
use crate::checksum::KernelHash;
use crate::clock;
use crate::page_vec::PageVec;
use crate::page_vec::MAX_PAYLOAD;
use crate::transport::checksum::Seed;
use crate::transport::frame::padded;
use crate::transport::frame::Body;
use crate::transport::frame::Header;
use crate::transport::frame::HEADER_LEN;
use crate::transport::frame::SMALL_PAYLOAD;
use crate::transport::frame::STREAM_FRAME;
use crate::transport::rail::endpoint::decode_header;
use crate::transport::rail::endpoint::Incoming;
use crate::transport::rail::rx::Reception;

/// How much may be read beyond what is needed: one frame of the stream. What is read ahead of a large
/// payload is copied once more.
const READ_AHEAD: usize = STREAM_FRAME;

/// A frame of any length, and what is read ahead of it.
const BUFFER_LEN: usize = HEADER_LEN + MAX_PAYLOAD + HEADER_LEN + READ_AHEAD;

/// As long as more has arrived, what one frame makes due is not sent before so many frames have been dealt with: one
/// acknowledgement does for many messages.
const GATHERED_FRAMES: u32 = 16;

/// The same in bytes of payload.
const GATHERED_BYTES: u32 = 256 << 10;

/// Why reading ends.
enum End {
    /// The stream or the peer failed.
    Fault(Fault),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        End::Fault(Fault::Stream(error))
    }
}

/// What filling the buffer brought.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Filled {
    /// All that was wanted.
    Whole,
    /// A part; behind it comes another frame, at `start`. What is missing was lost.
    Cut,
}

/// Says whether the rest of a frame may still come.
///
/// If a frame of the stream is lost, the reader takes what follows for the rest of a payload, and waits for
/// more. The peer then asks for a sign of life by a bare header, which is the last thing that has
/// arrived. Headers carry a checksum with the session's secret, so payloads cannot imitate them.
fn expect_rest(read: &PageVec, done: usize, seed: Option<Seed>) -> Waiting {
    let mut last = [0; HEADER_LEN];
    let is_header = done % HEADER_LEN == 0
        && done >= HEADER_LEN
        && read.copy_to_slice(done - HEADER_LEN, &mut last).is_ok()
        && decode_header::<KernelHash>(&last, seed).is_ok_and(|header| header.payload_len == 0);
    if is_header {
        Waiting::Pointless
    } else {
        Waiting::Worthwhile
    }
}

/// Frames that the client knows of and was not asked to answer yet.
#[derive(Default)]
struct Gathered {
    frames: u32,
    bytes: u32,
}

impl Gathered {
    fn add(&mut self, header: &Header) {
        self.frames += 1;
        self.bytes += header.payload_len;
    }

    fn is_enough(&self) -> bool {
        self.frames >= GATHERED_FRAMES || self.bytes >= GATHERED_BYTES
    }

    /// Sees that what they made due goes out: the client's frames, and the rail's own.
    fn answer<C: RailClient>(&mut self, shared: &Shared<C>) {
        if self.frames > 0 {
            *self = Self::default();
            shared.client.flush(shared.id);
        }
        shared.kick_if_due();
    }
}

/// The reader's own state.
///
/// # Invariants
///
/// `start <= end`; bytes `start..end` of `buffer` have been read and not yet dealt with.
pub(super) struct Reader<C: RailClient> {
    shared: Arc<Shared<C>>,
    file: Arc<StreamFile>,
    buffer: Staging,
    start: usize,
    end: usize,
    /// Of the session, once it is up.
    seed: Option<Seed>,
    pages: PageVec,
    list: PageVec,
    gathered: Gathered,
}

impl<C: RailClient> Reader<C> {
    pub(super) fn new(shared: Arc<Shared<C>>, file: Arc<StreamFile>) -> Result<Self> {
        Ok(Self {
            shared,
            file,
            buffer: Staging::new(BUFFER_LEN)?,
            start: 0,
            end: 0,
            seed: None,
            pages: PageVec::new(),
            list: PageVec::new(),
            gathered: Gathered::default(),
        })
    }

    /// The thread's body.
    pub(super) fn run(&mut self) {
        while !should_stop() {
            if let Err(End::Fault(fault)) = self.receive_frame() {
                if !should_stop() {
                    self.shared.fail(fault);
                }
                return;
            }
        }
    }

    /// Deals with the next frame, or skips a unit that is none.
    fn receive_frame(&mut self) -> Result<(), End> {
        if self.gathered.is_enough() {
            self.gathered.answer(&self.shared);
        }
        self.fill(HEADER_LEN)?;
        let bytes = &self.buffer.bytes()[self.start..self.end];
        let Ok(header) = decode_header::<KernelHash>(bytes, self.seed) else {
            self.start += HEADER_LEN;
            self.shared.counters.rx_resyncs.increment();
            return Ok(());
        };
        self.start += HEADER_LEN;
        if header.body == Body::Hello {
            return self.receive_hello(&header);
        }

        let mut inner = self.shared.inner.lock();
        let incoming = inner.endpoint.on_header(&header, clock::now());
        drop(inner);
        self.shared.hand_back();
        match incoming {
            Err(fault) => Err(End::Fault(Fault::Rail(fault))),
            Ok(Incoming::Deliver) => self.deliver(&header),
            Ok(Incoming::Done) => {
                match header.body {
                    Body::Nop { .. } | Body::Lost { .. } | Body::Goodbye | Body::Hello => {
                        self.shared.counters.rx_control.increment();
                    }
                    Body::Request(_) | Body::Response(_) | Body::Ack(_) | Body::Datagram => {
                        self.shared.counters.rx_discarded.increment();
                    }
                }
                self.skip(padded(header.payload_len) as usize)
            }
        }
    }

    fn receive_hello(&mut self, header: &Header) -> Result<(), End> {
        if header.payload_len > SMALL_PAYLOAD {
            return self.skip(padded(header.payload_len) as usize);
        }
        self.shared.counters.rx_control.increment();
        let frame_len = padded(header.payload_len) as usize;
        if self.fill(frame_len)? == Filled::Cut {
            return Ok(());
        }
        let payload = &self.buffer.bytes()[self.start..][..header.payload_len as usize];
        if Seed::HANDSHAKE.checksum::<KernelHash>(payload) != header.payload_checksum {
            self.shared.counters.rx_checksum_errors.increment();
            self.start += frame_len;
            return Ok(());
        }
        let mut inner = self.shared.inner.lock();
        let effect = inner.endpoint.on_hello::<KernelHash>(payload, clock::now());
        self.seed = inner.endpoint.seed();
        drop(inner);
        self.start += frame_len;
        let effect = effect.map_err(|fault| End::Fault(Fault::Rail(fault)))?;
        Shared::announce(&self.shared, effect);
        self.shared.hand_back();
        self.shared.kick.raise();
        Ok(())
    }

    fn deliver(&mut self, header: &Header) -> Result<(), End> {
        self.gathered.add(header);
        let reception = if header.payload_len <= SMALL_PAYLOAD {
            self.deliver_small(header)?
        } else {
            self.deliver_large(header)?
        };
        match reception {
            Reception::Intact => {
                self.shared.counters.rx_frames.increment();
                self.shared.counters.rx_bytes.add(header.payload_len.into());
            }
            Reception::Corrupt => self.shared.counters.rx_checksum_errors.increment(),
        }
        // Only now: what has been acknowledged is never sent again.
        let mut inner = self.shared.inner.lock();
        inner.endpoint.finish(reception, clock::now());
        Ok(())
    }

    /// Gathers the payload, checks it, and only then asks where it goes.
    fn deliver_small(&mut self, header: &Header) -> Result<Reception, End> {
        let Some((start, len)) = self.gather(header)? else {
            return Ok(Reception::Corrupt);
        };
        let reception = self.check_gathered(header, start, len);
        if reception == Reception::Corrupt {
            return Ok(reception);
        }
        let shared = &self.shared;
        self.pages.clear();
        match shared.client.place(shared.id, header, &mut self.pages) {
            Placement::Discard => shared.counters.rx_discarded.increment(),
            Placement::Staging(ticket) => {
                let payload = &self.buffer.bytes()[start..][..len];
                shared
                    .client
                    .commit(shared.id, header, ticket, RxOutcome::Staged(payload));
            }
            Placement::Pages(ticket) => {
                let payload = &self.buffer.bytes()[start..][..len];
                let outcome = match self.pages.copy_from_slice_in_order(payload) {
                    Ok(()) => RxOutcome::Placed,
                    Err(_) => RxOutcome::Aborted,
                };
                shared.client.commit(shared.id, header, ticket, outcome);
            }
        }
        Ok(reception)
    }

    /// Asks where the payload goes and reads it to there.
    fn deliver_large(&mut self, header: &Header) -> Result<Reception, End> {
        let shared = self.shared.clone();
        self.pages.clear();
        match shared.client.place(shared.id, header, &mut self.pages) {
            Placement::Discard => {
                shared.counters.rx_discarded.increment();
                self.skip(padded(header.payload_len) as usize)?;
                Ok(Reception::Intact)
            }
            Placement::Staging(ticket) => {
                let gathered = self.gather(header);
                let (reception, outcome) = match &gathered {
                    Err(_) => (Reception::Corrupt, RxOutcome::Aborted),
                    Ok(None) => (Reception::Corrupt, RxOutcome::Corrupt),
                    &Ok(Some((start, len))) => {
                        let payload = &self.buffer.bytes()[start..][..len];
                        match self.check_gathered(header, start, len) {
                            Reception::Intact => (Reception::Intact, RxOutcome::Staged(payload)),
                            Reception::Corrupt => (Reception::Corrupt, RxOutcome::Corrupt),
                        }
                    }
                };
                shared.client.commit(shared.id, header, ticket, outcome);
                gathered?;
                Ok(reception)
            }
            Placement::Pages(ticket) => {
                let read = self.read_to_pages(header);
                let outcome = match read {
                    Ok(Reception::Intact) => RxOutcome::Placed,
                    Ok(Reception::Corrupt) => RxOutcome::Corrupt,
                    Err(_) => RxOutcome::Aborted,
                };
                shared.client.commit(shared.id, header, ticket, outcome);
                read
            }
        }
    }

    /// Makes sure that the whole payload is in the buffer, takes it out, and says where it is; nothing if a
    /// part of it was lost.
    ///
    /// It stays there until the buffer is next filled.
    fn gather(&mut self, header: &Header) -> Result<Option<(usize, usize)>, End> {
        let frame_len = padded(header.payload_len) as usize;
        if self.fill(frame_len)? == Filled::Cut {
            return Ok(None);
        }
        let start = self.start;
        self.start += frame_len;
        Ok(Some((start, header.payload_len as usize)))
    }

    fn check_gathered(&self, header: &Header, start: usize, len: usize) -> Reception {
        let payload = &self.buffer.bytes()[start..][..len];
        let intact = self
            .seed
            .is_some_and(|seed| seed.checksum::<KernelHash>(payload) == header.payload_checksum);
        if intact {
            Reception::Intact
        } else {
            Reception::Corrupt
        }
    }

    /// Brings a payload to `self.pages`: copies what is in the buffer already and reads the rest there.
    fn read_to_pages(&mut self, header: &Header) -> Result<Reception, End> {
        let len = header.payload_len as usize;
        let padding = padded(header.payload_len) as usize - len;
        if self.pages.len() != len {
            return Err(End::Fault(Fault::Stream(EINVAL)));
        }
        let here = len.min(self.end - self.start);
        let part = &self.buffer.bytes()[self.start..][..here];
        self.pages.copy_from_slice(0, part)?;
        self.start += here;

        let rest = len - here;
        if rest == 0 {
            self.skip(padding)?;
        } else {
            // The buffer is empty now. Behind the payload come its padding and, to save a read, the next
            // header.
            self.start = 0;
            self.end = 0;
            self.list.clear();
            // SAFETY: The pages are kept by the client's ticket, the buffer lives as long as `self`; both
            // outlast the read below, the only use of the list, and nothing else touches them
            // meanwhile.
            unsafe {
                self.list.append(&self.pages, here)?;
                self.buffer
                    .push_to(0..padding + HEADER_LEN, &mut self.list)?;
            }
            let wanted = rest + padding;
            let n = self.read_list(wanted)?;
            if n < wanted {
                // The last thing read is the header of another frame.
                let place = &mut self.buffer.bytes_mut()[..HEADER_LEN];
                self.list.copy_to_slice(n - HEADER_LEN, place)?;
                self.end = HEADER_LEN;
                return Ok(Reception::Corrupt);
            }
            self.start = padding;
            self.end = n - rest;
        }

        let intact = self
            .seed
            .is_some_and(|seed| self.pages.checksum(seed) == header.payload_checksum);
        Ok(if intact {
            Reception::Intact
        } else {
            Reception::Corrupt
        })
    }

    /// Reads at least `least` bytes into the spans of `self.list`, unless a part of them was lost; says how many.
    fn read_list(&mut self, least: usize) -> Result<usize, End> {
        self.shared.counters.rx_reads.increment();
        let n = self.file.read(
            &mut self.list,
            least,
            |read, n| expect_rest(read, n, self.seed),
            || self.gathered.answer(&self.shared),
        )?;
        Ok(n)
    }

    /// Reads until at least `need` bytes are in the buffer; `need` is at most a frame.
    fn fill(&mut self, need: usize) -> Result<Filled, End> {
        let have = self.end - self.start;
        if have >= need {
            return Ok(Filled::Whole);
        }
        if have == 0 || self.start + need + READ_AHEAD > self.buffer.bytes().len() {
            self.buffer.bytes_mut().copy_within(self.start..self.end, 0);
            self.start = 0;
            self.end = have;
        }
        let missing = need - have;
        let room = missing.max(READ_AHEAD);
        self.list.clear();
        // SAFETY: The buffer lives as long as `self`; during the read below, the only use of the list,
        // nothing else touches it.
        unsafe {
            self.buffer
                .push_to(self.end..self.end + room, &mut self.list)?
        };
        let n = self.read_list(missing)?;
        self.end += n;
        if n < missing {
            self.start = self.end - HEADER_LEN;
            return Ok(Filled::Cut);
        }
        Ok(Filled::Whole)
    }

    /// Throws `len` bytes away.
    fn skip(&mut self, len: usize) -> Result<(), End> {
        let mut left = len;
        loop {
            let here = left.min(self.end - self.start);
            self.start += here;
            left -= here;
            if left == 0 {
                return Ok(());
            }
            if self.fill(left.min(STREAM_FRAME))? == Filled::Cut {
                return Ok(());
            }
        }
    }
}
