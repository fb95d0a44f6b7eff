// SPDX-License-Identifier: GPL-2.0

//! One end of a rail: moves bytes between a cable and the rail's endpoint, as the stream adapter does.

use std::fmt::Arguments;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::Header;
use usb4_roce::transport::frame::HEADER_LEN;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::frame::STREAM_FRAME;
use usb4_roce::transport::ids::Duration;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::limits::Limits;
use usb4_roce::transport::rail::deframer::Deframer;
use usb4_roce::transport::rail::deframer::Found;
use usb4_roce::transport::rail::endpoint::Answers;
use usb4_roce::transport::rail::endpoint::HelloEffect;
use usb4_roce::transport::rail::endpoint::Incoming;
use usb4_roce::transport::rail::endpoint::RailEndpoint;
use usb4_roce::transport::rail::endpoint::RailFault;
use usb4_roce::transport::rail::hello::Identity;
use usb4_roce::transport::scheduler::Afterwards;

use crate::cable::Cable;
use crate::cable::Read;
use crate::checksum::HostHash;
use crate::heap::table;
use crate::heap::Heap;
use crate::host::Host;
use crate::host::Outgoing;
use crate::host::Steadiness;
use crate::host::Way;
use crate::ledger::Ledger;

/// How long closing a stream takes.
const CLOSE_TIME: Duration = Duration::from_millis(530);

/// Most bytes read at a time.
const READ_SIZE: usize = 16 * 1024;

/// Why a stream must be closed.
#[derive(Debug)]
enum End {
    Eof,
    Gone,
    #[expect(dead_code, reason = "for the trace")]
    Fault(RailFault),
}

pub struct Driver {
    pub rail: RailId,
    pub cable: usize,
    pub end: usize,
    pub peer: usize,
    pub endpoint: RailEndpoint<Heap>,
    limits: Limits,
    is_open: bool,
    /// Whether the writer looks for something to send; it sleeps else.
    is_awake: bool,
    /// Whether the writer has found the window full.
    waits_for_room: bool,
    /// Whether the peer answered when that was last looked at.
    answers: Answers,
    reopen_at: Instant,
    /// Read and not yet understood.
    staging: Vec<u8>,
    deframer: Deframer<HostHash>,
    /// To be written.
    out: Vec<u8>,
    written: usize,
    /// Not scheduled before this time.
    pub run_at: Instant,
    pub opened: u32,
    pub skipped: u64,
}

/// Everything a driver works with.
pub struct Surroundings<'a> {
    pub cable: &'a mut Cable,
    pub host: &'a mut Host,
    pub ledger: &'a mut Ledger,
    pub rng: &'a mut ChaCha8Rng,
    pub now: Instant,
}

impl Driver {
    pub fn new(
        identity: Identity,
        rail: RailId,
        cable: usize,
        end: usize,
        peer: usize,
        in_flight: usize,
        byte_limit: u32,
    ) -> Self {
        Self {
            rail,
            cable,
            end,
            peer,
            endpoint: RailEndpoint::new(identity, table(in_flight), byte_limit).unwrap(),
            limits: identity.limits,
            is_open: false,
            is_awake: false,
            waits_for_room: false,
            answers: Answers::Come,
            reopen_at: Instant(0),
            staging: Vec::new(),
            deframer: Deframer::new(),
            out: Vec::new(),
            written: 0,
            run_at: Instant(0),
            opened: 0,
            skipped: 0,
        }
    }

    /// When something may happen by itself.
    pub fn next_event(&self, cable: &Cable, now: Instant) -> Option<Instant> {
        if !self.is_open {
            return cable
                .is_plugged()
                .then_some(self.reopen_at.max(self.run_at));
        }
        let arrival = cable.next_arrival(self.end, now);
        let deadline = self.endpoint.deadline();
        [arrival, deadline]
            .into_iter()
            .flatten()
            .min()
            .map(|at| at.max(self.run_at))
    }

