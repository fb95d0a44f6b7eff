// SPDX-License-Identifier: GPL-2.0

//! What ought to happen: every message of every connection, and what has been seen of it.

use std::collections::HashMap;
use std::collections::HashSet;

use usb4_roce::transport::frame::Operands;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::opcode::WORD;
use usb4_roce::transport::responder::Execution;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::NakCode;

use crate::datagrams::DatagramLedger;
use crate::frames::Frames;
use crate::log::Log;
use crate::pattern;
use crate::unreliable;
use crate::words::Finding;
use crate::words::Word;

/// How a message is meant to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    Succeed,
    /// It must fail with this status (unless the connection fails before it).
    Fail(CompletionStatus),
    /// It may fail with this status.
    MayFail(CompletionStatus),
}

/// A posted message.
#[derive(Debug)]
pub struct Message {
    pub opcode: Opcode,
    pub length: u32,
    pub tag: u64,
    pub imm: u32,
    pub signalled: bool,
    pub solicited: bool,
    pub fenced: bool,
    /// A processor keeps writing to the memory it is sent from.
    pub changes: bool,
    pub fate: Fate,
    /// A flag: when it is placed, the message before it must be there in full.
    pub is_flag: bool,
    /// Bytes as they lie at the target; as long as the message.
    pub target: Vec<u8>,
    pub placed: HashSet<u32>,
    pub placed_bytes: u32,
    /// Which word an atomic operation is about, and its operands.
    pub word: usize,
    pub operands: Operands,
    /// It has been carried out, and this is what was there before.
    pub executed: Option<u64>,
    /// What its requester was told was there before.
    pub answer: Option<u64>,
    /// The receiver has seen the completion.
    pub received: bool,
    /// The sender has seen the completion.
    pub completed: Option<CompletionStatus>,
}

impl Message {
    /// A piece of it has been placed for good.
    pub fn place(&mut self, offset: u32, data: &[u8], segment: u32) {
        assert!(
            self.completed.is_none() || self.completed != Some(CompletionStatus::Success),
            "placed after completion: {self:?}"
        );
        assert!(!self.received, "placed after the receiver's completion");
        assert_eq!(offset % segment, 0, "segment at an odd offset");
        let expected = pattern::bytes(self.tag, offset, data.len() as u32);
        assert!(expected == data, "wrong bytes at {offset}");
        assert!(self.placed.insert(offset), "placed twice at {offset}");
        let at = offset as usize;
        self.target[at..at + data.len()].copy_from_slice(data);
        self.placed_bytes += data.len() as u32;
    }

    /// The answer to an atomic operation has arrived.
    pub fn place_answer(&mut self, data: &[u8]) {
        let value = u64::from_le_bytes(data.try_into().expect("not a word"));
        assert_eq!(self.completed, None, "answered after completion");
        assert_eq!(self.answer, None, "answered twice");
        assert_eq!(self.executed, Some(value), "not what was there");
        self.answer = Some(value);
        self.placed_bytes = WORD;
    }

    /// All that the request is for has come about.
    pub fn is_whole(&self) -> bool {
        match self.opcode {
            Opcode::CompareSwap | Opcode::FetchAdd => self.answer.is_some(),
            Opcode::AtomicWrite | Opcode::Flush => self.executed.is_some(),
            Opcode::Send
            | Opcode::SendWithImm
            | Opcode::Write
            | Opcode::WriteWithImm
            | Opcode::Read => self.placed_bytes == self.length,
        }
    }

    /// Whether what it does to the peer's memory has been done.
    fn is_done_remotely(&self) -> bool {
        match self.opcode {
            Opcode::Read => true,
            Opcode::CompareSwap | Opcode::FetchAdd => self.executed.is_some(),
            _ => self.is_whole(),
        }
    }

    /// The target holds the whole message.
    pub fn assert_whole(&self) {
        assert!(self.is_whole(), "not all done");
        if self.opcode.is_answered() && self.opcode != Opcode::Read {
            return;
        }
        assert_eq!(self.placed_bytes, self.length, "not all placed");
        let expected = pattern::bytes(self.tag, 0, self.length);
        assert!(self.target == expected, "target overwritten");
    }
}

/// Messages of one direction of a connection, in the order of posting.
#[derive(Debug, Default)]
pub struct Stream {
    pub messages: Vec<Message>,
    /// Indices of those that use up a receive.
    pub consumers: Vec<usize>,
    /// Completions the sender has polled.
    pub completed: usize,
    /// Receives the receiver has seen completed.
    pub received: usize,
    /// The first completion that was not a success.
    pub failed: Option<CompletionStatus>,
}

