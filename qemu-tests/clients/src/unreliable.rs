// SPDX-License-Identifier: GPL-2.0

//! Messages over an unreliable connection, in bursts: those that arrive are whole, in order, and come once.

use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use clap::ValueEnum;
use serde::Deserialize;
use serde::Serialize;

use crate::bootstrap::Peer;
use crate::bootstrap::Side;
use crate::endpoint;
use crate::endpoint::Device;
use crate::endpoint::QpAddress;
use crate::pattern::Pattern;
use crate::verbs::Access;
use crate::verbs::Binding;
use crate::verbs::Buffer;
use crate::verbs::Completion;
use crate::verbs::Cq;
use crate::verbs::Mr;
use crate::verbs::Mw;
use crate::verbs::MwType;
use crate::verbs::Opcode;
use crate::verbs::Operation;
use crate::verbs::Payload;
use crate::verbs::Pd;
use crate::verbs::Psn;
use crate::verbs::Qp;
use crate::verbs::QpAttr;
use crate::verbs::QpCapacity;
use crate::verbs::QpInit;
use crate::verbs::QpState;
use crate::verbs::QpType;
use crate::verbs::RecvRequest;
use crate::verbs::RemoteAddr;
use crate::verbs::SendFlags;
use crate::verbs::SendRequest;
use crate::verbs::Status;

/// Messages of a burst, for each of which a receive is posted before.
const BURST: usize = 16;

/// How long nothing comes until the rest of a burst is taken to be lost.
const QUIET: Duration = Duration::from_millis(500);

/// By which key messages are written.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ValueEnum)]
pub enum Through {
    /// That of the memory region.
    Region,
    /// That of a memory window of type 2, which the receiver's queue pair has bound: the region's own gives no right.
    Window,
}

/// What is to be done; the client's rules.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Bytes of the longest message, a multiple of 8.
    pub bytes: usize,
    /// Number of bursts.
    pub bursts: u32,
    /// By which key.
    pub through: Through,
}

/// What the receiver has seen.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Finding {
    /// Messages that were sent.
    pub sent: u32,
    /// Messages that have arrived.
    pub received: u32,
    /// Of these, those that are not as they were sent.
    pub wrong: u32,
    /// Of these, those that came twice or behind later ones.
    pub out_of_order: u32,
}

/// A message: all about it follows from its number.
struct Message {
    number: u32,
    length: usize,
}

impl Message {
    fn new(number: u32, job: &Job) -> Self {
        // One in four is as long as any; none is empty, so that each can be told from the others.
        let length = match number % 4 {
            0 => job.bytes,
            _ => 1 + crate::pattern::mix(number.into()) as usize % job.bytes,
        };
        Self { number, length }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.length];
        Pattern::new(&[self.number.into()]).fill(0, &mut bytes);
        bytes
    }

    /// Every other one goes where it says itself.
    fn is_write(&self) -> bool {
        self.number % 2 == 1
    }

    /// Its place in memory: that of the others of its burst is elsewhere.
    fn place(&self, job: &Job) -> usize {
        self.number as usize % BURST * job.bytes
    }
}

/// Sends the messages, or receives them; gives what the receiver has seen.
pub fn run(
    device: &Device,
    side: Side,
    peer: &mut Peer,
    job: Job,
    limit: Duration,
) -> Result<(Job, Finding)> {
    let job = peer.agree(side, job)?;
    ensure!(job.bytes > 0, "messages have bytes");
    let path = device.agree_path(peer)?;
    let context = &device.context;
    let pd = Pd::new(context)?;
    let cq = Cq::new(context, 2 * BURST as u32, None)?;
    // Where messages are sent from, or written to; and where receives are.
    let buffer = Buffer::new(2 * BURST * job.bytes)?;
    let for_peers = match job.through {
        Through::Region => Access::REMOTE_WRITE,
        Through::Window => Access::MW_BIND,
    };
    let access = Access::LOCAL_WRITE | for_peers;
    let memory = Mr::new(&pd, &buffer, 0..buffer.len(), access)?;
    let qp = Qp::of_type(
        &pd,
        &QpInit {
            send_cq: &cq,
            recv_cq: &cq,
            srq: None,
            capacity: QpCapacity {
                send_wr: BURST as u32,
                recv_wr: BURST as u32,
                send_sge: 1,
                recv_sge: 1,
                inline: 0,
            },
        },
        QpType::Unreliable,
    )?;
    let psn = Psn(0xff_fff0);
    let theirs: QpAddress = peer.exchange(&QpAddress { qpn: qp.qpn(), psn })?;
    endpoint::init(&qp, path.address.port, Access::REMOTE_WRITE)?;
    qp.modify(QpAttr {
        state: Some(QpState::Rtr),
        path_mtu: Some(path.mtu),
        dest_qpn: Some(theirs.qpn),
        rq_psn: Some(theirs.psn),
        address: Some(path.address),
        ..QpAttr::default()
    })
    .context("INIT to RTR")?;
    qp.modify(QpAttr {
        state: Some(QpState::Rts),
        sq_psn: Some(psn),
        ..QpAttr::default()
    })
    .context("RTR to RTS")?;
    let window = Mw::new(&pd, MwType::Two)?;
    let ours = match job.through {
        Through::Region => memory.remote(),
        Through::Window => bind(&window, &memory, &qp, &cq, limit)?,
    };
    let theirs: RemoteAddr = peer.exchange(&ours)?;
    let mut end = End {
        job,
        cq: &cq,
        qp: &qp,
        buffer: &buffer,
        memory: &memory,
        limit,
        last: None,
        posted: 0,
        finding: Finding::default(),
    };
    for burst in 0..job.bursts {
        let numbers = burst * BURST as u32..(burst + 1) * BURST as u32;
        match side {
            Side::Client => {
                peer.barrier("armed")?;
                end.send(numbers, theirs)?;
                peer.barrier("sent")?;
            }
            Side::Server => {
                end.post_receives()?;
                peer.barrier("armed")?;
                peer.barrier("sent")?;
                end.receive()?;
            }
        }
    }
    end.finding.sent = job.bursts * BURST as u32;
    let theirs: Finding = peer.exchange(&end.finding)?;
    Ok(match side {
        Side::Client => (job, theirs),
        Side::Server => (job, end.finding),
    })
}

