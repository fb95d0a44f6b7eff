// SPDX-License-Identifier: GPL-2.0

//! The handshake of a rail.
//!
//! It must show that both readers are in step with their writers: a stream that was opened at a bad
//! moment delivers every frame only when a later one arrives. So hellos are exchanged in strict
//! alternation: an end that has sent one sends nothing more until the peer has answered, and
//! it is up when it has read an answer to the newest hello it sent. A reader that lags never sees that
//! answer; the handshake stalls, and after a while the stream is closed and opened anew.
//!
//! When two first hellos cross, the end with the smaller session id answers and the other one waits
//! for that answer.

use super::super::ids::Duration;
use super::super::ids::Instant;
use super::super::ids::RailSeq;
use super::hello::Challenge;
use super::hello::Hello;
use super::hello::Identity;

/// How long the handshake may stall once the peer has been heard, before jitter.
const STALL_LIMIT: Duration = Duration::from_millis(3_000);

/// How long to wait for the peer's first word, before jitter.
const SILENCE_LIMIT: Duration = Duration::from_millis(10_000);

/// The limits are longer by up to this much, depending on the session id, so that two ends do not close
/// and open in lockstep.
const JITTER_MASK_MS: u64 = 1023;

/// Where the handshake stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Not both ends are known to be in step.
    Greeting,
    /// Frames may flow.
    Up,
}

/// What a hello changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HelloOutcome {
    /// Nothing yet.
    Waiting,
    /// The rail is up: the peer will send frames from this number on.
    Up {
        /// Number of the peer's first frame.
        first_seq: RailSeq,
    },
    /// The rail was up, and the peer began anew: all in flight is lost. The handshake goes on.
    Restarted,
    /// The hello is our own: the stream is looped back. It must be closed.
    Reflected,
}

/// Handshake state of one opened stream.
#[derive(Clone, Debug)]
pub struct Session {
    own: Challenge,
    /// The hello of the peer that our newest hello answers; zeroes if none.
    echoed: Challenge,
    peer: Option<Hello>,
    phase: Phase,
    hello_due: bool,
    /// Since when the handshake has made no progress.
    stalled_since: Instant,
}

impl Session {
    /// A stream has just been opened. `session_id` is random; zero is taken for one.
    pub fn new(session_id: u64, now: Instant) -> Self {
        Self {
            own: Challenge {
                session: session_id.max(1),
                nonce: 0,
            },
            echoed: Challenge::default(),
            peer: None,
            phase: Phase::Greeting,
            hello_due: true,
            stalled_since: now,
        }
    }

    /// Where the handshake stands.
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// What the peer said about itself.
    pub fn peer(&self) -> Option<&Identity> {
        self.peer.as_ref().map(|hello| &hello.identity)
    }

    /// Both session ids, once the peer's is known: ours, then the peer's.
    pub fn ids(&self) -> Option<(u64, u64)> {
        self.peer
            .as_ref()
            .map(|hello| (self.own.session, hello.own.session))
    }

    /// Whether a hello is to be sent.
    pub const fn hello_due(&self) -> bool {
        self.hello_due
    }

    /// The hello to send now, if one is due.
    pub fn take_hello(&mut self, identity: &Identity, first_seq: RailSeq) -> Option<Hello> {
        if !self.hello_due {
            return None;
        }
        self.hello_due = false;
        // At least one hello of the peer arrives between two of ours: the nonce does not wrap.
        self.own.nonce = self.own.nonce.wrapping_add(1).max(1);
        self.echoed = self
            .peer
            .as_ref()
            .map_or_else(Challenge::default, |hello| hello.own);
        Some(Hello {
            identity: *identity,
            own: self.own,
            echo: self.echoed,
            first_seq,
        })
    }

    /// A hello has arrived.
    pub fn on_hello(&mut self, hello: &Hello, now: Instant) -> HelloOutcome {
        if hello.own.session == self.own.session {
            return HelloOutcome::Reflected;
        }
        let known = self.peer.as_ref().map(|peer| peer.own.session);
        let same_session = known == Some(hello.own.session);
        if same_session && self.phase == Phase::Up {
            return HelloOutcome::Waiting;
        }
        let was_up = self.phase == Phase::Up;
        self.phase = Phase::Greeting;
        self.peer = Some(*hello);
        self.stalled_since = now;

        if hello.echo == self.own {
            // The peer knows that we are in step if the hello before this one was its newest when it
            // read our answer to it.
            let told = self.echoed.session == hello.own.session
                && self.echoed.nonce.wrapping_add(1) == hello.own.nonce;
            self.hello_due = !told;
            self.phase = Phase::Up;
            return HelloOutcome::Up {
                first_seq: hello.first_seq,
            };
        }

        let answers = self.own.session < hello.own.session;
        let began_anew = known.is_some() && !same_session;
        if answers || began_anew {
            self.hello_due = true;
        }
        if was_up {
            HelloOutcome::Restarted
        } else {
            HelloOutcome::Waiting
        }
    }

