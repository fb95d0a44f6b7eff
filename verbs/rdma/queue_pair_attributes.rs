// SPDX-License-Identifier: GPL-2.0

//! Attributes of queue pairs (IBTA 11.2.5 Query and Modify queue pair).

use super::{
    access::AccessFlags,
    ah_attributes::AhAttributes,
    error::unsupported,
    port::{
        Mtu,
        PortNumber, //
    }, //
};
use crate::verbs::bindings;
use kernel::prelude::*;

/// Transport service of a queue pair (IBTA 9.6).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum QpType {
    /// General services: queue pair 1 of a port.
    Gsi,
    /// Reliable connection.
    Rc,
    /// Unreliable connection.
    Uc,
    /// Unreliable datagram.
    Ud,
}

impl QpType {
    pub(super) fn from_raw(raw: bindings::ib_qp_type) -> Result<Self> {
        Ok(match raw {
            bindings::ib_qp_type_IB_QPT_GSI => Self::Gsi,
            bindings::ib_qp_type_IB_QPT_RC => Self::Rc,
            bindings::ib_qp_type_IB_QPT_UC => Self::Uc,
            bindings::ib_qp_type_IB_QPT_UD => Self::Ud,
            _ => return Err(unsupported()),
        })
    }

    pub(super) fn into_raw(self) -> bindings::ib_qp_type {
        match self {
            Self::Gsi => bindings::ib_qp_type_IB_QPT_GSI,
            Self::Rc => bindings::ib_qp_type_IB_QPT_RC,
            Self::Uc => bindings::ib_qp_type_IB_QPT_UC,
            Self::Ud => bindings::ib_qp_type_IB_QPT_UD,
        }
    }
}

/// Sizes of a queue pair.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct QpCap {
    /// Send work requests the send queue holds.
    pub max_send_wr: u32,
    /// Receives the receive queue holds.
    pub max_recv_wr: u32,
    /// Scatter/gather elements of a send work request.
    pub max_send_sge: u32,
    /// Scatter elements of a receive.
    pub max_recv_sge: u32,
    /// Bytes that a send work request can carry inline.
    pub max_inline_data: u32,
}

impl QpCap {
    pub(super) fn from_raw(raw: &bindings::ib_qp_cap) -> Self {
        Self {
            max_send_wr: raw.max_send_wr,
            max_recv_wr: raw.max_recv_wr,
            max_send_sge: raw.max_send_sge,
            max_recv_sge: raw.max_recv_sge,
            max_inline_data: raw.max_inline_data,
        }
    }

    pub(super) fn into_raw(self) -> bindings::ib_qp_cap {
        bindings::ib_qp_cap {
            max_send_wr: self.max_send_wr,
            max_recv_wr: self.max_recv_wr,
            max_send_sge: self.max_send_sge,
            max_recv_sge: self.max_recv_sge,
            max_inline_data: self.max_inline_data,
            max_rdma_ctxs: 0,
        }
    }
}

/// State of a queue pair (IBTA 10.3.1).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum QpState {
    /// New.
    Reset,
    /// Receives may be posted.
    Init,
    /// Ready to receive.
    Rtr,
    /// Ready to send.
    Rts,
    /// Send queue drained.
    Sqd,
    /// Send queue error.
    Sqe,
    /// Error.
    Err,
}

impl QpState {
    fn from_raw(raw: bindings::ib_qp_state) -> Result<Self> {
        Ok(match raw {
            bindings::ib_qp_state_IB_QPS_RESET => Self::Reset,
            bindings::ib_qp_state_IB_QPS_INIT => Self::Init,
            bindings::ib_qp_state_IB_QPS_RTR => Self::Rtr,
            bindings::ib_qp_state_IB_QPS_RTS => Self::Rts,
            bindings::ib_qp_state_IB_QPS_SQD => Self::Sqd,
            bindings::ib_qp_state_IB_QPS_SQE => Self::Sqe,
            bindings::ib_qp_state_IB_QPS_ERR => Self::Err,
            _ => return Err(EINVAL),
        })
    }

    fn into_raw(self) -> bindings::ib_qp_state {
        match self {
            Self::Reset => bindings::ib_qp_state_IB_QPS_RESET,
            Self::Init => bindings::ib_qp_state_IB_QPS_INIT,
            Self::Rtr => bindings::ib_qp_state_IB_QPS_RTR,
            Self::Rts => bindings::ib_qp_state_IB_QPS_RTS,
            Self::Sqd => bindings::ib_qp_state_IB_QPS_SQD,
            Self::Sqe => bindings::ib_qp_state_IB_QPS_SQE,
            Self::Err => bindings::ib_qp_state_IB_QPS_ERR,
        }
    }
}

/// State of automatic path migration (IBTA 17.2.8).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum PathMigration {
    /// There is one path: no other was given, or it is the one in use.
    Migrated,
    /// The alternate path is to be used when the first one fails, or as soon as the peer is ready for that.
    Wanted,
}

impl PathMigration {
    fn from_raw(raw: bindings::ib_mig_state) -> Self {
        match raw {
            bindings::ib_mig_state_IB_MIG_MIGRATED => Self::Migrated,
            _ => Self::Wanted,
        }
    }
}

