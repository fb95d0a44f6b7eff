// SPDX-License-Identifier: GPL-2.0

//! What follows from a step of the protocol: completions, events, timers, and frames to send.

use kernel::sync::atomic::Relaxed;
use kernel::sync::lock::spinlock::SpinLockBackend;
use kernel::sync::lock::Guard;
use kernel::sync::Arc;

use super::aim::Aimed;
use super::attributes::DrainedEvent;
use super::queue_pair::Backlog;
use super::queue_pair::QueuePair;
use super::queue_pair::ReceiveFlush;
use super::queue_pair::State;
use super::service::Received;
use super::timer::RailsOf;
use crate::transport::connection::Amount;
use crate::transport::connection::Posted;
use crate::transport::ids::Instant;
use crate::transport::ids::Qpn;
use crate::transport::opcode::Opcode;
use crate::transport::rail_set::RailSet;
use crate::transport::requester::needed_for;
use crate::transport::requester::LocalOperation;
use crate::transport::requester::SendCompletion;
use crate::transport::requester::Solicitation;
use crate::transport::requester::Work as SendWork;
use crate::transport::share::Cause;
use crate::transport::status::CompletionStatus;
use crate::transport::status::QpEvent;
use crate::verbs::abi::completion::Completion;
use crate::verbs::abi::completion::Contents;
use crate::verbs::abi::completion::Extra;
use crate::verbs::abi::completion::WcOpcode;
use crate::verbs::abi::send_wqe::Immediate;
use crate::verbs::counters::Counter;
use crate::verbs::mr::Key;
use crate::verbs::pd::Owner;
use crate::verbs::queue::Overflow;
use crate::verbs::rdma::QpAsyncEvent;
use crate::verbs::rdma::QpState;
use crate::verbs::route::Errand;
use crate::verbs::route::Sender;
use crate::verbs::route::TxHint;
use crate::verbs::route::Work;
use crate::verbs::trace;

/// Rounds of posting and completing in one go: what is posted may fail at once, and what is posted behind it
/// is flushed.
const MAX_ROUNDS: u32 = 4;

/// Requests, and receives, that are flushed in one round. The thread serves other processes too, so what is
/// beyond is left to the QP's own work: a process that adds to its queues as fast as they are flushed keeps
/// nobody waiting.
const FLUSH_STEP: u32 = 64;

/// How a completion calls what was asked for.
fn wc_opcode(work: SendWork) -> WcOpcode {
    match work {
        SendWork::Remote(opcode) => match opcode {
            Opcode::Send | Opcode::SendWithImm | Opcode::SendWithInvalidate => WcOpcode::Send,
            Opcode::Write | Opcode::WriteWithImm => WcOpcode::Write,
            Opcode::Read => WcOpcode::Read,
            Opcode::CompareSwap => WcOpcode::CompareSwap,
            Opcode::FetchAdd => WcOpcode::FetchAdd,
            Opcode::AtomicWrite => WcOpcode::AtomicWrite,
            Opcode::Flush => WcOpcode::Flush,
        },
        SendWork::Local(LocalOperation::BindWindow) => WcOpcode::BindWindow,
        SendWork::Local(LocalOperation::Invalidate) => WcOpcode::LocalInvalidate,
        SendWork::Local(LocalOperation::Register) => WcOpcode::Register,
    }
}

impl QueuePair {
    /// Processes everything the last protocol call made pending, and posts the requests for which there is room now. Returns
    /// the rails for which there are frames.
    pub(super) fn process_events(self: &Arc<Self>, state: &mut State, now: Instant) -> RailSet {
        if state.is_destroyed {
            return RailSet::NONE;
        }
        let mut backlog = Backlog::Possible;
        for _ in 0..MAX_ROUNDS {
            backlog = self.process_events_once(state, now);
            if backlog == Backlog::Clear {
                break;
            }
        }
        state.backlog = backlog;
        if backlog == Backlog::Possible {
            self.process_events_later();
        } else if state.state == QpState::Err {
            self.start_flusher(state);
        }
        state.service.count(&self.counters);
        self.arm_timer(state);
        if state.paging.has_task() {
            self.start_pager();
        }
        if state.paging.is_fetching() {
            return if state.service.is_ack_due() {
                RailSet::ALL
            } else {
                RailSet::NONE
            };
        }
        let rails = RailsOf(&state.route);
        state.service.rails_with_frames(now, &rails)
    }

