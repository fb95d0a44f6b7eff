// SPDX-License-Identifier: GPL-2.0

//! Attributes of a QP: checking what its user asks for, and remembering it.

use kernel::prelude::*;

use super::limits::MAX_RD_ATOMIC;
use crate::transport::ids::Psn;
use crate::transport::ids::Qkey;
use crate::transport::ids::Qpn;
use crate::verbs::access::check_supported;
use crate::verbs::netdev::MacAddress;
use crate::verbs::rdma::AccessFlags;
use crate::verbs::rdma::AhAttributes;
use crate::verbs::rdma::GidType;
use crate::verbs::rdma::Mtu;
use crate::verbs::rdma::PathMigration;
use crate::verbs::rdma::PortNumber;
use crate::verbs::rdma::QpAttributes;
use crate::verbs::rdma::QpCap;
use crate::verbs::rdma::QpModify;
use crate::verbs::rdma::QpState;

/// Largest encoding of the Local ACK timeout and of the RNR NAK timer: five bits.
const MAX_TIMER: u8 = 31;
/// Largest retry count: three bits.
const MAX_RETRY: u8 = 7;

/// Whether an event is raised when the send queue has drained.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DrainedEvent {
    /// An event is raised.
    Wanted,
    /// No event is raised, or it has been.
    Unwanted,
}

/// Attributes as last set.
#[derive(Clone, Copy)]
pub(super) struct Attributes {
    port: PortNumber,
    access: AccessFlags,
    path: Option<AhAttributes>,
    path_mtu: Option<Mtu>,
    pub(super) qkey: Qkey,
    pub(super) destination_qpn: Qpn,
    pub(super) rq_psn: Psn,
    pub(super) sq_psn: Psn,
    pub(super) timeout: u8,
    pub(super) retry_count: u8,
    pub(super) rnr_retry: u8,
    pub(super) min_rnr_timer: u8,
    pub(super) max_rd_atomic: u8,
    pub(super) max_dest_rd_atomic: u8,
    pub(super) drained_event: DrainedEvent,
}

/// `EINVAL` unless the value, if given, is at most `limit`.
fn at_most<T: PartialOrd>(value: Option<T>, limit: T) -> Result<Option<T>> {
    match value {
        Some(value) if value > limit => Err(EINVAL),
        value => Ok(value),
    }
}

impl Attributes {
    /// Attributes of a new QP.
    pub(super) fn new() -> Self {
        Self {
            port: PortNumber::FIRST,
            access: AccessFlags::empty(),
            path: None,
            path_mtu: None,
            qkey: Qkey(0),
            destination_qpn: Qpn::new(0),
            rq_psn: Psn::new(0),
            sq_psn: Psn::new(0),
            timeout: 0,
            retry_count: 0,
            rnr_retry: 0,
            min_rnr_timer: 0,
            max_rd_atomic: 0,
            max_dest_rd_atomic: 0,
            drained_event: DrainedEvent::Unwanted,
        }
    }

    /// These attributes with what `change` sets.
    ///
    /// Fails with `EINVAL` for what is out of range or does not exist here, and with `EOPNOTSUPP` for
    /// access rights this device does not know.
    pub(super) fn with(self, change: &QpModify<'_>) -> Result<Self> {
        let mut new = self;
        if let Some(port) = change.port() {
            if port != PortNumber::FIRST {
                return Err(EINVAL);
            }
        }
        at_most(change.pkey_index(), 0)?;
        let migrates = change
            .path_migration()
            .is_some_and(|state| state != PathMigration::Migrated);
        if change.has_alternate_path() || migrates {
            return Err(EINVAL);
        }
        if let Some(access) = change.access().transpose()? {
            check_supported(access)?;
            new.access = access;
        }
        if let Some(path) = change.path().transpose()? {
            // The table has no others; but nothing here could tell the difference.
            let is_v2 = path
                .source
                .is_none_or(|source| source.gid_type == GidType::RoceUdpEncap);
            if path.port != PortNumber::FIRST || !is_v2 {
                return Err(EINVAL);
            }
            new.path = Some(path);
        }
        if let Some(mtu) = change.path_mtu().transpose()? {
            new.path_mtu = Some(mtu);
        }
        if let Some(qpn) = at_most(change.destination_qpn(), Qpn::MASK)? {
            new.destination_qpn = Qpn::new(qpn);
        }
        if let Some(qkey) = change.qkey() {
            new.qkey = Qkey(qkey);
        }
        if let Some(psn) = change.rq_psn() {
            new.rq_psn = Psn::new(psn);
        }
        if let Some(psn) = change.sq_psn() {
            new.sq_psn = Psn::new(psn);
        }
        let set = |field: &mut u8, value: Option<u8>| {
            if let Some(value) = value {
                *field = value;
            }
        };
        set(&mut new.timeout, at_most(change.timeout(), MAX_TIMER)?);
        set(
            &mut new.retry_count,
            at_most(change.retry_count(), MAX_RETRY)?,
        );
        set(&mut new.rnr_retry, at_most(change.rnr_retry(), MAX_RETRY)?);
        set(
            &mut new.min_rnr_timer,
            at_most(change.min_rnr_timer(), MAX_TIMER)?,
        );
        set(
            &mut new.max_rd_atomic,
            at_most(change.max_rd_atomic(), MAX_RD_ATOMIC)?,
        );
        set(
            &mut new.max_dest_rd_atomic,
            at_most(change.max_dest_rd_atomic(), MAX_RD_ATOMIC)?,
        );
        if let Some(wanted) = change.drained_event() {
            new.drained_event = if wanted {
                DrainedEvent::Wanted
            } else {
                DrainedEvent::Unwanted
            };
        }
        Ok(new)
    }

    /// The host at the other end.
    pub(super) fn host(&self) -> Option<MacAddress> {
        self.path.map(|path| MacAddress(path.destination_mac))
    }

    /// Access flags for remote operations of the peer.
    pub(super) fn access(&self) -> AccessFlags {
        self.access
    }

    /// As its user is told, of a queue that is not draining.
    pub(super) fn report(&self, state: QpState, cap: QpCap) -> QpAttributes {
        QpAttributes {
            state,
            sq_draining: false,
            cap,
            port: self.port,
            pkey_index: 0,
            access: self.access,
            qkey: self.qkey.0,
            path: self.path,
            path_mtu: self.path_mtu,
            destination_qpn: self.destination_qpn.get(),
            rq_psn: self.rq_psn.get(),
            sq_psn: self.sq_psn.get(),
            timeout: self.timeout,
            retry_count: self.retry_count,
            rnr_retry: self.rnr_retry,
            min_rnr_timer: self.min_rnr_timer,
            max_rd_atomic: self.max_rd_atomic,
            max_dest_rd_atomic: self.max_dest_rd_atomic,
        }
    }
}
