// SPDX-License-Identifier: GPL-2.0

//! Memory whose pages never come: who accesses it gives up, and it can be let go of all the same.

use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use nix::libc;
use serde::Deserialize;
use serde::Serialize;

use crate::bootstrap::Peer;
use crate::bootstrap::Side;
use crate::endpoint;
use crate::endpoint::Device;
use crate::endpoint::QpAddress;
use crate::endpoint::Tuning;
use crate::verbs::Access;
use crate::verbs::Buffer;
use crate::verbs::Cq;
use crate::verbs::Mr;
use crate::verbs::Operation;
use crate::verbs::Payload;
use crate::verbs::Pd;
use crate::verbs::Psn;
use crate::verbs::Qp;
use crate::verbs::QpCapacity;
use crate::verbs::QpInit;
use crate::verbs::RemoteAddr;
use crate::verbs::SendFlags;
use crate::verbs::SendRequest;
use crate::verbs::Status;

/// Bytes of the memory, and of each message.
const BYTES: usize = 64 << 10;

/// Retries are over within a second.
const TUNING: Tuning = Tuning {
    access: Access::REMOTE_WRITE.union(Access::REMOTE_READ),
    timeout: 14,
    retry_cnt: 3,
    rnr_retry: 0,
    min_rnr_timer: 1,
    rd_atomic: 1,
};

/// `userfaultfd(2)`: whoever touches memory that is registered with it, and has no page there, waits for this process.
mod userfault {
    /// `UFFD_API`.
    pub const API: u64 = 0xaa;

    /// `UFFDIO_REGISTER_MODE_MISSING`.
    pub const MISSING: u64 = 1;

    /// `struct uffdio_api`.
    #[repr(C)]
    pub struct Handshake {
        pub api: u64,
        pub features: u64,
        pub ioctls: u64,
    }

    /// `struct uffdio_register`.
    #[repr(C)]
    pub struct Registration {
        pub start: u64,
        pub len: u64,
        pub mode: u64,
        pub ioctls: u64,
    }

    nix::ioctl_readwrite!(handshake, 0xaa, 0x3f, Handshake);
    nix::ioctl_readwrite!(register, 0xaa, 0x00, Registration);
}

/// Has nobody find a page in `buffer`, which has none yet, until the descriptor is closed.
fn withhold_pages(buffer: &Buffer) -> Result<OwnedFd> {
    // SAFETY: It takes flags only.
    let fd = unsafe { libc::syscall(libc::SYS_userfaultfd, libc::O_CLOEXEC) };
    let fd = libc::c_int::try_from(nix::errno::Errno::result(fd).context("userfaultfd")?)?;
    // SAFETY: It is new, and nobody else's.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut handshake = userfault::Handshake {
        api: userfault::API,
        features: 0,
        ioctls: 0,
    };
    // SAFETY: The structure is what this request takes.
    unsafe { userfault::handshake(fd.as_raw_fd(), &mut handshake)? };
    let mut registration = userfault::Registration {
        start: buffer.address(0),
        len: buffer.len() as u64,
        mode: userfault::MISSING,
        ioctls: 0,
    };
    // SAFETY: As above; nothing reads or writes the range in this process.
    unsafe { userfault::register(fd.as_raw_fd(), &mut registration)? };
    Ok(fd)
}

/// How the client's requests ended.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// That of a WRITE to the memory.
    pub write: String,
    /// That of a READ from it.
    pub read: String,
    /// Whether both ended as they have to.
    pub as_expected: bool,
}

#[derive(Serialize, Deserialize)]
struct Offer {
    qps: [QpAddress; 2],
    memory: RemoteAddr,
}

/// The client writes to and reads from memory of the server's whose pages never come, each by a queue pair of its own. Both then
/// let go of everything while they still do not.
pub fn run(device: &Device, side: Side, peer: &mut Peer, limit: Duration) -> Result<Finding> {
    let path = device.agree_path(peer)?;
    let pd = Pd::new(&device.context)?;
    let cq = Cq::new(&device.context, 4, None)?;
    let buffer = Buffer::new(BYTES)?;
    // Dropped after what is declared behind it: the region too ends while its pages do not come.
    let _withheld = match side {
        Side::Server => Some(withhold_pages(&buffer)?),
        Side::Client => None,
    };
    let demand = match side {
        Side::Server => Access::ON_DEMAND,
        Side::Client => Access::empty(),
    };
    let access = Access::LOCAL_WRITE | TUNING.access | demand;
    let memory = Mr::new(&pd, &buffer, 0..BYTES, access)?;
    let make = || {
        Qp::new(
            &pd,
            &QpInit {
                send_cq: &cq,
                recv_cq: &cq,
                srq: None,
                capacity: QpCapacity {
                    send_wr: 1,
                    recv_wr: 1,
                    send_sge: 1,
                    recv_sge: 1,
                    inline: 0,
                },
            },
        )
    };
    let qps = [make()?, make()?];
    let psn = Psn(0);
    let theirs: Offer = peer.exchange(&Offer {
        qps: [0, 1].map(|index: usize| QpAddress {
            qpn: qps[index].qpn(),
            psn,
        }),
        memory: memory.remote(),
    })?;
    for (qp, address) in qps.iter().zip(theirs.qps) {
        endpoint::connect(qp, &path, &TUNING, psn, address)?;
    }
    peer.barrier("connected")?;
    let remote = theirs.memory;
    let finding = match side {
        Side::Client => {
            let write = Operation::Write { remote, imm: None };
            let write = status_of(&qps[0], &cq, write, &memory, limit)?;
            let read = status_of(&qps[1], &cq, Operation::Read { remote }, &memory, limit)?;
            Some(Finding {
                write: write.to_string(),
                read: read.to_string(),
                as_expected: [write, read] == [Status::RETRY_EXC_ERR; 2],
            })
        }
        Side::Server => None,
    };
    let theirs: Option<Finding> = peer.exchange(&finding)?;
    finding.or(theirs).context("neither end was the client")
}

/// How a request ends that is the only one.
fn status_of(
    qp: &Qp<'_>,
    cq: &Cq<'_>,
    operation: Operation,
    memory: &Mr<'_>,
    limit: Duration,
) -> Result<Status> {
    qp.post_send(&[SendRequest {
        wr_id: 0,
        operation,
        payload: Payload::Sges(&[memory.sge(0..BYTES)]),
        flags: SendFlags::SIGNALED,
    }])?;
    let begun = Instant::now();
    let mut found = Vec::new();
    while cq.poll(&mut found, 1)? == 0 {
        ensure!(begun.elapsed() < limit, "no completion within {limit:?}");
        std::thread::yield_now();
    }
    Ok(found[0].status)
}
