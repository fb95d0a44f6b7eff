// SPDX-License-Identifier: GPL-2.0

//! The handshake of a rail.
//!
//! It must show that both readers are in sync with their writers. A stream that was opened at a bad
//! moment forgets to count some frames, and from then on wakes its reader only when that many more have
//! arrived. The first frame that is counted is still read at once, and the forgotten ones with it; the
//! lag shows from the next one on.
//!
//! So hellos are exchanged in strict alternation: an end that has sent one sends nothing more until the
//! peer has answered. An end is *in sync* when it has read an answer to the newest hello it sent, and had
//! read something before it sent that one. It is up when it is in sync and the peer has said that it is,
//! too: no frame that could push a lagging reader on is sent before. With a lagging reader the
//! handshake stalls, and after a while the stream is closed and opened anew.
//!
//! When two first hellos cross, the end with the smaller session id answers and the other one waits
//! for that answer.
//!
//! Hellos carry no secret, so a payload can imitate them, and damage can bring such a payload before the
//! reader. While the rail is up, a hello of a foreign session therefore is only a hint that the peer restarted: a *suspicion*. The
//! stream keeps order: after a true one nothing of the session can follow. So the peer is asked for a sign of life in
//! the session; any frame of it refutes the suspicion, and only if none comes in time is the handshake begun anew.

use super::hello::Challenge;
use super::hello::Hello;
use super::hello::Identity;
use super::hello::ReaderSync;
use crate::transport::ids::Duration;
use crate::transport::ids::Instant;
use crate::transport::ids::RailSeq;

/// How long the handshake may stall once the peer has been heard, before jitter.
const STALL_LIMIT: Duration = Duration::from_millis(1_000);

/// How long to wait for the peer's first word, before jitter. Two ends that opened their streams at a bad moment may have
/// lost each other's only hello, and a rail is missing until one of them begins anew; opening a stream too often
/// makes it likelier that the other end meets it at a bad moment.
const SILENCE_LIMIT: Duration = Duration::from_millis(4_000);

/// How long the peer has to show that it is still in the session. It answers at once, but its answer may be behind much
/// else. A peer that did begin anew has needed longer to close its stream.
const PROBE_LIMIT: Duration = Duration::from_millis(200);

/// The limits are longer by up to this much, depending on the session id, so that two ends do not close
/// and open in lockstep.
const JITTER_MASK_MS: u64 = 511;

/// Where the handshake stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Not both ends are known to be in sync.
    Greeting,
    /// Frames may flow.
    Up,
}

/// What a hello changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HelloOutcome {
    /// Nothing: the handshake goes on.
    Waiting,
    /// The rail is up: the peer will send frames from this number on.
    Up {
        /// Number of the peer's first frame.
        first_seq: RailSeq,
    },
    /// The rail is up, and the peer may have begun anew: ask it for a sign of life in the session.
    Suspected,
    /// The rail was up, and the peer began the handshake anew: all in flight is lost.
    Restarted,
    /// The hello is our own: the stream is looped back. It must be closed.
    Reflected,
}

/// Whether the peer of a session is still in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Nothing speaks against it, or there still is time to refute what does.
    Present,
    /// It has left: the handshake has begun anew, and all in flight is lost.
    Left,
}

/// A hello that says that the peer has begun anew.
#[derive(Clone, Debug)]
struct Suspicion {
    /// The newest such hello.
    hello: Hello,
    /// When the peer was first asked whether it is still in the session.
    asked_at: Option<Instant>,
}

