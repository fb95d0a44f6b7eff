// SPDX-License-Identifier: GPL-2.0

//! Who uses a rail: the seam between rails and what runs over them.

use kernel::fmt;
use kernel::prelude::*;
use kernel::sync::Arc;

use crate::base::bounce_buffer::BounceBuffer;
use crate::base::event::Event;
use crate::base::lending_buffer::Arrived;
use crate::base::page_vec::PageVec;
use crate::base::page_vec::MAX_PAYLOAD;
use crate::transport::frame::Body;
use crate::transport::frame::Header;
use crate::transport::frame::HEADER_LEN;
use crate::transport::ids::Instant;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
pub use crate::transport::rail::endpoint::Answers;
use crate::transport::rail::hello::Identity;
use crate::transport::rail::router_uuid::RouterUuid;
use crate::transport::rail::tx::FrameStatus;
use crate::transport::rail::InFlight;
pub use crate::transport::scheduler::Afterwards;

/// Where the payload of an outgoing frame is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Payload {
    /// There is no payload.
    Empty,
    /// This many bytes have been written to [`TxBuffer::staging`].
    Staged(usize),
    /// In the spans of [`TxBuffer::pages`]. They are read twice, for the checksum and for sending; if
    /// they are changed in between, the frame arrives corrupt, is reported lost, and should be staged the
    /// next time.
    Pages,
}

/// A frame that a client gives to a rail.
pub struct Outgoing<T> {
    /// What kind of frame, with its fields.
    pub body: Body,
    /// What to hand back if the frame is lost.
    pub item: InFlight,
    /// Its payload.
    pub payload: Payload,
    /// Keeps the payload's pages alive until the frame is written.
    pub ticket: T,
}

/// Room for the payload of an outgoing frame.
pub struct TxBuffer<'a> {
    staging: &'a mut BounceBuffer,
    payload_at: usize,
    pages: &'a mut PageVec,
    room: u32,
    afterwards: Afterwards,
}

impl<'a> TxBuffer<'a> {
    /// A frame whose header will be at `header_at` of `staging`, with at most `room` bytes of payload. If there is
    /// none, the rail does as `afterwards` says.
    pub(super) fn new(
        staging: &'a mut BounceBuffer,
        header_at: usize,
        pages: &'a mut PageVec,
        room: u32,
        afterwards: Afterwards,
    ) -> Self {
        pages.clear();
        Self {
            staging,
            payload_at: header_at + HEADER_LEN,
            pages,
            room,
            afterwards,
        }
    }

    /// What the rail does if there is no frame for it.
    pub fn afterwards(&self) -> Afterwards {
        self.afterwards
    }

    /// The longest payload that the frame may have, at most [`MAX_PAYLOAD`] bytes.
    pub fn room(&self) -> u32 {
        self.room
    }

    /// Room for [`MAX_PAYLOAD`] bytes, for small payloads, those that may change meanwhile, and those that
    /// are nowhere yet.
    pub fn staging(&mut self) -> &mut [u8] {
        &mut self.staging.bytes_mut()[self.payload_at..][..MAX_PAYLOAD]
    }

    /// Copies what was put into [`TxBuffer::pages`] to [`TxBuffer::staging`] and empties the list. Returns
    /// the payload's length; fails with `EINVAL` when that is more than [`MAX_PAYLOAD`].
    pub fn stage_pages(&mut self) -> Result<usize> {
        let len = self.pages.len();
        self.stage_pages_at(0)?;
        Ok(len)
    }

    /// Copies what was put into [`TxBuffer::pages`] to byte `at` of [`TxBuffer::staging`] and empties the list. Fails with
    /// `EINVAL` when the end of it is beyond [`MAX_PAYLOAD`].
    pub fn stage_pages_at(&mut self, at: usize) -> Result {
        let len = self.pages.len();
        let room = self
            .staging
            .bytes_mut()
            .get_mut(self.payload_at..)
            .and_then(|bytes| bytes.get_mut(..MAX_PAYLOAD))
            .and_then(|bytes| bytes.get_mut(at..))
            .and_then(|bytes| bytes.get_mut(..len))
            .ok_or(EINVAL)?;
        self.pages.copy_to_slice(0, room)?;
        self.pages.clear();
        Ok(())
    }

    /// An empty list for a large payload that lies in pages.
    pub fn pages(&mut self) -> &mut PageVec {
        self.pages
    }
}

/// What a client did with an incoming frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reception {
    /// A QP or the network interface has taken it.
    Taken,
    /// It was for nobody, was refused, or came twice.
    Discarded,
}

/// What a cable carries each way, in Mb/s.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Rate(pub u32);

impl Rate {
    /// What every USB4 link carries at least: one lane of generation 2.
    pub const LEAST: Self = Self(10_000);
}

/// Lines that the log does not have.
pub struct LeftOut(pub(super) u32);

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            count => write!(f, " ({count} lines about this rail were left out)"),
        }
    }
}