    fn process_events_once(self: &Arc<Self>, state: &mut State, now: Instant) -> Backlog {
        let mut backlog = Backlog::Clear;
        if self.execute(state) > 0 {
            backlog = Backlog::Possible;
        }
        while let Some(completion) = self.next_send_completion(state) {
            state.send_queue.release();
            self.complete_send(state, &completion);
            backlog = Backlog::Possible;
            // What is behind it is flushed when the failure has been acted upon, see `may_flush`.
            let is_sending = matches!(state.state, QpState::Rts | QpState::Sqd);
            if is_sending && completion.status != CompletionStatus::Success {
                break;
            }
        }
        while let Some(received) = self.next_receive_completion(state) {
            state.receive_queue.release();
            self.complete_receive(state, &received);
            backlog = Backlog::Possible;
        }
        // What is behind a receive that is held back waits for it: that there are no more receives, and those to be flushed.
        while state.held.is_none() {
            let Some(event) = state.service.poll_event() else {
                break;
            };
            self.on_event(state, event);
            backlog = Backlog::Possible;
        }
        if self.post_requests(state, now) > 0 {
            backlog = Backlog::Possible;
        }
        if self.aim(state, now) == Aimed::Dropped {
            backlog = Backlog::Possible;
        }
        if self.run_local(state, now) == Backlog::Possible {
            backlog = Backlog::Possible;
        }
        let may_flush =
            state.state == QpState::Err && state.held.is_none() && self.may_flush(state);
        if may_flush && self.flush_receives(state) > 0 {
            backlog = Backlog::Possible;
        }
        backlog
    }

    /// Whether requests and receives may be told to be flushed. A user in the kernel frees their memory then, and keeps no
    /// region for it as a process does: so nothing may be on its way from or to it.
    fn may_flush(&self, state: &State) -> bool {
        self.pd.owner() == Owner::Process || state.is_settled()
    }

    /// The next completion of the send queue that may be told of.
    fn next_send_completion(&self, state: &mut State) -> Option<SendCompletion> {
        if state.departures.are_counted() {
            let is_flushed = state.state == QpState::Err;
            if is_flushed && !self.may_flush(state) {
                return None;
            }
            // A copy of it may be on its way when another one has been acknowledged.
            let oldest = state.service.oldest_request();
            if oldest.is_some_and(|slot| state.departures.is_leaving(slot)) {
                return None;
            }
        }
        state.service.poll_send_completion()
    }

    /// The next completion of a receive that may be told of.
    fn next_receive_completion(self: &Arc<Self>, state: &mut State) -> Option<Received> {
        if state.state == QpState::Err && !self.may_flush(state) {
            return None;
        }
        let received = match state.held.take() {
            Some(held) => held,
            None => state.service.poll_receive_completion()?,
        };
        if self.is_key_in_use(&received) {
            state.held = Some(received);
            self.process_events_later();
            return None;
        }
        Some(received)
    }

    /// Whether a receive tells that a key is invalid by which something is still copied. Of a peer that goes by the rules
    /// nothing is; and memory of processes is kept by more than that key.
    fn is_key_in_use(&self, received: &Received) -> bool {
        match received {
            Received::Message(message) if message.opcode == Opcode::SendWithInvalidate => {
                self.pd.owner() == Owner::Kernel
                    && self.regions.is_fast_region_in_use(Key(message.rkey.0))
            }
            Received::Message(_) | Received::Datagram(_) => false,
        }
    }