/// Handshake state of one opened stream.
#[derive(Clone, Debug)]
pub struct Session {
    own: Challenge,
    /// The hello of the peer that our newest hello answers; zeroes if none.
    echoed: Challenge,
    peer: Option<Hello>,
    phase: Phase,
    sync: ReaderSync,
    /// What our newest hello said of our reader.
    announced: ReaderSync,
    hello_due: bool,
    /// Since when the handshake has made no progress.
    stalled_since: Instant,
    /// Nothing while the handshake goes on.
    suspicion: Option<Suspicion>,
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
            sync: ReaderSync::Unproven,
            announced: ReaderSync::Unproven,
            hello_due: true,
            stalled_since: now,
            suspicion: None,
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
        self.announced = self.sync;
        Some(Hello {
            identity: *identity,
            own: self.own,
            echo: self.echoed,
            sync: self.sync,
            first_seq,
        })
    }

    /// A hello has arrived.
    pub fn on_hello(&mut self, hello: &Hello, now: Instant) -> HelloOutcome {
        match self.phase {
            Phase::Greeting => self.greet(hello, now),
            Phase::Up => self.doubt(hello, now),
        }
    }

    /// A frame of the session has arrived: whatever hello came before it, the peer is still there.
    pub fn on_frame(&mut self) {
        self.suspicion = None;
    }

    /// Whether a hello says that the peer has left the session. It is to be asked, then.
    pub fn is_in_doubt(&self) -> bool {
        self.suspicion.is_some()
    }

    /// The peer is being asked for a frame of the session. It is given time from the first such question on: before,
    /// it has no reason to say anything.
    pub fn note_asked(&mut self, now: Instant) {
        if let Some(suspicion) = &mut self.suspicion {
            suspicion.asked_at.get_or_insert(now);
        }
    }

    /// Until when the peer has to show that it is still in the session, if there is doubt about that and it was asked.
    pub fn probe_deadline(&self) -> Option<Instant> {
        let suspicion = self.suspicion.as_ref()?;
        Some(suspicion.asked_at?.after(PROBE_LIMIT))
    }

    /// Begins the handshake anew if the peer has not shown in time that it is still in the session.
    pub fn judge(&mut self, now: Instant) -> Verdict {
        if self.probe_deadline().is_none_or(|deadline| now < deadline) {
            return Verdict::Present;
        }
        if let Some(suspicion) = self.suspicion.take() {
            self.begin_anew();
            self.greet(&suspicion.hello, now);
        }
        Verdict::Left
    }

    fn begin_anew(&mut self) {
        self.phase = Phase::Greeting;
        self.sync = ReaderSync::Unproven;
        self.suspicion = None;
    }

    /// A hello while the rail is up.
    fn doubt(&mut self, hello: &Hello, now: Instant) -> HelloOutcome {
        // A stream that is looped back never comes up.
        if hello.own.session == self.own.session {
            return HelloOutcome::Waiting;
        }
        let known = self.peer.as_ref().map(|peer| peer.own.session);
        if known == Some(hello.own.session) {
            return match hello.sync {
                // It could not know yet that we were up.
                ReaderSync::InSync => HelloOutcome::Waiting,
                // It has judged that we have left. Nobody else knows its session.
                ReaderSync::Unproven => {
                    self.begin_anew();
                    self.greet(hello, now);
                    self.hello_due = true;
                    HelloOutcome::Restarted
                }
            };
        }
        let asked_at = self.suspicion.as_ref().and_then(|known| known.asked_at);
        self.suspicion = Some(Suspicion {
            hello: *hello,
            asked_at,
        });
        HelloOutcome::Suspected
    }

    /// A hello while the handshake goes on.
    fn greet(&mut self, hello: &Hello, now: Instant) -> HelloOutcome {
        if hello.own.session == self.own.session {
            return HelloOutcome::Reflected;
        }
        let known = self.peer.as_ref().map(|peer| peer.own.session);
        let same_session = known == Some(hello.own.session);
        self.peer = Some(*hello);
        self.stalled_since = now;
        if !same_session {
            self.sync = ReaderSync::Unproven;
        }

        let answers_newest = hello.echo == self.own;
        if answers_newest && self.echoed.session == hello.own.session {
            self.sync = ReaderSync::InSync;
        }
        if self.sync == ReaderSync::InSync && hello.sync == ReaderSync::InSync {
            let peer_is_up = answers_newest && self.announced == ReaderSync::InSync;
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
        HelloOutcome::Waiting
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
    use std::collections::VecDeque;

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
                max_payload: crate::transport::frame::MAX_PAYLOAD,
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
            assert_eq!(end.on_hello(&hello, Instant(0)), HelloOutcome::Suspected);
            let asked_at = Instant(0).after(PROBE_LIMIT);
            assert_eq!(end.judge(asked_at), Verdict::Present);
            end.note_asked(asked_at);
            assert_eq!(end.judge(asked_at), Verdict::Present);
            assert_eq!(end.judge(asked_at.after(PROBE_LIMIT)), Verdict::Left);
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

    #[test]
    fn a_frame_of_the_session_refutes_a_foreign_hello() {
        let (mut end, mut peer) = up_pair();
        let foreign = Session::new(77, Instant(0))
            .take_hello(&identity(2), RailSeq(0))
            .unwrap();
        assert_eq!(end.on_hello(&foreign, Instant(0)), HelloOutcome::Suspected);
        end.on_frame();
        assert_eq!(end.judge(Instant(u64::MAX)), Verdict::Present);
        assert_eq!(end.phase(), Phase::Up);
        assert_eq!(end.ids().unwrap().1, 6);
        // Nor does it matter to the peer.
        assert!(end.take_hello(&identity(1), RailSeq(0)).is_none());
        assert!(peer.take_hello(&identity(2), RailSeq(0)).is_none());
    }

    #[test]
    fn a_stream_of_foreign_hellos_does_not_put_the_verdict_off() {
        let (mut end, _) = up_pair();
        let mut now = Instant(0);
        for session in 100.. {
            let foreign = Session::new(session, now)
                .take_hello(&identity(2), RailSeq(0))
                .unwrap();
            end.on_hello(&foreign, now);
            end.note_asked(now);
            if end.judge(now) == Verdict::Left {
                break;
            }
            now = now.after(Duration::from_millis(10));
        }
        assert_eq!(now, Instant(0).after(PROBE_LIMIT));
    }

    #[test]
    fn an_end_that_was_left_for_no_reason_notices_at_once() {
        let (mut end, mut peer) = up_pair();
        let foreign = Session::new(77, Instant(0))
            .take_hello(&identity(2), RailSeq(0))
            .unwrap();
        end.on_hello(&foreign, Instant(0));
        end.note_asked(Instant(0));
        assert_eq!(end.judge(Instant(u64::MAX)), Verdict::Left);
        let hello = end.take_hello(&identity(1), RailSeq(0)).unwrap();
        assert_eq!(peer.on_hello(&hello, Instant(0)), HelloOutcome::Restarted);
        greet(&mut end, &mut peer);
        assert_eq!([end.phase(), peer.phase()], [Phase::Up; 2]);
    }

    /// Two ends that are up.
    fn up_pair() -> (Session, Session) {
        let mut one = Session::new(5, Instant(0));
        let mut other = Session::new(6, Instant(0));
        greet(&mut one, &mut other);
        assert_eq!([one.phase(), other.phase()], [Phase::Up; 2]);
        (one, other)
    }

    /// Lets two ends talk until they have nothing more to say.
    fn greet(one: &mut Session, other: &mut Session) {
        for _ in 0..8 {
            if let Some(hello) = one.take_hello(&identity(1), RailSeq(0)) {
                other.on_hello(&hello, Instant(0));
            }
            if let Some(hello) = other.take_hello(&identity(2), RailSeq(0)) {
                one.on_hello(&hello, Instant(0));
            }
        }
        assert!(!one.hello_due() && !other.hello_due(), "hellos without end");
    }

    /// What travels between two ends.
    enum Message {
        Hello(Hello),
        /// Of the session with these ids, the sender's first.
        Frame(u64, u64),
    }

    /// Two ends whose streams are opened anew at any time, whose hellos get lost, and who are shown forged ones.
    struct Ordeal {
        random: u64,
        now: Instant,
        next_id: u64,
        ends: [Session; 2],
        /// Towards each end.
        wires: [VecDeque<Message>; 2],
        probes: [Instant; 2],
    }

    impl Ordeal {
        fn new(seed: u64) -> Self {
            Self {
                random: seed,
                now: Instant(0),
                next_id: 10,
                ends: [1, 2].map(|id| Session::new(id, Instant(0))),
                wires: [VecDeque::new(), VecDeque::new()],
                probes: [Instant(0); 2],
            }
        }

        fn draw(&mut self, below: u64) -> u64 {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            (self.random >> 16) % below
        }

        /// A session id that may be smaller or larger than those before.
        fn fresh_id(&mut self) -> u64 {
            self.next_id += 1;
            (self.draw(1 << 20) << 20) | self.next_id
        }

        fn reopen(&mut self, end: usize) {
            let id = self.fresh_id();
            self.ends[end] = Session::new(id, self.now);
            self.wires[end].clear();
        }

        fn torment(&mut self) {
            let end = self.draw(2) as usize;
            match self.draw(12) {
                0 => self.reopen(end),
                1 => {
                    let id = self.fresh_id();
                    let mut forger = Session::new(id, self.now);
                    let hello = forger.take_hello(&identity(3), RailSeq(0)).unwrap();
                    self.wires[end].push_back(Message::Hello(hello));
                }
                2 => drop(self.wires[end].pop_back()),
                _ => {}
            }
        }

        /// One end reads a message and says what it has to.
        fn turn(&mut self, end: usize) {
            match self.wires[end].pop_front() {
                Some(Message::Hello(hello)) => {
                    let outcome = self.ends[end].on_hello(&hello, self.now);
                    if outcome == HelloOutcome::Reflected {
                        self.reopen(end);
                    }
                }
                Some(Message::Frame(theirs, ours)) => {
                    let is_up = self.ends[end].phase() == Phase::Up;
                    if is_up && self.ends[end].ids() == Some((ours, theirs)) {
                        self.ends[end].on_frame();
                    }
                }
                None => {}
            }
            self.ends[end].judge(self.now);
            let stalled = self.ends[end]
                .deadline()
                .is_some_and(|deadline| self.now >= deadline);
            if stalled {
                self.reopen(end);
            }
            while let Some(hello) = self.ends[end].take_hello(&identity(1), RailSeq(0)) {
                self.wires[1 - end].push_back(Message::Hello(hello));
            }
            if self.ends[end].phase() == Phase::Up && self.now >= self.probes[end] {
                let (ours, theirs) = self.ends[end].ids().unwrap();
                self.wires[1 - end].push_back(Message::Frame(ours, theirs));
                self.ends[end].note_asked(self.now);
                self.probes[end] = self.now.after(Duration::from_millis(25));
            }
        }

        fn are_joined(&self) -> bool {
            let [one, other] = [0, 1].map(|end| (self.ends[end].phase(), self.ends[end].ids()));
            let reversed = other.1.map(|(ours, theirs)| (theirs, ours));
            one.0 == Phase::Up && other.0 == Phase::Up && one.1 == reversed
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes too long")]
    fn whatever_was_done_to_them_two_ends_find_each_other() {
        for seed in 1..2_000 {
            let mut ordeal = Ordeal::new(seed);
            for _ in 0..200 {
                ordeal.torment();
                ordeal.now = ordeal.now.after(Duration(ordeal.draw(20_000_000)));
                let end = ordeal.draw(2) as usize;
                ordeal.turn(end);
            }
            let calm = ordeal.now;
            // An end that is up and hears nothing is closed by other means: see the rail's endpoint.
            let limit = calm.after(Duration::from_millis(12_000));
            let mut deaf_since = [calm; 2];
            while !ordeal.are_joined() {
                assert!(ordeal.now < limit, "seed {seed}: {:?}", ordeal.ends);
                ordeal.now = ordeal.now.after(Duration::from_millis(1));
                for (end, deaf_since) in deaf_since.iter_mut().enumerate() {
                    if !ordeal.wires[end].is_empty() || ordeal.ends[end].phase() != Phase::Up {
                        *deaf_since = ordeal.now;
                    }
                    if ordeal.now.since(*deaf_since) >= Duration::from_millis(3_000) {
                        ordeal.reopen(end);
                    }
                    ordeal.turn(end);
                }
            }
        }
    }
}
