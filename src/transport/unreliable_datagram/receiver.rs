// SPDX-License-Identifier: GPL-2.0

//! The receiving side: a receive for each datagram that there is one for.

use crate::transport::frame::DatagramHeader;
use crate::transport::ids::Epoch;
use crate::transport::ids::Qkey;
use crate::transport::ids::Qpn;
use crate::transport::ids::ReceiveSlot;
use crate::transport::ids::BEFORE_WRAP;
use crate::transport::opcode::Opcode;
use crate::transport::outcome::Outcome;
use crate::transport::requester::Solicitation;
use crate::transport::responder::Receive;
use crate::transport::responder::ReceiveCompletion;
use crate::transport::responder::ReceiveQueue;
use crate::transport::responder::Soundness;
use crate::transport::status::CompletionStatus;
use crate::transport::status::QpEvent;
use crate::transport::storage::BadTableLength;
use crate::transport::storage::Ring;
use crate::transport::storage::Storage;
use crate::transport::storage::MAX_TABLE;

/// Entry of the table of taken receives.
#[derive(Clone, Copy, Debug, Default)]
pub struct TakenReceive {
    receive: Receive,
    /// What it is for, once a datagram has it.
    header: Option<DatagramHeader>,
    /// How it has ended.
    status: Option<CompletionStatus>,
}

/// Where the payload of a datagram goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DatagramPlacement {
    /// Into the first bytes of this receive's buffers.
    pub slot: ReceiveSlot,
    /// For [`DatagramReceiver::handle_payload`].
    pub token: DatagramToken,
}

/// Identifies a payload that is being placed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DatagramToken {
    epoch: Epoch,
    number: u32,
}

/// Why nobody gets a datagram. Its sender does not learn of it (IBTA 9.8.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DatagramDropped {
    /// The queue pair does not receive.
    NotReceiving,
    /// It does not have the queue pair's key.
    Qkey,
    /// There is no receive, or one that is too short, or broken.
    NoReceive,
}

/// A completion of the receive queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DatagramCompletion {
    /// As of any message. Its length includes the network header.
    pub receive: ReceiveCompletion,
    /// Which queue pair the datagram came from, if there was one.
    pub source: Option<Qpn>,
}

/// Whether datagrams are received.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    /// None is.
    Unconnected,
    /// Those with this key are.
    Open(Qkey),
    /// Receives are flushed, and the owner has to be told of a failure, or not.
    Failed(Tell),
}

/// What the owner has not been told yet.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tell {
    Failure,
    LastWqe,
    Nothing,
}

/// Receives taken, in order.
///
/// A datagram that is too long for the next receive leaves it to the one behind, as one that has no receive at all is dropped:
/// any host may send any length to a queue pair whose key it knows, and must not be able to stop it so.
///
/// # Invariants
///
/// `completed` <= `assigned` <= `taken` (as distances), at most the table's length apart. Those before `assigned` have a header
/// or a status.
pub struct DatagramReceiver<S: Storage> {
    table: Ring<S, TakenReceive>,
    epoch: Epoch,
    /// All before this one have completed.
    completed: u32,
    /// The next one that a datagram gets.
    assigned: u32,
    /// The next one to be taken from the queue.
    taken: u32,
    mode: Mode,
}

impl<S: Storage> DatagramReceiver<S> {
    /// One that receives nothing yet.
    ///
    /// # Errors
    ///
    /// If the table's length is not a power of two, or out of range.
    pub fn new(table: S::Table<TakenReceive>) -> Result<Self, BadTableLength> {
        Ok(Self {
            table: Ring::new(table, MAX_TABLE)?,
            epoch: Epoch::default(),
            completed: BEFORE_WRAP,
            assigned: BEFORE_WRAP,
            taken: BEFORE_WRAP,
            mode: Mode::Unconnected,
        })
    }

    /// Receives datagrams with this key (transition to RTR, or another key).
    pub fn start(&mut self, qkey: Qkey) {
        self.mode = Mode::Open(qkey);
    }

    /// Gives the key another value, if datagrams are received.
    pub fn set_qkey(&mut self, qkey: Qkey) {
        if let Mode::Open(_) = self.mode {
            self.mode = Mode::Open(qkey);
        }
    }

    /// Flushes all receives taken (transition to ERR).
    pub fn flush(&mut self) {
        self.mode = match self.mode {
            // Nothing was taken, which the owner knows.
            Mode::Unconnected => Mode::Failed(Tell::Nothing),
            Mode::Open(_) | Mode::Failed(Tell::Failure | Tell::LastWqe) => {
                Mode::Failed(Tell::LastWqe)
            }
            Mode::Failed(Tell::Nothing) => Mode::Failed(Tell::Nothing),
        };
    }

