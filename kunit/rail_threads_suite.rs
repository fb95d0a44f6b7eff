// SPDX-License-Identifier: GPL-2.0

//! Whole rails, with their threads, over a cable in memory that damages frames so that reads fail.

use kernel::c_str;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::str::CString;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::task::MAX_SCHEDULE_TIMEOUT;
use kernel::time::delay::fsleep;
use kernel::time::msecs_to_jiffies;
use kernel::time::Delta;
use kernel::time::Jiffies;

use crate::base::bounce_buffer::BounceBuffer;
use crate::base::event::Event;
use crate::base::event::Wake;
use crate::base::kthread::Kthread;
use crate::base::lending_buffer::Arrived;
use crate::base::page_vec::PageVec;
use crate::identity::identity;
use crate::memory_cable::Cable;
use crate::memory_cable::Damage;
use crate::memory_cable::Manner;
use crate::memory_cable::Side;
use crate::scripted_peer::ScriptedPeer;
use crate::stream_adapter::client::Answers;
use crate::stream_adapter::client::Due;
use crate::stream_adapter::client::Occasion;
use crate::stream_adapter::client::Outgoing;
use crate::stream_adapter::client::Payload;
use crate::stream_adapter::client::RailClient;
use crate::stream_adapter::client::RailLink;
use crate::stream_adapter::client::Reception;
use crate::stream_adapter::client::TxBuffer;
use crate::stream_adapter::quiescer::Quiescer;
use crate::stream_adapter::rail::Rail;
use crate::stream_adapter::stream_file::StreamFile;
use crate::stream_adapter::stream_source::StreamSource;
use crate::stream_adapter::stream_waiter::Patience;
use crate::transport::frame::Body;
use crate::transport::frame::DataSegment;
use crate::transport::frame::Extent;
use crate::transport::frame::Header;
use crate::transport::frame::Operation;
use crate::transport::frame::RequestHeader;
use crate::transport::frame::SegmentFlags;
use crate::transport::frame::SegmentSize;
use crate::transport::ids::Psn;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::ids::Rkey;
use crate::transport::ids::Rsn;
use crate::transport::rail::hello::Challenge;
use crate::transport::rail::hello::Identity;
use crate::transport::rail::hello::ReaderSync;
use crate::transport::rail::router_uuid::RouterUuid;
use crate::transport::rail::InFlight;

/// Longer than anything here takes on a slow machine: rails wait before they speak, and before they open their streams anew.
const LONG_MS: u32 = 60_000;

/// The queue pair that is told to have sent everything.
const QPN: Qpn = Qpn::new(17);

/// A payload that takes one frame of the stream.
const SHORT_LEN: usize = 2_000;

/// How far apart the segments of an endless stream are.
const ENDLESS_PACE: Delta = Delta::from_micros(500);

/// How long somebody may wait for a rail that is busy.
const BUSY_MS: u32 = 5_000;

/// How many frames it may send meanwhile: several times as many as it sends before it lets somebody else have a turn, if only every
/// second is long, and fewer than come before an acknowledgement.
const BUSY_FRAMES: u32 = 40;

/// One that takes three.
const LONG_LEN: usize = 10_000;

/// What a rail of the tests opens: an end of a cable. It never asks by itself whether something has come.
struct CableEnd {
    cable: Arc<Cable>,
    side: Side,
}

impl StreamSource for CableEnd {
    fn open(&self) -> Result<StreamFile> {
        StreamFile::new(
            Cable::open(&self.cable, self.side)?,
            Patience {
                idle: MAX_SCHEDULE_TIMEOUT as Jiffies,
                under_way: MAX_SCHEDULE_TIMEOUT as Jiffies,
            },
        )
    }

    fn is_deleted(&self) -> bool {
        false
    }
}

/// A segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Segment {
    psn: Psn,
    len: usize,
}

impl Segment {
    fn byte(&self, at: usize) -> u8 {
        (at.wrapping_mul(167) >> 3) as u8 ^ self.psn.get() as u8
    }

