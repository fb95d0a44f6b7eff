// SPDX-License-Identifier: GPL-2.0

//! What the requester makes of acknowledgements.

use super::super::frame::AckHeader;
use super::super::frame::Syndrome;
use super::super::ids::Instant;
use super::super::ids::Psn;
use super::super::status::CompletionStatus;
use super::super::status::NakCode;
use super::super::storage::Storage;
use super::super::timing::RnrTimer;
use super::Admission;
use super::Caution;
use super::Requester;
use super::State;
use super::REPETITIONS;

/// Serial numbers up to this far ahead of the last one seen are new, others old.
const SERIAL_HALF: u32 = 1 << 31;

impl<S: Storage> Requester<S> {
    /// An acknowledgement has arrived. What it says about responses is for the responder.
    pub fn on_ack(&mut self, ack: &AckHeader, now: Instant) {
        match self.state {
            State::Running | State::Failing(_) => {}
            State::Idle | State::Flushing => return,
        }
        if ack.src_qpn != self.config.remote_qpn {
            self.counters.bogus += 1;
            return;
        }
        // Acknowledgements may overtake each other on their rails, and answers to READs may overtake
        // them: what an old one complains about may be news all the same.
        let is_old = ack.psn.is_before(self.una);
        if !is_old {
            if ack.psn.distance_from(self.una) > self.next.distance_from(self.una) {
                self.counters.bogus += 1;
                return;
            }
            self.acknowledge_up_to(ack.psn, now);
        }
        let age = ack.nak_serial.wrapping_sub(self.nak_serial);
        if age == 0 || age >= SERIAL_HALF {
            return;
        }
        match ack.syndrome {
            Syndrome::Ack => {}
            Syndrome::SequenceNak => {
                self.nak_serial = ack.nak_serial;
                self.counters.sequence_naks += 1;
                self.repeat_all();
            }
            Syndrome::RnrNak(_) if is_old => {
                // The message it was about has been processed since; those behind it were dropped.
                self.nak_serial = ack.nak_serial;
                self.repeat_all();
            }
            Syndrome::RnrNak(timer) => {
                self.nak_serial = ack.nak_serial;
                self.on_rnr_nak(timer, now);
            }
            Syndrome::Nak(_) if is_old => self.counters.bogus += 1,
            Syndrome::Nak(code) => {
                self.nak_serial = ack.nak_serial;
                self.on_nak(code);
            }
            Syndrome::ReadNak { psn, code } => {
                self.nak_serial = ack.nak_serial;
                self.on_read_nak(psn, code);
            }
        }
    }

    /// The responder has processed all requests before `psn`, which is in the window or at its end.
    pub(super) fn acknowledge_up_to(&mut self, psn: Psn, now: Instant) {
        let outstanding = self.next.distance_from(self.una);
        let count = psn.distance_from(self.una);
        if count == 0 || count > outstanding {
            return;
        }
        for _ in 0..count {
            let slot = self.retire(self.una);
            let message = self.messages.at(slot.message);
            let last = message.first_psn.add(message.segments - 1);
            if last == self.una {
                self.acked = slot.message.wrapping_add(1);
            }
            self.una = self.una.next();
        }
        self.rnr_until = None;
        self.caution = Caution::None;
        self.note_progress(now);
    }

    /// The peer has done something new: counts of repetitions start anew, and so does the timer.
    pub(super) fn note_progress(&mut self, now: Instant) {
        self.retry_left = self.config.retry;
        self.rnr_retry_left = self.config.rnr_retry;
        self.repetitions_left = REPETITIONS;
        if self.is_waiting() {
            self.arm(now);
        } else {
            self.deadline = None;
        }
    }

    /// Whether anything is unfinished.
    pub(super) fn is_waiting(&self) -> bool {
        let may_begin = self.admission == Admission::Open || self.admitted_segments > 0;
        self.una != self.next
            || self.reads_outstanding() > 0
            || (self.admitted != self.posted && may_begin)
    }

    /// The responder wants everything outstanding again.
    fn repeat_all(&mut self) {
        if self.una == self.next {
            return;
        }
        match self.repetitions_left.spend() {
            Some(left) => {
                self.repetitions_left = left;
                self.rewind();
            }
            None => {
                let message = self.segments.at(self.una.get()).message;
                self.fail(message, CompletionStatus::RetryExceeded);
            }
        }
    }

    fn on_rnr_nak(&mut self, timer: RnrTimer, now: Instant) {
        if self.una == self.next {
            self.counters.bogus += 1;
            return;
        }
        self.counters.rnr_naks += 1;
        match self.rnr_retry_left.spend() {
            Some(left) => {
                self.rnr_retry_left = left;
                self.rewind();
                self.caution = Caution::AnyOne;
                self.rnr_until = Some(now.after(timer.duration()));
                // The wait is the responder's wish: the ACK timer stands still.
                self.deadline = None;
            }
            None => {
                let message = self.segments.at(self.una.get()).message;
                self.fail(message, CompletionStatus::RnrRetryExceeded);
            }
        }
    }

    fn on_nak(&mut self, code: NakCode) {
        if self.una == self.next {
            self.counters.bogus += 1;
            return;
        }
        let message = self.segments.at(self.una.get()).message;
        self.fail(message, code.requester_status());
    }

    fn on_read_nak(&mut self, psn: Psn, code: NakCode) {
        match self.oldest_read() {
            Some((message, oldest)) if oldest == psn => {
                self.fail(message, code.requester_status());
            }
            _ => self.counters.bogus += 1,
        }
    }
}