    /// Forgets everything (transition to RESET).
    pub fn reset(&mut self) {
        self.epoch = self.epoch.next();
        self.completed = self.taken;
        self.assigned = self.taken;
        self.mode = Mode::Unconnected;
    }

    /// A datagram has arrived.
    ///
    /// # Errors
    ///
    /// If it is dropped.
    pub fn handle_datagram(
        &mut self,
        header: &DatagramHeader,
        queue: &mut impl ReceiveQueue,
    ) -> Result<DatagramPlacement, DatagramDropped> {
        match self.mode {
            Mode::Unconnected | Mode::Failed(_) => return Err(DatagramDropped::NotReceiving),
            Mode::Open(qkey) if qkey != header.qkey => return Err(DatagramDropped::Qkey),
            Mode::Open(_) => {}
        }
        let number = self.assigned;
        if number == self.taken {
            if self.taken.wrapping_sub(self.completed) >= self.table.len() {
                return Err(DatagramDropped::NoReceive);
            }
            *self.table.at_mut(number) = TakenReceive {
                receive: queue.take().ok_or(DatagramDropped::NoReceive)?,
                header: None,
                status: None,
            };
            self.taken = number.wrapping_add(1);
        }
        let entry = self.table.at_mut(number);
        if let Soundness::Broken(status) = entry.receive.soundness {
            entry.status = Some(status);
            self.assigned = number.wrapping_add(1);
            self.mode = Mode::Failed(Tell::Failure);
            return Err(DatagramDropped::NoReceive);
        }
        if entry.receive.length < header.payload_len {
            return Err(DatagramDropped::NoReceive);
        }
        entry.header = Some(*header);
        let slot = entry.receive.slot;
        self.assigned = number.wrapping_add(1);
        Ok(DatagramPlacement {
            slot,
            token: DatagramToken {
                epoch: self.epoch,
                number,
            },
        })
    }

    /// What became of the payload of a datagram. One of an earlier life is ignored.
    pub fn handle_payload(&mut self, token: DatagramToken, outcome: Outcome) {
        if token.epoch != self.epoch {
            return;
        }
        let status = match outcome {
            Outcome::Placed => CompletionStatus::Success,
            // The receive cannot be given to another datagram: the next one may have been completed.
            Outcome::Aborted => CompletionStatus::LocalQpOperationError,
            Outcome::Denied(_) => CompletionStatus::LocalProtectionError,
        };
        self.table.at_mut(token.number).status = Some(status);
        if status != CompletionStatus::Success && matches!(self.mode, Mode::Open(_)) {
            self.mode = Mode::Failed(Tell::Failure);
        }
    }

    /// The next completion, in the order in which the receives were taken.
    pub fn poll_completion(&mut self) -> Option<DatagramCompletion> {
        if self.completed == self.taken {
            return None;
        }
        let entry = *self.table.at(self.completed);
        let status = if self.completed != self.assigned {
            entry.status?
        } else {
            let Mode::Failed(_) = self.mode else {
                return None;
            };
            self.assigned = self.assigned.wrapping_add(1);
            CompletionStatus::FlushError
        };
        self.completed = self.completed.wrapping_add(1);
        let imm = entry.header.and_then(|header| header.imm);
        Some(DatagramCompletion {
            receive: ReceiveCompletion {
                slot: entry.receive.slot,
                wr_id: entry.receive.wr_id,
                opcode: match imm {
                    None => Opcode::Send,
                    Some(_) => Opcode::SendWithImm,
                },
                status,
                byte_len: entry.header.map_or(0, |header| header.payload_len),
                imm: imm.unwrap_or(0),
                solicited: entry
                    .header
                    .map_or(Solicitation::Unsolicited, |header| header.solicited),
            },
            source: entry.header.map(|header| header.src_qpn),
        })
    }

    /// Something the owner must act upon, if anything. To be asked when all completions have been polled.
    pub fn poll_event(&mut self) -> Option<QpEvent> {
        match self.mode {
            Mode::Failed(Tell::Failure) => {
                self.mode = Mode::Failed(Tell::LastWqe);
                Some(QpEvent::ReceiveFailed)
            }
            Mode::Failed(Tell::LastWqe) if self.completed == self.taken => {
                self.mode = Mode::Failed(Tell::Nothing);
                Some(QpEvent::LastWqeReached)
            }
            Mode::Failed(_) | Mode::Unconnected | Mode::Open(_) => None,
        }
    }
}
