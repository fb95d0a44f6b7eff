// SPDX-License-Identifier: GPL-2.0

//! A context, and what can be asked of the kernel in it.

use std::path::Path;

use super::Command;
use super::MmapInfo;
use super::Number;
use super::Uverbs;

/// An open node with a context in it.
pub struct Session {
    uverbs: Uverbs,
}

/// The kernel's name of an object in a context; may be stale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handle(pub u32);

/// A registered region.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// Its handle.
    pub handle: Handle,
    /// Its local and remote key: rxe's are the same.
    pub key: u32,
}

/// Local write, remote write, remote read (`enum ib_uverbs_access_flags`).
pub const FULL_ACCESS: u32 = 7;

/// A new completion queue.
#[derive(Clone, Copy, Debug)]
pub struct NewCq {
    /// Its handle.
    pub handle: Handle,
    /// Where it can be mapped.
    pub queue: MmapInfo,
}

/// A new shared receive queue.
#[derive(Clone, Copy, Debug)]
pub struct NewSrq {
    /// Its handle.
    pub handle: Handle,
    /// Where it can be mapped.
    pub queue: MmapInfo,
}

/// A new address handle.
#[derive(Clone, Copy, Debug)]
pub struct AddressHandle {
    /// Its handle.
    pub handle: Handle,
}

/// What a queue pair is to be made of.
#[derive(Clone, Copy, Debug)]
pub struct QpPlan {
    /// The domain.
    pub pd: Handle,
    /// Where sends complete.
    pub send_cq: Handle,
    /// Where receives complete.
    pub recv_cq: Handle,
    /// Where receives come from, unless it has a queue of its own.
    pub srq: Option<Handle>,
    /// Depth of each queue.
    pub depth: u32,
    /// Elements of each WQE.
    pub elements: u32,
    /// Bytes of inline data.
    pub inline: u32,
}

/// A new queue pair.
#[derive(Clone, Copy, Debug)]
pub struct NewQp {
    /// Its handle.
    pub handle: Handle,
    /// Its number.
    pub number: u32,
    /// Where its receive queue can be mapped; empty when it uses a shared one.
    pub receive: MmapInfo,
    /// Where its send queue can be mapped.
    pub send: MmapInfo,
}

/// `enum ib_qp_state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum QpState {
    Reset = 0,
    Init = 1,
    Rtr = 2,
    Rts = 3,
    Sqd = 4,
    Sqe = 5,
    Err = 6,
}

impl QpState {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Reset,
        Self::Init,
        Self::Rtr,
        Self::Rts,
        Self::Sqd,
        Self::Sqe,
        Self::Err,
    ];
}

/// Where a queue pair is to send to.
#[derive(Clone, Copy, Debug)]
pub struct Destination {
    /// GID of the host.
    pub gid: [u8; 16],
    /// Place of our GID in the table.
    pub source_index: u8,
    /// The queue pair there.
    pub number: u32,
}

/// What ibv_rereg_mr(3) changes.
#[derive(Clone, Copy, Debug)]
pub struct Reregistration {
    /// `IB_MR_REREG_*`.
    pub flags: u32,
    /// First byte and length of the memory.
    pub memory: (u64, u64),
    /// The domain.
    pub pd: Handle,
    /// `IB_ACCESS_*`.
    pub access: u32,
}

/// What a queue pair lets its peer do: local and remote write, remote read.
const QP_ACCESS: u32 = 7;

/// Where every queue pair's PSNs begin, so that ends need not tell each other.
const FIRST_PSN: u32 = 0x00ff_fff0;

/// The only port.
const PORT: u8 = 1;

/// The reliable connected service.
const TYPE_RC: u8 = 2;

const ATTR_STATE: u32 = 1 << 0;
const ATTR_ACCESS: u32 = 1 << 3;
const ATTR_PKEY: u32 = 1 << 4;
const ATTR_PORT: u32 = 1 << 5;
const ATTR_AV: u32 = 1 << 7;
const ATTR_MTU: u32 = 1 << 8;
const ATTR_TIMEOUT: u32 = 1 << 9;
const ATTR_RETRY: u32 = 1 << 10;
const ATTR_RNR_RETRY: u32 = 1 << 11;
const ATTR_RQ_PSN: u32 = 1 << 12;
const ATTR_MAX_READS: u32 = 1 << 13;
const ATTR_RNR_TIMER: u32 = 1 << 15;
const ATTR_SQ_PSN: u32 = 1 << 16;
const ATTR_MAX_DEST_READS: u32 = 1 << 17;
const ATTR_DEST: u32 = 1 << 20;

