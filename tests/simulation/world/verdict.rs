// SPDX-License-Identifier: GPL-2.0

//! When a run is done, what it must have led to, and what it has been through.

use super::pair::Ordeal;
use super::pair::Pair;
use super::pair::Patience;
use super::pair::Poison;
use super::unreliable::Unreliable;
use super::weather::Weather;
use super::World;
use super::SAFETY_PHASE;
use crate::cable::Injected;
use crate::driver::Driver;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::rail::tx::FrameStatus;
use usb4_roce::transport::status::CompletionStatus;

/// What runs have gone through: shown, and looked at to see that they cover what they are for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Coverage {
    pub faults: Injected,
    pub closed_streams: u64,
    pub reopened_rails: u64,
    pub skipped_headers: u64,
    pub frames: u64,
    pub messages: u64,
    /// Whose bytes have been compared, and whose completions were due and came.
    pub verified_messages: u64,
    pub verified_bytes: u64,
    pub failed_streams: u64,
    pub handed_back: u64,
    pub repeated_segments: u64,
    pub repeated_responses: u64,
    pub duplicates: u64,
    pub timeouts: u64,
    pub rnr_naks: u64,
    pub sequence_naks: u64,
    pub resets: u64,
    pub flushes: u64,
    pub destructions: u64,
    pub revocations: u64,
    /// Those that wait for ever if need be, and those that had to do without their last cable.
    pub endless: u64,
    pub cut: u64,
    pub changed_payloads: u64,
    pub executions: u64,
    pub equal_psns: u64,
    /// Of unreliable connections.
    pub unreliable: Unreliable,
    pub datagrams: u64,
    pub received_datagrams: u64,
    pub virtual_seconds: u64,
}

