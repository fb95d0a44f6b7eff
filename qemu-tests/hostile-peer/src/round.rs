// SPDX-License-Identifier: GPL-2.0

//! What a hostile peer does: one thing at a time, each for a short while.

use std::path::Path;
use std::thread;
use std::time::Duration;
use std::time::Instant as Clock;

use anyhow::Result;
use clap::ValueEnum;
use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use usb4_roce::transport::checksum::Seed;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::Header;
use usb4_roce::transport::frame::NopReply;
use usb4_roce::transport::frame::PacketState;
use usb4_roce::transport::frame::HEADER_LEN;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::limits::Limits;
use usb4_roce::transport::rail::hello::Challenge;
use usb4_roce::transport::rail::hello::Hello;
use usb4_roce::transport::rail::hello::Identity;
use usb4_roce::transport::rail::hello::ReaderSync;
use usb4_roce::transport::rail::hello::HELLO_LEN;
use usb4_roce::transport::rail::InFlight;

use crate::checksum::HostHash;
use crate::lie;
use crate::lie::field;
use crate::lie::Lie;
use crate::link::Hearing;
use crate::link::Link;
use crate::link::Speech;
use crate::link::State;
use crate::player::Honesty;
use crate::player::Players;
use crate::stream::Stream;

/// How long a handshake may take: the other end may have to close its stream and open it again.
const GREETING_LIMIT: Duration = Duration::from_secs(8);

/// A stream that was just opened is left alone, unless the other end speaks first.
const QUIET: Duration = Duration::from_millis(1200);

/// Pause when nothing moves.
const PAUSE: Duration = Duration::from_micros(300);

/// Longer than the module puts up with a peer that is silent or makes no progress.
const TOO_LONG: Duration = Duration::from_millis(3500);

/// What a peer does for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// All is well: queue pairs exchange messages.
    Honest,
    /// Queue pairs exchange messages, and some of the frames are lies.
    Turncoat,
    /// Complaints about requests, right and wrong ones, as fast as they can be written.
    Complaints,
    /// Frames of all kinds, with any numbers.
    Wild,
    /// Acknowledgements, losses and nudges beyond all reason.
    Reports,
    /// Bytes that are no frames, parts of frames, and frames of other sessions.
    Noise,
    /// Hellos of all kinds, before a handshake and after it.
    Hellos,
    /// New sessions as fast as they come up.
    Restarts,
    /// Frames in pieces of a byte.
    Crawl,
    /// Reads nothing any more.
    Deaf,
    /// Acknowledges everything, and does nothing with it.
    Mute,
    /// Answers hellos, and nothing else.
    Greeter,
    /// Leaves in the midst of a handshake.
    HalfWay,
    /// Opens and closes in quick succession.
    Restless,
    /// Opens its end a second time.
    Twice,
    /// Ethernet frames that are too short to be any.
    Runts,
    /// Ethernet frames that are not what their headers say.
    Unfinished,
    /// Ethernet frames from the host that was named.
    Ethernet,
}

impl Kind {
    /// All that need no name, the more often the more there is to find.
    const WEIGHTED: [(Kind, u32); 17] = [
        (Kind::Honest, 1),
        (Kind::Turncoat, 8),
        (Kind::Complaints, 3),
        (Kind::Wild, 5),
        (Kind::Reports, 3),
        (Kind::Noise, 3),
        (Kind::Hellos, 4),
        (Kind::Restarts, 1),
        (Kind::Crawl, 1),
        (Kind::Deaf, 1),
        (Kind::Mute, 1),
        (Kind::Greeter, 1),
        (Kind::HalfWay, 2),
        (Kind::Restless, 1),
        (Kind::Twice, 1),
        (Kind::Runts, 1),
        (Kind::Unfinished, 2),
    ];

    /// Whether there is no whole handshake in it.
    pub fn never_comes_up(self) -> bool {
        matches!(self, Self::HalfWay | Self::Restless | Self::Greeter)
    }

    /// What round `number` brings: all of them once, and then what chance has it.
    pub fn draw(number: u64, rng: &mut ChaCha8Rng) -> Self {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some((kind, _)) = Self::WEIGHTED.get(index) {
            return *kind;
        }
        let total: u32 = Self::WEIGHTED.iter().map(|(_, weight)| weight).sum();
        let mut left = rng.random_range(0..total);
        for (kind, weight) in Self::WEIGHTED {
            match left.checked_sub(weight) {
                Some(rest) => left = rest,
                None => return kind,
            }
        }
        Kind::Honest
    }
}

