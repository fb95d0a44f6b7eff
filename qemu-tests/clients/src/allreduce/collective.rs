// SPDX-License-Identifier: GPL-2.0

//! The all-reduce itself.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::Serialize;

use crate::verbs::Buffer;
use crate::verbs::Cq;
use crate::verbs::Mr;
use crate::verbs::Pd;

use super::comm::cq_depth;
use super::comm::cts_buffer;
use super::comm::Receiver;
use super::comm::Sender;
use super::comm::MR_ACCESS;
use super::ring::Ring;
use super::schedule::Phase;
use super::schedule::Schedule;
use super::tensor;
use super::tensor::ELEMENT;

/// Messages in flight per direction (NCCL_STEPS).
const STEPS: usize = 8;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// Elements of the tensor.
    pub elements: usize,
    /// All-reduces in a row.
    pub iterations: usize,
    /// Queue pairs per connection (NCCL_IB_QPS_PER_CONNECTION); messages take turns.
    pub qps: usize,
    /// Elements of a message at most.
    pub slice: usize,
    /// Time without any progress after which it counts as hung.
    pub limit: Duration,
}

/// Figures of the all-reduces at this rank.
#[derive(Clone, Debug, Serialize)]
pub struct Figures {
    /// Bytes of the tensor.
    pub bytes: usize,
    /// Messages per direction and all-reduce.
    pub messages: usize,
    /// Time of each all-reduce.
    pub seconds: Vec<f64>,
    /// Tensor bytes by mean time, in Gb/s.
    pub algorithm_gbps: f64,
    /// Bytes that cross each link, by mean time, in Gb/s: what to compare with the link's rate.
    pub bus_gbps: f64,
    /// Result bytes that were compared with the exact sums.
    pub verified_bytes: usize,
}

/// Runs the job at this rank.
pub fn run(ring: &mut Ring<'_>, job: &Job) -> Result<Figures> {
    let context = &ring.device.context;
    let schedule = Schedule::new(ring.rank, ring.ranks, job.elements, job.slice);
    let pd = Pd::new(context)?;
    let send_cq = Cq::new(context, cq_depth(job.qps), None)?;
    let recv_cq = Cq::new(context, cq_depth(job.qps), None)?;
    let tensor_buffer = Buffer::new(job.elements * ELEMENT).context("memory for the tensor")?;
    let slot_len = job.slice * ELEMENT;
    let scratch = Buffer::new(STEPS * slot_len).context("memory for received slices")?;
    let (cts, staging) = (cts_buffer()?, cts_buffer()?);
    let mut sender = Sender::new(&pd, &send_cq, &cts, job.qps)?;
    let mut receiver = Receiver::new(&pd, &recv_cq, &staging, job.qps)?;
    let tensor_mr = Mr::new(&pd, &tensor_buffer, 0..tensor_buffer.len(), MR_ACCESS)?;
    let scratch_mr = Mr::new(&pd, &scratch, 0..scratch.len(), MR_ACCESS)?;

    let (from_next, from_prev) = ring
        .neighbours
        .exchange(&sender.offer(), &receiver.offer())?;
    sender.connect(&ring.next, &from_next)?;
    receiver.connect(&ring.prev, &from_prev)?;
    ring.neighbours.barrier("connected")?;

    let mut seconds = Vec::new();
    for iteration in 0..job.iterations {
        tensor::fill(&tensor_buffer, job.elements, ring.rank, iteration);
        ring.neighbours.barrier("filled")?;
        let start = Instant::now();
        let mut turn = Turn {
            schedule: &schedule,
            sender: &mut sender,
            receiver: &mut receiver,
            tensor: &tensor_buffer,
            tensor_mr: &tensor_mr,
            scratch: &scratch,
            scratch_mr: &scratch_mr,
            slot_len,
            sends: Progress::default(),
            receives: Progress::default(),
        };
        turn.run(job.limit)
            .with_context(|| format!("iteration {iteration}"))?;
        seconds.push(start.elapsed().as_secs_f64());
        tensor::check(&tensor_buffer, job.elements, ring.ranks, iteration)?;
    }
    // No queue pair goes while a neighbour may still wait for an acknowledgement.
    ring.neighbours.barrier("done")?;

    let bytes = tensor_buffer.len();
    let mean = seconds.iter().sum::<f64>() / seconds.len() as f64;
    let algorithm_gbps = bytes as f64 * 8.0 / mean / 1e9;
    let ranks = ring.ranks as f64;
    Ok(Figures {
        bytes,
        messages: schedule.messages(),
        algorithm_gbps,
        bus_gbps: algorithm_gbps * 2.0 * (ranks - 1.0) / ranks,
        verified_bytes: bytes * seconds.len(),
        seconds,
    })
}

