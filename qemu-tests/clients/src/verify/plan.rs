// SPDX-License-Identifier: GPL-2.0

//! The operations of a round, derived from the seed alone, so that both ends know them all.

use std::ops::Range;

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::bootstrap::Side;
use crate::pattern::fold;

use super::settings::Receiving;

/// What both ends can do; the plan keeps within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Queue pairs.
    pub qps: usize,
    /// The longest message.
    pub max_message: usize,
    /// Bytes that go inline at most.
    pub max_inline: usize,
    /// Elements per WQE at most, at least 1.
    pub max_sge: usize,
    /// WQEs in a send queue.
    pub send_depth: usize,
    /// WQEs in a receive queue, and messages per direction and round at most.
    pub recv_depth: usize,
    /// Where receives are posted.
    pub receiving: Receiving,
}

/// Bytes of a receive in a shared receive queue: which message it gets is not known beforehand, so
/// all are alike, and messages are no longer.
pub const SRQ_SLOT: usize = 16 << 10;

/// Room for gaps between pieces, and for receives beyond the largest message.
const SLACK: usize = 64 << 10;

/// The largest random gap between two pieces in memory; odd, so that all alignments occur.
const MAX_GAP: usize = 67;

/// Receives have up to this many bytes more than the message needs.
const MAX_SPARE: usize = 256;

/// Bytes at most in a receive whose data goes elsewhere (WRITE with immediate).
const MAX_IDLE_RECEIVE: usize = 64;

impl Shape {
    /// Bytes of the region that a queue pair sends from and its peer reads.
    pub fn source_len(&self) -> usize {
        self.max_message + SLACK
    }

    /// Bytes of the region that the peer writes and that READs fill.
    pub fn target_len(&self) -> usize {
        2 * self.max_message + SLACK
    }

    /// Bytes of the region that receives are in.
    pub fn receive_len(&self) -> usize {
        match self.receiving {
            Receiving::Own => self.max_message + SLACK,
            Receiving::Shared => self.slots() * slot_stride(self.max_sge),
        }
    }

    /// Receives in a shared receive queue.
    pub fn slots(&self) -> usize {
        self.qps * self.recv_depth
    }

    /// The memory of one receive of a shared receive queue.
    pub fn slot(&self, index: usize) -> Vec<Range<usize>> {
        let pieces = self.max_sge;
        let each = SRQ_SLOT / pieces;
        let base = index * slot_stride(pieces);
        (0..pieces)
            .map(|piece| {
                let start = base + piece * (each + MAX_GAP);
                let len = if piece + 1 == pieces {
                    SRQ_SLOT - each * (pieces - 1)
                } else {
                    each
                };
                start..start + len
            })
            .collect()
    }
}

fn slot_stride(pieces: usize) -> usize {
    SRQ_SLOT + pieces * MAX_GAP
}

/// What an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpKind {
    /// SEND.
    Send,
    /// SEND with immediate data.
    SendImm,
    /// RDMA WRITE.
    Write,
    /// RDMA WRITE with immediate data.
    WriteImm,
    /// RDMA READ.
    Read,
}

impl OpKind {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Send,
        Self::SendImm,
        Self::Write,
        Self::WriteImm,
        Self::Read,
    ];

    /// Whether it takes a receive of the peer's.
    pub fn consumes_receive(self) -> bool {
        match self {
            Self::Send | Self::SendImm | Self::WriteImm => true,
            Self::Write | Self::Read => false,
        }
    }

    /// Whether it brings immediate data.
    pub fn has_imm(self) -> bool {
        matches!(self, Self::SendImm | Self::WriteImm)
    }
}

/// How an operation's bytes get into the WQE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carriage {
    /// By reference.
    Sges,
    /// By value.
    Inline,
}

/// Whether an operation makes a CQE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signalling {
    /// It does.
    Signalled,
    /// It does not.
    Unsignalled,
}

