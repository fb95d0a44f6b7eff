// SPDX-License-Identifier: GPL-2.0

//! One end of a rail, put together: handshake, numbering, acknowledgement, loss and liveness.
//!
//! The owner moves bytes: it asks what to write, tells what it read, and says what time it is.

use super::hello::Features;
use super::hello::Hello;
use super::hello::HelloError;
use super::hello::Identity;
use super::hello::HELLO_LEN;
use super::rx::RailRx;
use super::rx::SeqStatus;
use super::rx::Unacknowledged;
use super::session::HelloOutcome;
use super::session::Phase;
use super::session::Session;
use super::session::Verdict;
use super::tx::FrameStatus;
use super::tx::RailTx;
use super::tx::TxEntry;
use super::InFlight;
use super::RailViolation;
use crate::transport::checksum::Checksum;
use crate::transport::checksum::Seed;
use crate::transport::frame::padded;
use crate::transport::frame::Body;
use crate::transport::frame::Header;
use crate::transport::frame::NopReply;
use crate::transport::frame::HEADER_LEN;
use crate::transport::ids::Duration;
use crate::transport::ids::Instant;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailSeq;
use crate::transport::storage::BadTableLength;
use crate::transport::storage::Storage;

/// An acknowledgement waits this long for a frame to ride on.
const ACK_DELAY: Duration = Duration::from_millis(5);

/// After damage the peer is asked for the number of its last frame at most this often.
const INQUIRY_INTERVAL: Duration = Duration::from_millis(5);

/// A peer that may have left the session is asked again after this time.
const PROBE_INTERVAL: Duration = Duration::from_millis(25);

/// With frames unacknowledged, the peer is asked for a sign of life when this long has passed
/// without one: the last frames may be lost, or an interrupt of the stream.
///
/// A good acknowledgement comes after [`ACK_DELAY`] and what both ends' clocks add to that (ticks of up to 4 ms each);
/// an idle rail has nothing unacknowledged.
const NUDGE_INTERVAL: Duration = Duration::from_millis(20);

/// A report of loss that is not confirmed is sent again after this time. It may be on its way still:
/// a second copy does no harm.
const REPORT_INTERVAL: Duration = Duration::from_millis(20);

/// An idle end says so this often.
const KEEPALIVE_INTERVAL: Duration = Duration::from_millis(1_000);

/// A rail without a sign of life, or without progress, for this long is dead.
const DEAD_AFTER: Duration = Duration::from_millis(3_000);

/// With an answer owed for this long, work had better go over other rails: the peer has been asked several times.
const SUSPECT_AFTER: Duration = Duration::from_millis(400);

/// Share of the window, in frames and in bytes, that may go unacknowledged without an acknowledgement of its own.
const ACK_SHARE: u32 = 8;

/// Why the owner must close the stream. It opens it anew afterwards.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RailFault {
    /// The handshake made no progress: no peer, or a reader out of sync.
    HandshakeStalled,
    /// The peer has been silent, or has acknowledged nothing, for too long.
    Dead,
    /// The peer said goodbye.
    PeerLeft,
    /// The stream is looped back to this end.
    Reflected,
    /// The peer broke the rules.
    Violation(RailViolation),
    /// The handshake made no progress, and the peer's hello could not be understood; perhaps it speaks another version.
    Hello(HelloError),
}

/// Whether the peer answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answers {
    /// It does, as far as it has to.
    Come,
    /// It has not for some time. It may have stalled.
    Missing,
}

/// What to do with a frame that has arrived.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Incoming {
    /// It is for the queue pairs or the network interface. Deal with its payload, then call
    /// [`RailEndpoint::finish`].
    Deliver,
    /// The endpoint has dealt with the frame.
    Done,
}

/// What a hello changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HelloEffect {
    /// Nothing the owner must act upon.
    Nothing,
    /// None: it was no hello.
    Ignored,
    /// The rail is up; [`RailEndpoint::peer`] tells with whom.
    Up,
    /// The rail is down until the handshake, begun anew, is done. All in flight has been handed back.
    Down,
}

