// SPDX-License-Identifier: GPL-2.0

//! The users of the queue pairs: what they post.

use super::pair::Ordeal;
use super::pair::Poison;
use super::World;
use crate::ledger::Fate;
use crate::ledger::Message;
use crate::words::Use;
use crate::words::Word;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use usb4_roce::transport::frame::Flush;
use usb4_roce::transport::frame::Operands;
use usb4_roce::transport::ids::Duration;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::Rkey;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::opcode::WORD;
use usb4_roce::transport::requester::Fencing;
use usb4_roce::transport::requester::SendRequest;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::requester::Solicitation;
use usb4_roce::transport::status::CompletionStatus;

/// One direction's user.
pub(super) struct Sender {
    pub(super) left: u32,
    pub(super) next_at: Instant,
    pub(super) poison_at: Option<u32>,
    /// A flag is to be written next.
    pub(super) flag_due: bool,
}

/// A receive queue's user.
pub(super) struct Receiver {
    pub(super) host: usize,
    pub(super) ring: usize,
    pub(super) next_at: Instant,
    /// Posts nothing any more.
    pub(super) is_starving: bool,
}

/// Size of receive buffers.
pub(super) const RECEIVE_LEN: u32 = 192 * 1024;

impl World {
    /// What the users of the queue pairs do now.
    pub(super) fn users(&mut self) -> bool {
        let mut busy = false;
        for index in 0..self.receivers.len() {
            let receiver = &mut self.receivers[index];
            if receiver.is_starving || self.now < receiver.next_at {
                continue;
            }
            let pause = [100_000, 1_000_000, 30_000_000][self.rng.random_range(0..3)];
            receiver.next_at = self.now.after(Duration(self.rng.random_range(1..pause)));
            let ring = &mut self.hosts[receiver.host].rings[receiver.ring];
            if ring.len() < 16 {
                for _ in 0..self.rng.random_range(1..8) {
                    ring.post(RECEIVE_LEN);
                }
            }
            busy = true;
        }
        for index in 0..self.unreliable_pairs.len() {
            busy |= self.use_unreliable(index);
        }
        for index in 0..self.pairs.len() {
            busy |= self.start_late(index);
            busy |= self.ordeal(index);
            busy |= self.reconnect(index);
            for side in 0..2 {
                busy |= self.send(index, side);
            }
        }
        busy
    }

    /// Posts messages of one direction.
    pub(super) fn send(&mut self, index: usize, side: usize) -> bool {
        let pair = &mut self.pairs[index];
        let sender = &mut pair.senders[side];
        if sender.left == 0 || self.now < sender.next_at || pair.resetting.is_some() {
            return false;
        }
        let pause = [1_000, 1_000_000, 300_000_000][self.rng.random_range(0..3)];
        sender.next_at = self.now.after(Duration(self.rng.random_range(1..pause)));
        let (host, qp_index) = pair.ends[side];
        let burst = self.rng.random_range(1..12);
        for _ in 0..burst {
            let pair = &self.pairs[index];
            let room = self.hosts[host].qps[qp_index].protocol.room();
            if pair.senders[side].left == 0 || room == 0 {
                break;
            }
            self.post_one(index, side);
        }
        self.hosts[host].poll(qp_index, &mut self.ledger);
        true
    }

