// SPDX-License-Identifier: GPL-2.0

//! A running variant: round after round on connected queue pairs.

use std::num::NonZeroU64;
use std::ops::Range;
use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde::Serialize;

use crate::bootstrap::Peer;
use crate::bootstrap::Side;
use crate::pattern::Pattern;
use crate::verbs::CompChannel;
use crate::verbs::Completion;
use crate::verbs::Cq;
use crate::verbs::Notify;
use crate::verbs::Operation;
use crate::verbs::Payload;
use crate::verbs::Qp;
use crate::verbs::RecvRequest;
use crate::verbs::RemoteAddr;
use crate::verbs::SendFlags;
use crate::verbs::SendRequest;
use crate::verbs::Sge;
use crate::verbs::Srq;

use super::plan::plan;
use super::plan::Carriage;
use super::plan::Fencing;
use super::plan::Op;
use super::plan::OpKind;
use super::plan::QpPlan;
use super::plan::Shape;
use super::plan::Signalling;
use super::progress::wr_id;
use super::progress::RecvProgress;
use super::progress::SendProgress;
use super::progress::WorkQueue;
use super::region::Region;
use super::settings::Duty;
use super::settings::Receiving;
use super::settings::Variant;
use super::tally::Tally;

/// WQEs posted by one call at most.
const POST_BATCH: usize = 5;

/// Rounds between changes of the source regions' contents.
const EPOCH_ROUNDS: u64 = 4;

/// How late receives are in rounds with late receives.
const LATENESS: Duration = Duration::from_millis(20);

/// A completion without an event in this time means that the event was lost: it is raised together
/// with the completion, and even a slow emulated machine delivers it much sooner.
const EVENT_PATIENCE: Duration = Duration::from_secs(10);

/// The client's decision before each round.
#[derive(Clone, Copy, Serialize, Deserialize)]
enum Step {
    Round,
    Stop,
}

/// A queue pair with its memory.
pub(super) struct QpEnd<'a> {
    pub(super) qp: Qp<'a>,
    pub(super) source: Region<'a>,
    pub(super) target: Region<'a>,
    /// `None` with a shared receive queue.
    pub(super) receive: Option<Region<'a>>,
    pub(super) peer_source: RemoteAddr,
    pub(super) peer_target: RemoteAddr,
}

/// The shared receive queue with its memory.
pub(super) struct SharedReceive<'a> {
    pub(super) srq: &'a Srq<'a>,
    pub(super) region: Region<'a>,
}

/// Everything that lives as long as a variant.
pub(super) struct Session<'a> {
    pub(super) side: Side,
    pub(super) seed: u64,
    pub(super) limit: Duration,
    pub(super) shape: Shape,
    pub(super) variant: Variant,
    pub(super) late_receives: Option<NonZeroU64>,
    pub(super) qps: Vec<QpEnd<'a>>,
    pub(super) shared: Option<SharedReceive<'a>>,
    pub(super) cqs: Vec<&'a Cq<'a>>,
    pub(super) channel: Option<&'a CompChannel<'a>>,
    pub(super) rng: ChaCha8Rng,
    pub(super) tally: Tally,
}

/// The pattern of a source region's contents.
fn source_pattern(seed: u64, side: Side, qp: usize, round: u64) -> Pattern {
    Pattern::new(&[seed, side.index() as u64, qp as u64, round / EPOCH_ROUNDS])
}

/// One round at this end.
struct Round<'p> {
    number: u64,
    plans: &'p [QpPlan],
    sends: Vec<SendProgress<'p>>,
    receives: Vec<RecvProgress<'p>>,
    /// With a shared receive queue: which slots are still posted.
    slots: Vec<SlotState>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SlotState {
    Posted,
    Taken,
}