/// A permitted change of state.
#[derive(Clone, Copy, Debug)]
pub struct Transition {
    /// The state the queue pair is in.
    pub from: QpState,
    /// The state it is to be in.
    pub to: QpState,
}

/// The attributes of a queue pair that its user wants to change. Each accessor returns `None` for an
/// attribute that is to stay as it is.
pub struct QpModify<'a> {
    raw: &'a bindings::ib_qp_attr,
    mask: bindings::ib_qp_attr_mask,
}

impl<'a> QpModify<'a> {
    /// # Safety
    ///
    /// The GID attributes in the paths of `raw` must be null or valid for `'a`.
    ///
    /// # Errors
    ///
    /// `EOPNOTSUPP` for attributes beyond those of the specification.
    pub(super) unsafe fn from_raw(
        raw: &'a bindings::ib_qp_attr,
        mask: bindings::ib_qp_attr_mask,
    ) -> Result<Self> {
        if mask & !bindings::ib_qp_attr_mask_IB_QP_ATTR_STANDARD_BITS != 0 {
            return Err(unsupported());
        }
        Ok(Self { raw, mask })
    }

    fn select<T>(&self, bit: bindings::ib_qp_attr_mask, value: T) -> Option<T> {
        (self.mask & bit != 0).then_some(value)
    }

    /// The change of state, of a queue pair of type `qp_type` that is in state `now`.
    ///
    /// # Errors
    ///
    /// `EINVAL` when the change is not permitted, an attribute that it requires is missing, or one
    /// is present that it does not permit; also when the user believes the queue pair to be in
    /// another state.
    pub fn transition(&self, now: QpState, qp_type: QpType) -> Result<Transition> {
        let believed = self
            .select(
                bindings::ib_qp_attr_mask_IB_QP_CUR_STATE,
                self.raw.cur_qp_state,
            )
            .map_or(Ok(now), QpState::from_raw)?;
        if believed != now {
            return Err(EINVAL);
        }
        let to = self
            .select(bindings::ib_qp_attr_mask_IB_QP_STATE, self.raw.qp_state)
            .map_or(Ok(now), QpState::from_raw)?;

        // SAFETY: The function only looks at its arguments, and the states and the type are in
        // range.
        let permitted = unsafe {
            bindings::ib_modify_qp_is_ok(
                now.into_raw(),
                to.into_raw(),
                qp_type.into_raw(),
                self.mask,
            )
        };
        if !permitted {
            return Err(EINVAL);
        }
        Ok(Transition { from: now, to })
    }

    /// The port.
    pub fn port(&self) -> Option<PortNumber> {
        self.select(
            bindings::ib_qp_attr_mask_IB_QP_PORT,
            PortNumber::from_raw(self.raw.port_num),
        )
    }

    /// Index into the port's table of partition keys.
    pub fn pkey_index(&self) -> Option<u16> {
        self.select(
            bindings::ib_qp_attr_mask_IB_QP_PKEY_INDEX,
            self.raw.pkey_index,
        )
    }

    /// What remote peers may do through the queue pair.
    pub fn access(&self) -> Option<Result<AccessFlags>> {
        self.select(
            bindings::ib_qp_attr_mask_IB_QP_ACCESS_FLAGS,
            AccessFlags::from_raw(self.raw.qp_access_flags),
        )
    }

    /// Queue key of datagrams.
    pub fn qkey(&self) -> Option<u32> {
        self.select(bindings::ib_qp_attr_mask_IB_QP_QKEY, self.raw.qkey)
    }

    /// The path to the peer.
    pub fn path(&self) -> Option<Result<AhAttributes>> {
        (self.mask & bindings::ib_qp_attr_mask_IB_QP_AV != 0)
            // SAFETY: By the requirements of `from_raw`.
            .then(|| unsafe { AhAttributes::from_raw(&self.raw.ah_attr) })
    }

    /// Whether an alternate path is given.
    pub fn has_alternate_path(&self) -> bool {
        self.mask & bindings::ib_qp_attr_mask_IB_QP_ALT_PATH != 0
    }

    /// What is to become of the alternate path.
    pub fn path_migration(&self) -> Option<PathMigration> {
        self.select(
            bindings::ib_qp_attr_mask_IB_QP_PATH_MIG_STATE,
            PathMigration::from_raw(self.raw.path_mig_state),
        )
    }

    /// Largest payload of a packet.
    pub fn path_mtu(&self) -> Option<Result<Mtu>> {
        self.select(
            bindings::ib_qp_attr_mask_IB_QP_PATH_MTU,
            Mtu::from_raw(self.raw.path_mtu),
        )
    }

    /// Number of the peer's queue pair, 24 bits.
    pub fn destination_qpn(&self) -> Option<u32> {
        self.select(
            bindings::ib_qp_attr_mask_IB_QP_DEST_QPN,
            self.raw.dest_qp_num,
        )
    }

    /// First packet sequence number that is received, 24 bits.
    pub fn rq_psn(&self) -> Option<u32> {
        self.select(bindings::ib_qp_attr_mask_IB_QP_RQ_PSN, self.raw.rq_psn)
    }