/// Binds a window to all of the memory, through which a peer may write.
fn bind(
    window: &Mw<'_>,
    memory: &Mr<'_>,
    qp: &Qp<'_>,
    cq: &Cq<'_>,
    limit: Duration,
) -> Result<RemoteAddr> {
    let binding = Binding::new(memory, 0..memory.len(), Access::REMOTE_WRITE);
    qp.bind_type_2(0, window, &binding)?;
    let mut done = Vec::new();
    let begun = Instant::now();
    while cq.poll(&mut done, 1)? == 0 {
        ensure!(
            begun.elapsed() < limit,
            "the window is not bound within {limit:?}"
        );
        std::thread::yield_now();
    }
    ensure!(
        done[0].status == Status::SUCCESS,
        "the window was not bound: {}",
        done[0].status
    );
    Ok(RemoteAddr {
        address: binding.address(),
        rkey: window.rkey(),
    })
}

/// One end of the connection.
struct End<'a> {
    job: Job,
    cq: &'a Cq<'a>,
    qp: &'a Qp<'a>,
    buffer: &'a Buffer,
    memory: &'a Mr<'a>,
    limit: Duration,
    /// Number of the newest message that has arrived.
    last: Option<u32>,
    /// Receives posted and not completed.
    posted: usize,
    finding: Finding,
}

impl End<'_> {
    /// Sends messages, and waits until all have left.
    fn send(&mut self, numbers: std::ops::Range<u32>, remote: RemoteAddr) -> Result<()> {
        let count = numbers.len();
        for number in numbers {
            let message = Message::new(number, &self.job);
            let place = message.place(&self.job);
            self.buffer.write(place, &message.bytes());
            let imm = Some(number);
            self.qp.post_send(&[SendRequest {
                wr_id: number.into(),
                operation: if message.is_write() {
                    let address = remote.address + place as u64;
                    Operation::Write {
                        remote: RemoteAddr { address, ..remote },
                        imm,
                    }
                } else {
                    Operation::Send { imm }
                },
                payload: Payload::Sges(&[self.memory.sge(place..place + message.length)]),
                flags: SendFlags::SIGNALED,
            }])?;
        }
        let begun = Instant::now();
        let mut done = Vec::new();
        while done.len() < count {
            ensure!(
                begun.elapsed() < self.limit,
                "{} of {count} requests have not completed within {:?}",
                count - done.len(),
                self.limit
            );
            if self.cq.poll(&mut done, count)? == 0 {
                std::thread::yield_now();
            }
        }
        for completion in done {
            ensure!(
                completion.status == Status::SUCCESS,
                "message {} completed with {}",
                completion.wr_id,
                completion.status
            );
        }
        Ok(())
    }

    /// Where receive `slot` is.
    fn receive_at(&self, slot: usize) -> usize {
        (BURST + slot) * self.job.bytes
    }

    fn post_receive(&mut self, slot: usize) -> Result<()> {
        let at = self.receive_at(slot);
        self.qp.post_recv(&[RecvRequest {
            wr_id: slot as u64,
            sges: &[self.memory.sge(at..at + self.job.bytes)],
        }])?;
        self.posted += 1;
        Ok(())
    }

    /// All receives that there may be. Those of messages that were lost are still there.
    fn post_receives(&mut self) -> Result<()> {
        if self.finding.received == 0 && self.posted == 0 {
            for slot in 0..BURST {
                self.post_receive(slot)?;
            }
        }
        Ok(())
    }

    /// Takes what has arrived of a burst, until nothing comes any more, and posts as many receives again.
    fn receive(&mut self) -> Result<()> {
        let mut slots = Vec::new();
        let mut quiet_since = Instant::now();
        let mut found = Vec::new();
        while slots.len() < BURST && quiet_since.elapsed() < QUIET {
            found.clear();
            if self.cq.poll(&mut found, BURST)? == 0 {
                std::thread::yield_now();
                continue;
            }
            quiet_since = Instant::now();
            for completion in &found {
                self.check(completion)?;
                slots.push(completion.wr_id as usize);
            }
        }
        for slot in slots {
            self.posted -= 1;
            self.post_receive(slot)?;
        }
        Ok(())
    }

    fn check(&mut self, completion: &Completion) -> Result<()> {
        ensure!(
            completion.status == Status::SUCCESS,
            "a receive completed with {}",
            completion.status
        );
        let finding = &mut self.finding;
        finding.received += 1;
        let Some(number) = completion.imm else {
            finding.wrong += 1;
            return Ok(());
        };
        if self.last.is_some_and(|last| number <= last) {
            finding.out_of_order += 1;
        }
        self.last = Some(number);
        let message = Message::new(number, &self.job);
        let (opcode, at) = if message.is_write() {
            (Opcode::RECV_RDMA_WITH_IMM, message.place(&self.job))
        } else {
            (Opcode::RECV, self.receive_at(completion.wr_id as usize))
        };
        let is_right = completion.opcode == opcode
            && completion.byte_len as usize == message.length
            && self.buffer.first_difference(at, &message.bytes()).is_none();
        self.finding.wrong += u32::from(!is_right);
        Ok(())
    }
}
