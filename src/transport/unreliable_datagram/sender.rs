// SPDX-License-Identifier: GPL-2.0

//! The sending side: datagrams from posting to completion.

use crate::transport::ids::MessageSlot;
use crate::transport::ids::Qkey;
use crate::transport::ids::Qpn;
use crate::transport::ids::BEFORE_WRAP;
use crate::transport::opcode::Opcode;
use crate::transport::requester::PostError;
use crate::transport::requester::SendCompletion;
use crate::transport::requester::Signalling;
use crate::transport::requester::Solicitation;
use crate::transport::status::CompletionStatus;
use crate::transport::status::QpEvent;
use crate::transport::storage::BadTableLength;
use crate::transport::storage::Ring;
use crate::transport::storage::Storage;
use crate::transport::storage::MAX_TABLE;

/// A datagram to post.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct DatagramRequest {
    /// The user's name for it.
    pub wr_id: u64,
    /// Whether to report success.
    pub signalling: Signalling,
    /// Whether to wake the receiver.
    pub solicitation: Solicitation,
    /// Bytes of the message.
    pub length: u32,
    /// The queue pair it is for.
    pub dest_qpn: Qpn,
    /// The key of that.
    pub qkey: Qkey,
    /// Immediate data, if any; handed through as it is.
    pub imm: Option<u32>,
}

/// Entry of the table of datagrams.
#[derive(Clone, Copy, Debug, Default)]
pub struct Datagram {
    request: DatagramRequest,
    /// How it ends: known before its turn comes if it cannot be sent.
    status: Option<CompletionStatus>,
}

/// Whether datagrams are given out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Mode {
    /// None can be posted.
    Unconnected,
    /// They are.
    Open,
    /// They wait.
    Drained,
    /// All are flushed.
    Failed,
}

/// Whether an event is to be told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Pending {
    None,
    Event(QpEvent),
}

/// Datagrams posted and not completed, in order.
///
/// # Invariants
///
/// `completed` <= `ended` <= `posted` (as distances), at most the table's length apart. Those before `ended` have a status.
pub struct DatagramSender<S: Storage> {
    table: Ring<S, Datagram>,
    /// All before this one have completed.
    completed: u32,
    /// All before this one have ended.
    ended: u32,
    /// The next one to be posted.
    posted: u32,
    mode: Mode,
    pending: Pending,
}

impl<S: Storage> DatagramSender<S> {
    /// One that takes no datagrams yet.
    ///
    /// # Errors
    ///
    /// If the table's length is not a power of two, or out of range.
    pub fn new(table: S::Table<Datagram>) -> Result<Self, BadTableLength> {
        Ok(Self {
            table: Ring::new(table, MAX_TABLE)?,
            completed: BEFORE_WRAP,
            ended: BEFORE_WRAP,
            posted: BEFORE_WRAP,
            mode: Mode::Unconnected,
            pending: Pending::None,
        })
    }

    /// Gives datagrams out (transition to RTS, from wherever: what failed is over).
    pub fn start(&mut self) {
        self.mode = Mode::Open;
        self.pending = Pending::None;
        self.fail_head();
    }

    /// Gives out none (transition to SQD). None has been begun and not ended, so there is a [`QpEvent::SendQueueDrained`] at
    /// once.
    pub fn drain(&mut self) {
        if self.mode == Mode::Open {
            self.mode = Mode::Drained;
            self.pending = Pending::Event(QpEvent::SendQueueDrained);
        }
    }

    /// Flushes all that is not complete, and whatever is posted from now on.
    pub fn flush(&mut self) {
        self.mode = Mode::Failed;
        self.pending = Pending::None;
    }

    /// Forgets everything (transition to RESET).
    pub fn reset(&mut self) {
        self.completed = self.posted;
        self.ended = self.posted;
        self.mode = Mode::Unconnected;
        self.pending = Pending::None;
    }