/// Whether an operation waits for earlier READs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fencing {
    /// It does.
    Fenced,
    /// It does not.
    Unfenced,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// What it is.
    pub kind: OpKind,
    /// Bytes in all.
    pub len: usize,
    /// Where they are at the end that posts it: its source region, or its target region for a READ.
    pub pieces: Vec<Range<usize>>,
    /// Where they are at the other end: in its target region for a WRITE, its source region for a
    /// READ; not used by a SEND.
    pub remote: usize,
    /// Immediate data, for the kinds that have it.
    pub imm: u32,
    /// By value or by reference.
    pub carriage: Carriage,
    /// With or without CQE.
    pub signalling: Signalling,
    /// With or without fence.
    pub fencing: Fencing,
}

/// What one queue pair does in one round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QpPlan {
    /// Operations by the side that posts them, in order.
    pub ops: [Vec<Op>; 2],
    /// The memory of the receives by the side that posts them, in the order of the operations that
    /// take them. Empty with a shared receive queue.
    pub receives: [Vec<Vec<Range<usize>>>; 2],
}

impl QpPlan {
    /// The peer's operations that take a receive of `side`, in order.
    pub fn received_by(&self, side: Side) -> impl Iterator<Item = &Op> {
        self.ops[side.peer().index()]
            .iter()
            .filter(|op| op.kind.consumes_receive())
    }
}

/// Hands out disjoint pieces of a region from its start to its end.
struct Arena {
    next: usize,
    end: usize,
}

impl Arena {
    fn new(len: usize) -> Self {
        Self { next: 0, end: len }
    }

    /// Room that is left, all gaps taken at their largest, for bytes in `pieces` pieces.
    fn room(&self, pieces: usize) -> usize {
        (self.end - self.next).saturating_sub(pieces * MAX_GAP)
    }

    fn take(&mut self, len: usize, rng: &mut ChaCha8Rng) -> Range<usize> {
        let spare = (self.end - self.next)
            .checked_sub(len)
            .expect("asked for no more than `room`");
        let start = self.next + rng.random_range(0..=MAX_GAP.min(spare));
        self.next = start + len;
        start..self.next
    }
}

/// The memory that a side's operations and receives may still use in this round.
struct Arenas {
    target: Arena,
    receive: Arena,
}

/// Derives the plan of one queue pair and round.
pub fn plan(shape: &Shape, seed: u64, round: u64, qp: usize) -> QpPlan {
    let mut rng = ChaCha8Rng::seed_from_u64(fold(&[seed, round, qp as u64]));
    let mut plan = QpPlan::default();
    let mut arenas = [Side::Client, Side::Server].map(|_| Arenas {
        target: Arena::new(shape.target_len()),
        receive: Arena::new(shape.receive_len()),
    });
    for side in [Side::Client, Side::Server] {
        let count = rng.random_range(1..=shape.recv_depth);
        let mut unsignalled = 0;
        for index in 0..count {
            let mut op = draw(shape, side, &mut arenas, &mut plan.receives, &mut rng);
            // A send queue gets its slots back from signalled WQEs only, and the round ends when
            // the last has completed.
            let must = index + 1 == count || unsignalled + 1 >= shape.send_depth / 2;
            if must || rng.random_bool(0.5) {
                op.signalling = Signalling::Signalled;
                unsignalled = 0;
            } else {
                unsignalled += 1;
            }
            plan.ops[side.index()].push(op);
        }
    }
    plan
}

