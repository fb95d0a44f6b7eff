// SPDX-License-Identifier: GPL-2.0

//! A requester and a responder face to face.

use crate::heap::table;
use crate::heap::Heap;
use std::collections::HashMap;
use usb4_roce::transport::frame::AckHeader;
use usb4_roce::transport::frame::Action;
use usb4_roce::transport::frame::Operands;
use usb4_roce::transport::frame::RequestHeader;
use usb4_roce::transport::frame::SegmentSize;
use usb4_roce::transport::ids::Duration;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::MessageSlot;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::ids::ReceiveSlot;
use usb4_roce::transport::ids::Rkey;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::opcode::WORD;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::rail::tx::FrameStatus;
use usb4_roce::transport::rail_set::RailSet;
use usb4_roce::transport::requester::Fencing;
use usb4_roce::transport::requester::LocalOperation;
use usb4_roce::transport::requester::LocalRequest;
use usb4_roce::transport::requester::Rails;
use usb4_roce::transport::requester::Requester;
use usb4_roce::transport::requester::RequesterConfig;
use usb4_roce::transport::requester::RequesterTables;
use usb4_roce::transport::requester::ResponseDisposition;
use usb4_roce::transport::requester::SendCompletion;
use usb4_roce::transport::requester::SendRequest;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::responder::Disposition;
use usb4_roce::transport::responder::KeyNotValid;
use usb4_roce::transport::responder::Receive;
use usb4_roce::transport::responder::ReceiveQueue;
use usb4_roce::transport::responder::Responder;
use usb4_roce::transport::responder::ResponderConfig;
use usb4_roce::transport::responder::ResponderTables;
use usb4_roce::transport::responder::ResponseSegment;
use usb4_roce::transport::responder::ResponseSource;
use usb4_roce::transport::responder::Soundness;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::NakCode;
use usb4_roce::transport::status::QpEvent;
use usb4_roce::transport::timing::AckTimeout;
use usb4_roce::transport::timing::RetryLimit;
use usb4_roce::transport::timing::RnrTimer;

pub const FIRST: u32 = Psn::MASK - 2;
pub const WINDOW: usize = 32;
pub const DEPTH: usize = 16;

#[derive(Default)]
pub struct Receives {
    pub lengths: Vec<u32>,
    pub taken: u16,
    /// Of all that are taken.
    pub soundness: Soundness,
    /// The key that the peer may make invalid.
    pub valid_key: Option<Rkey>,
}

impl ReceiveQueue for Receives {
    fn take(&mut self) -> Option<Receive> {
        if self.lengths.is_empty() {
            return None;
        }
        let length = self.lengths.remove(0);
        self.taken += 1;
        Some(Receive {
            slot: ReceiveSlot(self.taken),
            wr_id: u64::from(self.taken),
            length,
            soundness: self.soundness,
        })
    }

    fn invalidate(&mut self, rkey: Rkey) -> Result<(), KeyNotValid> {
        match self.valid_key.take() {
            Some(key) if key == rkey => Ok(()),
            key => {
                self.valid_key = key;
                Err(KeyNotValid)
            }
        }
    }
}

/// Rails on which everything is in one state.
pub struct All(pub FrameStatus, pub RailSet);

impl Rails for All {
    fn frame_status(&self, _rail: RailId, _seq: RailSeq) -> FrameStatus {
        self.0
    }

    fn up(&self) -> RailSet {
        self.1
    }
}

pub const SETTLED: All = All(FrameStatus::Settled, RailSet::ALL);

pub struct Pair {
    pub now: Instant,
    pub requester: Requester<Heap>,
    pub responder: Responder<Heap>,
    pub receives: Receives,
    pub seq: u32,
    /// What the responder's memory check says.
    pub access: Outcome,
    /// The word that atomic operations are about, what has been done to it, and why no more can be.
    pub word: u64,
    /// Operands by PSN.
    operands: HashMap<u32, Operands>,
    pub executed: Vec<Action>,
    pub revoked: Option<NakCode>,
    /// Answers of 8 bytes, as they came.
    pub answers: Vec<u64>,
}

pub fn rail(number: u8) -> RailId {
    RailId::new(number).unwrap()
}

impl Pair {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    pub fn with(change: impl FnOnce(&mut RequesterConfig)) -> Self {
        let mut requester = Requester::new(RequesterTables {
            messages: table(DEPTH),
            segments: table(WINDOW),
            reads: table(DEPTH),
        })
        .unwrap();
        let mut config = RequesterConfig {
            local_qpn: Qpn::new(1),
            remote_qpn: Qpn::new(2),
            initial_psn: Psn::new(FIRST),
            segment: SegmentSize::SMALLEST,
            window: WINDOW as u16,
            max_rd_atomic: 2,
            timeout: AckTimeout::new(14),
            retry: RetryLimit::from_retry_count(2),
            rnr_retry: RetryLimit::from_rnr_retry(2),
        };
        change(&mut config);
        requester.start(config);
        requester.set_peer_features(Features(u64::MAX));
        let mut responder = Responder::new(ResponderTables {
            requests: table(WINDOW),
            receives: table(WINDOW),
            reads: table(4),
            responses: table(WINDOW),
        })
        .unwrap();
        responder.start(ResponderConfig {
            local_qpn: Qpn::new(2),
            remote_qpn: Qpn::new(1),
            initial_psn: Psn::new(FIRST),
            window: WINDOW as u16,
            max_dest_rd_atomic: 2,
            rnr_timer: RnrTimer::new(12),
        });
        Self {
            now: Instant(1),
            requester,
            responder,
            receives: Receives::default(),
            seq: 0,
            access: Outcome::Placed,
            word: 0,
            operands: HashMap::new(),
            executed: Vec::new(),
            revoked: None,
            answers: Vec::new(),
        }
    }

