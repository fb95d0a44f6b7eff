// SPDX-License-Identifier: GPL-2.0

//! This host's end of a rail: the module's own protocol core, with a hand in what it reads and writes.

use std::path::Path;
use std::time::Instant as Clock;

use anyhow::Result;
use usb4_roce::transport::checksum::Seed;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::Header;
use usb4_roce::transport::frame::HEADER_LEN;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::rail::deframer::Deframer;
use usb4_roce::transport::rail::deframer::Found;
use usb4_roce::transport::rail::endpoint::HelloEffect;
use usb4_roce::transport::rail::endpoint::Incoming;
use usb4_roce::transport::rail::endpoint::RailEndpoint;
use usb4_roce::transport::rail::hello::Challenge;
use usb4_roce::transport::rail::hello::Hello;
use usb4_roce::transport::rail::hello::Identity;
use usb4_roce::transport::rail::InFlight;

use crate::checksum::HostHash;
use crate::heap::table;
use crate::heap::Heap;
use crate::stream::Got;
use crate::stream::Stream;

/// Frames that may be in flight.
const WINDOW_FRAMES: usize = 1024;

/// Bytes that may be in flight.
const WINDOW_BYTES: u32 = 8 << 20;

/// Read at a time.
const READ_LEN: usize = 64 << 10;

/// No more is made ready for writing than this.
const OUTBOX: usize = 128 << 10;

/// Whether the link reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hearing {
    /// It does.
    Good,
    /// It lets everything lie.
    Deaf,
}

/// What the link says of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speech {
    /// What the protocol wants, and what the client has to say.
    Full,
    /// What the rail's protocol wants.
    Control,
    /// Nothing.
    None,
}

/// Whether a link goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It does.
    Open,
    /// The other end has closed the stream, or has broken the protocol in our own eyes.
    Ended,
}

/// Who deals with what numbered frames carry.
pub trait Client {
    /// A frame has arrived.
    fn arrive(&mut self, header: &Header, payload: &[u8], now: Instant);

    /// Frame `seq` was lost.
    fn lost(&mut self, seq: RailSeq, item: InFlight);

    /// Writes the next frame, if there is one.
    fn next(&mut self, link: &mut Sender<'_>) -> bool;
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Times the device was opened.
    pub opens: u64,
    /// Handshakes that ended well.
    pub ups: u64,
    /// Numbered frames that arrived.
    pub heard: u64,
    /// Bytes that were written.
    pub written: u64,
    /// Bytes that were read.
    pub read: u64,
    /// Streams that the other end closed, or that we had to give up.
    pub ends: u64,
}

/// The writing side of a link.
pub struct Sender<'a> {
    endpoint: &'a mut RailEndpoint<Heap>,
    outbox: &'a mut Vec<u8>,
    now: Instant,
}

impl Sender<'_> {
    /// What time it is.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// The number of the next frame.
    pub fn next_seq(&self) -> RailSeq {
        self.endpoint.next_seq()
    }

    /// The seed of the session, if there is one.
    pub fn seed(&self) -> Option<Seed> {
        self.endpoint.seed()
    }

    /// Who is at the other end.
    pub fn peer(&self) -> Option<&Identity> {
        self.endpoint.peer()
    }

    /// A header for `body` with the right numbers; nothing if the window is full.
    pub fn stamp(&mut self, body: Body, payload: &[u8], item: InFlight) -> Option<Header> {
        let seed = self.endpoint.seed()?;
        let len = u32::try_from(payload.len()).ok()?;
        let checksum = seed.checksum::<HostHash>(payload);
        self.endpoint.stamp(body, len, checksum, item, self.now)
    }

    /// Puts a header and a payload into the stream, padded.
    pub fn put(&mut self, header: &[u8], payload: &[u8]) {
        self.outbox.extend_from_slice(header);
        self.outbox.extend_from_slice(payload);
        let end = self.outbox.len().next_multiple_of(HEADER_LEN);
        self.outbox.resize(end, 0);
    }

    /// Puts bytes into the stream as they are.
    pub fn put_raw(&mut self, bytes: &[u8]) {
        self.outbox.extend_from_slice(bytes);
    }
}

/// This host's end of a rail.
pub struct Link<'a> {
    device: &'a Path,
    began: Clock,
    stream: Option<Stream>,
    endpoint: RailEndpoint<Heap>,
    /// What was read just now.
    chunk: Vec<u8>,
    /// What was read and not understood yet.
    inbox: Vec<u8>,
    deframer: Deframer<HostHash>,
    /// What is to be written.
    outbox: Vec<u8>,
    /// What the other end's newest hello says about itself.
    heard: Challenge,
    counts: Counts,
}

impl<'a> Link<'a> {
    /// A link over `device`, not open yet.
    pub fn new(device: &'a Path, identity: Identity) -> Result<Self> {
        let endpoint = RailEndpoint::new(identity, table(WINDOW_FRAMES), WINDOW_BYTES)
            .map_err(|error| anyhow::anyhow!("the window: {error:?}"))?;
        Ok(Self {
            device,
            began: Clock::now(),
            stream: None,
            endpoint,
            chunk: vec![0; READ_LEN],
            inbox: Vec::new(),
            deframer: Deframer::new(),
            outbox: Vec::new(),
            heard: Challenge::default(),
            counts: Counts::default(),
        })
    }

    /// What time it is.
    pub fn now(&self) -> Instant {
        let nanos = self.began.elapsed().as_nanos();
        Instant(u64::try_from(nanos).unwrap_or(u64::MAX) + 1)
    }