/// A peer with all its means.
pub struct Peer<'a> {
    /// The device.
    pub device: &'a Path,
    /// Its end of the rail.
    pub link: Link<'a>,
    /// Its queue pairs.
    pub players: Players,
    /// Who it says it is.
    pub identity: Identity,
    /// Who has sent its Ethernet frames.
    pub source: [u8; 6],
    /// Its chance in this round.
    pub rng: ChaCha8Rng,
}

impl Peer<'_> {
    /// Does one thing for a while.
    pub fn play(&mut self, kind: Kind) -> Result<()> {
        let honesty = match kind {
            Kind::Turncoat => Honesty::OneLieIn(self.rng.random_range(2..200)),
            _ => Honesty::Honest,
        };
        let rng = self.fork();
        self.players.set(honesty, rng);
        match kind {
            Kind::HalfWay => return self.half_way(),
            Kind::Restless => return self.restless(),
            Kind::Greeter => return self.greeter(),
            Kind::Noise | Kind::Hellos if self.rng.random_ratio(1, 3) => self.begin()?,
            _ => {
                if !self.come_up()? {
                    return Ok(());
                }
            }
        }
        let span = Duration::from_millis(self.rng.random_range(150..700));
        match kind {
            Kind::Honest | Kind::Turncoat => self.run(span, |_| {}),
            Kind::Complaints => self.run(span, |peer| {
                for _ in 0..peer.rng.random_range(0..20) {
                    peer.players.complain(&mut peer.link.sender());
                }
            }),
            Kind::Wild => self.run(span, |peer| {
                peer.players.wild(&mut peer.link.sender());
                peer.players.repeat(&mut peer.link.sender());
            }),
            Kind::Reports => self.run(span, Self::report),
            Kind::Noise => self.run(span, Self::make_noise),
            Kind::Hellos => self.run(span, Self::say_hello),
            Kind::Restarts => self.restart_often(span)?,
            Kind::Crawl => self.crawl(),
            Kind::Deaf => self.stay(Hearing::Deaf, Speech::None, TOO_LONG),
            Kind::Mute => self.stay(Hearing::Good, Speech::Control, span * 3),
            Kind::Twice => self.twice(span)?,
            Kind::Runts => self.run(span, |peer| peer.players.runt(&mut peer.link.sender())),
            Kind::Unfinished => self.run(span, |peer| {
                let source = peer.source;
                for _ in 0..peer.rng.random_range(1..10) {
                    peer.players.unfinished(source, &mut peer.link.sender());
                }
            }),
            Kind::Ethernet => self.run(span, |peer| {
                let source = peer.source;
                peer.players.ethernet(source, &mut peer.link.sender());
            }),
            Kind::HalfWay | Kind::Restless | Kind::Greeter => {}
        }
        self.leave();
        Ok(())
    }

    /// A chance of its own for somebody else.
    fn fork(&mut self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.rng.random())
    }

    fn begin(&mut self) -> Result<()> {
        let session = self.rng.random();
        self.link.begin(session, &mut self.players)
    }

    /// Does what is to be done, and `more`, for that long, or until the stream ends.
    fn run(&mut self, span: Duration, mut more: impl FnMut(&mut Self)) {
        let end = Clock::now() + span;
        while Clock::now() < end {
            let heard = self.link.counts().heard;
            let now = self.link.now();
            self.players.settle(now);
            if self.link.is_written() {
                more(self);
            }
            let state = self
                .link
                .pump(Hearing::Good, Speech::Full, &mut self.players);
            if state == State::Ended {
                return;
            }
            if self.link.counts().heard == heard {
                thread::sleep(PAUSE);
            }
        }
    }

    fn stay(&mut self, hearing: Hearing, speech: Speech, span: Duration) {
        let end = Clock::now() + span;
        while Clock::now() < end {
            if self.link.pump(hearing, speech, &mut self.players) == State::Ended {
                return;
            }
            thread::sleep(PAUSE);
        }
    }

    /// Completes a handshake, in a session of its own. False if that is not to be.
    pub fn come_up(&mut self) -> Result<bool> {
        let began = Clock::now();
        // A stream that is open already needs no quiet.
        let mut opened = (!self.link.is_open()).then_some(began);
        self.begin()?;
        let mut ends = self.link.counts().ends;
        while began.elapsed() < GREETING_LIMIT {
            if !self.link.is_open() {
                self.begin()?;
                opened = Some(Clock::now());
            }
            let is_new = opened.is_some_and(|at| at.elapsed() < QUIET);
            let speech = if is_new && self.link.peer().is_none() {
                Speech::None
            } else {
                Speech::Control
            };
            self.link.pump(Hearing::Good, speech, &mut self.players);
            if self.link.is_up() {
                // What is left to be said goes out before anything else does.
                self.link
                    .pump(Hearing::Good, Speech::Control, &mut self.players);
                return Ok(true);
            }
            if self.link.counts().ends != ends {
                ends = self.link.counts().ends;
                thread::sleep(QUIET / 4);
            }
            thread::sleep(PAUSE);
        }
        self.link.close(&mut self.players);
        Ok(false)
    }

    /// Ends a round: without a word, with a goodbye, with half a frame, or not at all.
    fn leave(&mut self) {
        if !self.link.is_open() {
            return;
        }
        match self.rng.random_range(0..8) {
            0 => self.link.close(&mut self.players),
            1 => {
                self.put_unnumbered(Body::Goodbye, |_| {});
                self.link.write();
                self.link.close(&mut self.players);
            }
            2 => {
                let zero = RailSeq(0);
                let victim = self.players.victim();
                let mut lie = Lie::wild(&mut self.rng, victim, zero, zero);
                if let Some(seed) = self.link.sender().seed() {
                    lie.sign(seed);
                }
                let len = self.rng.random_range(1..HEADER_LEN);
                self.link.sender().put_raw(&lie.0[..len]);
                self.link.write();
                self.link.close(&mut self.players);
            }
            // The next round goes on where this one has stopped, in a session of its own.
            _ => {}
        }
    }

    /// Puts a frame without a number, after `change`.
    fn put_unnumbered(&mut self, body: Body, change: impl FnOnce(&mut Lie)) {
        let mut sender = self.link.sender();
        let Some(seed) = sender.seed() else { return };
        let Some(like) = sender.stamp(
            Body::Datagram(PacketState::Finished),
            &[],
            InFlight::Datagram,
        ) else {
            return;
        };
        let header = Header { body, ..like };
        let mut lie = Lie(header.encode::<HostHash>(seed));
        change(&mut lie);
        lie.sign(seed);
        sender.put(&lie.0, &[]);
    }

    fn report(&mut self) {
        for _ in 0..self.rng.random_range(1..30) {
            let mut sender = self.link.sender();
            let Some(like) = sender.stamp(
                Body::Datagram(PacketState::Finished),
                &[],
                InFlight::Datagram,
            ) else {
                return;
            };
            let rng = &mut self.rng;
            let near = |rng: &mut ChaCha8Rng| {
                let back = rng.random_range(0..40);
                like.ack.add(rng.random_range(0u32..20).wrapping_sub(back))
            };
            let (from, to) = (near(rng), near(rng));
            let body = match rng.random_range(0..4) {
                0 | 1 => Body::Lost { from, to },
                _ => Body::Nop {
                    reply: NopReply::Wanted,
                    confirmed: (from, to),
                },
            };
            let breaks_rules = rng.random_ratio(1, 300);
            let beyond: u32 = rng.random();
            self.put_unnumbered(body, |lie| {
                if breaks_rules {
                    lie.set(field::ACK, beyond.into());
                    lie.set(field::RSN, beyond.into());
                }
            });
        }
    }

    fn make_noise(&mut self) {
        let len = self.rng.random_range(0..5_000);
        let seed = self.link.sender().seed().unwrap_or(Seed::HANDSHAKE);
        let mut bytes = lie::noise(&mut self.rng, len, seed);
        match self.rng.random_range(0..4) {
            // A frame of another session.
            0 => {
                let (zero, other) = (RailSeq(0), self.rng.random());
                let victim = self.players.victim();
                let mut lie = Lie::wild(&mut self.rng, victim, zero, zero);
                let algorithm = Seed::HANDSHAKE.algorithm();
                lie.sign(Seed::of_session::<HostHash>(1, other, algorithm));
                bytes = lie.0.to_vec();
            }
            // Noise that leaves the frames behind it where they belong.
            1 => bytes.truncate(len / HEADER_LEN * HEADER_LEN),
            // A frame that is longer than what follows.
            2 => {
                if let Some(seed) = self.link.sender().seed() {
                    let (zero, victim) = (RailSeq(0), self.players.victim());
                    let mut lie = Lie::wild(&mut self.rng, victim, zero, zero);
                    lie.set(field::KIND, 8);
                    lie.sign(seed);
                    bytes = lie.0.to_vec();
                }
            }
            _ => {}
        }
        self.link.sender().put_raw(&bytes);
    }

    /// A hello that is wrong in one way or another.
    fn say_hello(&mut self) {
        let rng = &mut self.rng;
        let mut identity = self.identity;
        if rng.random_ratio(1, 4) {
            rng.fill(&mut identity.name);
        }
        if rng.random_ratio(1, 4) {
            identity.limits = Limits {
                max_payload: [0, 63, SMALL_PAYLOAD, 65_536, u32::MAX][rng.random_range(0..5)],
                window: [0, 1, 3, 0x8000, 0xffff][rng.random_range(0..5)],
                max_rd_atomic: [0, 1, 255][rng.random_range(0..3)],
            };
        }
        let known = self.link.peer_challenge();
        let hello = Hello {
            identity,
            own: Challenge {
                // Now and then the other end's own.
                session: match rng.random_range(0..4) {
                    0 => known.session,
                    1 => 0,
                    _ => rng.random(),
                },
                nonce: rng.random_range(0..3),
            },
            echo: if rng.random_ratio(1, 2) {
                known
            } else {
                Challenge::default()
            },
            sync: if rng.random_ratio(1, 2) {
                ReaderSync::InSync
            } else {
                ReaderSync::Unproven
            },
            first_seq: RailSeq(rng.random()),
        };
        let mut payload = hello.encode().to_vec();
        match rng.random_range(0..8) {
            0 => payload.truncate(rng.random_range(0..HELLO_LEN)),
            1 => payload.resize(rng.random_range(HELLO_LEN..9_000), 0xff),
            2 => payload[..2].copy_from_slice(&rng.random::<u16>().to_le_bytes()),
            3 => {
                let at = rng.random_range(0..HELLO_LEN);
                payload[at] = rng.random();
            }
            _ => {}
        }
        let header = Header {
            seq: RailSeq(0),
            ack: RailSeq(0),
            payload_len: payload.len() as u32,
            payload_checksum: Seed::HANDSHAKE.checksum::<HostHash>(&payload),
            body: Body::Hello,
        };
        let bytes = header.encode::<HostHash>(Seed::HANDSHAKE);
        self.link.sender().put(&bytes, &payload);
    }

    fn restart_often(&mut self, span: Duration) -> Result<()> {
        let end = Clock::now() + span;
        while Clock::now() < end {
            self.come_up()?;
        }
        Ok(())
    }

    /// A handful of frames in pieces of a byte: each takes one frame of the stream.
    fn crawl(&mut self) {
        for _ in 0..4 {
            self.players.wild(&mut self.link.sender());
        }
        self.link.write_bytewise();
    }

    fn greeter(&mut self) -> Result<()> {
        self.begin()?;
        let end = Clock::now() + TOO_LONG;
        while Clock::now() < end && self.link.is_open() {
            let speech = if self.link.is_up() {
                Speech::None
            } else {
                Speech::Control
            };
            self.link.pump(Hearing::Good, speech, &mut self.players);
            thread::sleep(PAUSE);
        }
        Ok(())
    }

    /// Says so many hellos, and closes.
    fn half_way(&mut self) -> Result<()> {
        let hellos = self.rng.random_range(0..4);
        self.begin()?;
        for _ in 0..hellos {
            self.stay(Hearing::Good, Speech::Control, Duration::from_millis(5));
            let wait = Duration::from_millis(self.rng.random_range(0..600));
            self.stay(Hearing::Good, Speech::None, wait);
        }
        self.link.close(&mut self.players);
        Ok(())
    }

    fn restless(&mut self) -> Result<()> {
        for _ in 0..self.rng.random_range(2..6) {
            self.begin()?;
            if self.rng.random_ratio(1, 2) {
                self.say_hello();
                self.link.write();
            }
            thread::sleep(Duration::from_millis(self.rng.random_range(0..50)));
            self.link.close(&mut self.players);
        }
        Ok(())
    }

    /// Whoever reads first gets it.
    fn twice(&mut self, span: Duration) -> Result<()> {
        let mut second = Stream::open(self.device)?;
        let mut bytes = [0; 4096];
        self.run(span, |_| {
            second.read(&mut bytes);
            second.write(&bytes);
        });
        Ok(())
    }
}