/// A small frame of the rail's own, ready to be written.
#[derive(Clone, Copy, Debug)]
pub struct ControlFrame {
    bytes: [u8; HEADER_LEN + HELLO_LEN],
    len: usize,
}

impl ControlFrame {
    fn bare<C: Checksum>(header: &Header, seed: Seed) -> Self {
        let mut bytes = [0; HEADER_LEN + HELLO_LEN];
        bytes[..HEADER_LEN].copy_from_slice(&header.encode::<C>(seed));
        Self {
            bytes,
            len: HEADER_LEN,
        }
    }

    /// The frame that says `hello`.
    pub fn hello<C: Checksum>(hello: &Hello) -> Self {
        let payload = hello.encode();
        let header = Header {
            seq: RailSeq(0),
            ack: RailSeq(0),
            payload_len: HELLO_LEN as u32,
            payload_checksum: Seed::HANDSHAKE.checksum::<C>(&payload),
            body: Body::Hello,
        };
        let mut frame = Self::bare::<C>(&header, Seed::HANDSHAKE);
        frame.bytes[HEADER_LEN..].copy_from_slice(&payload);
        frame.len = HEADER_LEN + HELLO_LEN;
        frame
    }

    /// The bytes to write, a multiple of 64.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&self.bytes)
    }
}

/// An open stream's state.
#[derive(Debug)]
struct Open {
    session: Session,
    /// Why the newest hello of this handshake was none.
    refused: Option<HelloError>,
    seed: Option<Seed>,
    rx: RailRx,
    /// When a frame of the peer last arrived.
    received_at: Instant,
    /// When we last sent anything.
    sent_at: Instant,
    /// Since when frames have been waiting for an acknowledgement without progress.
    waiting_since: Instant,
    /// When the peer was last nudged.
    nudged_at: Instant,
    /// When the losses not confirmed yet were last reported.
    repeated_at: Instant,
    /// Since when an acknowledgement has been owed.
    owing_since: Option<Instant>,
    nop_wanted: bool,
    /// When to ask the peer for the number of its last frame.
    inquire_at: Option<Instant>,
    inquired_at: Instant,
}

impl Open {
    /// Has the peer be asked for an answer soon.
    fn inquire(&mut self, now: Instant) {
        if self.inquire_at.is_none() {
            self.inquire_at = Some(now.max(self.inquired_at.after(INQUIRY_INTERVAL)));
        }
    }
}

/// One end of a rail.
pub struct RailEndpoint<S: Storage> {
    identity: Identity,
    tx: RailTx<S>,
    ack_every: Unacknowledged,
    open: Option<Open>,
}

impl<S: Storage> RailEndpoint<S> {
    /// A closed rail. `table` bounds the frames in flight (its length is a power of two),
    /// `byte_limit` the bytes.
    ///
    /// # Errors
    ///
    /// If the length of `table` is not a power of two.
    pub fn new(
        identity: Identity,
        table: S::Table<TxEntry>,
        byte_limit: u32,
    ) -> Result<Self, BadTableLength> {
        let ack_every = Unacknowledged {
            frames: (table.len() as u32 / ACK_SHARE).max(1),
            bytes: (byte_limit / ACK_SHARE).max(1),
        };
        Ok(Self {
            identity,
            tx: RailTx::new(table, byte_limit)?,
            ack_every,
            open: None,
        })
    }

    /// The stream has been opened; `session_id` is random and new.
    pub fn open(&mut self, session_id: u64, now: Instant) {
        self.open = Some(Open {
            session: Session::new(session_id, now),
            refused: None,
            seed: None,
            rx: RailRx::new(RailSeq(0)),
            received_at: now,
            sent_at: now,
            waiting_since: now,
            nudged_at: now,
            repeated_at: now,
            owing_since: None,
            nop_wanted: false,
            inquire_at: None,
            inquired_at: Instant(0),
        });
    }