    /// Posts what the process has put into the send queue, if the QP's state allows it and as far as there is room: what
    /// has just completed may have made some. Returns how many requests it has posted.
    fn post_requests(&self, state: &mut State, now: Instant) -> u32 {
        let limit = match state.state {
            QpState::Rts => u32::MAX,
            // Each is flushed at once.
            QpState::Err | QpState::Sqe => FLUSH_STEP,
            QpState::Sqd | QpState::Reset | QpState::Init | QpState::Rtr => return 0,
        };
        state
            .send_queue
            .post_waiting(&mut state.service, self.signalling, now, limit, |taking| {
                trace::wqe(
                    self.qpn,
                    taking.wr_id,
                    wc_opcode(taking.work),
                    taking.length,
                );
            })
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
        self.takes_requests.store(true, Relaxed);
        self.flushes_receives.store(true, Relaxed);
        state.service.flush();
        self.abort_paging(state);
    }

    /// A request has failed.
    fn fail_sending(&self, state: &mut State) {
        match (state.service.state_after_send_failure(), state.state) {
            (QpState::Sqe, QpState::Rts | QpState::Sqd) => state.state = QpState::Sqe,
            (QpState::Sqe, _) => {}
            _ => self.fail(state),
        }
    }

    fn on_event(&self, state: &mut State, event: QpEvent) {
        let raised = match event {
            QpEvent::SendFailed => {
                self.fail_sending(state);
                return;
            }
            QpEvent::ReceiveFailed => None,
            QpEvent::InvalidRequest => Some(QpAsyncEvent::RequestError),
            QpEvent::AccessViolation => Some(QpAsyncEvent::AccessError),
            QpEvent::Catastrophic => Some(QpAsyncEvent::Fatal),
            QpEvent::CommunicationEstablished => {
                if state.state == QpState::Rtr {
                    self.events.raise(QpAsyncEvent::CommunicationEstablished);
                }
                return;
            }
            QpEvent::SendQueueDrained => {
                if state.attributes.drained_event == DrainedEvent::Wanted {
                    state.attributes.drained_event = DrainedEvent::Unwanted;
                    self.events.raise(QpAsyncEvent::SendQueueDrained);
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
            self.events.raise(QpAsyncEvent::LastWqeReached);
        }
    }

    /// A completion was lost: the process would wait for it for ever, so it is told that the QP does not work
    /// any more (IBTA 11.6.3.2, local work queue catastrophic error).
    fn on_lost_completion(&self, state: &mut State) {
        if state.state != QpState::Err {
            self.fail(state);
            self.events.raise(QpAsyncEvent::Fatal);
        }
    }

    fn complete_send(&self, state: &mut State, completion: &SendCompletion) {
        self.counters.count_send(completion.status);
        if let (CompletionStatus::LocalQpOperationError, SendWork::Remote(opcode)) =
            (completion.status, completion.work)
        {
            Self::tell_of_missing_feature(state, opcode);
        }
        if !completion.is_reported() {
            return;
        }
        let completion = Completion {
            wr_id: completion.wr_id,
            status: completion.status,
            opcode: wc_opcode(completion.work),
            byte_len: completion.byte_len,
            extra: Extra::None,
            qp_num: self.qpn.get(),
            src_qp: 0,
            contents: Contents::Message,
        };
        let pushed = self
            .send_cq
            .push(&completion, Solicitation::Unsolicited, self.reference);
        if let Err(Overflow) = pushed {
            self.on_lost_completion(state);
        }
    }

    /// A request could not be sent, perhaps because the peer does not know such requests.
    fn tell_of_missing_feature(state: &State, opcode: Opcode) {
        let Some(route) = state.route.get() else {
            return;
        };
        let needed = needed_for(opcode);
        if route
            .features()
            .is_some_and(|features| !features.contains(needed))
        {
            route.log_unable(opcode.name());
        }
    }

    fn complete_receive(&self, state: &mut State, received: &Received) {
        let (completion, source, contents) = match received {
            Received::Message(completion) => (
                completion,
                state.attributes.destination_qpn.get(),
                Contents::Message,
            ),
            Received::Datagram(datagram) => (
                &datagram.receive,
                datagram.source.map_or(0, Qpn::get),
                Contents::NetworkHeader(datagram.network),
            ),
        };
        let opcode = match completion.opcode {
            Opcode::WriteWithImm => WcOpcode::ReceiveWriteImmediate,
            // No others use up a receive.
            Opcode::Send
            | Opcode::SendWithImm
            | Opcode::SendWithInvalidate
            | Opcode::Write
            | Opcode::Read
            | Opcode::CompareSwap
            | Opcode::FetchAdd
            | Opcode::AtomicWrite
            | Opcode::Flush => WcOpcode::Receive,
        };
        if completion.status == CompletionStatus::Success {
            self.counters.add(Counter::CompletedReceives, 1);
        }
        let extra = match completion.opcode {
            _ if completion.status != CompletionStatus::Success => Extra::None,
            Opcode::SendWithImm | Opcode::WriteWithImm => {
                Extra::Immediate(Immediate(completion.imm))
            }
            Opcode::SendWithInvalidate => Extra::InvalidatedKey(completion.rkey.0),
            Opcode::Send
            | Opcode::Write
            | Opcode::Read
            | Opcode::CompareSwap
            | Opcode::FetchAdd
            | Opcode::AtomicWrite
            | Opcode::Flush => Extra::None,
        };
        let solicitation = completion.solicited;
        let completion = Completion {
            wr_id: completion.wr_id,
            status: completion.status,
            opcode,
            byte_len: completion.byte_len,
            extra,
            qp_num: self.qpn.get(),
            src_qp: source,
            contents,
        };
        if let Err(Overflow) = self.recv_cq.push(&completion, solicitation, self.reference) {
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
                opcode: WcOpcode::Receive,
                byte_len: 0,
                extra: Extra::None,
                qp_num: self.qpn.get(),
                src_qp: state.attributes.destination_qpn.get(),
                contents: Contents::Message,
            };
            // Nothing is left to be done if it is lost: the QP has failed.
            let _ = self
                .recv_cq
                .push(&completion, Solicitation::Unsolicited, self.reference);
        }
        FLUSH_STEP
    }
}

impl QueuePair {
    /// What becomes of that which may go with what follows, when something has arrived.
    fn refine(state: &State) -> TxHint {
        if state.service.has_ack_that_may_wait() {
            return TxHint::Ride;
        }
        match Self::hint_of_posts(state) {
            TxHint::Gather => TxHint::Gather,
            TxHint::Join(_) => TxHint::Join(Sender::Receiver),
            _ => TxHint::Coalesce,
        }
    }