    fn fill(&self, payload: &mut [u8]) {
        for (at, byte) in payload.iter_mut().enumerate() {
            *byte = self.byte(at);
        }
    }

    fn is(&self, payload: &[u8]) -> bool {
        let mut bytes = payload.iter().enumerate();
        payload.len() == self.len && bytes.all(|(at, byte)| *byte == self.byte(at))
    }

    fn body(&self) -> Body {
        Body::Request(RequestHeader {
            dest_qpn: QPN,
            src_qpn: QPN,
            psn: self.psn,
            flags: SegmentFlags::ONLY,
            operation: Operation::Write {
                data: DataSegment {
                    rsn: Rsn(0),
                    extent: Extent::of_segment(0, SegmentSize::LARGEST, self.len as u32),
                },
                imm: None,
                va: 0,
                rkey: Rkey(0),
            },
        })
    }
}

/// What a rail's client is being told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    /// That the rail is down.
    Down,
}

struct Post {
    link: Option<Arc<dyn RailLink>>,
    /// How long it takes to tell that a rail is down.
    down_takes: Delta,
    told: Told,
    /// How often it was told of something while it was being told of an end.
    mixed_up: u32,
    to_send: KVec<Segment>,
    /// Sent whenever there is nothing else, and not again if it gets lost.
    endless: Option<Segment>,
    /// What is sent from pages before each of them, with its contents.
    between: Option<(Segment, Arc<BounceBuffer>)>,
    /// Whether that was the last thing sent.
    was_between: bool,
    /// Segments given to the rail.
    given: u32,
    sent: KVec<Segment>,
    lost: KVec<Psn>,
    arrived: KVec<Psn>,
}

/// Sends segments, again if they get lost, and takes those that arrive.
#[pin_data]
struct Client {
    #[pin]
    post: Mutex<Post>,
    #[pin]
    up: Event,
    #[pin]
    down: Event,
    #[pin]
    arrival: Event,
}

impl Client {
    fn new() -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                post <- new_mutex!(Post {
                    link: None,
                    down_takes: Delta::ZERO,
                    told: Told::Nothing,
                    mixed_up: 0,
                    to_send: KVec::new(),
                    endless: None,
                    between: None,
                    was_between: false,
                    given: 0,
                    sent: KVec::new(),
                    lost: KVec::new(),
                    arrived: KVec::new(),
                }),
                up <- Event::new(),
                down <- Event::new(),
                arrival <- Event::new(),
            }),
            GFP_KERNEL,
        )
    }

    fn send(&self, segment: Segment) -> Result {
        let mut post = self.post.lock();
        post.to_send.push(segment, GFP_KERNEL)?;
        if let Some(link) = &post.link {
            link.tx_event().raise();
        }
        Ok(())
    }

    /// From now on there is always `segment` to send; with `None`, no more.
    fn send_endlessly(&self, segment: Option<Segment>) {
        let mut post = self.post.lock();
        post.endless = segment;
        if let Some(link) = &post.link {
            link.tx_event().raise();
        }
    }

    /// Before each of the endless segments, `segment` is sent from pages.
    fn send_between(&self, segment: Segment) -> Result {
        let mut buffer = BounceBuffer::new(segment.len)?;
        segment.fill(&mut buffer.bytes_mut()[..segment.len]);
        self.post.lock().between = Some((segment, Arc::new(buffer, GFP_KERNEL)?));
        Ok(())
    }

    /// Waits until so many segments in all have arrived.
    fn await_arrivals(&self, count: usize) -> Result {
        while self.post.lock().arrived.len() < count {
            await_raised(&self.arrival)?;
        }
        Ok(())
    }
}

impl RailClient for Client {
    type Ticket = Option<Arc<BounceBuffer>>;

    fn rail_up(
        &self,
        _rail: RailId,
        _peer: &Identity,
        _router: Option<RouterUuid>,
        link: &Arc<dyn RailLink>,
    ) {
        let mut post = self.post.lock();
        post.link = Some(link.clone());
        if post.told == Told::Down {
            post.mixed_up += 1;
        }
        drop(post);
        self.up.raise();
    }

