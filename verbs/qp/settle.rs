// SPDX-License-Identifier: GPL-2.0

//! What follows from a step of the protocol: completions, events, timers, and frames to send.

use kernel::sync::lock::spinlock::SpinLockBackend;
use kernel::sync::lock::Guard;
use kernel::sync::Arc;

use super::super::abi::completion::Completion;
use super::super::abi::completion::Opcode as CqeOpcode;
use super::super::abi::send_wqe::Immediate;
use super::super::counters::Counter;
use super::super::queue::Overflow;
use super::super::rdma;
use super::super::rdma::QpState;
use super::super::route::Errand;
use super::super::route::Urgency;
use super::super::route::Work;
use super::attributes::DrainedEvent;
use super::timer::RailsOf;
use super::QueuePair;
use super::ReceiveFlush;
use super::State;
use crate::transport::ids::Instant;
use crate::transport::opcode::Opcode;
use crate::transport::rail_set::RailSet;
use crate::transport::requester::SendCompletion;
use crate::transport::requester::Solicitation;
use crate::transport::responder::ReceiveCompletion;
use crate::transport::status::CompletionStatus;
use crate::transport::status::QpEvent;

/// Rounds of posting and completing in one go: what is posted may fail at once, and what is posted behind it
/// is flushed.
const MAX_ROUNDS: u32 = 4;

/// Requests, and receives, that are flushed in one round. The thread serves other processes too, so what is
/// beyond is left to the QP's own work: a process that adds to its queues as fast as they are flushed keeps
/// nobody waiting.
const FLUSH_STEP: u32 = 64;

/// Whether a round changed anything.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    None,
    Some,
}

impl QueuePair {
    /// Draws all conclusions from what has just been told to the protocol. Returns
    /// the rails for which there are frames.
    pub(super) fn settle(self: &Arc<Self>, state: &mut State, now: Instant) -> RailSet {
        if state.is_destroyed {
            return RailSet::NONE;
        }
        let mut progress = Progress::Some;
        for _ in 0..MAX_ROUNDS {
            progress = self.settle_once(state, now);
            if progress == Progress::None {
                break;
            }
        }
        state.backlog = progress;
        if progress == Progress::Some {
            self.settle_later();
        } else if state.state == QpState::Err {
            self.start_flusher(state);
        }
        self.count(state);
        self.arm_timer(state);
        let rails = RailsOf(&state.route);
        state.connection.rails_with_frames(now, &rails)
    }

    /// Adds what the protocol has counted to the port's counters.
    fn count(&self, state: &mut State) {
        let now = state.connection.counters();
        if now != state.counted {
            self.objects.counters.add_difference(&state.counted, &now);
            state.counted = now;
        }
    }

    fn settle_once(&self, state: &mut State, now: Instant) -> Progress {
        let mut progress = Progress::None;
        while let Some(completion) = state.connection.poll_send_completion() {
            state.send_queue.release();
            self.complete_send(state, &completion);
            progress = Progress::Some;
        }
        while let Some(completion) = state.connection.poll_receive_completion() {
            state.receive_queue.release();
            self.complete_receive(state, &completion);
            progress = Progress::Some;
        }
        while let Some(event) = state.connection.poll_event() {
            self.on_event(state, event);
            progress = Progress::Some;
        }
        match state.state {
            QpState::Rts | QpState::Err => {
                let limit = match state.state {
                    QpState::Err => FLUSH_STEP,
                    _ => u32::MAX,
                };
                let connection = &mut state.connection;
                let posted = state
                    .send_queue
                    .drain(connection, self.signalling, now, limit);
                if posted > 0 {
                    progress = Progress::Some;
                }
            }
            QpState::Sqd | QpState::Reset | QpState::Init | QpState::Rtr | QpState::Sqe => {}
        }
        if state.state == QpState::Err && self.flush_receives(state) > 0 {
            progress = Progress::Some;
        }
        progress
    }

    /// Enters the error state, if the QP is not in it already: everything is flushed.
    pub(super) fn fail(&self, state: &mut State) {
        state.receive_flush = match state.state {
            QpState::Err => return,
            // The responder does not work and has taken nothing, nor will it tell.
            QpState::Reset | QpState::Init => {
                self.raise_last_wqe_reached();
                ReceiveFlush::Ring
            }
            QpState::Rtr | QpState::Rts | QpState::Sqd | QpState::Sqe => ReceiveFlush::Taken,
        };
        state.state = QpState::Err;
        state.connection.flush();
    }

