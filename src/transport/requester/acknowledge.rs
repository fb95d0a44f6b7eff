// SPDX-License-Identifier: GPL-2.0

//! What the requester makes of acknowledgements.

use super::nak::NakSubject;
use super::Requester;
use crate::transport::admission::Admission;
use crate::transport::frame::AckHeader;
use crate::transport::ids::Instant;
use crate::transport::ids::Psn;
use crate::transport::message_number::MessageNumber;
use crate::transport::send_state::SendState;
use crate::transport::storage::Storage;

impl<S: Storage> Requester<S> {
    /// An acknowledgement has arrived. What it says about responses is for the responder.
    pub fn on_ack(&mut self, ack: &AckHeader, now: Instant) {
        match self.state {
            SendState::Running | SendState::Failing(_) => {}
            SendState::Idle | SendState::Flushing => return,
        }
        if ack.src_qpn != self.config.remote_qpn {
            self.counters.bogus += 1;
            return;
        }
        // Acknowledgements may overtake each other on their rails, and answers to READs may overtake
        // them: an old one may bring a new NAK all the same.
        let subject = if ack.psn.is_before(self.window.una()) {
            NakSubject::Acknowledged
        } else if ack.psn.distance_from(self.window.una()) <= self.window.outstanding() {
            self.acknowledge_up_to(ack.psn, now);
            NakSubject::Oldest
        } else {
            self.counters.bogus += 1;
            return;
        };
        if ack.nak_serial.is_after(self.newest_nak) {
            self.on_syndrome(ack, subject, now);
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

    /// The next message to enter the window, unless a local operation has to be carried out before it.
    fn next_to_send(&self) -> Option<MessageNumber> {
        self.messages
            .next_to_admit()
            .filter(|&number| !self.is_local(number))
    }

    /// Whether anything is unfinished that the peer has to do with.
    pub(super) fn is_waiting(&self) -> bool {
        let may_begin = self.admission == Admission::Open || self.messages.is_admitting();
        !self.window.is_empty()
            || self.reads.outstanding() > 0
            || (may_begin && self.next_to_send().is_some())
    }
}