    /// What has happened.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the stream is open.
    pub fn is_open(&self) -> bool {
        self.stream.is_some()
    }

    /// Whether the handshake is done.
    pub fn is_up(&self) -> bool {
        self.endpoint.is_up()
    }

    /// What the other end says about itself.
    pub fn peer(&self) -> Option<&Identity> {
        self.endpoint.peer()
    }

    /// What the other end has said last about its session; zeroes if nothing.
    pub fn peer_challenge(&self) -> Challenge {
        self.heard
    }

    /// Whether all that was put has been written.
    pub fn is_written(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Opens the stream, if it is not, and begins a session.
    pub fn begin(&mut self, session: u64, client: &mut impl Client) -> Result<()> {
        self.forget(client);
        if self.stream.is_none() {
            self.stream = Some(Stream::open(self.device)?);
            self.counts.opens += 1;
        }
        let now = self.now();
        self.endpoint.open(session, now);
        Ok(())
    }

    /// Closes the stream, without a word.
    pub fn close(&mut self, client: &mut impl Client) {
        self.forget(client);
        self.stream = None;
    }

    /// Ends the session.
    fn forget(&mut self, client: &mut impl Client) {
        self.endpoint.close();
        self.hand_back(client);
        self.inbox.clear();
        self.deframer = Deframer::new();
        self.outbox.clear();
    }

    /// The writing side.
    pub fn sender(&mut self) -> Sender<'_> {
        let now = self.now();
        Sender {
            endpoint: &mut self.endpoint,
            outbox: &mut self.outbox,
            now,
        }
    }

    /// Reads and writes what can be read and written now.
    pub fn pump(&mut self, hearing: Hearing, speech: Speech, client: &mut impl Client) -> State {
        let mut state = State::Open;
        if hearing == Hearing::Good {
            state = self.read(client);
        }
        let now = self.now();
        if state == State::Open && hearing == Hearing::Good {
            self.endpoint.judge(now);
            self.hand_back(client);
            if self.endpoint.check(now).is_err() {
                state = State::Ended;
            }
        }
        if state == State::Ended {
            self.counts.ends += 1;
            self.close(client);
            return State::Ended;
        }
        if speech != Speech::None {
            while let Some(frame) = self.endpoint.next_control::<HostHash>(now) {
                self.outbox.extend_from_slice(frame.bytes());
            }
        }
        if speech == Speech::Full && self.endpoint.is_up() {
            while self.outbox.len() < OUTBOX
                && self.endpoint.can_send(MAX_PAYLOAD)
                && client.next(&mut self.sender())
            {}
        }
        self.write();
        State::Open
    }

    /// Writes what there is room for.
    pub fn write(&mut self) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        let written = stream.write(&self.outbox);
        self.outbox.drain(..written);
        self.counts.written += written as u64;
    }

    /// Writes a byte at a time, as long as there is room.
    pub fn write_bytewise(&mut self) {
        let Some(stream) = &mut self.stream else {
            return;
        };
        for &byte in &self.outbox {
            self.counts.written += stream.write(&[byte]) as u64;
        }
        self.outbox.clear();
    }

    fn read(&mut self, client: &mut impl Client) -> State {
        let Some(stream) = &mut self.stream else {
            return State::Ended;
        };
        match stream.read(&mut self.chunk) {
            Got::Bytes(len) => {
                self.counts.read += len as u64;
                self.inbox.extend_from_slice(&self.chunk[..len]);
                self.digest(client)
            }
            Got::Nothing => State::Open,
            Got::End => State::Ended,
        }
    }

    /// Deals with all whole frames.
    fn digest(&mut self, client: &mut impl Client) -> State {
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = inbox.as_slice();
        let mut state = State::Open;
        while state == State::Open {
            let Ok(piece) = self.deframer.next(rest, self.endpoint.seed()) else {
                break;
            };
            state = self.take(&piece.found, rest, client);
            rest = &rest[piece.len..];
        }
        self.inbox = rest.to_vec();
        state
    }

    /// Deals with what `bytes` begin with.
    fn take(&mut self, found: &Found, bytes: &[u8], client: &mut impl Client) -> State {
        let now = self.now();
        let outcome = match found {
            Found::Damage => {
                self.endpoint.note_damage(now);
                Ok(Incoming::Done)
            }
            Found::Hello(payload) => {
                let payload = &bytes[payload.clone()];
                if let Ok(hello) = Hello::decode(payload) {
                    self.heard = hello.own;
                }
                let effect = self.endpoint.on_hello::<HostHash>(payload, now);
                self.counts.ups += u64::from(effect == Ok(HelloEffect::Up));
                effect.map(|_| Incoming::Done)
            }
            Found::Corrupt(header) => self
                .endpoint
                .on_corrupt(header, now)
                .map(|()| Incoming::Done),
            Found::Frame(header, _) => self.endpoint.on_header(header, now),
        };
        self.hand_back(client);
        match (outcome, found) {
            (Ok(Incoming::Deliver), Found::Frame(header, payload)) => {
                self.counts.heard += 1;
                client.arrive(header, &bytes[payload.clone()], now);
                self.endpoint.finish(now);
                State::Open
            }
            (Ok(_), _) => State::Open,
            (Err(_), _) => State::Ended,
        }
    }

    /// Tells the client what was lost.
    fn hand_back(&mut self, client: &mut impl Client) {
        while let Some((seq, item)) = self.endpoint.next_lost() {
            client.lost(seq, item);
        }
    }
}
