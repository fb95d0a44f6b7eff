// SPDX-License-Identifier: GPL-2.0

//! A simulated cable with one stream, as USB4STREAM behaves: ordered, credit controlled, and with the
//! faults of real life.

use std::collections::VecDeque;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use usb4_roce::transport::frame::STREAM_FRAME;
use usb4_roce::transport::ids::Duration;
use usb4_roce::transport::ids::Instant;

use crate::log::Log;

/// How a cable behaves. Rates are per million.
#[derive(Clone, Debug)]
pub struct CableConfig {
    /// Bytes per microsecond.
    pub bandwidth: u64,
    pub latency: Duration,
    /// Frames in flight before the writer is held.
    pub depth: usize,
    pub loss: u32,
    pub corruption: u32,
    /// How often a read or write is cut short.
    pub short_io: u32,
    /// How often a reader that opens is out of sync by some frames.
    pub lag: u32,
    /// How often the end of the stream is not told to the peer.
    pub lost_eof: u32,
}

struct Frame {
    bytes: Vec<u8>,
    arrives: Instant,
}

/// One direction of the stream.
struct Direction {
    frames: VecDeque<Frame>,
    /// Bytes of the first frame that have been read.
    read: usize,
    free_at: Instant,
    /// Frames that the reader's end forgot to count when it was opened.
    uncounted: u64,
    /// Frames that have come and gone since then.
    consumed: u64,
    eof: bool,
    /// Nothing can be read before the stream has been closed.
    wedged: bool,
    /// How many of the next frames will be lost.
    doomed: u32,
}

/// What reading gave.
pub enum Read {
    Bytes(Vec<u8>),
    Nothing,
    /// The peer closed: close as well.
    Eof,
    /// The cable is unplugged.
    Gone,
}

/// How often each fault has been injected.
#[derive(Clone, Copy, Debug, Default)]
pub struct Injected {
    pub lost_frames: u64,
    pub corrupt_frames: u64,
    pub short_writes: u64,
    pub short_reads: u64,
    pub lagging_readers: u64,
    pub lost_eofs: u64,
    pub unplugs: u64,
    pub stalls: u64,
    pub wedges: u64,
    pub severed: u64,
}

impl Injected {
    pub fn add(&mut self, other: &Self) {
        self.lost_frames += other.lost_frames;
        self.corrupt_frames += other.corrupt_frames;
        self.short_writes += other.short_writes;
        self.short_reads += other.short_reads;
        self.lagging_readers += other.lagging_readers;
        self.lost_eofs += other.lost_eofs;
        self.unplugs += other.unplugs;
        self.stalls += other.stalls;
        self.wedges += other.wedges;
        self.severed += other.severed;
    }
}

pub struct Cable {
    pub config: CableConfig,
    pub injected: Injected,
    number: usize,
    pub log: Log,
    /// Towards end 0 and end 1.
    towards: [Direction; 2],
    open: [bool; 2],
    plugged: bool,
    /// It is unplugged, and stays so.
    severed: bool,
    stalled_until: Instant,
    /// Whether loss and corruption happen.
    pub faulty: bool,
}

fn chance(rng: &mut ChaCha8Rng, per_million: u32) -> bool {
    per_million > 0 && rng.random_range(0..1_000_000) < per_million
}

impl Cable {
    pub fn new(number: usize, config: CableConfig) -> Self {
        let direction = || Direction {
            frames: VecDeque::new(),
            read: 0,
            free_at: Instant(0),
            uncounted: 0,
            consumed: 0,
            eof: false,
            wedged: false,
            doomed: 0,
        };
        Self {
            config,
            injected: Injected::default(),
            number,
            log: Log::default(),
            towards: [direction(), direction()],
            open: [false; 2],
            plugged: true,
            severed: false,
            stalled_until: Instant(0),
            faulty: true,
        }
    }

    pub fn is_plugged(&self) -> bool {
        self.plugged
    }

    pub fn open(&mut self, end: usize, rng: &mut ChaCha8Rng) {
        assert!(self.plugged && !self.open[end]);
        self.open[end] = true;
        self.towards[end].consumed = 0;
        self.towards[end].uncounted = if self.faulty && chance(rng, self.config.lag) {
            self.injected.lagging_readers += 1;
            rng.random_range(1..4)
        } else {
            0
        };
        let uncounted = self.towards[end].uncounted;
        self.tell(format_args!("end {end} opens, {uncounted} frames behind"));
    }

    pub fn close(&mut self, end: usize, rng: &mut ChaCha8Rng) {
        self.open[end] = false;
        for direction in &mut self.towards {
            direction.wedged = false;
        }
        let inward = &mut self.towards[end];
        inward.frames.clear();
        inward.read = 0;
        inward.eof = false;
        self.tell(format_args!("end {end} closes"));
        if self.plugged && self.open[1 - end] {
            if chance(rng, self.config.lost_eof) {
                self.injected.lost_eofs += 1;
                self.tell(format_args!("the other end is not told"));
            } else {
                self.towards[1 - end].eof = true;
            }
        }
    }

    /// Everything on the cable is lost; both ends notice.
    pub fn unplug(&mut self) {
        self.tell(format_args!("unplugged"));
        self.injected.unplugs += 1;
        self.plugged = false;
        for direction in &mut self.towards {
            direction.frames.clear();
            direction.read = 0;
            direction.eof = false;
        }
    }

    fn tell(&self, what: std::fmt::Arguments<'_>) {
        self.log.say(format_args!("cable {}: {what}", self.number));
    }