    /// When to give the handshake up and open the stream anew; nothing once it is up.
    pub fn deadline(&self) -> Option<Instant> {
        match self.phase {
            Phase::Up => None,
            Phase::Greeting => {
                let limit = if self.peer.is_some() {
                    STALL_LIMIT
                } else {
                    SILENCE_LIMIT
                };
                let jitter = Duration::from_millis(self.own.session & JITTER_MASK_MS);
                Some(self.stalled_since.after(limit).after(jitter))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hello::Features;
    use super::super::hello::NodeGuid;
    use super::super::hello::NODE_NAME_LEN;
    use super::*;

    fn identity(guid: u64) -> Identity {
        Identity {
            node_guid: NodeGuid(guid),
            mac: [2, 0, 0, 0, 0, 1],
            features: Features(0),
            max_payload: 65472,
            window: 256,
            name: [0; NODE_NAME_LEN],
        }
    }

    /// Runs two ends whose readers see a frame only after `lag` more have arrived; says who is up.
    fn run(one: u64, other: u64, lags: [usize; 2]) -> [Phase; 2] {
        let mut ends = [
            Session::new(one, Instant(0)),
            Session::new(other, Instant(0)),
        ];
        let mut wires: [Vec<Hello>; 2] = [Vec::new(), Vec::new()];
        let mut read = [0; 2];
        for _ in 0..32 {
            for me in 0..2 {
                let sent = ends[me].take_hello(&identity(me as u64 + 1), RailSeq(7));
                wires[1 - me].extend(sent);
            }
            for me in 0..2 {
                if wires[me].len() > read[me] + lags[me] {
                    let hello = wires[me][read[me]];
                    read[me] += 1;
                    ends[me].on_hello(&hello, Instant(0));
                }
            }
        }
        assert!(
            wires.iter().all(|wire| wire.len() < 8),
            "hellos without end"
        );
        [ends[0].phase(), ends[1].phase()]
    }

    #[test]
    fn crossing_hellos_come_up_on_both_ends() {
        assert_eq!(run(1, 2, [0, 0]), [Phase::Up; 2]);
        assert_eq!(run(2, 1, [0, 0]), [Phase::Up; 2]);
    }

    #[test]
    fn a_lagging_reader_is_never_up() {
        for (one, other) in [(1, 2), (2, 1)] {
            for lag in 1..4 {
                let [lagging, _] = run(one, other, [lag, 0]);
                assert_eq!(lagging, Phase::Greeting, "{one} {other} {lag}");
            }
        }
    }

    #[test]
    fn late_opener_comes_up() {
        let mut early = Session::new(9, Instant(0));
        let first = early.take_hello(&identity(1), RailSeq(0)).unwrap();
        let mut late = Session::new(5, Instant(0));
        assert_eq!(late.on_hello(&first, Instant(0)), HelloOutcome::Waiting);
        let answer = late.take_hello(&identity(2), RailSeq(3)).unwrap();
        let outcome = early.on_hello(&answer, Instant(0));
        assert_eq!(
            outcome,
            HelloOutcome::Up {
                first_seq: RailSeq(3)
            }
        );
        let last = early.take_hello(&identity(1), RailSeq(0)).unwrap();
        assert!(matches!(
            late.on_hello(&last, Instant(0)),
            HelloOutcome::Up { .. }
        ));
        assert!(!late.hello_due() && !early.hello_due());
    }

    #[test]
    fn restart_of_the_peer_is_noticed_and_survived() {
        for (own, old, new) in [(5, 1, 2), (5, 1, 9), (5, 9, 1), (5, 8, 9)] {
            let mut end = Session::new(own, Instant(0));
            let mut peer = Session::new(old, Instant(0));
            for _ in 0..4 {
                if let Some(hello) = end.take_hello(&identity(1), RailSeq(0)) {
                    peer.on_hello(&hello, Instant(0));
                }
                if let Some(hello) = peer.take_hello(&identity(2), RailSeq(0)) {
                    end.on_hello(&hello, Instant(0));
                }
            }
            assert_eq!([end.phase(), peer.phase()], [Phase::Up; 2]);
            let mut peer = Session::new(new, Instant(0));
            let hello = peer.take_hello(&identity(2), RailSeq(0)).unwrap();
            assert_eq!(end.on_hello(&hello, Instant(0)), HelloOutcome::Restarted);
            for _ in 0..4 {
                if let Some(hello) = end.take_hello(&identity(1), RailSeq(0)) {
                    peer.on_hello(&hello, Instant(0));
                }
                if let Some(hello) = peer.take_hello(&identity(2), RailSeq(0)) {
                    end.on_hello(&hello, Instant(0));
                }
            }
            assert_eq!(
                [end.phase(), peer.phase()],
                [Phase::Up; 2],
                "{own} {old} {new}"
            );
        }
    }

    #[test]
    fn own_hello_coming_back_is_told() {
        let mut end = Session::new(5, Instant(0));
        let hello = end.take_hello(&identity(1), RailSeq(0)).unwrap();
        assert_eq!(end.on_hello(&hello, Instant(0)), HelloOutcome::Reflected);
    }
}
