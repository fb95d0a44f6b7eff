// SPDX-License-Identifier: GPL-2.0

//! The handshake of a rail.
//!
//! It must show that both readers are in step with their writers. A stream that was opened at a bad
//! moment forgets to count some frames, and from then on wakes its reader only when that many more have
//! arrived. The first frame that is counted is still read at once, and the forgotten ones with it; the
//! lag shows from the next one on.
//!
//! So hellos are exchanged in strict alternation: an end that has sent one sends nothing more until the
//! peer has answered. An end is *in step* when it has read an answer to the newest hello it sent, and had
//! read something before it sent that one. It is up when it is in step and the peer has said that it is,
//! too: no frame that could push a lagging reader on is sent before. With a lagging reader the
//! handshake stalls, and after a while the stream is closed and opened anew.
//!
//! When two first hellos cross, the end with the smaller session id answers and the other one waits
//! for that answer.

use super::super::ids::Duration;
use super::super::ids::Instant;
use super::super::ids::RailSeq;
use super::hello::Challenge;
use super::hello::Hello;
use super::hello::Identity;
use super::hello::Step;

/// How long the handshake may stall once the peer has been heard, before jitter.
const STALL_LIMIT: Duration = Duration::from_millis(1_000);

/// How long to wait for the peer's first word, before jitter. Two ends that opened their streams at a bad moment may have
/// lost each other's only hello, and a rail is missing until one of them begins anew; opening a stream too often
/// makes it likelier that the other end meets it at a bad moment.
const SILENCE_LIMIT: Duration = Duration::from_millis(4_000);

/// The limits are longer by up to this much, depending on the session id, so that two ends do not close
/// and open in lockstep.
const JITTER_MASK_MS: u64 = 511;

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
    step: Step,
    /// What our newest hello said of our step.
    told: Step,
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
            step: Step::Unproven,
            told: Step::Unproven,
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
        self.told = self.step;
        Some(Hello {
            identity: *identity,
            own: self.own,
            echo: self.echoed,
            step: self.step,
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
        if !same_session {
            self.step = Step::Unproven;
        }

        let answers_newest = hello.echo == self.own;
        if answers_newest && self.echoed.session == hello.own.session {
            self.step = Step::InStep;
        }
        if self.step == Step::InStep && hello.step == Step::InStep {
            let peer_is_up = answers_newest && self.told == Step::InStep;
            self.hello_due = !peer_is_up;
            self.phase = Phase::Up;
            return HelloOutcome::Up {
                first_seq: hello.first_seq,
            };
        }

        let must_answer = self.own.session < hello.own.session;
        let began_anew = known.is_some() && !same_session;
        if answers_newest || must_answer || began_anew {
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
    use super::super::super::limits::Limits;
    use super::super::hello::Features;
    use super::super::hello::NodeGuid;
    use super::super::hello::NODE_NAME_LEN;
    use super::*;

    fn identity(guid: u64) -> Identity {
        Identity {
            node_guid: NodeGuid(guid),
            mac: [2, 0, 0, 0, 0, 1],
            features: Features::NONE,
            limits: Limits {
                max_payload: 65472,
                window: 256,
                max_rd_atomic: 16,
            },
            name: [0; NODE_NAME_LEN],
        }
    }

    /// The receiving end of a stream whose driver has forgotten to count some frames.
    struct Wire {
        arrived: Vec<Hello>,
        uncounted: usize,
        read: usize,
    }

    impl Wire {
        /// What the reader gets: all there is, if the counter says that there is anything.
        fn read(&mut self) -> Vec<Hello> {
            let counted = self.arrived.len().saturating_sub(self.uncounted);
            if counted <= self.read {
                return Vec::new();
            }
            let news = self.arrived[self.read..].to_vec();
            self.read = self.arrived.len();
            news
        }
    }

    /// Runs two ends whose drivers did not count the first few frames; says who is up.
    fn run(one: u64, other: u64, uncounted: [usize; 2]) -> [Phase; 2] {
        let mut ends = [
            Session::new(one, Instant(0)),
            Session::new(other, Instant(0)),
        ];
        let mut wires = uncounted.map(|uncounted| Wire {
            arrived: Vec::new(),
            uncounted,
            read: 0,
        });
        for _ in 0..32 {
            for me in 0..2 {
                let sent = ends[me].take_hello(&identity(me as u64 + 1), RailSeq(7));
                wires[1 - me].arrived.extend(sent);
            }
            for me in 0..2 {
                for hello in wires[me].read() {
                    ends[me].on_hello(&hello, Instant(0));
                }
            }
        }
        assert!(
            wires.iter().all(|wire| wire.arrived.len() < 8),
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
    fn with_a_lagging_reader_nobody_is_up() {
        for (one, other) in [(1, 2), (2, 1)] {
            for lags in [[1, 0], [2, 0], [3, 0], [1, 1], [1, 2], [3, 3]] {
                let phases = run(one, other, lags);
                assert_eq!(phases, [Phase::Greeting; 2], "{one} {other} {lags:?}");
            }
        }
    }

    #[test]
    fn late_opener_comes_up() {
        let mut early = Session::new(9, Instant(0));
        let first = early.take_hello(&identity(1), RailSeq(0)).unwrap();
        let mut late = Session::new(5, Instant(0));
        let mut hello = first;
        let mut messages = 0;
        while late.phase() != Phase::Up || early.phase() != Phase::Up {
            late.on_hello(&hello, Instant(0));
            if let Some(answer) = late.take_hello(&identity(2), RailSeq(3)) {
                early.on_hello(&answer, Instant(0));
            }
            if let Some(answer) = early.take_hello(&identity(1), RailSeq(0)) {
                hello = answer;
            }
            messages += 1;
            assert!(messages < 4);
        }
        late.on_hello(&hello, Instant(0));
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