    /// The stream is closed or about to be: [`Self::next_lost`] gives all that was in flight.
    pub fn close(&mut self) {
        self.open = None;
        self.tx.abandon();
    }

    /// The next thing that was sent and did not arrive, to be handed back to its owner. Fetch all of
    /// them after every call of [`Self::on_header`], [`Self::on_hello`] and [`Self::close`]. One at a
    /// time, so that the caller can let go of its lock in between.
    pub fn next_lost(&mut self) -> Option<(RailSeq, InFlight)> {
        self.tx.next_lost()
    }

    /// Whether frames may flow.
    pub fn is_up(&self) -> bool {
        self.open
            .as_ref()
            .is_some_and(|open| open.session.phase() == Phase::Up)
    }

    /// What the peer said about itself, once it did.
    pub fn peer(&self) -> Option<&Identity> {
        self.open.as_ref().and_then(|open| open.session.peer())
    }

    /// The seed of the session's checksums, while the rail is up.
    pub fn seed(&self) -> Option<Seed> {
        let open = self.open.as_ref()?;
        match open.session.phase() {
            Phase::Up => open.seed,
            Phase::Greeting => None,
        }
    }

    /// An intact hello with this payload has arrived.
    ///
    /// Hellos carry no secret: one that makes no sense is ignored, and none ends a session by itself.
    ///
    /// # Errors
    ///
    /// If the stream must be closed.
    pub fn on_hello<C: Checksum>(
        &mut self,
        payload: &[u8],
        now: Instant,
    ) -> Result<HelloEffect, RailFault> {
        let Some(open) = self.open.as_mut() else {
            return Ok(HelloEffect::Nothing);
        };
        let hello = match Hello::decode(payload) {
            Ok(hello) => hello,
            Err(error) => {
                open.refused = Some(error);
                return Ok(HelloEffect::Ignored);
            }
        };
        let outcome = open.session.on_hello(&hello, now);
        match outcome {
            HelloOutcome::Waiting => Ok(HelloEffect::Nothing),
            HelloOutcome::Suspected => {
                open.inquire(now);
                Ok(HelloEffect::Nothing)
            }
            HelloOutcome::Reflected => Err(RailFault::Reflected),
            HelloOutcome::Restarted => Ok(self.begin_anew()),
            HelloOutcome::Up { first_seq } => {
                let peers = open
                    .session
                    .peer()
                    .map_or(Features::NONE, |peer| peer.features);
                let algorithm = self.identity.features.checksums_with(peers);
                open.seed = open
                    .session
                    .ids()
                    .map(|(own, peer)| Seed::of_session::<C>(own, peer, algorithm));
                open.rx = RailRx::new(first_seq);
                open.received_at = now;
                open.owing_since = None;
                open.nop_wanted = false;
                open.inquire_at = None;
                open.waiting_since = now;
                // A peer that began anew answered in one go: what was in flight went to its old self.
                self.tx.abandon();
                Ok(HelloEffect::Up)
            }
        }
    }

    /// Whether [`Self::judge`] has something to judge.
    pub fn is_judgement_due(&self, now: Instant) -> bool {
        let open = self.open.as_ref();
        let deadline = open.and_then(|open| open.session.probe_deadline());
        deadline.is_some_and(|deadline| now >= deadline)
    }

    /// Begins the handshake anew if the peer has restarted without Goodbye. To be called when
    /// [`Self::deadline`] has come.
    pub fn judge(&mut self, now: Instant) -> HelloEffect {
        let verdict = self.open.as_mut().map(|open| open.session.judge(now));
        match verdict {
            Some(Verdict::Left) => self.begin_anew(),
            Some(Verdict::Present) | None => HelloEffect::Nothing,
        }
    }