    pub fn post(&mut self, opcode: Opcode, length: u32) {
        self.post_as(opcode, length, Signalling::Signalled);
    }

    pub fn post_as(&mut self, opcode: Opcode, length: u32, signalling: Signalling) {
        let request = SendRequest {
            opcode,
            length,
            signalling,
            imm: 77,
            remote_va: 0x1000,
            ..SendRequest::default()
        };
        self.requester.post(request, self.now).unwrap();
    }

    /// Posts an atomic operation.
    pub fn post_atomic(&mut self, opcode: Opcode, first: u64, second: u64) {
        let request = SendRequest {
            opcode,
            length: WORD,
            signalling: Signalling::Signalled,
            remote_va: 0x1000,
            operands: Operands { first, second },
            ..SendRequest::default()
        };
        self.requester.post(request, self.now).unwrap();
    }

    pub fn post_local(&mut self, operation: LocalOperation, signalling: Signalling) -> MessageSlot {
        let request = LocalRequest {
            wr_id: 0,
            operation,
            signalling,
            fencing: Fencing::Unfenced,
        };
        self.requester.post_local(request).unwrap()
    }

    /// Carries out a local operation that is due.
    pub fn run_local(&mut self, result: Result<(), CompletionStatus>) -> bool {
        let Some(due) = self.requester.due_local() else {
            return false;
        };
        self.requester.finish_local(due.slot, result, self.now);
        true
    }

    pub fn pull(&mut self) -> Option<RequestHeader> {
        let seq = RailSeq(self.seq);
        self.seq += 1;
        let segment = self
            .requester
            .next_segment(rail(0), seq, self.now, &SETTLED)?;
        if let Some(operands) = segment.operands {
            self.operands.insert(segment.header.psn.get(), operands);
        }
        Some(segment.header)
    }

    pub fn pull_all(&mut self) -> Vec<RequestHeader> {
        std::iter::from_fn(|| self.pull()).collect()
    }

    pub fn deliver(&mut self, request: &RequestHeader) -> Disposition {
        let disposition = self.responder.on_request(request, &mut self.receives);
        match disposition {
            Disposition::Write { token, .. }
            | Disposition::Receive { token, .. }
            | Disposition::CheckRead { token, .. } => {
                self.responder
                    .commit(token, self.access, &mut self.receives);
            }
            Disposition::CheckExecution { token, .. } => {
                match (self.access, self.operands.get(&request.psn.get())) {
                    (Outcome::Placed, Some(operands)) => {
                        self.responder
                            .commit_operands(token, *operands, &mut self.receives);
                    }
                    (outcome, _) => self.responder.commit(token, outcome, &mut self.receives),
                }
            }
            Disposition::NoPayload | Disposition::Drop(_) => {}
        }
        self.execute();
        disposition
    }

    /// Carries out all whose turn has come.
    fn execute(&mut self) {
        while let Some(execution) = self.responder.poll_execution() {
            let before = self.word;
            let Operands { first, second } = execution.operands;
            let result = self.revoked.map_or(Ok(before), Err);
            if result.is_ok() {
                self.executed.push(execution.action);
                self.word = match execution.action {
                    Action::CompareSwap if before == first => second,
                    Action::CompareSwap | Action::Flush { .. } => before,
                    Action::FetchAdd => before.wrapping_add(first),
                    Action::AtomicWrite => first,
                };
            }
            self.responder
                .commit_execution(execution.token, result, &mut self.receives);
        }
    }

    /// A response arrives.
    pub fn respond(&mut self, response: &ResponseSegment) {
        if let ResponseDisposition::Place(placement) =
            self.requester.on_response(&response.header, self.now)
        {
            if let ResponseSource::Value(value) = response.source {
                assert_eq!(placement.target.len, WORD);
                self.answers.push(value);
            }
            self.requester
                .commit_response(placement.token, Outcome::Placed, self.now);
        }
    }

    /// Everything the requester has to say, and what comes back.
    pub fn exchange(&mut self) {
        for _ in 0..2_000 {
            let mut moved = false;
            for request in self.pull_all() {
                moved = true;
                self.deliver(&request);
            }
            while let Some(response) = self.responder.next_response(rail(0), RailSeq(0)) {
                moved = true;
                self.respond(&response);
            }
            if self.requester.response_ack_due() {
                let psn = self.requester.take_response_ack();
                self.responder.on_response_ack(psn);
            }
            if self.responder.ack_due() {
                moved = true;
                self.acknowledge();
            }
            if !moved {
                return;
            }
        }
        panic!("no end");
    }

    pub fn acknowledge(&mut self) -> AckHeader {
        let ack = self.responder.take_ack(Psn::new(FIRST)).unwrap();
        self.requester.on_ack(&ack, self.now);
        ack
    }

    pub fn completions(&mut self) -> Vec<(u64, CompletionStatus)> {
        std::iter::from_fn(|| self.requester.poll_completion())
            .map(|completion: SendCompletion| (u64::from(completion.slot.0), completion.status))
            .collect()
    }

    pub fn responder_events(&mut self) -> Vec<QpEvent> {
        std::iter::from_fn(|| self.responder.poll_event()).collect()
    }

    pub fn receive_statuses(&mut self) -> Vec<CompletionStatus> {
        std::iter::from_fn(|| self.responder.poll_completion())
            .map(|completion| completion.status)
            .collect()
    }

    pub fn wait(&mut self, delay: Duration) {
        self.now = self.now.after(delay);
        self.requester.on_timer(self.now, &SETTLED);
    }
}