impl Coverage {
    /// All figures with their names.
    pub fn figures(&self) -> [(&'static str, u64); 46] {
        let faults = &self.faults;
        let unreliable = &self.unreliable;
        [
            ("messages", self.messages),
            ("messages verified", self.verified_messages),
            ("bytes verified", self.verified_bytes),
            ("frames sent", self.frames),
            ("frames handed back", self.handed_back),
            ("segments repeated", self.repeated_segments),
            ("responses repeated", self.repeated_responses),
            ("duplicates dropped", self.duplicates),
            ("timeouts", self.timeouts),
            ("RNR NAKs", self.rnr_naks),
            ("sequence NAKs", self.sequence_naks),
            ("headers skipped", self.skipped_headers),
            ("rails reopened", self.reopened_rails),
            ("streams of messages failed", self.failed_streams),
            ("fault: stream frame lost", faults.lost_frames),
            ("fault: stream frame damaged", faults.corrupt_frames),
            ("fault: short write", faults.short_writes),
            ("fault: short read", faults.short_reads),
            ("fault: reader lags", faults.lagging_readers),
            ("fault: end of stream not told", faults.lost_eofs),
            ("fault: cable unplugged", faults.unplugs),
            ("fault: cable stalled", faults.stalls),
            ("fault: direction stuck until closed", faults.wedges),
            ("fault: cable gone for good", faults.severed),
            ("fault: stream closed", self.closed_streams),
            ("payloads changed while sent", self.changed_payloads),
            ("atomic operations, and FLUSHes", self.executions),
            ("connections without a timer", self.endless),
            ("connections without a cable", self.cut),
            ("queue pairs reset", self.resets),
            ("connections with the PSNs of before", self.equal_psns),
            ("queue pairs flushed", self.flushes),
            ("queue pairs destroyed", self.destructions),
            ("keys invalidated", self.revocations),
            ("unreliable: messages", unreliable.messages),
            ("unreliable: messages received", unreliable.received),
            ("unreliable: bytes verified", unreliable.verified_bytes),
            ("unreliable: segments lost", unreliable.lost_segments),
            (
                "unreliable: messages broken off",
                unreliable.broken_messages,
            ),
            ("unreliable: segments orphaned", unreliable.orphans),
            (
                "unreliable: messages without a receive",
                unreliable.no_receive,
            ),
            ("unreliable: messages too long", unreliable.refused),
            (
                "unreliable: connections that never lost anything",
                unreliable.faultless,
            ),
            ("unreliable datagrams", self.datagrams),
            ("unreliable datagrams received", self.received_datagrams),
            ("virtual seconds", self.virtual_seconds),
        ]
    }

    /// Adds another run.
    pub fn add(&mut self, other: &Self) {
        self.faults.add(&other.faults);
        self.closed_streams += other.closed_streams;
        self.reopened_rails += other.reopened_rails;
        self.skipped_headers += other.skipped_headers;
        self.frames += other.frames;
        self.messages += other.messages;
        self.verified_messages += other.verified_messages;
        self.verified_bytes += other.verified_bytes;
        self.failed_streams += other.failed_streams;
        self.handed_back += other.handed_back;
        self.repeated_segments += other.repeated_segments;
        self.repeated_responses += other.repeated_responses;
        self.duplicates += other.duplicates;
        self.timeouts += other.timeouts;
        self.rnr_naks += other.rnr_naks;
        self.sequence_naks += other.sequence_naks;
        self.resets += other.resets;
        self.flushes += other.flushes;
        self.destructions += other.destructions;
        self.revocations += other.revocations;
        self.endless += other.endless;
        self.cut += other.cut;
        self.changed_payloads += other.changed_payloads;
        self.executions += other.executions;
        self.equal_psns += other.equal_psns;
        self.unreliable.add(&other.unreliable);
        self.datagrams += other.datagrams;
        self.received_datagrams += other.received_datagrams;
        self.virtual_seconds += other.virtual_seconds;
    }
}

impl World {
    pub(super) fn describe(&self) -> String {
        let mut text = String::new();
        for pair in &self.pairs {
            let connection = &self.ledger.connections[pair.life];
            for side in 0..2 {
                let (host, qp) = pair.ends[side];
                let qp = &self.hosts[host].qps[qp];
                let stream = &connection.streams[side];
                text += &format!(
                    "\n{:?} side {side}: left {} posted {} completed {} received {} failed {:?} {:?} {:?} deadline {:?} next {:?} ring {}",
                    pair.ordeal,
                    pair.senders[side].left,
                    stream.messages.len(),
                    stream.completed,
                    stream.received,
                    stream.failed,
                    qp.protocol.counters().requester,
                    qp.protocol.counters().responder,
                    qp.protocol.poll_timeout(),
                    stream.messages.get(stream.completed).map(|m| (m.opcode, m.length, m.placed_bytes)),
                    self.hosts[host].rings[qp.ring].len(),
                );
            }
        }
        for drivers in &self.drivers {
            for driver in drivers {
                text += &format!(
                    "\nrail {:?} up {} opened {}",
                    driver.rail,
                    driver.endpoint.is_up(),
                    driver.opened
                );
            }
        }
        text
    }

    pub(super) fn is_done(&self) -> bool {
        if self.now <= SAFETY_PHASE || !self.healed {
            return false;
        }
        let all_up = self
            .drivers
            .iter()
            .flatten()
            .all(|driver| driver.endpoint.is_up() || self.cables[driver.cable].is_severed());
        let ports_are_done = self.hosts.iter().all(|host| host.port.is_done());
        all_up
            && ports_are_done
            && self.pairs.iter().all(|pair| self.is_pair_done(pair))
            && self
                .unreliable_pairs
                .iter()
                .all(|pair| self.is_unreliable_done(pair))
    }