fn draw(
    shape: &Shape,
    side: Side,
    arenas: &mut [Arenas; 2],
    receives: &mut [Vec<Vec<Range<usize>>>; 2],
    rng: &mut ChaCha8Rng,
) -> Op {
    let [client, server] = arenas;
    let (ours, theirs) = match side {
        Side::Client => (client, server),
        Side::Server => (server, client),
    };
    let kind = OpKind::ALL[rng.random_range(0..OpKind::ALL.len())];
    let room = match (kind, shape.receiving) {
        (OpKind::Send | OpKind::SendImm, Receiving::Shared) => SRQ_SLOT,
        (OpKind::Send | OpKind::SendImm, Receiving::Own) => theirs
            .receive
            .room(shape.max_sge)
            .saturating_sub(MAX_SPARE + shape.recv_depth * (MAX_IDLE_RECEIVE + MAX_GAP)),
        (OpKind::Write | OpKind::WriteImm, _) => theirs.target.room(1),
        (OpKind::Read, _) => ours.target.room(shape.max_sge),
    };
    let len = draw_len(shape.max_message, rng).min(room);
    let remote = match kind {
        OpKind::Send | OpKind::SendImm => 0,
        OpKind::Write | OpKind::WriteImm => theirs.target.take(len, rng).start,
        OpKind::Read => rng.random_range(0..=shape.source_len() - len),
    };
    let pieces = split(len, shape.max_sge, rng)
        .into_iter()
        .map(|piece| match kind {
            OpKind::Read => ours.target.take(piece, rng),
            _ => {
                let start = rng.random_range(0..=shape.source_len() - piece);
                start..start + piece
            }
        })
        .collect();
    if kind.consumes_receive() && shape.receiving == Receiving::Own {
        let spare = match kind {
            OpKind::WriteImm => rng.random_range(0..=MAX_IDLE_RECEIVE),
            _ if rng.random_bool(0.5) => rng.random_range(0..=MAX_SPARE),
            _ => 0,
        };
        let capacity = if kind == OpKind::WriteImm { 0 } else { len } + spare;
        // What the arena cannot give any more, the message does not need either.
        let capacity = capacity.min(theirs.receive.room(shape.max_sge));
        receives[side.peer().index()].push(
            split(capacity, shape.max_sge, rng)
                .into_iter()
                .map(|piece| theirs.receive.take(piece, rng))
                .collect(),
        );
    }
    let inline = kind != OpKind::Read && len <= shape.max_inline && rng.random_bool(0.5);
    Op {
        kind,
        len,
        pieces,
        remote,
        imm: rng.random(),
        carriage: if inline {
            Carriage::Inline
        } else {
            Carriage::Sges
        },
        signalling: Signalling::Unsignalled,
        fencing: if rng.random_bool(0.125) {
            Fencing::Fenced
        } else {
            Fencing::Unfenced
        },
    }
}

/// Draws a length: nothing, a few bytes, around multiples of packet and page sizes, and up to the
/// longest, small ones more often.
fn draw_len(max: usize, rng: &mut ChaCha8Rng) -> usize {
    const PACKET: usize = 1024;
    const PACKETS: usize = 20;
    const MIDDLE: usize = 64 << 10;
    let len = match rng.random_range(0..16) {
        0 => 0,
        1..=4 => rng.random_range(1..=64),
        5..=8 => rng.random_range(1..=PACKETS) * PACKET + rng.random_range(0..=2) - 1,
        9..=13 => log_uniform(MIDDLE, rng),
        14 => log_uniform(max.max(1), rng),
        _ => max - rng.random_range(0..=max.min(3)),
    };
    len.min(max)
}

/// A number from 1 to `max` (at least 1) whose number of digits is uniform.
fn log_uniform(max: usize, rng: &mut ChaCha8Rng) -> usize {
    let bits = rng.random_range(0..=max.ilog2());
    (1 << bits) | rng.random_range(0..1usize << bits)
}

