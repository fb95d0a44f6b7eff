// SPDX-License-Identifier: GPL-2.0

//! Sending and receiving communicators with the semantics and the verbs calls of NCCL's IB transport.

use std::collections::VecDeque;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;

use crate::endpoint;
use crate::endpoint::Path;
use crate::endpoint::QpAddress;
use crate::endpoint::Tuning;
use crate::endpoint::RNR_RETRY_FOREVER;
use crate::verbs::Access;
use crate::verbs::Buffer;
use crate::verbs::Completion;
use crate::verbs::Cq;
use crate::verbs::Mr;
use crate::verbs::Opcode;
use crate::verbs::Operation;
use crate::verbs::Payload;
use crate::verbs::Pd;
use crate::verbs::Psn;
use crate::verbs::Qp;
use crate::verbs::QpCapacity;
use crate::verbs::QpInit;
use crate::verbs::RecvRequest;
use crate::verbs::RemoteAddr;
use crate::verbs::Rkey;
use crate::verbs::SendFlags;
use crate::verbs::SendRequest;
use crate::verbs::Sge;
use crate::verbs::Status;

/// Requests of a communicator at a time, and slots of its clear-to-send ring (MAX_REQUESTS).
pub const MAX_REQUESTS: usize = 256;

/// CQEs taken per poll.
const POLL_BATCH: usize = 4;

const SEND_WR: u32 = 2 * MAX_REQUESTS as u32;

/// How NCCL registers memory.
pub const MR_ACCESS: Access = Access::LOCAL_WRITE
    .union(Access::REMOTE_WRITE)
    .union(Access::REMOTE_READ)
    .union(Access::REMOTE_ATOMIC)
    .union(Access::RELAXED_ORDERING);

/// NCCL's defaults: NCCL_IB_TIMEOUT, NCCL_IB_RETRY_CNT, and what ncclIbRtrQp and ncclIbRtsQp fix.
const TUNING: Tuning = Tuning {
    access: Access::REMOTE_WRITE,
    timeout: 20,
    retry_cnt: 7,
    rnr_retry: RNR_RETRY_FOREVER,
    min_rnr_timer: 12,
    rd_atomic: 1,
};

const FIRST_PSN: Psn = Psn(0);

/// A clear-to-send element, laid out as `struct ncclIbSendFifo`: the sender polls `idx`, and everything
/// before it must be visible once it is.
struct ClearToSend {
    remote: RemoteAddr,
    size: u64,
    idx: u64,
}

impl ClearToSend {
    const LEN: usize = 64;
    const ADDRESS: usize = 0;
    const SIZE: usize = 8;
    const RKEY: usize = 16;
    const REQUESTS: usize = 32;
    const IDX: usize = 40;

    fn encode(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(Self::ADDRESS, &self.remote.address.to_le_bytes());
        put(Self::SIZE, &self.size.to_le_bytes());
        put(Self::RKEY, &self.remote.rkey.0.to_le_bytes());
        put(Self::REQUESTS, &1u32.to_le_bytes());
        put(Self::IDX, &self.idx.to_le_bytes());
        bytes
    }

    /// The element in `slot`, if it is the one numbered `idx`.
    fn poll(buffer: &Buffer, slot: usize, idx: u64) -> Result<Option<Self>> {
        let base = slot * Self::LEN;
        if buffer.load_u64(base + Self::IDX) != idx {
            return Ok(None);
        }
        let rkey = buffer.load_u64(base + Self::RKEY) as u32;
        let requests = buffer.load_u64(base + Self::REQUESTS) as u32;
        ensure!(
            requests == 1,
            "clear-to-send element {idx}: its index is visible, but not what comes before"
        );
        Ok(Some(Self {
            remote: RemoteAddr {
                address: buffer.load_u64(base + Self::ADDRESS),
                rkey: Rkey(rkey),
            },
            size: buffer.load_u64(base + Self::SIZE),
            idx,
        }))
    }
}

/// The memory of a clear-to-send ring: the sender's, which the receiver writes, or the receiver's, which
/// it writes from.
pub fn cts_buffer() -> nix::Result<Buffer> {
    Buffer::new(MAX_REQUESTS * ClearToSend::LEN)
}

/// What a sender tells the receiver.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SenderOffer {
    qps: Vec<QpAddress>,
    cts: RemoteAddr,
}

/// What a receiver tells the sender.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ReceiverOffer {
    qps: Vec<QpAddress>,
}

fn make_qps<'a>(pd: &'a Pd<'_>, cq: &'a Cq<'a>, count: usize, recv_wr: u32) -> Result<Vec<Qp<'a>>> {
    let init = QpInit {
        send_cq: cq,
        recv_cq: cq,
        srq: None,
        capacity: QpCapacity {
            send_wr: SEND_WR,
            recv_wr,
            send_sge: 1,
            recv_sge: 1,
            inline: 0,
        },
    };
    (0..count).map(|_| Ok(Qp::new(pd, &init)?)).collect()
}