    pub(super) fn is_pair_done(&self, pair: &Pair) -> bool {
        if self.is_cut(pair) && pair.config.patience == Patience::Endless {
            // It waits for ever, and rightly so.
            return true;
        }
        let connection = &self.ledger.connections[pair.life];
        pair.resetting.is_none()
            && (0..2).all(|side| {
                let (host, qp) = pair.ends[side];
                let qp = &self.hosts[host].qps[qp];
                let stream = &connection.streams[side];
                let is_finished =
                    stream.completed == stream.messages.len() && qp.protocol.outstanding() == 0;
                pair.senders[side].left == 0 && (is_finished || qp.is_destroyed)
            })
    }

    pub(super) fn coverage(&self) -> Coverage {
        let mut sum = Coverage {
            datagrams: self.ledger.datagrams.posted(),
            received_datagrams: self.ledger.datagrams.received(),
            ..Coverage::default()
        };
        for qp in self.hosts.iter().flat_map(|host| &host.qps) {
            let requester = qp.protocol.counters().requester;
            let responder = qp.protocol.counters().responder;
            sum.repeated_segments += requester.repeated_segments;
            sum.timeouts += requester.timeouts;
            sum.rnr_naks += requester.rnr_naks;
            sum.sequence_naks += requester.sequence_naks;
            sum.repeated_responses += responder.repeated_responses;
            sum.duplicates += responder.duplicates;
        }
        for cable in &self.cables {
            sum.faults.add(&cable.injected);
        }
        for frames in self.ledger.frames.values() {
            sum.frames += frames.sent;
            sum.handed_back += frames.handed_back;
        }
        for pair in &self.pairs {
            sum.endless += u64::from(pair.config.patience == Patience::Endless);
            sum.cut += u64::from(self.is_cut(pair));
            if pair.ordeal_at == Instant(u64::MAX) {
                match pair.ordeal {
                    Ordeal::None | Ordeal::Poison(_) => {}
                    Ordeal::Flush => sum.flushes += 1,
                    Ordeal::Reset => sum.resets += 1,
                    Ordeal::Destroy | Ordeal::Leave => sum.destructions += 1,
                    Ordeal::Revoke => sum.revocations += 1,
                }
            }
        }
        sum.closed_streams = self.closed_streams;
        sum.equal_psns = self.equal_psns;
        sum.unreliable = self.unreliable_coverage();
        sum.changed_payloads = self.ledger.changed_payloads;
        sum.executions = self.ledger.words.iter().map(|word| word.executions).sum();
        sum.virtual_seconds = self.now.0 / 1_000_000_000;
        for driver in self.drivers.iter().flatten() {
            sum.reopened_rails += u64::from(driver.opened.saturating_sub(1));
            sum.skipped_headers += driver.skipped;
        }
        let streams = self
            .ledger
            .connections
            .iter()
            .flat_map(|life| &life.streams);
        for stream in streams {
            sum.failed_streams += u64::from(stream.failed.is_some());
            sum.messages += stream.messages.len() as u64;
            for message in &stream.messages {
                if message.completed == Some(CompletionStatus::Success) {
                    sum.verified_messages += 1;
                    sum.verified_bytes += u64::from(message.length);
                }
            }
        }
        sum
    }

    /// Whether nothing overtakes anything else: one rail, without faults.
    pub(super) fn keeps_order(&self, pair: &Pair) -> bool {
        let [(host, _), (peer, _)] = pair.ends;
        let rails = self.drivers[host]
            .iter()
            .filter(|driver| driver.peer == peer);
        let mut count = 0;
        let mut clean = true;
        for driver in rails {
            let config = &self.cables[driver.cable].config;
            count += 1;
            clean &= config.loss == 0 && config.corruption == 0 && driver.opened == 1;
        }
        clean && count == 1
    }

    /// Whether there always was a rail between any two hosts.
    fn has_been_reachable(&self) -> bool {
        let opened_once = |driver: &&Driver| driver.opened == 1;
        let mut drivers = self.drivers.iter().flatten();
        match self.weather {
            Weather::Fair | Weather::BitErrors => drivers.all(|driver| opened_once(&driver)),
            Weather::Outages => drivers
                .filter(|driver| self.spared[driver.cable])
                .all(|driver| opened_once(&driver)),
            Weather::Storm => false,
        }
    }