/// The word at index `at` of a response.
fn word(response: &[u8], at: usize) -> u32 {
    let bytes = response[at * 4..at * 4 + 4].try_into();
    u32::from_ne_bytes(bytes.expect("four bytes"))
}

/// The `struct mminfo` at word `at` of a response.
fn mmap_info(response: &[u8], at: usize) -> MmapInfo {
    MmapInfo {
        offset: u64::from(word(response, at)) | u64::from(word(response, at + 1)) << 32,
        size: word(response, at + 2),
    }
}

/// The attributes of a queue pair that a command carries.
#[derive(Clone, Copy, Default)]
struct Attributes {
    mask: u32,
    state: u8,
    destination: Option<Destination>,
}

impl Session {
    /// Opens a node and makes a context.
    pub fn open(node: &Path) -> nix::Result<Self> {
        Ok(Self {
            uverbs: Uverbs::open(node)?,
        })
    }

    /// The node.
    pub fn uverbs(&self) -> &Uverbs {
        &self.uverbs
    }

    fn run(&self, command: Command) -> nix::Result<()> {
        self.uverbs.write(&command.finish())
    }

    /// Makes a protection domain.
    pub fn alloc_pd(&self) -> nix::Result<Handle> {
        let mut response = [0; 4];
        self.run(Command::with_response(Number::AllocPd, &mut response))?;
        Ok(Handle(word(&response, 0)))
    }

    /// Ends a protection domain.
    pub fn dealloc_pd(&self, pd: Handle) -> nix::Result<()> {
        self.run(Command::new(Number::DeallocPd).u32(pd.0))
    }

    /// Registers memory.
    pub fn reg_mr(&self, pd: Handle, memory: (u64, u64), access: u32) -> nix::Result<Region> {
        let mut response = [0; 12];
        let command = Command::with_response(Number::RegMr, &mut response)
            .u64(memory.0)
            .u64(memory.1)
            .u64(memory.0)
            .u32(pd.0)
            .u32(access);
        self.run(command)?;
        Ok(Region {
            handle: Handle(word(&response, 0)),
            key: word(&response, 1),
        })
    }

    /// Changes a region.
    pub fn rereg_mr(&self, mr: Handle, change: &Reregistration) -> nix::Result<()> {
        let mut response = [0; 8];
        let command = Command::with_response(Number::ReregMr, &mut response)
            .u32(mr.0)
            .u32(change.flags)
            .u64(change.memory.0)
            .u64(change.memory.1)
            .u64(change.memory.0)
            .u32(change.pd.0)
            .u32(change.access);
        self.run(command)
    }

    /// Deregisters a region.
    pub fn dereg_mr(&self, mr: Handle) -> nix::Result<()> {
        self.run(Command::new(Number::DeregMr).u32(mr.0))
    }

    /// Makes a completion queue.
    pub fn create_cq(&self, depth: u32) -> nix::Result<NewCq> {
        let mut response = [0; 24];
        let command = Command::with_response(Number::CreateCq, &mut response)
            .u64(0)
            .u32(depth)
            .u32(0)
            .u32(u32::MAX)
            .u32(0);
        self.run(command)?;
        Ok(NewCq {
            handle: Handle(word(&response, 0)),
            queue: mmap_info(&response, 2),
        })
    }

    /// Changes the room of a completion queue, and says where to map the new one.
    pub fn resize_cq(&self, cq: Handle, depth: u32) -> nix::Result<MmapInfo> {
        let mut response = [0; 24];
        let command = Command::with_response(Number::ResizeCq, &mut response)
            .u32(cq.0)
            .u32(depth);
        self.run(command)?;
        Ok(mmap_info(&response, 2))
    }

    /// Asks for an event.
    pub fn request_notify(&self, cq: Handle, solicited_only: u32) -> nix::Result<()> {
        let command = Command::new(Number::ReqNotifyCq)
            .u32(cq.0)
            .u32(solicited_only);
        self.run(command)
    }

