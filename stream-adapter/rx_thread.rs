// SPDX-License-Identifier: GPL-2.0

//! The receiving thread of a rail: gathers frames in memory of its own, where they are checked, and hands on only what is intact.
//!
//! What reaches the client's memory is written once and not looked at again: a process may use it as soon as it sees its last
//! byte.

use core::ops::Range;

use kernel::prelude::*;
use kernel::sync::Arc;

use super::client::Due;
use super::client::Occasion;
use super::client::RailClient;
use super::client::Reception;
use super::damaged_reads::DamagedReads;
use super::rail_link::Link;
use super::rail_state::Fault;
use super::rail_state::Shared;
use super::stream_file::Nap;
use super::stream_file::Read;
use super::stream_file::StreamFile;
use super::stream_file::Wanted;
use crate::base::checksum::KernelHash;
use crate::base::clock;
use crate::base::event::Event;
use crate::base::kthread::should_stop;
use crate::base::lending_buffer::LendingBuffer;
use crate::base::lending_buffer::BUFFER_LEN;
use crate::base::page_vec::PageVec;
use crate::transport::checksum::Seed;
use crate::transport::frame::Body;
use crate::transport::frame::Header;
use crate::transport::frame::HEADER_LEN;
use crate::transport::ids::Instant;
use crate::transport::rail::deframer::Deframer;
use crate::transport::rail::deframer::Found;
use crate::transport::rail::endpoint::Incoming;

/// As long as more has arrived, what one frame makes due is not sent before so many frames have been dealt with: one
/// acknowledgement does for many messages.
const UNANSWERED_FRAMES: u32 = 16;

/// The same in bytes of payload.
const UNANSWERED_BYTES: u32 = 256 << 10;

/// Frames that the client knows of and was not asked to answer yet.
#[derive(Default)]
struct Unanswered {
    frames: u32,
    bytes: u32,
    /// Until when some of what they made due waits for something to ride on, or little messages for what a program is about to post.
    waits_until: Option<Instant>,
}

impl Unanswered {
    fn add(&mut self, header: &Header) {
        self.frames += 1;
        self.bytes += header.payload_len;
    }

    fn is_enough(&self) -> bool {
        self.frames >= UNANSWERED_FRAMES
            || self.bytes >= UNANSWERED_BYTES
            || self.waits_until.is_some_and(|until| clock::now() >= until)
    }

    /// There is more to deal with, but what they made due goes out first: the client's frames, and the rail's own.
    fn answer_before_more<C: RailClient>(&mut self, shared: &Shared<C>) {
        let _ = self.send_due(shared, Occasion::AskedAgain);
        shared.wake_tx_if_due();
    }

    /// There is nothing more: sees that what they made due goes out. Says for how long the thread may sleep.
    fn answer<C: RailClient>(&mut self, shared: &Shared<C>) -> Nap {
        let nap = match self.waits_until {
            Some(until) if self.frames == 0 && clock::now() < until => Nap::Until(until),
            None if self.frames == 0 => Nap::Long,
            Some(_) | None if Event::waits_briefly() => self.send_due(shared, Occasion::MayWait),
            Some(_) | None => self.send_due(shared, Occasion::MustGo),
        };
        shared.wake_tx_if_due();
        nap
    }

    fn send_due<C: RailClient>(&mut self, shared: &Shared<C>, occasion: Occasion) -> Nap {
        *self = Self::default();
        match shared.client.send_due(shared.id, occasion) {
            Due::Settled => Nap::Long,
            Due::WaitsUntil(until) => {
                self.waits_until = Some(until);
                Nap::Until(until)
            }
        }
    }
}

/// The thread's own state.
///
/// # Invariants
///
/// `start <= end`; bytes `start..end` of `buffer` have been read and not yet dealt with.
pub(super) struct RxThread<C: RailClient> {
    link: Arc<Link<C>>,
    file: Arc<StreamFile>,
    buffer: LendingBuffer,
    start: usize,
    end: usize,
    deframer: Deframer<KernelHash>,
    /// Of the session, once it is up.
    seed: Option<Seed>,
    pages: PageVec,
    unanswered: Unanswered,
    damage: DamagedReads,
}

impl<C: RailClient> RxThread<C> {
    pub(super) fn new(link: Arc<Link<C>>, file: Arc<StreamFile>) -> Result<Self> {
        Ok(Self {
            link,
            file,
            buffer: LendingBuffer::new()?,
            start: 0,
            end: 0,
            deframer: Deframer::new(),
            seed: None,
            pages: PageVec::new(),
            unanswered: Unanswered::default(),
            damage: DamagedReads::default(),
        })
    }

    /// The thread's body.
    pub(super) fn run(&mut self) {
        while !should_stop() {
            if let Err(fault) = self.receive() {
                // Others may send it.
                self.unanswered.answer_before_more(&self.link);
                if !should_stop() {
                    self.link.fail(fault);
                }
                return;
            }
        }
    }