    /// Who sends what a program has posted.
    pub(super) fn hint_of_posts(state: &State) -> TxHint {
        match state.service.posted() {
            Posted::Urgent => TxHint::Direct,
            Posted::WaitsForAck => TxHint::Gather,
            Posted::WithOthers(Amount::Little) => TxHint::Join(Sender::Poster),
            Posted::WithOthers(Amount::Short) => TxHint::Join(Sender::Transmitter),
            Posted::Much => TxHint::Batched,
        }
    }

    /// Lets go of the QP and passes on for which rails there are frames.
    pub(super) fn schedule(
        self: &Arc<Self>,
        mut state: Guard<'_, State, SpinLockBackend>,
        rails: RailSet,
        hint: TxHint,
    ) {
        let old_route = state.old_route.take();
        let cause = match hint {
            TxHint::Coalesce => Cause::Arrival,
            _ => Cause::Other,
        };
        let share = state.service.share();
        state.route.note_share(share, cause);
        if rails.is_empty() {
            drop(state);
            drop(old_route);
            return;
        }
        let hint = match hint {
            TxHint::Coalesce => Self::refine(&state),
            other => other,
        };
        // Under the same lock as the route look-up: the QP must not get into the list of a route that it has no more.
        let errand = state.route.enqueue(self, Work { rails, hint });
        let carrier = match errand {
            Some(Errand::Carry(hint)) => state.route.get().cloned().zip(Some(hint)),
            Some(Errand::Nothing | Errand::Wake(_) | Errand::Push(_)) | None => None,
        };
        drop(state);
        drop(old_route);
        match errand {
            Some(Errand::Wake(event)) => event.raise(),
            Some(Errand::Push(rail)) => rail.send_now(),
            Some(Errand::Nothing | Errand::Carry(_)) | None => {}
        }
        if let Some((route, hint)) = carrier {
            route.carry(hint);
        }
    }
}