    fn rail_down(&self, _rail: RailId) {
        let mut post = self.post.lock();
        let link = post.link.take();
        let takes = post.down_takes;
        if post.told == Told::Down {
            post.mixed_up += 1;
        }
        post.told = Told::Down;
        drop(post);
        drop(link);
        self.down.raise();
        fsleep(takes);
        self.post.lock().told = Told::Nothing;
    }

    fn note_answers(&self, _rail: RailId, _answers: Answers) {}

    fn busy(&self, _rail: RailId) {}

    fn lost(&self, _rail: RailId, _seq: RailSeq, item: InFlight) {
        let InFlight::Request { psn, .. } = item else {
            return;
        };
        let mut post = self.post.lock();
        let found = post.sent.iter().find(|sent| sent.psn == psn).copied();
        let Some(segment) = found else {
            return;
        };
        // A segment that finds no memory is missed at the other end.
        let _ = post.lost.push(psn, GFP_KERNEL);
        drop(post);
        let _ = self.send(segment);
    }

    fn next(
        &self,
        _rail: RailId,
        _seq: RailSeq,
        tx: &mut TxBuffer<'_>,
    ) -> Option<Outgoing<Self::Ticket>> {
        let mut post = self.post.lock();
        let next = post.to_send.first().copied();
        let mut segment = next.or(post.endless)?;
        let between = post.between.clone().filter(|_| next.is_none());
        let between = between.filter(|_| !post.was_between);
        if let Some((long, _)) = &between {
            segment = *long;
        }
        if segment.len > tx.room() as usize {
            return None;
        }
        post.was_between = between.is_some();
        post.given += 1;
        if next.is_some() {
            post.sent.push(segment, GFP_KERNEL).ok()?;
            let _ = post.to_send.remove(0);
        }
        drop(post);
        if next.is_none() {
            // As long as a cable takes for it: the window does not get full.
            fsleep(ENDLESS_PACE);
        }
        let payload = match &between {
            Some((_, buffer)) => {
                // SAFETY: The buffer is the ticket, and nobody writes to it any more.
                unsafe { buffer.push_to(0..segment.len, tx.pages()).ok()? };
                Payload::Pages
            }
            None => {
                segment.fill(&mut tx.staging()[..segment.len]);
                Payload::Staged(segment.len)
            }
        };
        Some(Outgoing {
            body: segment.body(),
            item: InFlight::Request {
                qpn: QPN,
                psn: segment.psn,
            },
            payload,
            ticket: between.map(|(_, buffer)| buffer),
        })
    }

    fn deliver(
        &self,
        _rail: RailId,
        header: &Header,
        payload: Arrived<'_>,
        _pages: &mut PageVec,
    ) -> Reception {
        let Body::Request(request) = header.body else {
            return Reception::Discarded;
        };
        let segment = Segment {
            psn: request.psn,
            len: request.payload_len() as usize,
        };
        if !segment.is(payload.bytes()) {
            return Reception::Discarded;
        }
        let _ = self.post.lock().arrived.push(segment.psn, GFP_KERNEL);
        self.arrival.raise();
        Reception::Taken
    }

    fn send_due(&self, _rail: RailId, _occasion: Occasion) -> Due {
        Due::Settled
    }
}

/// A host: a rail and its client.
struct Host {
    // Before the rest, so that its threads are stopped first.
    rail: Rail<Client>,
    client: Arc<Client>,
}

impl Host {
    fn start(cable: &Arc<Cable>, side: Side, number: u8) -> Result<Self> {
        let client = Client::new()?;
        let source = CableEnd {
            cable: cable.clone(),
            side,
        };
        let rail = Rail::start(
            RailId::new(number).ok_or(EINVAL)?,
            CString::try_from(c_str!("kunit"))?,
            source,
            None,
            identity(number),
            Arc::pin_init(Quiescer::new(Quiescer::PATIENCE_MS), GFP_KERNEL)?,
            client.clone(),
        )?;
        Ok(Self { rail, client })
    }