    /// Deals with what comes next, or reads more.
    fn receive(&mut self) -> Result<(), Fault> {
        if self.unanswered.is_enough() {
            self.unanswered.answer_before_more(&self.link);
        }
        let bytes = self.buffer.bytes(self.start..self.end);
        match self.deframer.next(bytes, self.seed) {
            Err(missing) => self.fill(missing.need),
            Ok(piece) => {
                let start = self.start;
                self.start += piece.len;
                match piece.found {
                    Found::Damage => {
                        // Before there is a session it is what an earlier opening of the stream has left.
                        if self.seed.is_some() {
                            let units = (piece.len / HEADER_LEN) as u64;
                            self.link.counters.rx_resyncs.add(units);
                        }
                        self.note_damage();
                        Ok(())
                    }
                    Found::Hello(payload) => self.receive_hello(start, payload),
                    Found::Corrupt(header) => self.receive_corrupt(&header),
                    Found::Frame(header, payload) => self.receive_frame(&header, start, payload),
                }
            }
        }
    }

    /// Reads what has arrived, so that a piece of `need` bytes has room.
    fn fill(&mut self, need: usize) -> Result<(), Fault> {
        let is_empty = self.start == self.end && !self.buffer.goes_on_at(self.end);
        if is_empty || self.start + need > BUFFER_LEN {
            self.buffer.move_to_front(self.start..self.end);
            self.end -= self.start;
            self.start = 0;
        }
        self.link.counters.rx_reads.increment();
        let wanted = match self.end - self.start {
            0 => Wanted::Anything,
            have => {
                // The wait for it may be longer than what waits may.
                if self.unanswered.waits_until.is_some() {
                    self.unanswered.answer_before_more(&self.link);
                }
                Wanted::Rest(need.saturating_sub(have))
            }
        };
        let room = self.buffer.room(self.end);
        let read = self
            .file
            .read(room, wanted, || self.unanswered.answer(&self.link))
            .map_err(Fault::Stream)?;
        match read {
            Read::Bytes(n) => {
                self.end += n;
                self.damage.forget();
                Ok(())
            }
            Read::Damaged(error) => {
                self.link.counters.rx_read_errors.increment();
                self.note_damage();
                self.damage.note(error, clock::now()).map_err(Fault::Stream)
            }
        }
    }

    fn note_damage(&self) {
        let mut inner = self.link.inner.lock();
        inner.endpoint.note_damage(clock::now());
        drop(inner);
        self.link.wake_tx_if_due();
    }

    fn receive_hello(&mut self, start: usize, payload: Range<usize>) -> Result<(), Fault> {
        self.link.counters.rx_control.increment();
        let payload = self
            .buffer
            .bytes(start + payload.start..start + payload.end);
        let seed = &mut self.seed;
        let shaken = Link::shake_hands(&self.link, |endpoint| {
            let effect = endpoint.on_hello::<KernelHash>(payload, clock::now());
            *seed = endpoint.seed();
            effect
        });
        shaken.map_err(Fault::Rail)?;
        self.link.return_lost();
        self.link.tx_event.raise();
        Ok(())
    }

    fn receive_corrupt(&mut self, header: &Header) -> Result<(), Fault> {
        self.link.counters.rx_checksum_errors.increment();
        let mut inner = self.link.inner.lock();
        let result = inner.endpoint.on_corrupt(header, clock::now());
        self.seed = inner.endpoint.seed();
        drop(inner);
        self.link.return_lost();
        // The report of the loss does not wait for more frames.
        self.link.wake_tx_if_due();
        result.map_err(Fault::Rail)
    }

    fn receive_frame(
        &mut self,
        header: &Header,
        start: usize,
        payload: Range<usize>,
    ) -> Result<(), Fault> {
        let link = &self.link;
        let mut inner = link.inner.lock();
        let incoming = inner.endpoint.on_header(header, clock::now());
        self.seed = inner.endpoint.seed();
        drop(inner);
        link.return_lost();
        match incoming.map_err(Fault::Rail)? {
            Incoming::Done => match header.body {
                Body::Nop { .. } | Body::Lost { .. } | Body::Goodbye | Body::Hello => {
                    link.counters.rx_control.increment();
                }
                Body::Request(_)
                | Body::Response(_)
                | Body::Ack(_)
                | Body::Datagram(_)
                | Body::Unreliable(_)
                | Body::UnreliableDatagram(_) => {
                    link.counters.rx_discarded.increment();
                }
            },
            Incoming::Deliver => {
                self.unanswered.add(header);
                let payload = self.buffer.lend(start + payload.start..start + payload.end);
                self.pages.clear();
                match link
                    .client
                    .deliver(link.id, header, payload, &mut self.pages)
                {
                    Reception::Taken => {}
                    Reception::Discarded => link.counters.rx_discarded.increment(),
                }
                link.counters.rx_frames.increment();
                link.counters.rx_bytes.add(header.payload_len.into());
                // Only now: what has been acknowledged is never sent again.
                link.inner.lock().endpoint.finish(clock::now());
            }
        }
        Ok(())
    }
}