    pub fn plug(&mut self) {
        if !self.severed {
            self.tell(format_args!("plugged in"));
            self.plugged = true;
        }
    }

    /// It is unplugged and never comes back.
    pub fn sever(&mut self) {
        if !self.severed {
            self.unplug();
            self.severed = true;
            self.injected.severed += 1;
        }
    }

    pub fn is_severed(&self) -> bool {
        self.severed
    }

    /// Nothing arrives, and nobody is told, until then.
    pub fn stall(&mut self, until: Instant) {
        self.tell(format_args!("stalls until {until:?}"));
        self.injected.stalls += 1;
        self.stalled_until = until;
    }

    /// What goes towards this end gets stuck, until the stream is closed.
    pub fn wedge(&mut self, end: usize) {
        self.tell(format_args!("stuck towards end {end}"));
        self.injected.wedges += 1;
        self.towards[end].wedged = true;
    }

    /// Loses what is on its way from this end, and the next frames. Only a cable that loses frames anyway does.
    pub fn lose(&mut self, end: usize, next: u32) {
        if !self.faulty || self.config.loss == 0 {
            return;
        }
        let direction = &mut self.towards[1 - end];
        // One of which a part has been read has arrived.
        let arrived = usize::from(direction.read > 0);
        let lost = direction.frames.len().saturating_sub(arrived);
        direction.frames.truncate(arrived);
        direction.doomed = next;
        self.injected.lost_frames += lost as u64;
        self.tell(format_args!(
            "loses {lost} frames from end {end}, and the next {next}"
        ));
    }

    /// No more faults. A cable that stalls goes on doing so until its time has come.
    pub fn heal(&mut self) {
        self.plug();
        self.faulty = false;
        for direction in &mut self.towards {
            direction.doomed = 0;
        }
    }

    /// Writes what the ring takes; says how much that was.
    pub fn write(&mut self, end: usize, bytes: &[u8], now: Instant, rng: &mut ChaCha8Rng) -> usize {
        if !self.plugged {
            return 0;
        }
        let mut written = 0;
        for piece in bytes.chunks(STREAM_FRAME) {
            let faulty = self.faulty;
            let config = &self.config;
            let direction = &mut self.towards[1 - end];
            if direction.frames.len() >= config.depth {
                break;
            }
            let start = direction.free_at.max(now);
            let sent = start.after(Duration(
                piece.len() as u64 * 1000 / config.bandwidth.max(1),
            ));
            direction.free_at = sent;
            written += piece.len();
            let doomed = direction.doomed > 0;
            direction.doomed = direction.doomed.saturating_sub(1);
            if doomed || faulty && chance(rng, config.loss) {
                self.injected.lost_frames += 1;
                self.log.say(format_args!(
                    "cable {}: loses {} bytes from end {end}",
                    self.number,
                    piece.len()
                ));
                continue;
            }
            let mut bytes = piece.to_vec();
            if faulty && chance(rng, config.corruption) {
                self.injected.corrupt_frames += 1;
                self.log.say(format_args!(
                    "cable {}: damages {} bytes from end {end}",
                    self.number,
                    piece.len()
                ));
                for _ in 0..rng.random_range(1..4) {
                    let at = rng.random_range(0..bytes.len());
                    bytes[at] ^= 1 << rng.random_range(0..8);
                }
            }
            direction.frames.push_back(Frame {
                bytes,
                arrives: sent.after(config.latency),
            });
            if chance(rng, config.short_io) {
                self.injected.short_writes += 1;
                break;
            }
        }
        written
    }

    /// Reads up to `most` bytes of what has arrived.
    pub fn read(&mut self, end: usize, most: usize, now: Instant, rng: &mut ChaCha8Rng) -> Read {
        if !self.plugged {
            return Read::Gone;
        }
        let short = chance(rng, self.config.short_io);
        self.injected.short_reads += u64::from(short);
        let stalled = now < self.stalled_until || self.towards[end].wedged;
        let direction = &mut self.towards[end];
        let mut out = Vec::new();
        let arrived = direction
            .frames
            .iter()
            .take_while(|frame| frame.arrives <= now)
            .count() as u64;
        // What wakes the reader is the count; once awake, it reads all there is.
        let counted = (direction.consumed + arrived).saturating_sub(direction.uncounted);
        let awake = !stalled && counted > direction.consumed;
        while awake && out.len() < most {
            if direction
                .frames
                .front()
                .is_none_or(|frame| frame.arrives > now)
            {
                break;
            }
            let frame = &direction.frames[0];
            let rest = &frame.bytes[direction.read..];
            let take = rest.len().min(most - out.len());
            let take = if short { take.div_ceil(3) } else { take };
            out.extend_from_slice(&rest[..take]);
            direction.read += take;
            if direction.read == frame.bytes.len() {
                direction.frames.pop_front();
                direction.consumed += 1;
                direction.read = 0;
            }
            if short {
                break;
            }
        }
        if !out.is_empty() {
            return Read::Bytes(out);
        }
        if direction.eof && !awake && !stalled {
            return Read::Eof;
        }
        Read::Nothing
    }

    /// When the next byte can be read at `end`, if that is after `now`.
    pub fn next_arrival(&self, end: usize, now: Instant) -> Option<Instant> {
        self.towards[end]
            .frames
            .iter()
            .map(|frame| frame.arrives.max(self.stalled_until))
            .find(|at| *at > now)
    }
}