    /// The session is over; the handshake goes on.
    fn begin_anew(&mut self) -> HelloEffect {
        if let Some(open) = self.open.as_mut() {
            open.seed = None;
            open.refused = None;
        }
        self.tx.abandon();
        HelloEffect::Down
    }

    /// An intact frame of the session has arrived.
    ///
    /// # Errors
    ///
    /// If the stream must be closed.
    pub fn on_header(&mut self, header: &Header, now: Instant) -> Result<Incoming, RailFault> {
        let Some(open) = self.open.as_mut() else {
            return Ok(Incoming::Done);
        };
        if open.session.phase() != Phase::Up {
            return Ok(Incoming::Done);
        }
        open.received_at = now;
        open.session.on_frame();
        let before = self.tx.oldest();
        self.tx.on_ack(header.ack).map_err(RailFault::Violation)?;
        if self.tx.oldest() != before {
            open.waiting_since = now;
        }
        match header.body {
            Body::Hello => Ok(Incoming::Done),
            Body::Goodbye => Err(RailFault::PeerLeft),
            Body::Nop { reply, confirmed } => {
                open.rx.report_confirmed(confirmed.0, confirmed.1);
                open.rx.announced(header.seq);
                if reply == NopReply::Wanted {
                    open.nop_wanted = true;
                }
                Ok(Incoming::Done)
            }
            Body::Lost { from, to } => {
                self.tx.on_lost(from, to).map_err(RailFault::Violation)?;
                open.rx.note_report(from, to);
                open.rx.announced(header.seq);
                Ok(Incoming::Done)
            }
            Body::Request(_)
            | Body::Response(_)
            | Body::Ack(_)
            | Body::Datagram(_)
            | Body::Unreliable(_)
            | Body::UnreliableDatagram(_) => match open.rx.begin(header.seq, header.frame_len()) {
                SeqStatus::New => Ok(Incoming::Deliver),
                SeqStatus::Stale => Ok(Incoming::Done),
            },
        }
    }

    /// A frame of the session has arrived whose payload is damaged.
    ///
    /// # Errors
    ///
    /// If the stream must be closed.
    pub fn on_corrupt(&mut self, header: &Header, now: Instant) -> Result<(), RailFault> {
        match (self.on_header(header, now)?, self.open.as_mut()) {
            (Incoming::Deliver, Some(open)) => {
                open.rx.finish_corrupt();
                Ok(())
            }
            (Incoming::Deliver, None) | (Incoming::Done, _) => Ok(()),
        }
    }

    /// The frame that was to be delivered has been dealt with.
    pub fn finish(&mut self, now: Instant) {
        if let Some(open) = self.open.as_mut() {
            open.rx.finish();
            open.received_at = now;
            if open.owing_since.is_none() {
                open.owing_since = Some(now);
            }
        }
    }

    /// Bytes had to be skipped that are no header. If they were the last frame, nothing that follows
    /// would show that it is missing: the peer is asked.
    pub fn note_damage(&mut self, now: Instant) {
        if let Some(open) = self.open.as_mut() {
            if open.session.phase() == Phase::Up {
                open.inquire(now);
            }
        }
    }

    /// The next frame of the rail's own to write, if there is one.
    pub fn next_control<C: Checksum>(&mut self, now: Instant) -> Option<ControlFrame> {
        let first_seq = self.tx.next_seq();
        let open = self.open.as_mut()?;
        if let Some(hello) = open.session.take_hello(&self.identity, first_seq) {
            open.sent_at = now;
            return Some(ControlFrame::hello::<C>(&hello));
        }
        let seed = self.seed()?;
        if let Some((from, to)) = self.report_due(now) {
            let header = self.unnumbered(Body::Lost { from, to }, now)?;
            return Some(ControlFrame::bare::<C>(&header, seed));
        }
        let reply = self.nop_due(now)?;
        let confirmation = self
            .open
            .as_mut()
            .and_then(|open| open.rx.take_confirmation());
        let confirmed = confirmation.unwrap_or_default();
        let header = self.unnumbered(Body::Nop { reply, confirmed }, now)?;
        Some(ControlFrame::bare::<C>(&header, seed))
    }

