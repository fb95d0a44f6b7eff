// SPDX-License-Identifier: GPL-2.0

//! Attributes of a queue pair as ibv_modify_qp takes them.

use serde::Deserialize;
use serde::Serialize;

use super::sys;
use super::Access;
use super::Gid;
use super::GidIndex;
use super::PortNum;
use super::Psn;
use super::Qpn;

/// The states of a queue pair (IBTA vol. 1, 10.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QpState {
    /// As created.
    Reset,
    /// Receives may be posted.
    Init,
    /// Ready to receive.
    Rtr,
    /// Ready to send.
    Rts,
    /// The send queue drains.
    Sqd,
    /// The send queue failed, of a queue pair that goes on receiving.
    Sqe,
    /// Everything is flushed.
    Err,
    /// A number that the header does not name.
    Unknown,
}

impl QpState {
    fn to_raw(self) -> sys::ibv_qp_state {
        match self {
            Self::Reset => sys::IBV_QPS_RESET,
            Self::Init => sys::IBV_QPS_INIT,
            Self::Rtr => sys::IBV_QPS_RTR,
            Self::Rts => sys::IBV_QPS_RTS,
            Self::Sqd => sys::IBV_QPS_SQD,
            Self::Sqe => sys::IBV_QPS_SQE,
            Self::Err => sys::IBV_QPS_ERR,
            Self::Unknown => sys::IBV_QPS_UNKNOWN,
        }
    }

    pub(super) fn from_raw(raw: sys::ibv_qp_state) -> Self {
        match raw {
            sys::IBV_QPS_RESET => Self::Reset,
            sys::IBV_QPS_INIT => Self::Init,
            sys::IBV_QPS_RTR => Self::Rtr,
            sys::IBV_QPS_RTS => Self::Rts,
            sys::IBV_QPS_SQD => Self::Sqd,
            sys::IBV_QPS_SQE => Self::Sqe,
            sys::IBV_QPS_ERR => Self::Err,
            _ => Self::Unknown,
        }
    }
}

/// A path MTU, by the code of `enum ibv_mtu`. Ordered by size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mtu(u32);

impl Mtu {
    pub(super) fn from_raw(raw: sys::ibv_mtu) -> Self {
        Self(raw)
    }

    /// Payload bytes per packet.
    pub fn bytes(self) -> usize {
        /// The code 1 stands for 256 bytes and each further one doubles it.
        const BASE: usize = 128;
        BASE << self.0.clamp(sys::IBV_MTU_256, sys::IBV_MTU_4096)
    }
}

/// Where a queue pair's peer is.
#[derive(Clone, Copy, Debug)]
pub struct AddressVector {
    /// The peer's GID.
    pub dgid: Gid,
    /// Our GID's place in the table.
    pub sgid_index: GidIndex,
    /// The port to use.
    pub port: PortNum,
}

/// How far a connection is on the way to another path (IBTA vol. 1, 17.2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathMigration {
    /// It may go there once both ends are ready.
    Rearm,
}

/// Hops that a packet may take: one cable needs one, a switched network more.
const HOP_LIMIT: u8 = 64;

impl AddressVector {
    pub(super) fn to_raw(self) -> sys::ibv_ah_attr {
        // SAFETY: ibv_ah_attr is integers and a GID; zeroes are a valid value.
        let mut raw: sys::ibv_ah_attr = unsafe { std::mem::zeroed() };
        raw.is_global = 1;
        raw.port_num = self.port.0;
        raw.grh.dgid.raw = self.dgid.0;
        raw.grh.sgid_index = self.sgid_index.0;
        raw.grh.hop_limit = HOP_LIMIT;
        raw
    }
}