    pub(super) fn check_end(&self) {
        self.ledger.assert_words_explained();
        for driver in self.drivers.iter().flatten() {
            if let Some(frames) = self.ledger.frames.get(&(driver.cable, driver.end)) {
                frames.assert_settled(|seq| {
                    driver.endpoint.frame_status(seq) == FrameStatus::Settled
                });
            }
        }
        self.check_unreliable();
        for pair in &self.pairs {
            let connection = &self.ledger.connections[pair.life];
            for side in 0..2 {
                let (host, qp) = pair.ends[side];
                let qp = &self.hosts[host].qps[qp];
                let stream = &connection.streams[side];
                if !connection.disturbed[side] && pair.senders[side].poison_at.is_none() {
                    assert_eq!(stream.failed, None, "seed {}", self.seed);
                    assert_eq!(
                        stream.received,
                        stream.consumers.len(),
                        "seed {}",
                        self.seed
                    );
                }
                let is_refused = matches!(
                    pair.ordeal,
                    Ordeal::Poison(
                        Poison::WriteKey
                            | Poison::ReadKey
                            | Poison::AtomicKey
                            | Poison::Misaligned
                            | Poison::LongSend
                            | Poison::NoReceives
                    )
                );
                // What was dropped because of another request, which lacked a receive or was damaged, comes late.
                let own_naks = match pair.ordeal {
                    Ordeal::Poison(Poison::NoReceives) => u64::from(pair.config.rnr_retry) + 1,
                    _ => 0,
                };
                let counters = qp.protocol.counters().requester;
                let has_waited = counters.rnr_naks > own_naks
                    || counters.sequence_naks > 0
                    || qp.handed_back > 0;
                if self.keeps_order(pair) && is_refused && !has_waited && side == 0 {
                    let placed: u32 = stream
                        .messages
                        .iter()
                        .skip_while(|message| message.completed == Some(CompletionStatus::Success))
                        .skip(1)
                        .map(|message| message.placed_bytes + u32::from(message.executed.is_some()))
                        .sum();
                    assert_eq!(
                        placed, 0,
                        "seed {}: memory changed behind a refused request",
                        self.seed
                    );
                }
                // With few RNR retries one end may fail, and be no answer to the other any more.
                let is_undisturbed = pair.config.rnr_retry == 7
                    && (pair.ordeal == Ordeal::None
                        || (pair.ordeal == Ordeal::Leave && self.weather == Weather::Fair));
                if self.has_been_reachable() && is_undisturbed {
                    let timeouts = qp.protocol.counters().requester.timeouts;
                    assert_eq!(timeouts, 0, "seed {}: waited in vain", self.seed);
                    assert_eq!(
                        stream.failed, None,
                        "seed {}: failed for nothing",
                        self.seed
                    );
                }
                if self.is_cut(pair) && pair.ordeal == Ordeal::None && pair.config.rnr_retry == 7 {
                    let expected: &[_] = match pair.config.patience {
                        Patience::Endless => &[None],
                        Patience::Some | Patience::None => {
                            &[None, Some(CompletionStatus::RetryExceeded)]
                        }
                    };
                    assert!(
                        expected.contains(&stream.failed),
                        "seed {}: without a cable: {:?}",
                        self.seed,
                        stream.failed
                    );
                }
                if pair.ordeal == Ordeal::None {
                    let bogus = (
                        qp.protocol.counters().requester.bogus,
                        qp.protocol.counters().responder.bogus,
                    );
                    assert_eq!(bogus, (0, 0), "seed {}: window overrun", self.seed);
                }
            }
        }
        self.ledger
            .log
            .say(format_args!("seed {} done{}", self.seed, self.describe()));
    }
}
