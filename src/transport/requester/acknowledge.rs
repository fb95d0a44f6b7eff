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
use super::recovery::Exhausted;
use super::Admission;
use super::Requester;
use super::State;

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
        let is_old = ack.psn.is_before(self.window.una());
        if !is_old {
            if ack.psn.distance_from(self.window.una()) > self.window.outstanding() {
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
                self.on_sequence_nak();
            }
            Syndrome::RnrNak(_) if is_old => {
                // The message it was about has been processed since; those behind it were dropped.
                self.nak_serial = ack.nak_serial;
                self.on_sequence_nak();
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
        let count = psn.distance_from(self.window.una());
        if count == 0 || count > self.window.outstanding() {
            return;
        }
        for _ in 0..count {
            let psn = self.window.una();
            let message = self.window.retire_oldest();
            self.messages.acknowledge_segment(message, psn);
        }
        self.recovery.end_rnr_wait();
        self.recovery.stripe();
        self.note_progress(now);
    }

    /// The peer has done something new: counts of repetitions start anew, and so does the timer.
    pub(super) fn note_progress(&mut self, now: Instant) {
        self.recovery.replenish(&self.config);
        if self.is_waiting() {
            self.arm(now);
        } else {
            self.recovery.disarm();
        }
    }

    /// Whether anything is unfinished.
    pub(super) fn is_waiting(&self) -> bool {
        let may_begin = self.admission == Admission::Open || self.messages.is_admitting();
        !self.window.is_empty()
            || self.reads.outstanding() > 0
            || (self.messages.next_to_admit().is_some() && may_begin)
    }

    /// Everything outstanding goes again.
    fn go_back(&mut self) {
        self.recovery.unpin();
        self.window.unsend_all();
    }

    /// The responder wants everything outstanding again.
    fn on_sequence_nak(&mut self) {
        let Some(message) = self.window.oldest_message() else {
            return;
        };
        match self.recovery.spend_sequence_retry() {
            Ok(()) => self.go_back(),
            Err(Exhausted) => self.fail(message, CompletionStatus::RetryExceeded),
        }
    }

    fn on_rnr_nak(&mut self, timer: RnrTimer, now: Instant) {
        let Some(message) = self.window.oldest_message() else {
            self.counters.bogus += 1;
            return;
        };
        self.counters.rnr_naks += 1;
        match self.recovery.spend_rnr_retry() {
            Ok(()) => {
                self.go_back();
                self.recovery.begin_rnr_wait(timer, now);
            }
            Err(Exhausted) => self.fail(message, CompletionStatus::RnrRetryExceeded),
        }
    }

    fn on_nak(&mut self, code: NakCode) {
        match self.window.oldest_message() {
            Some(message) => self.fail(message, code.requester_status()),
            None => self.counters.bogus += 1,
        }
    }

    fn on_read_nak(&mut self, psn: Psn, code: NakCode) {
        match self.reads.oldest() {
            Some((message, oldest)) if oldest == psn => {
                self.fail(message, code.requester_status());
            }
            _ => self.counters.bogus += 1,
        }
    }
}
