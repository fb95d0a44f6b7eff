// SPDX-License-Identifier: GPL-2.0

//! What the completions of a queue pair must be, one after the other.

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;

use crate::pattern::fold;
use crate::verbs::Completion;
use crate::verbs::Opcode;
use crate::verbs::Qpn;
use crate::verbs::Status;

use super::plan::Op;
use super::plan::OpKind;
use super::plan::Signalling;

/// Which work queue a work request id is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkQueue {
    /// The send queue.
    Send,
    /// The receive queue.
    Receive,
}

/// A work request id that uses all 64 bits and repeats in no round.
pub fn wr_id(round: u64, queue: WorkQueue, qp: usize, index: usize) -> u64 {
    let queue = match queue {
        WorkQueue::Send => 1,
        WorkQueue::Receive => 2,
    };
    fold(&[round, queue, qp as u64, index as u64])
}

/// Checks what does not depend on the queue: success, and for whom.
fn check_status(completion: &Completion, qpn: Qpn, what: &str) -> Result<()> {
    ensure!(
        completion.status == Status::SUCCESS,
        "{what}: completed with {}",
        completion.status
    );
    ensure!(
        completion.qpn == qpn,
        "{what}: the CQE names QP {}",
        completion.qpn
    );
    Ok(())
}

/// A send queue within a round.
pub struct SendProgress<'p> {
    ops: &'p [Op],
    round: u64,
    qp: usize,
    qpn: Qpn,
    posted: usize,
    retired: usize,
}

impl<'p> SendProgress<'p> {
    /// For queue pair `qp`, whose number is `qpn`, with `ops` to do.
    pub fn new(ops: &'p [Op], round: u64, qp: usize, qpn: Qpn) -> Self {
        Self {
            ops,
            round,
            qp,
            qpn,
            posted: 0,
            retired: 0,
        }
    }

    /// The operations that are not posted yet, of which `room` more at most fit a queue of `depth`.
    pub fn postable(&self, depth: usize) -> &'p [Op] {
        let outstanding = self.posted - self.retired;
        let room = depth.saturating_sub(outstanding);
        let rest = &self.ops[self.posted..];
        &rest[..rest.len().min(room)]
    }

    /// The id for operation `ahead` places after the last posted one.
    pub fn wr_id(&self, ahead: usize) -> u64 {
        wr_id(self.round, WorkQueue::Send, self.qp, self.posted + ahead)
    }

    /// Notes that `count` more operations were posted.
    pub fn note_posted(&mut self, count: usize) {
        self.posted += count;
    }

    /// Whether all operations are done.
    pub fn is_done(&self) -> bool {
        self.retired == self.ops.len()
    }

    /// Checks a CQE against the next signalled operation, and gives that back.
    pub fn complete(&mut self, completion: &Completion) -> Result<&'p Op> {
        let next = (self.retired..self.posted)
            .find(|index| self.ops[*index].signalling == Signalling::Signalled)
            .with_context(|| {
                format!(
                    "QP {}: a send CQE though no signalled WQE is outstanding: {completion:?}",
                    self.qpn
                )
            })?;
        let op = &self.ops[next];
        let what = format!(
            "QP {} send WQE {next} ({:?}, {} bytes)",
            self.qpn, op.kind, op.len
        );
        let wanted = wr_id(self.round, WorkQueue::Send, self.qp, next);
        ensure!(
            completion.wr_id == wanted,
            "{what}: its wr_id is {wanted:#x}, the next CQE carries {:#x} ({}): lost, doubled or out of order",
            completion.wr_id,
            completion.status,
        );
        check_status(completion, self.qpn, &what)?;
        let opcode = match op.kind {
            OpKind::Send | OpKind::SendImm => Opcode::SEND,
            OpKind::Write | OpKind::WriteImm => Opcode::RDMA_WRITE,
            OpKind::Read => Opcode::RDMA_READ,
        };
        ensure!(
            completion.opcode == opcode,
            "{what}: opcode {} in the CQE",
            completion.opcode
        );
        if op.kind == OpKind::Read {
            ensure!(
                completion.byte_len as usize == op.len,
                "{what}: byte_len {} in the CQE",
                completion.byte_len
            );
        }
        self.retired = next + 1;
        Ok(op)
    }

    /// For a report of what is missing.
    pub fn describe(&self) -> String {
        format!(
            "QP {}: {} of {} sends posted, {} done",
            self.qpn,
            self.posted,
            self.ops.len(),
            self.retired
        )
    }
}

/// The messages that a queue pair receives within a round.
pub struct RecvProgress<'p> {
    messages: Vec<&'p Op>,
    qpn: Qpn,
    done: usize,
}

impl<'p> RecvProgress<'p> {
    /// For the queue pair numbered `qpn`, which is sent `messages` in this order.
    pub fn new(messages: Vec<&'p Op>, qpn: Qpn) -> Self {
        Self {
            messages,
            qpn,
            done: 0,
        }
    }

    /// Messages in all.
    pub fn expected(&self) -> usize {
        self.messages.len()
    }

    /// Messages received.
    pub fn done(&self) -> usize {
        self.done
    }