    fn ups(&self) -> u64 {
        self.rail.counters().ups.get()
    }

    fn read_errors(&self) -> u64 {
        self.rail.counters().rx_read_errors.get()
    }
}

/// Two hosts whose rail is up.
struct Pair {
    sender: Host,
    receiver: Host,
    cable: Arc<Cable>,
}

/// Where the receiver is.
const RECEIVER: Side = Side::Right;

impl Pair {
    fn new() -> Result<Self> {
        let cable = Cable::new(Manner::SPLIT)?;
        let pair = Self {
            sender: Host::start(&cable, Side::Left, 1)?,
            receiver: Host::start(&cable, RECEIVER, 2)?,
            cable,
        };
        pair.await_up()?;
        Ok(pair)
    }

    fn await_up(&self) -> Result {
        await_raised(&self.sender.client.up)?;
        await_raised(&self.receiver.client.up)
    }

    /// Sends these segments, which all have `len` bytes, and waits until they have arrived.
    fn send(&self, psns: core::ops::Range<u32>, len: usize) -> Result {
        let count = self.receiver.client.post.lock().arrived.len() + psns.len();
        for psn in psns {
            self.sender.client.send(Segment {
                psn: Psn::new(psn),
                len,
            })?;
        }
        self.receiver.client.await_arrivals(count)
    }
}

/// Threads of a test that fails are stopped only by what unwinds it: an error, no assertion.
fn await_raised(event: &Event) -> Result {
    match event.wait(msecs_to_jiffies(LONG_MS)) {
        Wake::Raised => Ok(()),
        Wake::Timeout | Wake::Interrupted => Err(ETIMEDOUT),
    }
}

/// What a test has seen by the time that all threads have been stopped.
struct Seen {
    sender: Arc<Client>,
    receiver: Arc<Client>,
    ups: (u64, u64),
    read_errors: (u64, u64),
    tx_lost: u64,
}

impl Seen {
    fn when_over(pair: Pair) -> Self {
        let Pair {
            sender, receiver, ..
        } = pair;
        Self {
            ups: (sender.ups(), receiver.ups()),
            read_errors: (sender.read_errors(), receiver.read_errors()),
            tx_lost: sender.rail.counters().tx_lost.get(),
            sender: sender.client.clone(),
            receiver: receiver.client.clone(),
        }
    }

    fn lost(&self) -> usize {
        self.sender.post.lock().lost.len()
    }

    /// Whether each of these has arrived, and once.
    fn has_arrived_once(&self, psns: core::ops::Range<u32>) -> bool {
        let post = self.receiver.post.lock();
        let mut psns = psns.map(Psn::new);
        psns.all(|psn| {
            post.arrived
                .iter()
                .filter(|arrived| **arrived == psn)
                .count()
                == 1
        })
    }
}

#[kunit_tests(usb4_roce_rail_threads)]
mod tests {
    use super::*;

    /// An error that the kernel crate has no name for.
    const DAMAGED: i32 = -(kernel::bindings::EBADMSG as i32);

    /// A rail polls a stream without a peer so often before it waits for one: for its waiter, and to see that there is none.
    const POLLS: u32 = 3;

    #[test]
    fn a_frame_that_reads_as_an_error_is_sent_again() -> Result {
        let pair = Pair::new()?;
        let ups = (pair.sender.ups(), pair.receiver.ups());
        pair.cable.damage(
            RECEIVER,
            Damage {
                skip: 0,
                count: 1,
                error: Error::from_errno(DAMAGED),
            },
        );
        pair.send(0..1, SHORT_LEN)?;
        let seen = Seen::when_over(pair);
        assert_eq!(seen.read_errors, (0, 1));
        assert_eq!(seen.lost(), 1);
        assert_eq!(seen.tx_lost, 1);
        assert!(seen.has_arrived_once(0..1));
        assert_eq!(seen.ups, ups);
        Ok(())
    }