    /// Posts a datagram. After a failure it will be flushed.
    ///
    /// # Errors
    ///
    /// If it cannot be taken; nothing has changed then.
    pub fn post(&mut self, request: DatagramRequest) -> Result<MessageSlot, PostError> {
        if self.mode == Mode::Unconnected {
            return Err(PostError::NotConnected);
        }
        if self.room() == 0 {
            return Err(PostError::Full);
        }
        let number = self.posted;
        *self.table.at_mut(number) = Datagram {
            request,
            status: None,
        };
        self.posted = number.wrapping_add(1);
        Ok(self.slot_of(number))
    }

    /// How many more can be posted.
    pub fn room(&self) -> u32 {
        self.table.len() - self.outstanding()
    }

    /// How many have been posted and are not complete.
    pub const fn outstanding(&self) -> u32 {
        self.posted.wrapping_sub(self.completed)
    }

    /// The one posted as `slot` cannot be sent: it fails with `status` when those before it have ended.
    pub fn fail(&mut self, slot: MessageSlot, status: CompletionStatus) {
        let ahead = u32::from(slot.0).wrapping_sub(self.ended) & (self.table.len() - 1);
        if ahead < self.waiting() {
            let number = self.ended.wrapping_add(ahead);
            self.table.at_mut(number).status = Some(status);
            self.fail_head();
        }
    }

    /// The next one to be sent, or dropped, if any: what [`Self::end_head`] is about.
    pub fn head(&self) -> Option<(MessageSlot, &DatagramRequest)> {
        if self.mode != Mode::Open || self.waiting() == 0 {
            return None;
        }
        let head = self.table.at(self.ended);
        Some((self.slot_of(self.ended), &head.request))
    }

    /// The [`Self::head`] has been given to a rail, or dropped: it makes no difference to who has posted it.
    pub fn end_head(&mut self) {
        if self.mode == Mode::Open && self.waiting() > 0 {
            self.end(CompletionStatus::Success);
            self.fail_head();
        }
    }

    /// The next completion, in the order of posting. An unsuccessful one stops the queue: all behind it are flushed.
    pub fn poll_completion(&mut self) -> Option<SendCompletion> {
        if self.completed == self.ended {
            if self.mode != Mode::Failed || self.waiting() == 0 {
                return None;
            }
            self.end(CompletionStatus::FlushError);
        }
        let number = self.completed;
        let Datagram { request, status } = *self.table.at(number);
        self.completed = number.wrapping_add(1);
        Some(SendCompletion {
            slot: self.slot_of(number),
            wr_id: request.wr_id,
            opcode: match request.imm {
                None => Opcode::Send,
                Some(_) => Opcode::SendWithImm,
            },
            status: status.unwrap_or_default(),
            byte_len: request.length,
            signalling: request.signalling,
        })
    }

    /// Something the owner must act upon, if anything.
    pub fn poll_event(&mut self) -> Option<QpEvent> {
        match core::mem::replace(&mut self.pending, Pending::None) {
            Pending::None => None,
            Pending::Event(event) => Some(event),
        }
    }

    /// Datagrams that have not ended.
    const fn waiting(&self) -> u32 {
        self.posted.wrapping_sub(self.ended)
    }

    fn slot_of(&self, number: u32) -> MessageSlot {
        MessageSlot(self.table.index(number) as u16)
    }

    fn end(&mut self, status: CompletionStatus) {
        self.table.at_mut(self.ended).status = Some(status);
        self.ended = self.ended.wrapping_add(1);
    }

    /// If the next one cannot be sent, it ends so, and the queue fails.
    fn fail_head(&mut self) {
        if self.mode == Mode::Failed || self.waiting() == 0 {
            return;
        }
        if let Some(status) = self.table.at(self.ended).status {
            self.end(status);
            self.mode = Mode::Failed;
            self.pending = Pending::Event(QpEvent::SendFailed);
        }
    }
}