    /// A goodbye, to be the last thing written before the stream is closed; nothing if the rail is
    /// not up.
    pub fn goodbye<C: Checksum>(&mut self, now: Instant) -> Option<ControlFrame> {
        let seed = self.seed()?;
        let header = self.unnumbered(Body::Goodbye, now)?;
        Some(ControlFrame::bare::<C>(&header, seed))
    }

    /// Whether a frame with a payload of this length may be sent now.
    pub fn can_send(&self, payload_len: u32) -> bool {
        self.is_up() && self.tx.can_send(HEADER_LEN as u32 + padded(payload_len))
    }

    /// The number the next frame will have.
    pub const fn next_seq(&self) -> RailSeq {
        self.tx.next_seq()
    }

    /// The number of frames in flight.
    pub const fn in_flight(&self) -> u32 {
        self.tx.in_flight()
    }

    /// Makes the header of the next frame and notes that the frame carries `item`; nothing if
    /// [`Self::can_send`] says so.
    pub fn stamp(
        &mut self,
        body: Body,
        payload_len: u32,
        payload_checksum: u32,
        item: InFlight,
        now: Instant,
    ) -> Option<Header> {
        let was_idle = self.tx.is_idle();
        let open = self.open.as_mut()?;
        if open.session.phase() != Phase::Up {
            return None;
        }
        let seq = self
            .tx
            .record(item, HEADER_LEN as u32 + padded(payload_len))?;
        open.sent_at = now;
        if was_idle {
            open.waiting_since = now;
            open.nudged_at = now;
        }
        open.owing_since = None;
        open.rx.note_ack_sent();
        Some(Header {
            seq,
            ack: open.rx.ack(),
            payload_len,
            payload_checksum,
            body,
        })
    }

    /// How the frame with number `seq` fared.
    pub fn frame_status(&self, seq: RailSeq) -> FrameStatus {
        self.tx.frame_status(seq)
    }

    /// Whether something of this queue pair may still be on its way.
    pub fn carries(&self, qpn: Qpn) -> bool {
        self.tx.carries(qpn)
    }

    /// Checks the clock. Call it when [`Self::deadline`] has come; it also makes frames due that
    /// [`Self::next_control`] then gives.
    ///
    /// # Errors
    ///
    /// If the stream must be closed.
    pub fn check(&self, now: Instant) -> Result<(), RailFault> {
        let Some(open) = self.open.as_ref() else {
            return Ok(());
        };
        if let Some(deadline) = open.session.deadline() {
            return if now >= deadline {
                Err(open
                    .refused
                    .map_or(RailFault::HandshakeStalled, RailFault::Hello))
            } else {
                Ok(())
            };
        }
        let stuck = !self.tx.is_idle() && now.since(open.waiting_since) >= DEAD_AFTER;
        if stuck || now.since(open.received_at) >= DEAD_AFTER {
            Err(RailFault::Dead)
        } else {
            Ok(())
        }
    }

    /// Whether the peer answers.
    pub fn answers(&self, now: Instant) -> Answers {
        // Not by when its last frame arrived: an idle peer says little, and answers all the same.
        let missing = self.open.as_ref().is_some_and(|open| {
            !self.tx.is_idle() && now.since(open.waiting_since) >= SUSPECT_AFTER
        });
        if missing {
            Answers::Missing
        } else {
            Answers::Come
        }
    }