    /// Does what can be done now; true if anything was.
    pub fn step(&mut self, around: &mut Surroundings<'_>) -> bool {
        if !self.is_open {
            if !around.cable.is_plugged() || around.now < self.reopen_at {
                return false;
            }
            around.cable.log = around.ledger.log;
            around.cable.open(self.end, around.rng);
            self.endpoint.open(around.rng.random(), around.now);
            self.is_open = true;
            self.is_awake = false;
            self.waits_for_room = false;
            self.answers = Answers::Come;
            self.opened += 1;
            return true;
        }
        around.cable.log = around.ledger.log;
        let was_up = self.endpoint.is_up();
        let moved = match self.read(around) {
            Ok(moved) => moved,
            Err(why) => {
                self.tell(around, format_args!("ends: {why:?}"));
                self.close(around);
                return true;
            }
        };
        let endpoint = &self.endpoint;
        around
            .host
            .unreliable
            .settle(self.rail, |seq| endpoint.frame_status(seq));
        let effect = self.endpoint.judge(around.now);
        self.announce(was_up, effect, around);
        if let Err(fault) = self.endpoint.check(around.now) {
            self.tell(around, format_args!("ends: {fault:?}"));
            self.close(around);
            return true;
        }
        if self.endpoint.is_up() != was_up {
            let now = if was_up { "down" } else { "up" };
            self.tell(around, format_args!("is {now}"));
        }
        let answers = self.endpoint.answers(around.now);
        if answers == Answers::Missing || self.answers == Answers::Missing {
            around.host.note_answers(self.peer, self.rail, answers);
        }
        self.answers = answers;
        self.write(around) || moved
    }

    /// There is work.
    pub fn wake(&mut self) {
        self.is_awake = true;
    }

    /// Whether it will look for work by itself.
    pub fn is_busy(&self) -> bool {
        self.endpoint.is_up() && (self.is_awake || self.waits_for_room || !self.out.is_empty())
    }

    /// Whether it sleeps although it could send.
    pub fn is_idle(&self) -> bool {
        self.endpoint.can_send(MAX_PAYLOAD) && !self.is_busy()
    }

    /// Whether the peer answers, as the host was told.
    pub fn answers(&self) -> Answers {
        self.answers
    }

    fn tell(&self, around: &Surroundings<'_>, what: Arguments<'_>) {
        around.ledger.log.say(format_args!(
            "cable {} end {}: {what}",
            self.cable, self.end
        ));
    }

    /// The owner closes the stream for a reason of its own.
    pub fn close(&mut self, around: &mut Surroundings<'_>) {
        if !self.is_open {
            return;
        }
        if around.rng.random_range(0..2) == 0 {
            if let Some(goodbye) = self.endpoint.goodbye::<HostHash>(around.now) {
                if self.written == self.out.len() {
                    around
                        .cable
                        .write(self.end, goodbye.bytes(), around.now, around.rng);
                }
            }
        }
        self.is_open = false;
        let jitter = Duration::from_micros(around.rng.random_range(0..200_000));
        self.reopen_at = around.now.after(CLOSE_TIME).after(jitter);
        around.cable.close(self.end, around.rng);
        self.staging.clear();
        self.deframer = Deframer::new();
        self.out.clear();
        self.written = 0;
        if self.endpoint.is_up() {
            around.host.rail_down(self.peer, self.rail);
        }
        self.endpoint.close();
        self.hand_back(around);
        around.ledger.frames(self.cable, self.end).end();
    }

    fn hand_back(&mut self, around: &mut Surroundings<'_>) {
        while let Some((seq, item)) = self.endpoint.next_lost() {
            self.tell(around, format_args!("handed back {} {item:?}", seq.0));
            around
                .ledger
                .frames(self.cable, self.end)
                .hand_back(seq, item);
            around.host.lost(self.rail, seq, item);
        }
    }

    fn read(&mut self, around: &mut Surroundings<'_>) -> Result<bool, End> {
        let most = around.rng.random_range(1..=READ_SIZE / HEADER_LEN) * HEADER_LEN;
        let moved = match around.cable.read(self.end, most, around.now, around.rng) {
            Read::Bytes(bytes) => {
                self.staging.extend_from_slice(&bytes);
                true
            }
            Read::Nothing => false,
            Read::Eof => return Err(End::Eof),
            Read::Gone => return Err(End::Gone),
        };
        while let Ok(piece) = self.deframer.next(&self.staging, self.endpoint.seed()) {
            let bytes: Vec<u8> = self.staging.drain(..piece.len).collect();
            self.take(piece.found, &bytes, around).map_err(End::Fault)?;
        }
        Ok(moved)
    }

    /// Deals with what was found in these bytes.
    fn take(
        &mut self,
        found: Found,
        bytes: &[u8],
        around: &mut Surroundings<'_>,
    ) -> Result<(), RailFault> {
        match found {
            Found::Damage => {
                self.skipped += (bytes.len() / HEADER_LEN) as u64;
                self.endpoint.note_damage(around.now);
                Ok(())
            }
            Found::Hello(payload) => {
                let was_up = self.endpoint.is_up();
                let payload = &bytes[payload];
                let result = self.endpoint.on_hello::<HostHash>(payload, around.now);
                self.tell(around, format_args!("got a hello: {result:?}"));
                self.announce(was_up, result?, around);
                Ok(())
            }
            Found::Corrupt(header) => {
                self.tell(
                    around,
                    format_args!("payload of {} is damaged", header.seq.0),
                );
                let result = self.endpoint.on_corrupt(&header, around.now);
                self.hand_back(around);
                result
            }
            Found::Frame(header, payload) => self.deliver(&header, &bytes[payload], around),
        }
    }