/// Cuts `len` bytes into 1 to `most` pieces, none of them empty; no bytes give no piece, since an
/// element of length 0 does not mean the same to every device.
fn split(len: usize, most: usize, rng: &mut ChaCha8Rng) -> Vec<usize> {
    if len == 0 {
        return Vec::new();
    }
    let pieces = rng.random_range(1..=most.min(len));
    let mut cuts: Vec<usize> = (1..pieces).map(|_| rng.random_range(1..=len)).collect();
    cuts.extend([0, len]);
    cuts.sort_unstable();
    cuts.windows(2)
        .map(|pair| pair[1] - pair[0])
        .filter(|piece| *piece > 0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(receiving: Receiving) -> Shape {
        Shape {
            qps: 3,
            max_message: 300_000,
            max_inline: 128,
            max_sge: 4,
            send_depth: 8,
            recv_depth: 24,
            receiving,
        }
    }

    fn plans(receiving: Receiving) -> Vec<QpPlan> {
        let shape = shape(receiving);
        (0..200).map(|round| plan(&shape, 1, round, 0)).collect()
    }

    fn assert_disjoint(mut ranges: Vec<Range<usize>>, end: usize) {
        ranges.retain(|range| !range.is_empty());
        ranges.sort_by_key(|range| range.start);
        for pair in ranges.windows(2) {
            assert!(pair[0].end <= pair[1].start, "{pair:?} overlap");
        }
        assert!(ranges.last().is_none_or(|last| last.end <= end));
    }

    #[test]
    fn both_ends_derive_the_same_plan() {
        assert_eq!(plans(Receiving::Own), plans(Receiving::Own));
    }

    #[test]
    fn seeds_rounds_and_queue_pairs_differ() {
        let shape = shape(Receiving::Own);
        let base = plan(&shape, 1, 0, 0);
        assert_ne!(base, plan(&shape, 2, 0, 0));
        assert_ne!(base, plan(&shape, 1, 1, 0));
        assert_ne!(base, plan(&shape, 1, 0, 1));
    }

    #[test]
    fn nothing_that_is_written_overlaps() {
        let shape = shape(Receiving::Own);
        for plan in plans(Receiving::Own) {
            for side in [Side::Client, Side::Server] {
                let mut target: Vec<_> = plan.ops[side.index()]
                    .iter()
                    .filter(|op| op.kind == OpKind::Read)
                    .flat_map(|op| op.pieces.clone())
                    .collect();
                target.extend(
                    plan.ops[side.peer().index()]
                        .iter()
                        .filter(|op| matches!(op.kind, OpKind::Write | OpKind::WriteImm))
                        .map(|op| op.remote..op.remote + op.len),
                );
                assert_disjoint(target, shape.target_len());
                assert_disjoint(plan.receives[side.index()].concat(), shape.receive_len());
            }
        }
    }

    #[test]
    fn receives_have_room_for_their_messages() {
        for plan in plans(Receiving::Own) {
            for side in [Side::Client, Side::Server] {
                let receives = &plan.receives[side.index()];
                assert_eq!(plan.received_by(side).count(), receives.len());
                for (op, pieces) in plan.received_by(side).zip(receives) {
                    let room: usize = pieces.iter().map(Range::len).sum();
                    assert!(op.kind == OpKind::WriteImm || room >= op.len);
                }
            }
        }
    }

    #[test]
    fn shared_receives_fit_and_do_not_overlap() {
        let shape = shape(Receiving::Shared);
        let slots: Vec<_> = (0..shape.slots())
            .flat_map(|slot| shape.slot(slot))
            .collect();
        assert_disjoint(slots, shape.receive_len());
        assert_eq!(
            shape.slot(5).iter().map(Range::len).sum::<usize>(),
            SRQ_SLOT
        );
        for plan in plans(Receiving::Shared) {
            for op in plan.ops.concat() {
                assert!(!matches!(op.kind, OpKind::Send | OpKind::SendImm) || op.len <= SRQ_SLOT);
            }
        }
    }

    #[test]
    fn signals_come_often_enough_and_last() {
        for plan in plans(Receiving::Own) {
            for ops in &plan.ops {
                let last = ops.last().expect("at least one operation");
                assert_eq!(last.signalling, Signalling::Signalled);
                let longest = ops
                    .split(|op| op.signalling == Signalling::Signalled)
                    .map(<[Op]>::len)
                    .max();
                assert!(longest < Some(shape(Receiving::Own).send_depth / 2));
            }
        }
    }

    #[test]
    fn every_kind_and_the_extreme_lengths_occur() {
        let ops: Vec<Op> = plans(Receiving::Own)
            .into_iter()
            .flat_map(|plan| plan.ops.concat())
            .collect();
        for kind in OpKind::ALL {
            assert!(ops.iter().any(|op| op.kind == kind && op.len == 0));
            assert!(ops.iter().any(|op| op.kind == kind && op.len > 100_000));
            assert!(ops.iter().any(|op| op.kind == kind && op.pieces.len() > 1));
        }
        assert!(ops.iter().any(|op| op.len == 300_000));
        assert!(ops.iter().any(|op| op.carriage == Carriage::Inline));
    }

    #[test]
    fn pieces_add_up() {
        for plan in plans(Receiving::Shared) {
            for op in plan.ops.concat() {
                assert_eq!(op.pieces.iter().map(Range::len).sum::<usize>(), op.len);
                assert!(op.pieces.iter().all(|piece| !piece.is_empty()));
                assert!(op.pieces.len() <= 4);
            }
        }
    }
}