    /// When to call [`Self::judge`], [`Self::check`] and [`Self::next_control`] next, if nothing happens before; the
    /// beginning of time if [`Self::next_control`] has something to write at once.
    pub fn deadline(&self) -> Option<Instant> {
        let open = self.open.as_ref()?;
        if self.is_control_due(open) {
            return Some(Instant(0));
        }
        if let Some(deadline) = open.session.deadline() {
            return Some(deadline);
        }
        let mut first = open.received_at.after(DEAD_AFTER);
        first = first.min(open.sent_at.after(KEEPALIVE_INTERVAL));
        if !self.tx.is_idle() {
            first = first.min(open.waiting_since.after(DEAD_AFTER));
            first = first.min(self.nudge_at(open));
        }
        if let Some(since) = open.owing_since {
            first = first.min(since.after(ACK_DELAY));
        }
        if let Some(at) = open.inquire_at {
            first = first.min(at);
        }
        if let Some(deadline) = open.session.probe_deadline() {
            first = first.min(deadline);
        }
        if open.rx.is_reporting() {
            first = first.min(open.repeated_at.after(REPORT_INTERVAL));
        }
        Some(first)
    }

    /// Until when whoever writes may sleep if nobody wakes it: not beyond [`Self::deadline`], and as long as frames come only as
    /// long as a new one may remain unacknowledged, so that nobody need wake it for each of them.
    pub fn look_again_at(&self, now: Instant) -> Option<Instant> {
        let deadline = self.deadline()?;
        let soon = self.open.as_ref()?.received_at.after(ACK_DELAY);
        Some(if now < soon {
            deadline.min(soon)
        } else {
            deadline
        })
    }

    /// Whether there is a frame of the rail's own to write, whatever the time.
    fn is_control_due(&self, open: &Open) -> bool {
        if open.session.hello_due() {
            return true;
        }
        open.session.phase() == Phase::Up
            && (open.nop_wanted
                || open.rx.has_confirmation()
                || open.rx.unacknowledged().reaches(self.ack_every)
                || open.rx.has_report())
    }

    fn nudge_at(&self, open: &Open) -> Instant {
        open.waiting_since.max(open.nudged_at).after(NUDGE_INTERVAL)
    }

    /// The loss to report now, if any.
    fn report_due(&mut self, now: Instant) -> Option<(RailSeq, RailSeq)> {
        let open = self.open.as_mut()?;
        if open.rx.is_reporting() && now >= open.repeated_at.after(REPORT_INTERVAL) {
            open.rx.repeat_reports();
            open.repeated_at = now;
        }
        open.rx.take_report()
    }

    /// Whether a `Nop` should go out now, and if so which.
    fn nop_due(&mut self, now: Instant) -> Option<NopReply> {
        let open = self.open.as_ref()?;
        let nudges = !self.tx.is_idle() && now >= self.nudge_at(open);
        let inquires = open.inquire_at.is_some_and(|at| now >= at);
        if nudges || inquires {
            let open = self.open.as_mut()?;
            open.nudged_at = now;
            open.inquired_at = now;
            open.session.note_asked(now);
            let is_in_doubt = open.session.is_in_doubt();
            open.inquire_at = is_in_doubt.then(|| now.after(PROBE_INTERVAL));
            return Some(NopReply::Wanted);
        }
        let owed = open
            .owing_since
            .is_some_and(|since| now >= since.after(ACK_DELAY));
        let due = owed
            || open.nop_wanted
            || open.rx.has_confirmation()
            || open.rx.unacknowledged().reaches(self.ack_every)
            || now >= open.sent_at.after(KEEPALIVE_INTERVAL);
        due.then_some(NopReply::Unneeded)
    }

    /// The header of a frame that takes no number and is not acknowledged.
    fn unnumbered(&mut self, body: Body, now: Instant) -> Option<Header> {
        let seq = self.tx.next_seq();
        let open = self.open.as_mut()?;
        open.sent_at = now;
        open.owing_since = None;
        open.nop_wanted = false;
        open.rx.note_ack_sent();
        Some(Header {
            seq,
            ack: open.rx.ack(),
            payload_len: 0,
            payload_checksum: 0,
            body,
        })
    }
}