/// A set of attributes; those that are `None` stay as they are.
#[derive(Clone, Copy, Debug, Default)]
pub struct QpAttr {
    /// The state to go to.
    pub state: Option<QpState>,
    /// The port.
    pub port: Option<PortNum>,
    /// The partition key's index.
    pub pkey_index: Option<u16>,
    /// What peers may do through this queue pair.
    pub access: Option<Access>,
    /// Payload bytes per packet.
    pub path_mtu: Option<Mtu>,
    /// The peer's queue pair.
    pub dest_qpn: Option<Qpn>,
    /// The first PSN to expect.
    pub rq_psn: Option<Psn>,
    /// The first PSN to send.
    pub sq_psn: Option<Psn>,
    /// Outgoing READs and atomics at a time.
    pub max_rd_atomic: Option<u8>,
    /// Incoming READs and atomics at a time.
    pub max_dest_rd_atomic: Option<u8>,
    /// The delay that an RNR NAK asks for, by the codes of IBTA vol. 1, table 45; 12 is 0.64 ms.
    pub min_rnr_timer: Option<u8>,
    /// The acknowledgement timeout: 4.096 us times 2 to this power; 0 is for ever.
    pub timeout: Option<u8>,
    /// Retries after a timeout, 0 to 7.
    pub retry_cnt: Option<u8>,
    /// Retries after an RNR NAK, 0 to 6; 7 is for ever.
    pub rnr_retry: Option<u8>,
    /// The queue key of datagrams.
    pub qkey: Option<u32>,
    /// Where the peer is.
    pub address: Option<AddressVector>,
    /// Whether the connection may move to another path.
    pub path_migration: Option<PathMigration>,
}

impl QpAttr {
    /// Only a change of state.
    pub fn to_state(state: QpState) -> Self {
        Self {
            state: Some(state),
            ..Self::default()
        }
    }

    pub(super) fn to_raw(self) -> (sys::ibv_qp_attr, i32) {
        // SAFETY: ibv_qp_attr is integers and a GID; zeroes are a valid value.
        let mut raw: sys::ibv_qp_attr = unsafe { std::mem::zeroed() };
        let mut mask = 0;
        let mut set = |bit: sys::ibv_qp_attr_mask| mask |= bit;
        if let Some(state) = self.state {
            set(sys::IBV_QP_STATE);
            raw.qp_state = state.to_raw();
        }
        if let Some(port) = self.port {
            set(sys::IBV_QP_PORT);
            raw.port_num = port.0;
        }
        if let Some(index) = self.pkey_index {
            set(sys::IBV_QP_PKEY_INDEX);
            raw.pkey_index = index;
        }
        if let Some(access) = self.access {
            set(sys::IBV_QP_ACCESS_FLAGS);
            raw.qp_access_flags = access.bits();
        }
        if let Some(mtu) = self.path_mtu {
            set(sys::IBV_QP_PATH_MTU);
            raw.path_mtu = mtu.0;
        }
        if let Some(qpn) = self.dest_qpn {
            set(sys::IBV_QP_DEST_QPN);
            raw.dest_qp_num = qpn.0;
        }
        if let Some(psn) = self.rq_psn {
            set(sys::IBV_QP_RQ_PSN);
            raw.rq_psn = psn.0;
        }
        if let Some(psn) = self.sq_psn {
            set(sys::IBV_QP_SQ_PSN);
            raw.sq_psn = psn.0;
        }
        if let Some(count) = self.max_rd_atomic {
            set(sys::IBV_QP_MAX_QP_RD_ATOMIC);
            raw.max_rd_atomic = count;
        }
        if let Some(count) = self.max_dest_rd_atomic {
            set(sys::IBV_QP_MAX_DEST_RD_ATOMIC);
            raw.max_dest_rd_atomic = count;
        }
        if let Some(timer) = self.min_rnr_timer {
            set(sys::IBV_QP_MIN_RNR_TIMER);
            raw.min_rnr_timer = timer;
        }
        if let Some(timeout) = self.timeout {
            set(sys::IBV_QP_TIMEOUT);
            raw.timeout = timeout;
        }
        if let Some(count) = self.retry_cnt {
            set(sys::IBV_QP_RETRY_CNT);
            raw.retry_cnt = count;
        }
        if let Some(count) = self.rnr_retry {
            set(sys::IBV_QP_RNR_RETRY);
            raw.rnr_retry = count;
        }
        if let Some(qkey) = self.qkey {
            set(sys::IBV_QP_QKEY);
            raw.qkey = qkey;
        }
        if let Some(address) = self.address {
            set(sys::IBV_QP_AV);
            raw.ah_attr = address.to_raw();
        }
        if let Some(migration) = self.path_migration {
            set(sys::IBV_QP_PATH_MIG_STATE);
            raw.path_mig_state = match migration {
                PathMigration::Rearm => sys::IBV_MIG_REARM,
            };
        }
        (raw, mask as i32)
    }
}