    /// Destroys a completion queue.
    pub fn destroy_cq(&self, cq: Handle) -> nix::Result<()> {
        let mut response = [0; 8];
        let command = Command::with_response(Number::DestroyCq, &mut response);
        self.run(command.u32(cq.0).u32(0))
    }

    /// Makes a shared receive queue.
    pub fn create_srq(&self, pd: Handle, depth: u32, elements: u32) -> nix::Result<NewSrq> {
        let mut response = [0; 40];
        let command = Command::with_response(Number::CreateSrq, &mut response)
            .u64(0)
            .u32(pd.0)
            .u32(depth)
            .u32(elements)
            .u32(0);
        self.run(command)?;
        Ok(NewSrq {
            handle: Handle(word(&response, 0)),
            queue: mmap_info(&response, 4),
        })
    }

    /// Changes the room of a shared receive queue, and says where to map the new one.
    pub fn resize_srq(&self, srq: Handle, depth: u32) -> nix::Result<MmapInfo> {
        const MAX_WR: u32 = 1;
        let mut info = [0u8; 16];
        let command = Command::new(Number::ModifySrq)
            .u32(srq.0)
            .u32(MAX_WR)
            .u32(depth)
            .u32(0)
            .u64(info.as_mut_ptr() as u64);
        self.run(command)?;
        Ok(mmap_info(&info, 0))
    }

    /// Arms the limit of a shared receive queue.
    pub fn arm_srq(&self, srq: Handle, limit: u32) -> nix::Result<()> {
        const LIMIT: u32 = 2;
        let command = Command::new(Number::ModifySrq)
            .u32(srq.0)
            .u32(LIMIT)
            .u32(0)
            .u32(limit)
            .u64(0);
        self.run(command)
    }

    /// Queries a shared receive queue.
    pub fn query_srq(&self, srq: Handle) -> nix::Result<()> {
        let mut response = [0; 16];
        let command = Command::with_response(Number::QuerySrq, &mut response);
        self.run(command.u32(srq.0).u32(0))
    }

    /// Destroys a shared receive queue.
    pub fn destroy_srq(&self, srq: Handle) -> nix::Result<()> {
        let mut response = [0; 4];
        let command = Command::with_response(Number::DestroySrq, &mut response);
        self.run(command.u32(srq.0).u32(0))
    }

    /// Makes a queue pair.
    pub fn create_qp(&self, plan: &QpPlan) -> nix::Result<NewQp> {
        let mut response = [0; 64];
        let (receives, receive_elements) = match plan.srq {
            Some(_) => (0, 0),
            None => (plan.depth, plan.elements),
        };
        let command = Command::with_response(Number::CreateQp, &mut response)
            .u64(0)
            .u32(plan.pd.0)
            .u32(plan.send_cq.0)
            .u32(plan.recv_cq.0)
            .u32(plan.srq.unwrap_or_default().0)
            .u32(plan.depth)
            .u32(receives)
            .u32(plan.elements)
            .u32(receive_elements)
            .u32(plan.inline)
            .u8(0)
            .u8(TYPE_RC)
            .u8(plan.srq.is_some().into())
            .u8(0);
        self.run(command)?;
        Ok(NewQp {
            handle: Handle(word(&response, 0)),
            number: word(&response, 1),
            receive: mmap_info(&response, 8),
            send: mmap_info(&response, 12),
        })
    }

    /// Asks for nothing but a state.
    pub fn to_state(&self, qp: Handle, state: QpState) -> nix::Result<()> {
        self.modify(
            qp,
            &Attributes {
                mask: ATTR_STATE,
                state: state as u8,
                destination: None,
            },
        )
    }

    /// RESET to INIT.
    pub fn to_init(&self, qp: Handle) -> nix::Result<()> {
        self.modify(
            qp,
            &Attributes {
                mask: ATTR_STATE | ATTR_ACCESS | ATTR_PKEY | ATTR_PORT,
                state: QpState::Init as u8,
                destination: None,
            },
        )
    }