    /// Whether all have come.
    pub fn is_done(&self) -> bool {
        self.done == self.messages.len()
    }

    /// Checks a CQE against the next message, and gives that back.
    pub fn complete(&mut self, completion: &Completion) -> Result<&'p Op> {
        let Some(op) = self.messages.get(self.done).copied() else {
            bail!("QP {}: a receive CQE too many: {completion:?}", self.qpn);
        };
        let what = format!(
            "QP {} message {} ({:?}, {} bytes)",
            self.qpn, self.done, op.kind, op.len
        );
        check_status(completion, self.qpn, &what)?;
        let opcode = match op.kind {
            OpKind::WriteImm => Opcode::RECV_RDMA_WITH_IMM,
            _ => Opcode::RECV,
        };
        ensure!(
            completion.opcode == opcode,
            "{what}: opcode {} in the CQE",
            completion.opcode
        );
        ensure!(
            completion.byte_len as usize == op.len,
            "{what}: byte_len {} in the CQE",
            completion.byte_len
        );
        let imm = op.kind.has_imm().then_some(op.imm);
        ensure!(
            completion.imm == imm,
            "{what}: immediate data {:x?} in the CQE, {imm:x?} were sent",
            completion.imm
        );
        self.done += 1;
        Ok(op)
    }

    /// For a report of what is missing.
    pub fn describe(&self) -> String {
        format!(
            "QP {}: {} of {} messages received",
            self.qpn,
            self.done,
            self.messages.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::plan::Carriage;
    use crate::verify::plan::Fencing;

    const QPN: Qpn = Qpn(17);

    fn op(kind: OpKind, signalling: Signalling) -> Op {
        Op {
            kind,
            len: 5,
            pieces: std::iter::once(0..5).collect(),
            remote: 0,
            imm: 9,
            carriage: Carriage::Sges,
            signalling,
            fencing: Fencing::Unfenced,
        }
    }

    fn cqe(wr_id: u64, opcode: Opcode) -> Completion {
        Completion {
            wr_id,
            status: Status::SUCCESS,
            opcode,
            byte_len: 5,
            imm: None,
            qpn: QPN,
        }
    }

    fn three() -> [Op; 3] {
        [
            op(OpKind::Write, Signalling::Unsignalled),
            op(OpKind::Read, Signalling::Signalled),
            op(OpKind::Send, Signalling::Signalled),
        ]
    }

    #[test]
    fn only_signalled_sends_complete_and_they_retire_the_others() {
        let ops = three();
        let mut sends = SendProgress::new(&ops, 1, 0, QPN);
        assert_eq!(sends.postable(2).len(), 2);
        sends.note_posted(2);
        assert_eq!(sends.postable(2).len(), 0);
        let first = cqe(wr_id(1, WorkQueue::Send, 0, 1), Opcode::RDMA_READ);
        sends.complete(&first).expect("the READ's CQE");
        assert_eq!(sends.postable(2).len(), 1);
        sends.note_posted(1);
        let second = cqe(wr_id(1, WorkQueue::Send, 0, 2), Opcode::SEND);
        sends.complete(&second).expect("the SEND's CQE");
        assert!(sends.is_done());
    }

    #[test]
    fn a_cqe_for_an_unsignalled_send_is_refused() {
        let ops = three();
        let mut sends = SendProgress::new(&ops, 1, 0, QPN);
        sends.note_posted(3);
        let stray = cqe(wr_id(1, WorkQueue::Send, 0, 0), Opcode::RDMA_WRITE);
        assert!(sends.complete(&stray).is_err());
    }

    #[test]
    fn doubled_and_swapped_cqes_are_refused() {
        let ops = three();
        let mut sends = SendProgress::new(&ops, 1, 0, QPN);
        sends.note_posted(3);
        let second = cqe(wr_id(1, WorkQueue::Send, 0, 2), Opcode::SEND);
        assert!(sends.complete(&second).is_err(), "out of order");
        let first = cqe(wr_id(1, WorkQueue::Send, 0, 1), Opcode::RDMA_READ);
        sends.complete(&first).expect("the READ's CQE");
        assert!(sends.complete(&first).is_err(), "doubled");
    }

    #[test]
    fn wrong_fields_of_a_receive_are_refused() {
        let write = op(OpKind::WriteImm, Signalling::Signalled);
        let good = Completion {
            imm: Some(9),
            ..cqe(0, Opcode::RECV_RDMA_WITH_IMM)
        };
        for bad in [
            Completion { imm: None, ..good },
            Completion {
                imm: Some(8),
                ..good
            },
            Completion {
                byte_len: 4,
                ..good
            },
            Completion {
                opcode: Opcode::RECV,
                ..good
            },
            Completion {
                qpn: Qpn(1),
                ..good
            },
            Completion {
                status: Status::LOC_LEN_ERR,
                ..good
            },
        ] {
            let mut receives = RecvProgress::new(vec![&write], QPN);
            assert!(receives.complete(&bad).is_err(), "{bad:?}");
        }
        let mut receives = RecvProgress::new(vec![&write], QPN);
        receives.complete(&good).expect("the message");
        assert!(receives.complete(&good).is_err(), "one too many");
    }
}