    #[test]
    fn so_is_one_that_misses_its_middle() -> Result {
        let pair = Pair::new()?;
        let ups = (pair.sender.ups(), pair.receiver.ups());
        pair.cable.damage(
            RECEIVER,
            Damage {
                skip: 1,
                count: 1,
                error: EIO,
            },
        );
        pair.send(0..1, LONG_LEN)?;
        let seen = Seen::when_over(pair);
        assert_eq!(seen.read_errors, (0, 1));
        assert_eq!(seen.lost(), 1);
        assert!(seen.has_arrived_once(0..1));
        assert_eq!(seen.ups, ups);
        Ok(())
    }

    #[test]
    fn a_row_of_errors_costs_what_it_hits() -> Result {
        const FRAMES: u32 = 20;
        const LOST: u32 = 7;
        let pair = Pair::new()?;
        let ups = (pair.sender.ups(), pair.receiver.ups());
        pair.cable.damage(
            RECEIVER,
            Damage {
                skip: 5,
                count: LOST,
                error: EIO,
            },
        );
        pair.send(0..FRAMES, SHORT_LEN)?;
        let seen = Seen::when_over(pair);
        assert_eq!(seen.read_errors, (0, LOST.into()));
        assert!(seen.lost() > 0);
        assert!(seen.has_arrived_once(0..FRAMES));
        assert_eq!(seen.ups, ups);
        Ok(())
    }

    #[test]
    fn a_stream_that_loses_its_peer_while_it_is_opened_is_closed_when_one_is_back() -> Result {
        let cable = Cable::new(Manner::SPLIT)?;
        cable.lose_peer(RECEIVER);
        let receiver = Host::start(&cable, RECEIVER, 2)?;
        cable.await_polls_without_peer(RECEIVER, POLLS, msecs_to_jiffies(LONG_MS))?;
        cable.return_peer(RECEIVER);
        let pair = Pair {
            sender: Host::start(&cable, Side::Left, 1)?,
            receiver,
            cable,
        };
        pair.await_up()?;
        pair.send(0..1, SHORT_LEN)?;
        let without_peer = pair.cable.without_peer(RECEIVER);
        let seen = Seen::when_over(pair);
        assert_eq!(without_peer.opened, 1);
        assert_eq!(without_peer.closed, 0);
        assert!(seen.has_arrived_once(0..1));
        Ok(())
    }

    #[test]
    fn a_rail_can_be_stopped_that_waits_for_a_peer_so() -> Result {
        let cable = Cable::new(Manner::SPLIT)?;
        cable.lose_peer(RECEIVER);
        let receiver = Host::start(&cable, RECEIVER, 2)?;
        cable.await_polls_without_peer(RECEIVER, POLLS, msecs_to_jiffies(LONG_MS))?;
        drop(receiver);
        assert_eq!(cable.without_peer(RECEIVER).closed, 1);
        Ok(())
    }

    #[test]
    fn a_stream_of_errors_alone_is_opened_anew() -> Result {
        let pair = Pair::new()?;
        let (opens, ups) = (
            pair.receiver.rail.counters().opens.get(),
            pair.receiver.ups(),
        );
        pair.cable.break_down(RECEIVER, EIO);
        await_raised(&pair.receiver.client.down)?;
        pair.cable.repair(RECEIVER);
        pair.await_up()?;
        pair.send(0..1, SHORT_LEN)?;
        let opened = pair.receiver.rail.counters().opens.get() - opens;
        let seen = Seen::when_over(pair);
        assert!(opened > 0);
        assert!(seen.ups.1 > ups);
        assert!(seen.read_errors.1 > 0);
        assert!(seen.has_arrived_once(0..1));
        Ok(())
    }