/// What a client may do with a rail that is up.
pub trait RailLink: Send + Sync {
    /// Wakes the rail's transmitting thread; to be raised, from any context, when there is something to send.
    fn tx_event(&self) -> &Arc<Event>;

    /// Has something to send be sent soon: small frames in the caller's own context if the rail is idle, which
    /// saves waking a thread; all else by the rail's transmitting thread, which is woken for it.
    ///
    /// The caller must be able to sleep and hold no lock that [`RailClient::next`] takes. It is never kept
    /// waiting for the stream.
    fn send_now(&self);

    /// How the frame with number `seq` fared. Takes a spinlock of the rail, under which nothing else is
    /// locked.
    fn frame_status(&self, seq: RailSeq) -> FrameStatus;

    /// Whether something of this QP may still be on its way. Sleeps, until what is being written has been: not to be called
    /// by a [`RailClient`] that is asked for something to write.
    fn carries(&self, qpn: Qpn) -> bool;

    /// What its cable carried when it came up; the least possible if that is not known. Other rails over the same cable have their
    /// share of it.
    fn rate(&self) -> Rate;

    /// What its cable is called, if that is known.
    fn cable(&self) -> Option<&CStr>;

    /// Name of the rail for log lines.
    fn name(&self) -> &str;

    /// Asks for a line in the log about what the peer did, which it can do as often as it likes. Says how many such
    /// lines have been left out before it; nothing if this one is to be.
    fn take_log_line(&self) -> Option<LeftOut>;
}

/// Whether what frames have made due is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// It is, but for what may wait a moment for something to ride on, or to go with: the rail has nothing else to do meanwhile, and asks again.
    MayWait,
    /// All of it is: quite a lot has arrived, and there is more, after which the rail asks again.
    AskedAgain,
    /// All of it is, and what is posted from now on does not wait either: the rail will not ask again.
    MustGo,
}

/// What is left of that which frames have made due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "what waits must be asked for again"]
pub enum Due {
    /// Nothing, or nothing that the rail has to see to.
    Settled,
    /// Something waits, or what comes meanwhile does, at most until this time: the client is to be asked again then.
    WaitsUntil(Instant),
}

/// The user of rails, shared by all of them.
///
/// # Context and locking
///
/// All methods may sleep, and none is called with a spinlock held. Different rails call concurrently, and so do those that
/// receive and those that transmit over one rail.
///
/// - [`RailClient::rail_up`], [`RailClient::rail_down`], [`RailClient::note_answers`], [`RailClient::deliver`] and
///   [`RailClient::send_due`] are called by the rail's own threads without any lock of the rail: they may use its link.
/// - [`RailClient::next`] and [`RailClient::busy`] are called by whoever writes: the rail's transmitting thread, or who has
///   called [`RailLink::send_now`]. The rail's writer, a mutex, is held meanwhile. So they must not call
///   [`RailLink::carries`] of the same rail, which waits for the writer and would do so for ever.
/// - [`RailClient::lost`] is called by either, with the writer held or not, and must not call [`RailLink::carries`] either.
///
/// [`RailLink::send_now`] may be called by all of them: while the writer is held, it wakes the transmitting thread.
pub trait RailClient: Send + Sync + 'static {
    /// Keeps memory alive while a payload is being sent.
    type Ticket: Send;

    /// The rail has come up. `peer` is who the other end says it is, `router` what is there, if that is known.
    fn rail_up(
        &self,
        rail: RailId,
        peer: &Identity,
        router: Option<RouterUuid>,
        link: &Arc<dyn RailLink>,
    );

    /// The rail has gone down. What was in flight follows by [`RailClient::lost`]. The client must let go of
    /// the link.
    fn rail_down(&self, rail: RailId);

    /// Whether the peer answers over this rail, told whenever that has changed and again as long as it does not. A
    /// rail that has just come up is taken to be answered.
    fn note_answers(&self, rail: RailId, answers: Answers);

    /// The rail has to write before it can take a frame, although [`RailClient::next`] has just heard that it would
    /// rest. It will ask afterwards.
    fn busy(&self, rail: RailId);

    /// Frame `seq` of this rail did not arrive: `item`, which is no datagram, must be sent again, over
    /// whatever rail, unless it is of an unreliable connection.
    fn lost(&self, rail: RailId, seq: RailSeq, item: InFlight);

    /// The next frame to send over this rail, which will have the number `seq`.
    fn next(
        &self,
        rail: RailId,
        seq: RailSeq,
        tx: &mut TxBuffer<'_>,
    ) -> Option<Outgoing<Self::Ticket>>;

    /// A frame has arrived intact. `pages` is empty, and for the client's use. The client is done with `payload` when it
    /// returns, but for what it keeps.
    ///
    /// What it makes due may wait for [`RailClient::send_due`].
    fn deliver(
        &self,
        rail: RailId,
        header: &Header,
        payload: Arrived<'_>,
        pages: &mut PageVec,
    ) -> Reception;

    /// What the frames so far have made due is to be sent, or some of it only if `occasion` says so. Says what waits.
    fn send_due(&self, rail: RailId, occasion: Occasion) -> Due;
}
