// SPDX-License-Identifier: GPL-2.0

//! Receives that messages have taken from the receive queue, and their completions.

use crate::transport::ids::ReceiveSlot;
use crate::transport::ids::Rkey;
use crate::transport::ids::Rsn;
use crate::transport::opcode::Opcode;
use crate::transport::requester::Solicitation;
use crate::transport::status::CompletionStatus;
use crate::transport::storage::Ring;
use crate::transport::storage::Storage;

/// A receive request taken from a queue.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Receive {
    /// The caller's name for it, under which it keeps the buffers until the completion is polled.
    pub slot: ReceiveSlot,
    /// The user's name for it.
    pub wr_id: u64,
    /// Bytes its buffers hold.
    pub length: u32,
    /// Whether a message can be received into it.
    pub soundness: Soundness,
}

/// Whether a receive request is as it should be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Soundness {
    /// A message can be received into it.
    #[default]
    Sound,
    /// It is not: the message that would use it up completes it with this status and fails the queue pair.
    Broken(CompletionStatus),
}

/// A receive queue, of the queue pair's own or shared.
pub trait ReceiveQueue {
    /// Takes the next receive request, if there is one.
    fn take(&mut self) -> Option<Receive>;

    /// A message that uses up a receive is complete but for this: makes `rkey` invalid, which the peer may do if it names
    /// a memory window that is bound to the queue pair. No access by it begins after this.
    ///
    /// # Errors
    ///
    /// If the peer may not.
    fn invalidate(&mut self, rkey: Rkey) -> Result<(), KeyNotValid>;
}

/// A peer may not make a key invalid that is not valid for it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KeyNotValid;

/// A completion of the receive queue.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ReceiveCompletion {
    /// Which receive; its buffers are the user's again.
    pub slot: ReceiveSlot,
    /// The user's name for it.
    pub wr_id: u64,
    /// Operation of the message.
    pub opcode: Opcode,
    /// How the receive ended.
    pub status: CompletionStatus,
    /// Bytes of the message.
    pub byte_len: u32,
    /// Immediate data, if the opcode has any.
    pub imm: u32,
    /// The key that is not valid any more, if the opcode makes one invalid.
    pub rkey: Rkey,
    /// Whether the sender asked to wake the receiver.
    pub solicited: Solicitation,
}

/// Entry of the table of taken receives.
#[derive(Clone, Copy, Debug, Default)]
pub struct TakenReceive {
    receive: Receive,
    end: Option<ReceiveEnd>,
    /// Segments that are being placed into its buffers.
    placing: u32,
}

/// How a receive ended.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReceiveEnd {
    pub(super) opcode: Opcode,
    pub(super) status: CompletionStatus,
    pub(super) byte_len: u32,
    pub(super) imm: u32,
    pub(super) rkey: Rkey,
    pub(super) solicited: Solicitation,
}

/// Whether receives that no message has completed are flushed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Flushing {
    Allowed,
    Forbidden,
}

/// A receive for a message, or why there is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Assignment {
    /// The message gets this receive.
    Taken(Receive),
    /// The queue is empty.
    NotReady,
    /// Completions have not been polled: no room to note more.
    NoRoom,
    /// The message cannot have this number.
    Impossible,
}

/// Receives taken, by receive sequence number.
///
/// # Invariants
///
/// `polled` <= `done` <= `taken` (as distances), at most the ring's length apart. Entries before `done`
/// have an end.
pub(super) struct Receives<S: Storage> {
    ring: Ring<S, TakenReceive>,
    polled: Rsn,
    done: Rsn,
    taken: Rsn,
}

impl<S: Storage> Receives<S> {
    pub(super) fn new(ring: Ring<S, TakenReceive>) -> Self {
        Self {
            ring,
            polled: Rsn::FIRST,
            done: Rsn::FIRST,
            taken: Rsn::FIRST,
        }
    }

    pub(super) fn capacity(&self) -> u32 {
        self.ring.len()
    }

    pub(super) fn reset(&mut self) {
        self.polled = Rsn::FIRST;
        self.done = Rsn::FIRST;
        self.taken = Rsn::FIRST;
    }

    /// Number of the receive the next message in order will use up.
    pub(super) const fn next(&self) -> Rsn {
        self.done
    }

    pub(super) fn is_empty(&self) -> bool {
        self.polled == self.taken
    }

    /// The receive with number `rsn`, taking it and those before it from the queue if need be.
    /// `messages_before` is how many messages there can be between it and the next in order: a peer
    /// must not take more receives than it sends messages, least of all from a shared queue.
    pub(super) fn assign(
        &mut self,
        rsn: Rsn,
        messages_before: u32,
        queue: &mut impl ReceiveQueue,
    ) -> Assignment {
        let ahead = rsn.distance_from(self.done);
        if ahead >= self.ring.len() || ahead > messages_before {
            return Assignment::Impossible;
        }
        while ahead >= self.taken.distance_from(self.done) {
            if self.taken.distance_from(self.polled) >= self.ring.len() {
                return Assignment::NoRoom;
            }
            let Some(receive) = queue.take() else {
                return Assignment::NotReady;
            };
            *self.ring.at_mut(self.taken.0) = TakenReceive {
                receive,
                end: None,
                placing: 0,
            };
            self.taken = self.taken.add(1);
        }
        Assignment::Taken(self.ring.at(rsn.0).receive)
    }

    /// A segment is being placed into the buffers of the receive with this number, which is taken.
    pub(super) fn begin_placing(&mut self, rsn: Rsn) {
        self.ring.at_mut(rsn.0).placing += 1;
    }

    /// A segment is no longer being placed into the buffers of the receive with this number.
    pub(super) fn end_placing(&mut self, rsn: Rsn) {
        let entry = self.ring.at_mut(rsn.0);
        entry.placing = entry.placing.saturating_sub(1);
    }

    /// The receive the next message in order used up has ended.
    ///
    /// # Errors
    ///
    /// If it cannot have.
    pub(super) fn complete(&mut self, end: ReceiveEnd) -> Result<(), NotComplete> {
        if self.done == self.taken {
            return Err(NotComplete);
        }
        let entry = self.ring.at_mut(self.done.0);
        // All segments of the message have been processed: others claim to belong to it. Its user must
        // not get the buffers back while they are written to.
        if entry.placing > 0 {
            return Err(NotComplete);
        }
        entry.end = Some(end);
        self.done = self.done.add(1);
        Ok(())
    }

    pub(super) fn poll(&mut self, flushing: Flushing) -> Option<ReceiveCompletion> {
        if self.polled == self.taken {
            return None;
        }
        let entry = *self.ring.at(self.polled.0);
        let end = if self.polled != self.done {
            entry.end?
        } else {
            match flushing {
                Flushing::Forbidden => return None,
                Flushing::Allowed => {
                    self.done = self.done.add(1);
                    ReceiveEnd {
                        opcode: Opcode::Send,
                        status: CompletionStatus::FlushError,
                        byte_len: 0,
                        imm: 0,
                        rkey: Rkey::default(),
                        solicited: Solicitation::Unsolicited,
                    }
                }
            }
        };
        self.polled = self.polled.add(1);
        Some(ReceiveCompletion {
            slot: entry.receive.slot,
            wr_id: entry.receive.wr_id,
            opcode: end.opcode,
            status: end.status,
            byte_len: end.byte_len,
            imm: end.imm,
            rkey: end.rkey,
            solicited: end.solicited,
        })
    }
}

/// No receive was taken for a message, or it is still being written to.
pub(super) struct NotComplete;