impl Stream {
    /// A segment of a message is about to be sent.
    pub fn assert_may_start(&self, index: usize) {
        if !self.messages[index].fenced {
            return;
        }
        let mut reads = self.messages[..index]
            .iter()
            .filter(|message| message.opcode.is_answered());
        assert!(
            reads.all(Message::is_whole),
            "sent before a READ behind whose fence it is"
        );
    }
}

/// Which message a remote key belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    pub connection: usize,
    pub side: usize,
    pub index: usize,
    pub va: u64,
    pub revoked: bool,
    /// A READ's check succeeds, but then the key is revoked.
    pub revoke_when_checked: bool,
}

/// One life of a pair of queue pairs. Side 0's messages are those sent by end 0.
#[derive(Debug, Default)]
pub struct Connection {
    pub streams: [Stream; 2],
    /// Whether something was done that may fail any message of a stream.
    pub disturbed: [bool; 2],
    /// Payload of a segment.
    pub segment: u32,
}

/// All that is known.
#[derive(Debug, Default)]
pub struct Ledger {
    pub connections: Vec<Connection>,
    pub regions: HashMap<u32, Region>,
    /// Of unreliable connections.
    pub unreliable: Vec<unreliable::Stream>,
    /// By cable, and the end that sent them.
    pub frames: HashMap<(usize, usize), Frames>,
    pub log: Log,
    /// Payloads that were changed while they were sent.
    pub changed_payloads: u64,
    pub words: Vec<Word>,
    pub datagrams: DatagramLedger,
    next_key: u32,
}

impl Ledger {
    /// The frames sent by one end of a cable.
    pub fn frames(&mut self, cable: usize, end: usize) -> &mut Frames {
        self.frames.entry((cable, end)).or_default()
    }

    /// Registers memory for a message; returns its key.
    pub fn register(&mut self, connection: usize, side: usize, index: usize, va: u64) -> u32 {
        self.next_key += 1;
        let region = Region {
            connection,
            side,
            index,
            va,
            revoked: false,
            revoke_when_checked: false,
        };
        self.regions.insert(self.next_key, region);
        self.next_key
    }

    /// Carries out what a message of this connection and side asks for, once.
    pub fn execute(
        &mut self,
        connection: usize,
        side: usize,
        execution: &Execution,
    ) -> Result<u64, NakCode> {
        let region = self.regions.get(&execution.rkey.0).copied();
        let Some(region) = region.filter(|region| !region.revoked) else {
            return Err(NakCode::RemoteAccess);
        };
        assert_eq!((region.connection, region.side), (connection, side));
        assert_eq!(region.va, execution.va);
        let stream = &mut self.connections[connection].streams[side];
        let (before, rest) = stream.messages.split_at_mut(region.index);
        assert!(
            before.iter().all(Message::is_done_remotely),
            "carried out before its turn"
        );
        let message = &mut rest[0];
        assert_eq!(execution.action.opcode(), message.opcode);
        assert_eq!(execution.operands, message.operands);
        assert_eq!(message.executed, None, "carried out twice");
        let word = &mut self.words[message.word];
        let found = word.execute(execution.action, execution.operands);
        message.executed = Some(found);
        Ok(found)
    }

    /// All that was done to words is what their users were told.
    pub fn assert_words_explained(&self) {
        let streams = self
            .connections
            .iter()
            .flat_map(|connection| &connection.streams);
        let atomics = streams
            .flat_map(|stream| &stream.messages)
            .filter(|message| message.executed.is_some() && message.opcode.operands_len() > 0);
        let mut findings = vec![Vec::new(); self.words.len()];
        let mut is_known = vec![true; self.words.len()];
        for message in atomics {
            // What has failed may have been carried out, and nobody knows.
            match message.answer {
                Some(before) => findings[message.word].push(Finding {
                    operands: message.operands,
                    before,
                }),
                None => is_known[message.word] = false,
            }
        }
        for ((word, findings), is_known) in self.words.iter().zip(&findings).zip(is_known) {
            if is_known {
                word.assert_explained_by(findings);
            }
        }
    }

    /// The message and offset that an access by a peer touches; nothing if the key forbids it.
    pub fn access(
        &mut self,
        connection: usize,
        side: usize,
        key: u32,
        va: u64,
        len: u32,
    ) -> Option<(&mut Message, u32)> {
        let region = *self.regions.get(&key)?;
        if region.revoked {
            return None;
        }
        assert_eq!(
            (region.connection, region.side),
            (connection, side),
            "foreign key"
        );
        let message = &mut self.connections[connection].streams[side].messages[region.index];
        let offset = va.checked_sub(region.va).expect("below the region");
        assert!(
            offset + u64::from(len) <= u64::from(message.length),
            "above the region"
        );
        Some((message, offset as u32))
    }
}