    fn on_event(&self, state: &mut State, event: QpEvent) {
        let raised = match event {
            QpEvent::SendFailed | QpEvent::ReceiveFailed => None,
            QpEvent::InvalidRequest => Some(rdma::QpEvent::RequestError),
            QpEvent::AccessViolation => Some(rdma::QpEvent::AccessError),
            QpEvent::Catastrophic => Some(rdma::QpEvent::Fatal),
            QpEvent::CommunicationEstablished => {
                if state.state == QpState::Rtr {
                    self.events.raise(rdma::QpEvent::CommunicationEstablished);
                }
                return;
            }
            QpEvent::SendQueueDrained => {
                if state.attributes.drained_event == DrainedEvent::Wanted {
                    state.attributes.drained_event = DrainedEvent::Unwanted;
                    self.events.raise(rdma::QpEvent::SendQueueDrained);
                }
                return;
            }
            QpEvent::LastWqeReached => {
                state.receive_flush = ReceiveFlush::Ring;
                self.raise_last_wqe_reached();
                return;
            }
        };
        self.fail(state);
        if let Some(event) = raised {
            self.events.raise(event);
        }
    }

    /// Tells that the QP in the error state has no more receives of the queue it shares. Once in each error state.
    fn raise_last_wqe_reached(&self) {
        if self.has_shared_receives {
            self.events.raise(rdma::QpEvent::LastWqeReached);
        }
    }

    /// A completion was lost: the process would wait for it for ever, so it is told that the QP does not work
    /// any more (IBTA 11.6.3.2, local work queue catastrophic error).
    fn on_lost_completion(&self, state: &mut State) {
        if state.state != QpState::Err {
            self.fail(state);
            self.events.raise(rdma::QpEvent::Fatal);
        }
    }

    fn complete_send(&self, state: &mut State, completion: &SendCompletion) {
        self.objects.counters.count_send(completion.status);
        if !completion.is_reported() {
            return;
        }
        let opcode = match completion.opcode {
            Opcode::Send | Opcode::SendWithImm => CqeOpcode::Send,
            Opcode::Write | Opcode::WriteWithImm => CqeOpcode::Write,
            Opcode::Read => CqeOpcode::Read,
        };
        let completion = Completion {
            wr_id: completion.wr_id,
            status: completion.status,
            opcode,
            byte_len: completion.byte_len,
            immediate: None,
            qp_num: self.qpn.get(),
            src_qp: 0,
        };
        let pushed = self.send_cq.push(&completion, Solicitation::Unsolicited);
        if let Err(Overflow) = pushed {
            self.on_lost_completion(state);
        }
    }

    fn complete_receive(&self, state: &mut State, completion: &ReceiveCompletion) {
        let opcode = match completion.opcode {
            Opcode::Send | Opcode::SendWithImm | Opcode::Write | Opcode::Read => CqeOpcode::Receive,
            Opcode::WriteWithImm => CqeOpcode::ReceiveWriteImmediate,
        };
        if completion.status == CompletionStatus::Success {
            self.objects.counters.add(Counter::CompletedReceives, 1);
        }
        let has_immediate =
            completion.opcode.has_imm() && completion.status == CompletionStatus::Success;
        let solicitation = completion.solicited;
        let completion = Completion {
            wr_id: completion.wr_id,
            status: completion.status,
            opcode,
            byte_len: completion.byte_len,
            immediate: has_immediate.then_some(Immediate(completion.imm)),
            qp_num: self.qpn.get(),
            src_qp: state.attributes.destination_qpn.get(),
        };
        if let Err(Overflow) = self.recv_cq.push(&completion, solicitation) {
            self.on_lost_completion(state);
        }
    }

    /// Flushes receives that were never taken, but not too many. Returns how many.
    fn flush_receives(&self, state: &mut State) -> u32 {
        if state.receive_flush != ReceiveFlush::Ring {
            return 0;
        }
        for flushed in 0..FLUSH_STEP {
            let Some(wr_id) = state.receive_queue.flush_next() else {
                return flushed;
            };
            let completion = Completion {
                wr_id,
                status: CompletionStatus::FlushError,
                opcode: CqeOpcode::Receive,
                byte_len: 0,
                immediate: None,
                qp_num: self.qpn.get(),
                src_qp: state.attributes.destination_qpn.get(),
            };
            // Nothing is left to be done if it is lost: the QP has failed.
            let _ = self.recv_cq.push(&completion, Solicitation::Unsolicited);
        }
        FLUSH_STEP
    }
}

impl QueuePair {
    /// Lets go of the QP and passes on for which rails there are frames.
    pub(super) fn schedule(
        self: &Arc<Self>,
        mut state: Guard<'_, State, SpinLockBackend>,
        rails: RailSet,
        urgency: Urgency,
    ) {
        if rails.is_empty() {
            return;
        }
        // In the same breath as the route is looked up: the QP must not get into the list of a route that it has
        // no more.
        let errand = state.route.enqueue(self, Work { rails, urgency });
        let carrier = match errand {
            Some(Errand::Carry(urgency)) => state.route.get().cloned().zip(Some(urgency)),
            Some(Errand::Nothing | Errand::Wake(_) | Errand::Push(_)) | None => None,
        };
        drop(state);
        match errand {
            Some(Errand::Wake(event)) => event.raise(),
            Some(Errand::Push(rail)) => rail.push(),
            Some(Errand::Nothing | Errand::Carry(_)) | None => {}
        }
        if let Some((route, urgency)) = carrier {
            route.carry(urgency);
        }
    }
}