    pub(super) fn post_one(&mut self, index: usize, side: usize) {
        let pair = &mut self.pairs[index];
        let life = pair.life;
        let sender = &mut pair.senders[side];
        let poisoned = match (pair.ordeal, sender.poison_at) {
            (Ordeal::Poison(poison), Some(at)) if at == sender.left - 1 => Some(poison),
            _ => None,
        };
        sender.left -= 1;
        let rng = &mut self.rng;
        let mut opcode = [
            Opcode::Send,
            Opcode::SendWithImm,
            Opcode::Write,
            Opcode::WriteWithImm,
            Opcode::Read,
            Opcode::CompareSwap,
            Opcode::FetchAdd,
            Opcode::FetchAdd,
            Opcode::AtomicWrite,
            Opcode::Flush,
        ][rng.random_range(0..10)];
        let mut length = match rng.random_range(0..6) {
            0 => rng.random_range(0..2),
            1 => pair.config.segment.min(pair.config.largest),
            2 => (pair.config.segment + 1).min(pair.config.largest),
            _ => rng.random_range(0..=pair.config.largest),
        };
        let is_flag = sender.flag_due && poisoned.is_none();
        sender.flag_due = false;
        if is_flag {
            opcode = Opcode::Write;
            length = 8;
        }
        match poisoned {
            None => {}
            Some(Poison::WriteKey) => {
                opcode = Opcode::Write;
                length = length.max(1);
            }
            Some(Poison::ReadKey | Poison::RevokedRead) => {
                opcode = Opcode::Read;
                length = length.max(1);
            }
            Some(Poison::AtomicKey | Poison::RevokedAtomic | Poison::Misaligned) => {
                opcode = [Opcode::CompareSwap, Opcode::FetchAdd, Opcode::AtomicWrite]
                    [rng.random_range(0..3)];
            }
            Some(Poison::LongSend) => {
                opcode = Opcode::Send;
                length = RECEIVE_LEN + rng.random_range(1..100_000);
            }
            Some(Poison::LocalBuffer | Poison::NoReceives) => opcode = Opcode::Send,
        }
        if opcode.operands_len() > 0 {
            length = WORD;
        }
        if opcode == Opcode::Write && !is_flag && poisoned.is_none() {
            sender.flag_due = rng.random_range(0..2) == 0;
        }
        let fate = match poisoned {
            None => Fate::Succeed,
            Some(
                Poison::WriteKey
                | Poison::ReadKey
                | Poison::RevokedRead
                | Poison::AtomicKey
                | Poison::RevokedAtomic,
            ) => Fate::Fail(CompletionStatus::RemoteAccessError),
            Some(Poison::LongSend | Poison::Misaligned) => {
                Fate::Fail(CompletionStatus::RemoteInvalidRequestError)
            }
            Some(Poison::LocalBuffer) => Fate::Fail(CompletionStatus::LocalProtectionError),
            Some(Poison::NoReceives) => Fate::Fail(CompletionStatus::RnrRetryExceeded),
        };
        let (peer_host, peer_qp) = pair.ends[1 - side];
        let (host, qp) = pair.ends[side];
        if poisoned == Some(Poison::NoReceives) {
            self.starve(peer_host, peer_qp);
        }
        let rng = &mut self.rng;
        let va = match (poisoned, opcode.operands_len()) {
            (Some(Poison::Misaligned), _) => rng.random::<u64>() >> 1 | 1,
            (_, 0) => rng.random::<u64>() >> 1,
            _ => rng.random::<u64>() >> 1 & !u64::from(WORD - 1),
        };
        let (word, operands) = operands(opcode, peer_host, &self.ledger.words, rng);
        let tag = rng.random();
        let signalled = rng.random_range(0..3) > 0;
        let solicited = opcode.consumes_receive() && rng.random_range(0..2) == 0;
        let imm = rng.random();
        let fenced = rng.random_range(0..6) == 0;
        let changes = rng.random_range(0..8) == 0;
        let number = self.ledger.connections[life].streams[side].messages.len();
        let rkey = self.ledger.register(life, side, number, va);
        if matches!(
            poisoned,
            Some(Poison::WriteKey | Poison::ReadKey | Poison::AtomicKey)
        ) {
            if let Some(region) = self.ledger.regions.get_mut(&rkey) {
                region.revoked = true;
            }
        }
        if matches!(poisoned, Some(Poison::RevokedRead | Poison::RevokedAtomic)) {
            if let Some(region) = self.ledger.regions.get_mut(&rkey) {
                region.revoke_when_checked = true;
            }
        }
        let stream = &mut self.ledger.connections[life].streams[side];
        if opcode.consumes_receive() {
            stream.consumers.push(number);
        }
        stream.messages.push(Message {
            opcode,
            length,
            tag,
            imm,
            signalled,
            solicited,
            fenced,
            changes,
            fate,
            is_flag,
            target: vec![0; length as usize],
            placed: Default::default(),
            placed_bytes: 0,
            word,
            operands,
            executed: None,
            answer: None,
            received: false,
            completed: None,
        });
        let index = qp;
        let qp = &mut self.hosts[host].qps[index];
        let slot = qp
            .protocol
            .post(
                SendRequest {
                    wr_id: number as u64,
                    opcode,
                    signalling: if signalled {
                        Signalling::Signalled
                    } else {
                        Signalling::Unsignalled
                    },
                    solicitation: if solicited {
                        Solicitation::Solicited
                    } else {
                        Solicitation::Unsolicited
                    },
                    fencing: if fenced {
                        Fencing::Fenced
                    } else {
                        Fencing::Unfenced
                    },
                    length,
                    remote_va: va,
                    rkey: Rkey(rkey),
                    imm,
                    operands,
                    flush: Flush::default(),
                },
                self.now,
            )
            .unwrap();
        qp.slots.insert(slot, number);
        self.hosts[host].touch_by_post(index);
    }
}

/// Which word of the peer's an operation is about, and its operands. What is added and what is swapped in is seen only once.
fn operands(
    opcode: Opcode,
    host: usize,
    words: &[Word],
    rng: &mut ChaCha8Rng,
) -> (usize, Operands) {
    let usage = match opcode {
        Opcode::FetchAdd if rng.random_range(0..3) > 0 => Use::Counter,
        Opcode::CompareSwap if rng.random_range(0..3) > 0 => Use::Lock,
        _ => Use::Mixed,
    };
    let first = host * Use::ALL.len();
    let of_host = first..first + Use::ALL.len();
    let word = of_host
        .into_iter()
        .find(|word| words[*word].usage == usage)
        .expect("a word for every use");
    let first = match opcode {
        Opcode::CompareSwap if rng.random_range(0..4) > 0 => words[word].value(),
        Opcode::CompareSwap | Opcode::FetchAdd | Opcode::AtomicWrite => rng.random(),
        _ => 0,
    };
    let second = match opcode {
        Opcode::CompareSwap => rng.random(),
        _ => 0,
    };
    (word, Operands { first, second })
}