/// Messages of one direction, in order.
#[derive(Default)]
struct Progress {
    started: usize,
    done: usize,
}

impl Progress {
    fn in_flight(&self) -> usize {
        self.started - self.done
    }
}

/// One all-reduce.
struct Turn<'t, 'a> {
    schedule: &'t Schedule,
    sender: &'t mut Sender<'a>,
    receiver: &'t mut Receiver<'a>,
    tensor: &'t Buffer,
    tensor_mr: &'t Mr<'a>,
    scratch: &'t Buffer,
    scratch_mr: &'t Mr<'a>,
    slot_len: usize,
    sends: Progress,
    receives: Progress,
}

impl Turn<'_, '_> {
    fn run(&mut self, limit: Duration) -> Result<()> {
        let messages = self.schedule.messages();
        let mut last_progress = Instant::now();
        while self.sends.done < messages || self.receives.done < messages {
            let mut progress = false;
            progress |= self.start_receive()?;
            progress |= self.start_send()?;
            progress |= self.finish_receive()?;
            progress |= self.finish_send()?;
            if progress {
                last_progress = Instant::now();
                continue;
            }
            ensure!(
                last_progress.elapsed() < limit,
                "no progress for {limit:?}: of {messages} messages {} were sent ({} completed), {} received ({} awaited)",
                self.sends.started,
                self.sends.done,
                self.receives.done,
                self.receives.started
            );
            thread::yield_now();
        }
        Ok(())
    }

    fn start_receive(&mut self) -> Result<bool> {
        let message = self.receives.started;
        if message == self.schedule.messages() || self.receives.in_flight() == STEPS {
            return Ok(false);
        }
        let range = self.schedule.received(message);
        let size = range.len() * ELEMENT;
        let memory = match self.schedule.phase(message) {
            Phase::Reduce => self
                .scratch_mr
                .remote()
                .plus(message % STEPS * self.slot_len),
            Phase::Gather => {
                let sent = self.schedule.received_after(message);
                if sent.is_some_and(|sent| self.sends.done <= sent) {
                    return Ok(false);
                }
                self.tensor_mr.remote().plus(range.start * ELEMENT)
            }
        };
        self.receiver.receive(memory, size)?;
        self.receives.started += 1;
        Ok(true)
    }

    fn start_send(&mut self) -> Result<bool> {
        let message = self.sends.started;
        let waits = self
            .schedule
            .sent_after(message)
            .is_some_and(|received| self.receives.done <= received);
        if message == self.schedule.messages() || self.sends.in_flight() == STEPS || waits {
            return Ok(false);
        }
        let range = self.schedule.sent(message);
        let bytes = range.start * ELEMENT..range.end * ELEMENT;
        let len = bytes.len();
        let sge = (len > 0).then(|| self.tensor_mr.sge(bytes));
        if self.sender.try_send(sge, len)?.is_none() {
            return Ok(false);
        }
        self.sends.started += 1;
        Ok(true)
    }

    fn finish_receive(&mut self) -> Result<bool> {
        let Some(size) = self.receiver.test()? else {
            return Ok(false);
        };
        let message = self.receives.done;
        let range = self.schedule.received(message);
        ensure!(
            size == range.len() * ELEMENT,
            "message {message} has {size} bytes, expected {}",
            range.len() * ELEMENT
        );
        if self.schedule.phase(message) == Phase::Reduce {
            tensor::add(
                self.tensor,
                range.start * ELEMENT,
                self.scratch,
                message % STEPS * self.slot_len,
                range.len(),
            );
        }
        self.receives.done += 1;
        Ok(true)
    }

    fn finish_send(&mut self) -> Result<bool> {
        let completed = self.sender.test()?.is_some();
        self.sends.done += usize::from(completed);
        Ok(completed)
    }
}