    /// INIT to RTR.
    pub fn to_rtr(&self, qp: Handle, destination: Destination) -> nix::Result<()> {
        let mask = ATTR_STATE
            | ATTR_AV
            | ATTR_MTU
            | ATTR_DEST
            | ATTR_RQ_PSN
            | ATTR_MAX_DEST_READS
            | ATTR_RNR_TIMER;
        self.modify(
            qp,
            &Attributes {
                mask,
                state: QpState::Rtr as u8,
                destination: Some(destination),
            },
        )
    }

    /// RTR to RTS.
    pub fn to_rts(&self, qp: Handle) -> nix::Result<()> {
        let mask =
            ATTR_STATE | ATTR_TIMEOUT | ATTR_RETRY | ATTR_RNR_RETRY | ATTR_SQ_PSN | ATTR_MAX_READS;
        self.modify(
            qp,
            &Attributes {
                mask,
                state: QpState::Rts as u8,
                destination: None,
            },
        )
    }

    fn modify(&self, qp: Handle, attributes: &Attributes) -> nix::Result<()> {
        /// 268 ms: longer than an emulated host takes to answer, mostly.
        const TIMEOUT: u8 = 16;
        /// Few: ends that do not fit each other part soon.
        const RETRIES: u8 = 4;
        const RNR_RETRIES: u8 = 6;
        /// 10 ms.
        const RNR_TIMER: u8 = 20;
        const READS: u8 = 4;
        const MTU_4096: u8 = 5;
        const HOPS: u8 = 64;
        const QP_DEST: usize = 32;
        let mut dest = [0u8; QP_DEST];
        let mut number = 0;
        if let Some(destination) = attributes.destination {
            dest[..16].copy_from_slice(&destination.gid);
            dest[24] = destination.source_index;
            dest[25] = HOPS;
            dest[30] = 1;
            dest[31] = PORT;
            number = destination.number;
        }
        let command = Command::new(Number::ModifyQp)
            .bytes(&dest)
            .bytes(&[0; QP_DEST])
            .u32(qp.0)
            .u32(attributes.mask)
            .u32(0)
            .u32(FIRST_PSN)
            .u32(FIRST_PSN)
            .u32(number)
            .u32(QP_ACCESS)
            .u16(0)
            .u16(0)
            .bytes(&[attributes.state, 0, MTU_4096, 0, 0, READS, READS, RNR_TIMER])
            .bytes(&[PORT, TIMEOUT, RETRIES, RNR_RETRIES, 0, 0, 0, 0]);
        self.run(command)
    }

    /// Queries a queue pair.
    pub fn query_qp(&self, qp: Handle) -> nix::Result<()> {
        let mut response = [0; 128];
        let command = Command::with_response(Number::QueryQp, &mut response);
        self.run(command.u32(qp.0).u32(u32::MAX >> 8))
    }

    /// Rings the doorbell of a send queue.
    pub fn ring(&self, qp: Handle) -> nix::Result<()> {
        const SEND_WR: u32 = 56;
        let mut response = [0; 4];
        let command = Command::with_response(Number::PostSend, &mut response)
            .u32(qp.0)
            .u32(0)
            .u32(0)
            .u32(SEND_WR);
        self.run(command)
    }

    /// Destroys a queue pair.
    pub fn destroy_qp(&self, qp: Handle) -> nix::Result<()> {
        let mut response = [0; 4];
        let command = Command::with_response(Number::DestroyQp, &mut response);
        self.run(command.u32(qp.0).u32(0))
    }

    /// Makes an address handle.
    pub fn create_ah(&self, pd: Handle, to: Destination) -> nix::Result<AddressHandle> {
        const HOPS: u8 = 64;
        let mut response = [0; 12];
        let command = Command::with_response(Number::CreateAh, &mut response)
            .u64(0)
            .u32(pd.0)
            .u32(0)
            .bytes(&to.gid)
            .u32(0)
            .bytes(&[to.source_index, HOPS, 0, 0])
            .bytes(&[0, 0, 0, 0, 0, 1, PORT, 0]);
        self.run(command)?;
        Ok(AddressHandle {
            handle: Handle(word(&response, 0)),
        })
    }

    /// Destroys an address handle.
    pub fn destroy_ah(&self, ah: Handle) -> nix::Result<()> {
        self.run(Command::new(Number::DestroyAh).u32(ah.0))
    }
}