impl Session<'_> {
    pub(super) fn run(&mut self, duty: &Duty, peer: &mut Peer) -> Result<()> {
        let start = Instant::now();
        for number in 0.. {
            let step = match self.side {
                Side::Server => peer.recv()?,
                Side::Client => {
                    let stop = match duty {
                        Duty::Rounds(rounds) => number >= *rounds,
                        Duty::Time(time) => start.elapsed() >= *time,
                        Duty::Until(file) => number > 0 && file.exists(),
                    };
                    let step = if stop { Step::Stop } else { Step::Round };
                    peer.send(&step)?;
                    step
                }
            };
            match step {
                Step::Stop => break,
                Step::Round => self
                    .round(number, peer)
                    .with_context(|| format!("variant {}, round {number}", self.variant))?,
            }
        }
        Ok(())
    }

    fn round(&mut self, number: u64, peer: &mut Peer) -> Result<()> {
        if number % EPOCH_ROUNDS == 0 {
            for (index, end) in self.qps.iter_mut().enumerate() {
                end.source
                    .refill(source_pattern(self.seed, self.side, index, number));
            }
        }
        let plans: Vec<QpPlan> = (0..self.shape.qps)
            .map(|qp| plan(&self.shape, self.seed, number, qp))
            .collect();
        let mut round = Round {
            number,
            plans: &plans,
            sends: Vec::new(),
            receives: Vec::new(),
            slots: Vec::new(),
        };
        for (index, (plan, end)) in plans.iter().zip(&self.qps).enumerate() {
            let ops = &plan.ops[self.side.index()];
            let qpn = end.qp.qpn();
            round.sends.push(SendProgress::new(ops, number, index, qpn));
            round.receives.push(RecvProgress::new(
                plan.received_by(self.side).collect(),
                qpn,
            ));
        }
        let late = self
            .late_receives
            .is_some_and(|rounds| number % rounds == rounds.get() - 1);
        if late {
            self.tally.late_receives += 1;
            peer.barrier("receives to be posted late")?;
            self.work(&mut round, Some(Instant::now() + LATENESS))?;
        } else {
            self.post_receives(&mut round)?;
            peer.barrier("receives posted")?;
            self.work(&mut round, None)?;
        }
        peer.barrier("round done")?;
        self.expect_no_completion()?;
        self.predict_one_sided(&plans, number);
        for end in &self.qps {
            end.source.check()?;
            end.target.check()?;
            if let Some(receive) = &end.receive {
                receive.check()?;
            }
        }
        if let Some(shared) = &self.shared {
            shared.region.check()?;
        }
        self.tally.rounds += 1;
        Ok(())
    }

    fn post_receives(&self, round: &mut Round<'_>) -> Result<()> {
        if let Some(shared) = &self.shared {
            let count: usize = round.receives.iter().map(RecvProgress::expected).sum();
            let sges: Vec<Vec<Sge>> = (0..count)
                .map(|slot| shared.region.sges(&self.shape.slot(slot)))
                .collect();
            // The library takes no empty list.
            if !sges.is_empty() {
                shared
                    .srq
                    .post_recv(&receive_requests(&sges, round.number, self.shape.qps))?;
            }
            round.slots = vec![SlotState::Posted; count];
            return Ok(());
        }
        for (index, (end, plan)) in self.qps.iter().zip(round.plans).enumerate() {
            let region = end.receive.as_ref().context("an own receive region")?;
            let sges: Vec<Vec<Sge>> = plan.receives[self.side.index()]
                .iter()
                .map(|pieces| region.sges(pieces))
                .collect();
            // The library takes no empty list.
            if !sges.is_empty() {
                end.qp
                    .post_recv(&receive_requests(&sges, round.number, index))?;
            }
        }
        Ok(())
    }

    /// Posts all operations and takes all completions. The receives are posted at `receives_due`, or
    /// have been.
    fn work(&mut self, round: &mut Round<'_>, mut receives_due: Option<Instant>) -> Result<()> {
        let deadline = Instant::now() + self.limit;
        if self.channel.is_some() {
            for cq in &self.cqs {
                cq.request_notify(Notify::Any)?;
            }
        }
        let mut completions = Vec::new();
        loop {
            if receives_due.is_some_and(|due| Instant::now() >= due) {
                self.post_receives(round)?;
                receives_due = None;
            }
            let mut posted = 0;
            for index in 0..self.qps.len() {
                posted += self.post_some(&mut round.sends[index], index)?;
            }
            for cq in &self.cqs {
                cq.poll(&mut completions, usize::MAX)?;
            }
            let idle = posted == 0 && completions.is_empty();
            for completion in completions.drain(..) {
                self.complete(round, &completion)?;
            }
            let done = round.sends.iter().all(SendProgress::is_done)
                && round.receives.iter().all(RecvProgress::is_done);
            if done {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let state: Vec<String> = round
                    .sends
                    .iter()
                    .map(SendProgress::describe)
                    .chain(round.receives.iter().map(RecvProgress::describe))
                    .collect();
                bail!("not done after {:?}: {}", self.limit, state.join("; "));
            }
            if idle {
                match self.channel {
                    None => thread::yield_now(),
                    Some(channel) => self.wait_event(channel, receives_due.unwrap_or(deadline))?,
                }
            }
        }
    }

    /// Waits until `until` for a completion event and arms its queue again.
    fn wait_event(&mut self, channel: &CompChannel<'_>, until: Instant) -> Result<()> {
        let left = until.saturating_duration_since(Instant::now());
        match channel.wait(left.min(EVENT_PATIENCE))? {
            Some(id) => {
                self.tally.events += 1;
                let cq = self
                    .cqs
                    .iter()
                    .find(|cq| cq.id() == id)
                    .context("an event of a completion queue that is not ours")?;
                cq.request_notify(Notify::Any)?;
                Ok(())
            }
            // Too soon to tell whether an event was lost.
            None if left < EVENT_PATIENCE => Ok(()),
            None => {
                let mut missed = Vec::new();
                for cq in &self.cqs {
                    cq.poll(&mut missed, 1)?;
                }
                match missed.first() {
                    // Nothing has happened: the caller sees to its deadline.
                    None => Ok(()),
                    Some(completion) => {
                        bail!("a completion without its event: {completion:?}")
                    }
                }
            }
        }
    }

    /// Posts a few operations of one queue pair, as far as they fit.
    fn post_some(&mut self, sends: &mut SendProgress<'_>, index: usize) -> Result<usize> {
        let room = sends.postable(self.shape.send_depth);
        let count = room.len().min(self.rng.random_range(1..=POST_BATCH));
        let batch = &room[..count];
        if batch.is_empty() {
            return Ok(0);
        }
        let end = &self.qps[index];
        let local = |op: &Op| match op.kind {
            OpKind::Read => &end.target,
            _ => &end.source,
        };
        let sges: Vec<Vec<Sge>> = batch.iter().map(|op| local(op).sges(&op.pieces)).collect();
        let inline: Vec<Vec<Vec<u8>>> = batch
            .iter()
            .map(|op| {
                let bytes = |piece: &Range<usize>| end.source.expected(piece).to_vec();
                match op.carriage {
                    Carriage::Inline => op.pieces.iter().map(bytes).collect(),
                    Carriage::Sges => Vec::new(),
                }
            })
            .collect();
        let requests: Vec<SendRequest<'_>> = batch
            .iter()
            .enumerate()
            .map(|(ahead, op)| SendRequest {
                wr_id: sends.wr_id(ahead),
                operation: operation(op, end),
                payload: match op.carriage {
                    Carriage::Inline => Payload::Inline(&inline[ahead]),
                    Carriage::Sges => Payload::Sges(&sges[ahead]),
                },
                flags: flags(op),
            })
            .collect();
        end.qp.post_send(&requests)?;
        for op in batch {
            self.tally.note(op);
        }
        sends.note_posted(count);
        Ok(count)
    }

    fn complete(&mut self, round: &mut Round<'_>, completion: &Completion) -> Result<()> {
        let index = self
            .qps
            .iter()
            .position(|end| end.qp.qpn() == completion.qpn)
            .with_context(|| format!("a CQE of a QP that is not ours: {completion:?}"))?;
        // The opcode of an unsuccessful CQE is undefined: tell the queue by the id instead.
        if self.receive_of(round, index, completion.wr_id).is_none() {
            round.sends[index].complete(completion)?;
            return Ok(());
        }
        let receives = &mut round.receives[index];
        let sequence = receives.done();
        let op = receives.complete(completion)?;
        self.tally.received += 1;
        let bytes: Vec<u8> = match op.kind {
            OpKind::WriteImm => Vec::new(),
            _ => self.peer_source_bytes(op, index, round.number),
        };
        if let Some(shared) = &mut self.shared {
            let slot = (0..round.slots.len())
                .find(|slot| {
                    wr_id(round.number, WorkQueue::Receive, self.shape.qps, *slot)
                        == completion.wr_id
                })
                .context("a shared receive that was posted")?;
            ensure!(
                round.slots[slot] == SlotState::Posted,
                "shared receive {slot} completed twice"
            );
            round.slots[slot] = SlotState::Taken;
            shared.region.predict(&self.shape.slot(slot), &bytes);
            return Ok(());
        }
        let wanted = wr_id(round.number, WorkQueue::Receive, index, sequence);
        ensure!(
            completion.wr_id == wanted,
            "QP {}: receive {sequence} completed with the wr_id of another",
            completion.qpn
        );
        let region = self.qps[index]
            .receive
            .as_mut()
            .context("an own receive region")?;
        region.predict(
            &round.plans[index].receives[self.side.index()][sequence],
            &bytes,
        );
        Ok(())
    }

    /// Which receive of this round has `id`, as an index in its receive queue.
    fn receive_of(&self, round: &Round<'_>, qp: usize, id: u64) -> Option<usize> {
        let (queue, count) = match self.shape.receiving {
            Receiving::Own => (qp, round.receives[qp].expected()),
            Receiving::Shared => (self.shape.qps, round.slots.len()),
        };
        (0..count).find(|index| wr_id(round.number, WorkQueue::Receive, queue, *index) == id)
    }

    /// The bytes of an operation of the peer's that come from its source region.
    fn peer_source_bytes(&self, op: &Op, qp: usize, round: u64) -> Vec<u8> {
        let pattern = source_pattern(self.seed, self.side.peer(), qp, round);
        op.pieces
            .iter()
            .flat_map(|piece| pattern.bytes(piece.start, piece.len()))
            .collect()
    }

    /// Enters into the images what the peer's WRITEs and our READs have done.
    fn predict_one_sided(&mut self, plans: &[QpPlan], round: u64) {
        for (index, plan) in plans.iter().enumerate() {
            let written: Vec<(Range<usize>, Vec<u8>)> = plan.ops[self.side.peer().index()]
                .iter()
                .filter(|op| matches!(op.kind, OpKind::Write | OpKind::WriteImm))
                .map(|op| {
                    let bytes = self.peer_source_bytes(op, index, round);
                    (op.remote..op.remote + op.len, bytes)
                })
                .collect();
            let target = &mut self.qps[index].target;
            for (range, bytes) in written {
                target.predict(&[range], &bytes);
            }
            let source = source_pattern(self.seed, self.side.peer(), index, round);
            for op in &plan.ops[self.side.index()] {
                if op.kind == OpKind::Read {
                    target.predict(&op.pieces, &source.bytes(op.remote, op.len));
                }
            }
        }
    }

    fn expect_no_completion(&self) -> Result<()> {
        let mut extra = Vec::new();
        for cq in &self.cqs {
            cq.poll(&mut extra, 1)?;
        }
        match extra.first() {
            None => Ok(()),
            Some(completion) => bail!("a CQE too many: {completion:?}"),
        }
    }
}

fn receive_requests(sges: &[Vec<Sge>], round: u64, queue: usize) -> Vec<RecvRequest<'_>> {
    sges.iter()
        .enumerate()
        .map(|(index, sges)| RecvRequest {
            wr_id: wr_id(round, WorkQueue::Receive, queue, index),
            sges,
        })
        .collect()
}

fn operation(op: &Op, end: &QpEnd<'_>) -> Operation {
    let imm = op.kind.has_imm().then_some(op.imm);
    match op.kind {
        OpKind::Send | OpKind::SendImm => Operation::Send { imm },
        OpKind::Write | OpKind::WriteImm => Operation::Write {
            remote: end.peer_target.plus(op.remote),
            imm,
        },
        OpKind::Read => Operation::Read {
            remote: end.peer_source.plus(op.remote),
        },
    }
}

fn flags(op: &Op) -> SendFlags {
    let mut flags = SendFlags::empty();
    flags.set(SendFlags::SIGNALED, op.signalling == Signalling::Signalled);
    flags.set(SendFlags::FENCE, op.fencing == Fencing::Fenced);
    flags
}
