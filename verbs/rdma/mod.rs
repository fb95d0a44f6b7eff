// SPDX-License-Identifier: GPL-2.0

//! A safe abstraction of `ib_core` for drivers of RDMA devices.
//!
//! A driver implements [`Driver`] for its device state and one `*Ops` trait for each kind of
//! object it offers ([`PdOps`], [`CqOps`], [`QpOps`], ...). [`Registration::new`] makes `ib_core`
//! and every RDMA user see the device; dropping the [`Registration`] takes it away.
//!
//! # Objects
//!
//! `ib_core` allocates protection domains, completion queues, queue pairs, shared receive queues,
//! address handles and user contexts itself, with room for the driver's part behind its own struct.
//! [`Object`] is that pair. A create operation returns an initialiser for the driver's part, which
//! is initialised in place and pinned; the destroy operation is called before it is dropped.
//!
//! # Execution context
//!
//! Operations run in process context and may sleep unless their documentation says otherwise.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)

#![expect(
    dead_code,
    unused_imports,
    reason = "an abstraction for drivers in general, of which one does not use everything"
)]

mod access;
mod address_handle;
mod ah_attributes;
mod completion_queue;
mod counters;
mod device;
mod device_attributes;
mod device_ref;
mod driver;
mod error;
mod event;
mod gid;
mod memory_region;
mod mmap;
mod net_device_ref;
mod object;
mod ops_table;
mod port;
mod protection_domain;
mod queue_pair;
mod queue_pair_attributes;
mod registration;
mod shared_receive_queue;
mod umem;
mod user_context;
mod user_data;

pub(crate) use access::{
    Access,
    AccessFlags, //
};
pub(crate) use address_handle::{
    AddressHandle,
    AhOps, //
};
pub(crate) use ah_attributes::{
    AhAttributes,
    SourceGid, //
};
pub(crate) use completion_queue::{
    Cq,
    CqInit,
    CqOps,
    MissedCompletions,
    Notify, //
};
pub(crate) use counters::CounterName;
pub(crate) use device::{
    Device,
    DeviceHandle, //
};
pub(crate) use device_attributes::{
    DeviceAttributes,
    DeviceFeature,
    DeviceFeatures, //
};
pub(crate) use driver::{
    Driver,
    DriverId, //
};
pub(crate) use error::unsupported;
pub(crate) use event::{
    CqEvents,
    PortEvent,
    QpEvent,
    QpEvents,
    SrqEvents, //
};
pub(crate) use gid::{
    Gid,
    GidType, //
};
pub(crate) use memory_region::{
    MemoryRegion,
    MrChange,
    MrKeys,
    MrOps,
    MrRequest, //
};
pub(crate) use mmap::{
    MmapBuffer,
    MmapOffer,
    MmapOffers,
    MmapRequest, //
};
pub(crate) use net_device_ref::NetDeviceRef;
pub(crate) use object::Object;
pub(crate) use port::{
    Capabilities,
    LinkSpeed,
    LinkWidth,
    Mtu,
    PhysicalState,
    PortAttributes,
    PortNumber,
    PortState, //
};
pub(crate) use protection_domain::{
    Pd,
    PdOps, //
};
pub(crate) use queue_pair::{
    Qp,
    QpInit,
    QpOps,
    Signalling, //
};
pub(crate) use queue_pair_attributes::{
    PathMigration,
    QpAttributes,
    QpCap,
    QpModify,
    QpState,
    QpType,
    Transition, //
};
pub(crate) use registration::{
    DeviceOptions,
    Registration, //
};
pub(crate) use shared_receive_queue::{
    Srq,
    SrqAttributes,
    SrqModify,
    SrqOps, //
};
pub(crate) use umem::Umem;
pub(crate) use user_context::{
    UserContext,
    UserContextOps, //
};
pub(crate) use user_data::UserData;