fn addresses(qps: &[Qp<'_>]) -> Vec<QpAddress> {
    qps.iter()
        .map(|qp| QpAddress {
            qpn: qp.qpn(),
            psn: FIRST_PSN,
        })
        .collect()
}

fn connect(qps: &[Qp<'_>], path: &Path, peers: &[QpAddress]) -> Result<()> {
    ensure!(
        qps.len() == peers.len(),
        "we use {} QPs per connection, the peer {}: pass the same --qps",
        qps.len(),
        peers.len()
    );
    for (qp, peer) in qps.iter().zip(peers) {
        endpoint::connect(qp, path, &TUNING, FIRST_PSN, *peer)?;
    }
    Ok(())
}

fn expect_success(completion: &Completion, what: &str) -> Result<()> {
    ensure!(
        completion.status == Status::SUCCESS,
        "{what}: request {} completed with {}",
        completion.wr_id,
        completion.status
    );
    Ok(())
}

/// Room for all completions of a communicator.
pub fn cq_depth(qps: usize) -> u32 {
    (2 * MAX_REQUESTS * qps) as u32
}

/// Requests that may complete in any order, and are taken in the order of posting.
#[derive(Default)]
struct Requests {
    open: VecDeque<Option<u32>>,
    first: u64,
}

impl Requests {
    fn push(&mut self) {
        self.open.push_back(None);
    }

    fn complete(&mut self, id: u64, size: u32) -> Result<()> {
        let slot = id
            .checked_sub(self.first)
            .and_then(|index| self.open.get_mut(index as usize))
            .with_context(|| format!("a completion of request {id}, which is not open"))?;
        ensure!(slot.is_none(), "request {id} completed twice");
        *slot = Some(size);
        Ok(())
    }

    /// The size of the oldest request, if it has completed.
    fn pop(&mut self) -> Option<u32> {
        let size = (*self.open.front()?)?;
        self.open.pop_front();
        self.first += 1;
        Some(size)
    }
}

/// The sending communicator.
pub struct Sender<'a> {
    qps: Vec<Qp<'a>>,
    cq: &'a Cq<'a>,
    cts: &'a Buffer,
    cts_mr: Mr<'a>,
    head: u64,
    requests: Requests,
}

impl<'a> Sender<'a> {
    /// Makes the queue pairs and registers the clear-to-send ring.
    pub fn new(pd: &'a Pd<'_>, cq: &'a Cq<'a>, cts: &'a Buffer, qps: usize) -> Result<Self> {
        Ok(Self {
            qps: make_qps(pd, cq, qps, 0)?,
            cq,
            cts,
            cts_mr: Mr::new(pd, cts, 0..cts.len(), MR_ACCESS)?,
            head: 0,
            requests: Requests::default(),
        })
    }

    /// For the receiver.
    pub fn offer(&self) -> SenderOffer {
        SenderOffer {
            qps: addresses(&self.qps),
            cts: self.cts_mr.remote(),
        }
    }

    /// Connects to the receiver.
    pub fn connect(&mut self, path: &Path, receiver: &ReceiverOffer) -> Result<()> {
        connect(&self.qps, path, &receiver.qps)
    }

    /// Starts to send, if the receiver is ready (isend).
    pub fn try_send(&mut self, sge: Option<Sge>, len: usize) -> Result<Option<()>> {
        let slot = (self.head % MAX_REQUESTS as u64) as usize;
        let Some(cts) = ClearToSend::poll(self.cts, slot, self.head + 1)? else {
            return Ok(None);
        };
        ensure!(
            cts.size >= len as u64,
            "the receiver has {} bytes for message {} of {len}",
            cts.size,
            self.head
        );
        // So that an old element is never taken for a new one.
        self.cts
            .write(slot * ClearToSend::LEN, &[0; ClearToSend::LEN]);
        let qp = &self.qps[self.head as usize % self.qps.len()];
        qp.post_send(&[SendRequest {
            wr_id: self.head,
            operation: Operation::Write {
                remote: cts.remote,
                imm: Some(len as u32),
            },
            payload: Payload::Sges(sge.as_slice()),
            flags: SendFlags::SIGNALED,
        }])?;
        self.head += 1;
        self.requests.push();
        Ok(Some(()))
    }

    /// Takes the completion of the oldest message, if it is there (test).
    pub fn test(&mut self) -> Result<Option<()>> {
        let mut completions = Vec::new();
        self.cq.poll(&mut completions, POLL_BATCH)?;
        for completion in completions {
            expect_success(&completion, "send")?;
            ensure!(
                completion.opcode == Opcode::RDMA_WRITE,
                "a send CQE with opcode {}",
                completion.opcode
            );
            self.requests.complete(completion.wr_id, 0)?;
        }
        Ok(self.requests.pop().map(|_| ()))
    }
}

/// Marks the ids of clear-to-send WRITEs apart from those of receives.
const CTS_ID: u64 = 1 << 63;

/// The receiving communicator.
pub struct Receiver<'a> {
    qps: Vec<Qp<'a>>,
    cq: &'a Cq<'a>,
    /// Elements are sent from here.
    staging: &'a Buffer,
    staging_mr: Mr<'a>,
    sender_cts: Option<RemoteAddr>,
    tail: u64,
    requests: Requests,
}

