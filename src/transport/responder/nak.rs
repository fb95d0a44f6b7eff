// SPDX-License-Identifier: GPL-2.0

//! NAKs: why requests in the window cannot be taken, and what acknowledgements say about it.
//!
//! A request that cannot be taken is noted with the cause. The NAK for it is raised when all before it have been
//! processed, and is part of every acknowledgement from then on, until there is another.

use super::window::RequestWindow;
use super::window::SlotState;
use super::FaultyReceive;
use crate::transport::frame::Syndrome;
use crate::transport::ids::NakSerial;
use crate::transport::ids::Psn;
use crate::transport::ids::Rsn;
use crate::transport::opcode::Opcode;
use crate::transport::status::CompletionStatus;
use crate::transport::status::NakCode;
use crate::transport::storage::Storage;

/// Why a request in the window cannot be taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum NakCause {
    /// There was no receive request with this number for it.
    ReceiverNotReady(Rsn),
    /// It came too early, or what came was not good: it must be sent again.
    Sequence,
    /// The request is refused for this reason.
    Refused(NakCode),
    /// The receive request is too short for it.
    TooLong,
    /// The receive request is broken, and ends like this.
    BrokenReceive(CompletionStatus),
}

impl NakCause {
    /// Whether the request may never be carried out.
    const fn may_be_final(self) -> bool {
        match self {
            Self::ReceiverNotReady(_)
            | Self::Refused(_)
            | Self::TooLong
            | Self::BrokenReceive(_) => true,
            Self::Sequence => false,
        }
    }
}

/// How a request with this opcode fails for good.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Refusal {
    pub(super) code: NakCode,
    pub(super) receive: FaultyReceive,
}

impl Refusal {
    /// The request is refused with this code.
    pub(super) const fn of(code: NakCode, opcode: Opcode) -> Self {
        let receive = match (opcode, code) {
            (Opcode::Send | Opcode::SendWithImm, NakCode::RemoteOperation) => {
                FaultyReceive::Failed(CompletionStatus::LocalProtectionError)
            }
            _ => FaultyReceive::Flushed,
        };
        Self { code, receive }
    }

    /// Processing has shown that the request is refused with this code.
    pub(super) const fn flushing(code: NakCode) -> Self {
        Self {
            code,
            receive: FaultyReceive::Flushed,
        }
    }

    /// A refusal by which the receive ends with this status.
    pub(super) const fn failing(code: NakCode, status: CompletionStatus) -> Self {
        Self {
            code,
            receive: FaultyReceive::Failed(status),
        }
    }
}

/// NAKs to be raised, and the one that is in force.
///
/// # Invariants
///
/// `pending` counts the slots of the window that are [`SlotState::Nak`].
pub(super) struct Naks {
    pending: u32,
    /// The first request in the window that may never be carried out: nothing behind it is placed, as it may
    /// never come to be.
    barrier: Option<Psn>,
    syndrome: Syndrome,
    serial: NakSerial,
}

impl Naks {
    /// No NAK.
    pub(super) const fn new() -> Self {
        Self {
            pending: 0,
            barrier: None,
            syndrome: Syndrome::Ack,
            serial: NakSerial::NONE,
        }
    }

    /// The NAK in force, or that there is none.
    pub(super) const fn syndrome(&self) -> Syndrome {
        self.syndrome
    }

    /// Number of the NAK in force.
    pub(super) const fn serial(&self) -> NakSerial {
        self.serial
    }

    /// Whether `psn` is behind a request that may never be carried out.
    pub(super) fn is_behind_barrier(&self, psn: Psn) -> bool {
        self.barrier.is_some_and(|barrier| barrier.is_before(psn))
    }

    /// The request at `psn` cannot be taken.
    pub(super) fn note<S: Storage>(
        &mut self,
        psn: Psn,
        cause: NakCause,
        window: &mut RequestWindow<S>,
    ) {
        window.at_mut(psn).state = SlotState::Nak(cause);
        self.pending += 1;
        if cause.may_be_final() && self.barrier.is_none_or(|known| psn.is_before(known)) {
            self.barrier = Some(psn);
        }
    }

    /// Another copy of a request that was noted has arrived: it is judged anew.
    pub(super) fn withdraw(&mut self) {
        self.pending -= 1;
    }

    /// The request at `psn` has been taken.
    pub(super) fn note_taken<S: Storage>(&mut self, psn: Psn, window: &RequestWindow<S>) {
        if self.barrier == Some(psn) {
            self.barrier = self.first_final_behind(psn, window);
        }
    }

    /// A NAK about the request at the base of the window, or about a READ before it, is in force.
    pub(super) fn raise(&mut self, syndrome: Syndrome) {
        self.syndrome = syndrome;
        self.serial = self.serial.next();
    }

    /// The request at the base must be sent again, and all behind it: whatever was noted is forgotten.
    pub(super) fn raise_for_all<S: Storage>(
        &mut self,
        syndrome: Syndrome,
        window: &mut RequestWindow<S>,
    ) {
        let mut psn = window.base();
        let end = psn.add(window.size());
        while self.pending > 0 && psn != end {
            let slot = window.at_mut(psn);
            if matches!(slot.state, SlotState::Nak(_)) {
                slot.state = SlotState::Empty;
                self.pending -= 1;
            }
            psn = psn.next();
        }
        self.barrier = match syndrome {
            // The requester may give up on it.
            Syndrome::RnrNak(_) => Some(window.base()),
            Syndrome::Ack | Syndrome::SequenceNak | Syndrome::Nak(_) | Syndrome::ReadNak { .. } => {
                None
            }
        };
        self.raise(syndrome);
    }

    /// The request at the base has been processed. A NAK in force was about all behind it as well, and may not have
    /// arrived: it stays, until there is a new one; its number keeps the peer from acting upon it twice.
    pub(super) fn on_processed(&mut self) {
        match self.syndrome {
            Syndrome::RnrNak(_) => self.syndrome = Syndrome::SequenceNak,
            Syndrome::Ack | Syndrome::SequenceNak | Syndrome::Nak(_) | Syndrome::ReadNak { .. } => {
            }
        }
    }

    /// The first request behind `psn` that may never be carried out.
    fn first_final_behind<S: Storage>(&self, psn: Psn, window: &RequestWindow<S>) -> Option<Psn> {
        let end = window.base().add(window.size());
        let mut behind = psn.next();
        while self.pending > 0 && behind.is_before(end) {
            match window.at(behind).state {
                SlotState::Nak(cause) if cause.may_be_final() => return Some(behind),
                SlotState::Nak(_)
                | SlotState::Empty
                | SlotState::Placing(_)
                | SlotState::Placed
                | SlotState::Due
                | SlotState::Executing => {}
            }
            behind = behind.next();
        }
        None
    }
}