    /// First packet sequence number that is sent, 24 bits.
    pub fn sq_psn(&self) -> Option<u32> {
        self.select(bindings::ib_qp_attr_mask_IB_QP_SQ_PSN, self.raw.sq_psn)
    }

    /// Local ACK timeout: 4.096 µs * 2^timeout, 0 for infinite (IBTA 9.7.6.1.3).
    pub fn timeout(&self) -> Option<u8> {
        self.select(bindings::ib_qp_attr_mask_IB_QP_TIMEOUT, self.raw.timeout)
    }

    /// How often to retry after a timeout, at most 7.
    pub fn retry_count(&self) -> Option<u8> {
        self.select(
            bindings::ib_qp_attr_mask_IB_QP_RETRY_CNT,
            self.raw.retry_cnt,
        )
    }

    /// How often to retry when the receiver was not ready, 7 meaning "for ever".
    pub fn rnr_retry(&self) -> Option<u8> {
        self.select(
            bindings::ib_qp_attr_mask_IB_QP_RNR_RETRY,
            self.raw.rnr_retry,
        )
    }

    /// How long a sender must wait when this side is not ready (IBTA 9.7.5.2.8).
    pub fn min_rnr_timer(&self) -> Option<u8> {
        self.select(
            bindings::ib_qp_attr_mask_IB_QP_MIN_RNR_TIMER,
            self.raw.min_rnr_timer,
        )
    }

    /// Outstanding READs and atomics of this side.
    pub fn max_rd_atomic(&self) -> Option<u8> {
        self.select(
            bindings::ib_qp_attr_mask_IB_QP_MAX_QP_RD_ATOMIC,
            self.raw.max_rd_atomic,
        )
    }

    /// Outstanding READs and atomics of the peer.
    pub fn max_dest_rd_atomic(&self) -> Option<u8> {
        self.select(
            bindings::ib_qp_attr_mask_IB_QP_MAX_DEST_RD_ATOMIC,
            self.raw.max_dest_rd_atomic,
        )
    }

    /// Whether an event is wanted when the send queue is drained.
    pub fn drained_event(&self) -> Option<bool> {
        self.select(
            bindings::ib_qp_attr_mask_IB_QP_EN_SQD_ASYNC_NOTIFY,
            self.raw.en_sqd_async_notify != 0,
        )
    }
}

/// The attributes of a queue pair. What a state does not define yet is zero or `None`.
#[derive(Clone, Copy, Debug)]
pub struct QpAttributes {
    /// State.
    pub state: QpState,
    /// Whether the send queue is still draining in [`QpState::Sqd`].
    pub sq_draining: bool,
    /// Sizes.
    pub cap: QpCap,
    /// The port.
    pub port: PortNumber,
    /// Index into the port's table of partition keys.
    pub pkey_index: u16,
    /// Access flags for remote operations.
    pub access: AccessFlags,
    /// Queue key of datagrams.
    pub qkey: u32,
    /// The path to the peer.
    pub path: Option<AhAttributes>,
    /// Largest payload of a packet.
    pub path_mtu: Option<Mtu>,
    /// Number of the peer's queue pair.
    pub destination_qpn: u32,
    /// Next packet sequence number that is received.
    pub rq_psn: u32,
    /// Next packet sequence number that is sent.
    pub sq_psn: u32,
    /// See [`QpModify::timeout`].
    pub timeout: u8,
    /// See [`QpModify::retry_count`].
    pub retry_count: u8,
    /// See [`QpModify::rnr_retry`].
    pub rnr_retry: u8,
    /// See [`QpModify::min_rnr_timer`].
    pub min_rnr_timer: u8,
    /// See [`QpModify::max_rd_atomic`].
    pub max_rd_atomic: u8,
    /// See [`QpModify::max_dest_rd_atomic`].
    pub max_dest_rd_atomic: u8,
}

impl QpAttributes {
    pub(super) fn into_raw(self) -> bindings::ib_qp_attr {
        bindings::ib_qp_attr {
            qp_state: self.state.into_raw(),
            cur_qp_state: self.state.into_raw(),
            path_mtu: self.path_mtu.map_or(0, Mtu::into_raw),
            path_mig_state: bindings::ib_mig_state_IB_MIG_MIGRATED,
            qkey: self.qkey,
            rq_psn: self.rq_psn,
            sq_psn: self.sq_psn,
            dest_qp_num: self.destination_qpn,
            qp_access_flags: self.access.into_raw(),
            cap: self.cap.into_raw(),
            ah_attr: self
                .path
                .map_or_else(pin_init::zeroed, AhAttributes::into_raw),
            pkey_index: self.pkey_index,
            sq_draining: u8::from(self.sq_draining),
            max_rd_atomic: self.max_rd_atomic,
            max_dest_rd_atomic: self.max_dest_rd_atomic,
            min_rnr_timer: self.min_rnr_timer,
            port_num: self.port.get(),
            timeout: self.timeout,
            retry_cnt: self.retry_count,
            rnr_retry: self.rnr_retry,
            ..pin_init::zeroed()
        }
    }
}