impl<'a> Receiver<'a> {
    /// Makes the queue pairs and registers the memory that clear-to-send elements are sent from.
    pub fn new(pd: &'a Pd<'_>, cq: &'a Cq<'a>, staging: &'a Buffer, qps: usize) -> Result<Self> {
        Ok(Self {
            qps: make_qps(pd, cq, qps, MAX_REQUESTS as u32)?,
            cq,
            staging,
            staging_mr: Mr::new(pd, staging, 0..staging.len(), MR_ACCESS)?,
            sender_cts: None,
            tail: 0,
            requests: Requests::default(),
        })
    }

    /// For the sender.
    pub fn offer(&self) -> ReceiverOffer {
        ReceiverOffer {
            qps: addresses(&self.qps),
        }
    }

    /// Connects to the sender.
    pub fn connect(&mut self, path: &Path, sender: &SenderOffer) -> Result<()> {
        self.sender_cts = Some(sender.cts);
        connect(&self.qps, path, &sender.qps)
    }

    /// Starts to receive into `memory` (irecv): a receive without elements, and a clear-to-send element,
    /// signalled only once per turn of the ring.
    pub fn receive(&mut self, memory: RemoteAddr, size: usize) -> Result<()> {
        let ring = self
            .sender_cts
            .context("connected before the first receive")?;
        let qp = &self.qps[self.tail as usize % self.qps.len()];
        qp.post_recv(&[RecvRequest {
            wr_id: self.tail,
            sges: &[],
        }])?;
        let slot = (self.tail % MAX_REQUESTS as u64) as usize;
        let at = slot * ClearToSend::LEN;
        let element = ClearToSend {
            remote: memory,
            size: size as u64,
            idx: self.tail + 1,
        };
        self.staging.write(at, &element.encode());
        let flags = match slot {
            0 => SendFlags::SIGNALED,
            _ => SendFlags::empty(),
        };
        self.qps[0].post_send(&[SendRequest {
            wr_id: self.tail | CTS_ID,
            operation: Operation::Write {
                remote: ring.plus(at),
                imm: None,
            },
            payload: Payload::Sges(&[self.staging_mr.sge(at..at + ClearToSend::LEN)]),
            flags,
        }])?;
        self.tail += 1;
        self.requests.push();
        Ok(())
    }

    /// Takes the size of the oldest message, if it has come (test).
    pub fn test(&mut self) -> Result<Option<usize>> {
        let mut completions = Vec::new();
        self.cq.poll(&mut completions, POLL_BATCH)?;
        for completion in completions {
            expect_success(&completion, "receive")?;
            if completion.wr_id & CTS_ID != 0 {
                continue;
            }
            ensure!(
                completion.opcode == Opcode::RECV_RDMA_WITH_IMM,
                "a receive CQE with opcode {}",
                completion.opcode
            );
            let size = completion.imm.context("a message without immediate data")?;
            ensure!(
                completion.byte_len == size,
                "byte_len {} in the CQE of a message of {size}",
                completion.byte_len
            );
            self.requests.complete(completion.wr_id, size)?;
        }
        Ok(self.requests.pop().map(|size| size as usize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_is_seen_only_under_its_index() {
        let ring = cts_buffer().expect("memory");
        let element = ClearToSend {
            remote: RemoteAddr {
                address: 0x1234_5678_9abc,
                rkey: Rkey(77),
            },
            size: 4096,
            idx: 6,
        };
        ring.write(5 * ClearToSend::LEN, &element.encode());
        assert!(ClearToSend::poll(&ring, 5, 5).expect("whole").is_none());
        let seen = ClearToSend::poll(&ring, 5, 6)
            .expect("whole")
            .expect("there");
        assert_eq!(seen.remote, element.remote);
        assert_eq!(seen.size, 4096);
    }

    #[test]
    fn an_index_without_its_element_is_an_error() {
        let ring = cts_buffer().expect("memory");
        ring.write(ClearToSend::IDX, &1u64.to_le_bytes());
        assert!(ClearToSend::poll(&ring, 0, 1).is_err());
    }

    #[test]
    fn requests_are_taken_in_order() {
        let mut requests = Requests::default();
        requests.push();
        requests.push();
        requests.complete(1, 11).expect("open");
        assert_eq!(requests.pop(), None);
        requests.complete(0, 10).expect("open");
        assert_eq!(requests.pop(), Some(10));
        assert_eq!(requests.pop(), Some(11));
        assert!(requests.complete(1, 0).is_err(), "no longer open");
        assert!(requests.complete(2, 0).is_err(), "not yet open");
    }
}