    /// Tells the host what the handshake brought.
    fn announce(&mut self, was_up: bool, effect: HelloEffect, around: &mut Surroundings<'_>) {
        match effect {
            HelloEffect::Nothing | HelloEffect::Ignored => return,
            HelloEffect::Up | HelloEffect::Down => {}
        }
        if was_up {
            around.host.rail_down(self.peer, self.rail);
        }
        if effect == HelloEffect::Up {
            around.host.rail_up(self.peer, self.rail);
            self.is_awake = true;
        }
        self.hand_back(around);
        around.ledger.frames(self.cable, self.end).end();
    }

    fn deliver(
        &mut self,
        header: &Header,
        payload: &[u8],
        around: &mut Surroundings<'_>,
    ) -> Result<(), RailFault> {
        let is_segment = !matches!(header.body, Body::UnreliableDatagram(_));
        assert!(
            !is_segment || header.payload_len <= self.limits.max_payload,
            "larger than what was agreed"
        );
        let incoming = self.endpoint.on_header(header, around.now);
        self.hand_back(around);
        self.tell(
            around,
            format_args!("got {} {:?}: {incoming:?}", header.seq.0, header.body),
        );
        if incoming? == Incoming::Deliver {
            around
                .host
                .deliver(self.rail, header, payload, around.now, around.ledger);
            around
                .ledger
                .frames(self.cable, 1 - self.end)
                .arrive(header.seq);
            self.endpoint.finish(around.now);
        }
        Ok(())
    }

    fn write(&mut self, around: &mut Surroundings<'_>) -> bool {
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
            if self.waits_for_room && self.endpoint.can_send(MAX_PAYLOAD) {
                self.waits_for_room = false;
                self.is_awake = true;
            }
            let is_due = self.endpoint.deadline().is_some_and(|at| at <= around.now);
            if self.is_awake || is_due {
                self.gather(around);
            }
        }
        if self.out.is_empty() {
            return false;
        }
        let rest = &self.out[self.written..];
        let written = around.cable.write(self.end, rest, around.now, around.rng);
        self.written += written;
        written > 0
    }

    /// Collects what to write next: small frames together, a bulk frame alone.
    fn gather(&mut self, around: &mut Surroundings<'_>) {
        while let Some(frame) = self.endpoint.next_control::<HostHash>(around.now) {
            self.out.extend_from_slice(frame.bytes());
            if self.out.len() + 3 * HEADER_LEN > STREAM_FRAME {
                return;
            }
        }
        loop {
            if !self.endpoint.can_send(MAX_PAYLOAD) {
                self.waits_for_room = self.endpoint.is_up();
                self.is_awake = false;
                return;
            }
            let seq = self.endpoint.next_seq();
            let (Some(peer), Some(seed)) = (self.endpoint.peer(), self.endpoint.seed()) else {
                return;
            };
            let limits = peer.limits;
            let features = peer.features;
            let way = Way {
                peer: self.peer,
                rail: self.rail,
                limits,
                features,
                afterwards: if self.out.is_empty() {
                    Afterwards::Rests
                } else {
                    Afterwards::AsksAgain
                },
            };
            let next = around.host.next(way, seq, around.now, around.ledger);
            let Some(Outgoing {
                body,
                mut payload,
                item,
                steadiness,
            }) = next
            else {
                // What was gathered is written first, then it is asked again.
                self.is_awake = !self.out.is_empty();
                return;
            };
            self.is_awake = true;
            around.ledger.frames(self.cable, self.end).send(seq, item);
            self.tell(around, format_args!("sends {} {body:?}", seq.0));
            let checksum = seed.checksum::<HostHash>(&payload);
            if steadiness == Steadiness::Changing {
                let at = around.rng.random_range(0..payload.len());
                payload[at] ^= 1;
                around.ledger.changed_payloads += 1;
            }
            let header = self
                .endpoint
                .stamp(body, payload.len() as u32, checksum, item, around.now)
                .unwrap();
            assert_eq!(header.seq, seq);
            self.out.extend_from_slice(&header.encode::<HostHash>(seed));
            self.out.extend_from_slice(&payload);
            let end = self.out.len().next_multiple_of(HEADER_LEN);
            self.out.resize(end, 0);
            if self.out.len() + HEADER_LEN > STREAM_FRAME {
                return;
            }
        }
    }
}
