// SPDX-License-Identifier: GPL-2.0

//! What the requester makes of NAKs.

use super::recovery::Exhausted;
use super::Requester;
use crate::transport::frame::AckHeader;
use crate::transport::frame::Syndrome;
use crate::transport::ids::Instant;
use crate::transport::ids::Psn;
use crate::transport::status::CompletionStatus;
use crate::transport::status::NakCode;
use crate::transport::storage::Storage;
use crate::transport::timing::RnrTimer;

/// Which request a NAK is about.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NakSubject {
    /// The oldest request that is outstanding.
    Oldest,
    /// A request that has been acknowledged since.
    Acknowledged,
}

impl<S: Storage> Requester<S> {
    /// An acknowledgement brings a NAK that is newer than those acted upon, or none.
    pub(super) fn on_syndrome(&mut self, ack: &AckHeader, subject: NakSubject, now: Instant) {
        match (ack.syndrome, subject) {
            (Syndrome::Ack, _) => return,
            (Syndrome::Nak(_), NakSubject::Acknowledged) => {
                self.counters.bogus += 1;
                return;
            }
            (Syndrome::Nak(code), NakSubject::Oldest) => self.on_nak(code),
            (Syndrome::SequenceNak, _) => {
                self.counters.sequence_naks += 1;
                self.on_sequence_nak();
            }
            // The message it was about has been processed since; those behind it were dropped.
            (Syndrome::RnrNak(_), NakSubject::Acknowledged) => self.on_sequence_nak(),
            (Syndrome::RnrNak(timer), NakSubject::Oldest) => self.on_rnr_nak(timer, now),
            (Syndrome::ReadNak { psn, code }, _) => self.on_read_nak(psn, code),
        }
        self.newest_nak = ack.nak_serial;
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
