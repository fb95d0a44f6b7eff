// SPDX-License-Identifier: GPL-2.0

//! The driver's view of its device.

use super::{
    address_handle::AhOps,
    completion_queue::CqOps,
    counters::CounterName,
    device_attributes::DeviceAttributes,
    memory_region::MrOps,
    memory_window::MwOps,
    net_device_ref::NetDeviceRef,
    performance::PortTraffic,
    port::{
        PortAttributes,
        PortNumber, //
    },
    protection_domain::PdOps,
    queue_pair::QpOps,
    shared_receive_queue::SrqOps,
    user_context::UserContextOps, //
};
use crate::verbs::bindings;
use kernel::prelude::*;

/// Which user space provider drives the device (`enum rdma_driver_id`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DriverId {
    /// The provider of soft RoCE.
    Rxe,
}

impl DriverId {
    pub(super) const fn into_raw(self) -> bindings::rdma_driver_id {
        match self {
            Self::Rxe => bindings::rdma_driver_id_RDMA_DRIVER_RXE,
        }
    }
}

/// A driver of an RDMA device: implemented by the state of one device.
///
/// The state is shared: the [`Registration`](super::registration::Registration) keeps an `Arc` of it from
/// registration until the device is gone.
pub trait Driver: Sized + Send + Sync + 'static {
    /// Identity of the user ABI.
    const ID: DriverId;

    /// Version of the user ABI (`uverbs_abi_ver`).
    const UVERBS_ABI_VERSION: u32;

    /// Version of the firmware as people read it.
    const FIRMWARE: &'static str;

    /// Names of the counters of a port.
    const COUNTERS: &'static [CounterName] = &[];

    /// What a process that opened the device owns.
    type UserContext: UserContextOps<Self>;
    /// Protection domain.
    type Pd: PdOps<Self>;
    /// Completion queue.
    type Cq: CqOps<Self>;
    /// Queue pair.
    type Qp: QpOps<Self>;
    /// Shared receive queue; [`Infallible`](core::convert::Infallible) if there are none.
    type Srq: SrqOps<Self>;
    /// Memory region.
    type Mr: MrOps<Self>;
    /// Memory window; [`Infallible`](core::convert::Infallible) if there are none.
    type Mw: MwOps<Self>;
    /// Address handle; [`Infallible`](core::convert::Infallible) if there are none.
    type Ah: AhOps<Self>;

    /// Limits and identity of the device.
    fn query_device(&self) -> DeviceAttributes;

    /// State and limits of a port.
    fn query_port(&self, port: PortNumber) -> PortAttributes;

    /// Speed of the link in units of 100 Mb/s, for links which the speed and width of
    /// [`PortAttributes`] cannot express.
    fn query_port_speed(&self, port: PortNumber) -> u64;

    /// The network interface whose addresses make the port's GID table; `None` while there is none
    /// or when it is being unregistered.
    fn net_device(&self, port: PortNumber) -> Option<NetDeviceRef>;

    /// The partition key at `index` of the port's table.
    ///
    /// # Errors
    ///
    /// `EINVAL` when `index` is outside the table.
    fn query_pkey(&self, port: PortNumber, index: u16) -> Result<u16>;

    /// What has gone through a port so far.
    fn port_traffic(&self, port: PortNumber) -> PortTraffic;

    /// Reads the counters of a port into `values`, in the order of [`Driver::COUNTERS`].
    fn read_counters(&self, _port: PortNumber, _values: &mut [u64]) {}

    /// The device has been unregistered, by dropping its registration or by somebody else
    /// (`ib_unregister_driver()` of another module with the same [`DriverId`]). No operation runs
    /// any more. Must not register nor unregister: the lock of unregistration is held.
    fn unregistered(&self);
}