    /// That somebody who asks what a rail carries that is always busy gets an answer.
    fn check_that_a_busy_rail_answers(pair: &Pair) -> Result {
        let client = &pair.sender.client;
        let link = client.post.lock().link.clone().ok_or(EINVAL)?;
        client.send_endlessly(Some(Segment {
            psn: Psn::new(0),
            len: SHORT_LEN,
        }));
        pair.receiver.client.await_arrivals(50)?;
        let answered = Arc::pin_init(Event::new(), GFP_KERNEL)?;
        let raiser = answered.clone();
        let patient = client.clone();
        let asker = Kthread::spawn(c"kunit_asker", move || {
            let before = patient.post.lock().given;
            let _ = link.carries(Qpn::new(99));
            let meanwhile = patient.post.lock().given - before;
            if meanwhile <= BUSY_FRAMES {
                raiser.raise();
            }
        })?;
        let while_busy = answered.wait(msecs_to_jiffies(BUSY_MS));
        client.send_endlessly(None);
        drop(asker);
        assert_eq!(while_busy, Wake::Raised);
        Ok(())
    }

    #[test]
    fn who_asks_what_a_busy_rail_carries_gets_an_answer() -> Result {
        check_that_a_busy_rail_answers(&Pair::new()?)
    }

    #[test]
    fn and_so_does_who_asks_one_that_is_busy_with_short_and_long_frames() -> Result {
        let pair = Pair::new()?;
        pair.sender.client.send_between(Segment {
            psn: Psn::new(1),
            len: LONG_LEN,
        })?;
        check_that_a_busy_rail_answers(&pair)
    }

    /// A hello of the peer.
    const fn challenge(session: u64, nonce: u32) -> Challenge {
        Challenge { session, nonce }
    }

    /// Answers the hello `theirs` as `session`, and whatever hello comes after it, until the host is up.
    fn answer_until_up(
        peer: &ScriptedPeer,
        host: &Client,
        session: u64,
        theirs: Challenge,
    ) -> Result {
        const GLANCE_MS: u32 = 50;
        // Larger than the nonces that the session has used.
        const NONCE: u32 = 100;
        peer.say(challenge(session, NONCE), theirs, ReaderSync::InSync)?;
        for glance in 1..LONG_MS / GLANCE_MS {
            if host.up.wait(msecs_to_jiffies(GLANCE_MS)) == Wake::Raised {
                return Ok(());
            }
            if let Some(hello) = peer.hear_more()? {
                let own = challenge(session, NONCE + glance);
                peer.say(own, hello.own, ReaderSync::InSync)?;
            }
        }
        Err(ETIMEDOUT)
    }

    #[test]
    fn a_beginning_is_told_after_the_end_before_it() -> Result {
        // The host answers who has the larger number.
        const FIRST: u64 = u64::MAX;
        const SECOND: u64 = u64::MAX - 1;
        const DOWN_TAKES: Delta = Delta::from_millis(500);
        let cable = Cable::new(Manner::SPLIT)?;
        let peer = ScriptedPeer::new(&cable, Side::Left, RECEIVER, identity(1))?;
        let host = Host::start(&cable, RECEIVER, 2)?;
        host.client.post.lock().down_takes = DOWN_TAKES;

        let theirs = peer.hear()?.own;
        peer.say(challenge(FIRST, 1), theirs, ReaderSync::Unproven)?;
        let theirs = peer.hear()?.own;
        peer.say(challenge(FIRST, 2), theirs, ReaderSync::InSync)?;
        await_raised(&host.client.up)?;
        let theirs = peer.hear()?.own;

        // It seems to have restarted. The transmitting thread, which asks it and gets no answer, tells so.
        peer.say(
            challenge(SECOND, 1),
            Challenge::default(),
            ReaderSync::Unproven,
        )?;
        await_raised(&host.client.down)?;
        // That thread is busy, and nothing new was said: this is an answer to the newest hello, and the receiving thread's to tell.
        // It waits for its turn; the transmitting thread may say hello once more before it gets it.
        answer_until_up(&peer, &host.client, FIRST, theirs)?;

        let (client, ups) = (host.client.clone(), host.ups());
        drop(host);
        assert_eq!(ups, 2);
        assert_eq!(client.post.lock().mixed_up, 0);
        Ok(())
    }
}
