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
//! address handles, memory windows and user contexts itself, with room for the driver's part behind its own struct.
//! [`Object`] is that pair. A create operation returns an initialiser for the driver's part, which
//! is initialised in place and pinned; the destroy operation is called before it is dropped. A driver
//! without shared receive queues, address handles or memory windows names [`Infallible`](core::convert::Infallible)
//! for them.
//!
//! # Execution context
//!
//! Operations run in process context and may sleep unless their documentation says otherwise.
//!
//! C header: [`include/rdma/ib_verbs.h`](srctree/include/rdma/ib_verbs.h)

mod access;
mod address_handle;
mod address_space;
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
mod kernel_memory;
mod memory_region;
mod memory_window;
mod mmap;
mod net_device_ref;
mod object;
mod ops_table;
mod performance;
mod port;
mod protection_domain;
mod queue_pair;
mod queue_pair_attributes;
mod registration;
mod shared_receive_queue;
mod umem;
mod user_context;
mod user_data;
mod work_completion;
mod work_request;

pub use access::{
    Access,
    AccessFlags, //
};
pub use address_handle::{
    AddressHandle,
    AhOps, //
};
pub use address_space::{
    AddressSpace,
    CannotEnter,
    Inside,
    PageUse, //
};
pub use ah_attributes::{
    AhAttributes,
    SourceGid, //
};
pub use completion_queue::{
    Cq,
    CqInit,
    CqOps,
    MissedCompletions,
    Notify, //
};
pub use counters::CounterName;
pub use device::{
    Device,
    DeviceHandle, //
};
pub use device_attributes::{
    Atomicity,
    DeviceAttributes,
    DeviceFeature,
    DeviceFeatures,
    OnDemandOperation,
    OnDemandRegion,
    OnDemandSupport, //
};
pub use driver::{
    Driver,
    DriverId, //
};
pub use error::unsupported;
pub use event::{
    CqEvents,
    PortEvent,
    QpAsyncEvent,
    QpEvents,
    SrqEvents, //
};
pub use gid::{
    Gid,
    GidType, //
};
pub use kernel_memory::for_each_page;
pub use memory_region::{
    MemoryRegion,
    MrChange,
    MrKeys,
    MrOps,
    MrRequest, //
};
pub use memory_window::{
    Mw,
    MwOps,
    MwType, //
};
pub use mmap::{
    MmapBuffer,
    MmapOffer,
    MmapOffers,
    MmapRequest, //
};
pub use net_device_ref::NetDeviceRef;
pub use object::Object;
pub use performance::PortTraffic;
pub use port::{
    Capabilities,
    LinkSpeed,
    LinkWidth,
    Mtu,
    PhysicalState,
    PortAttributes,
    PortNumber,
    PortState, //
};
pub use protection_domain::{
    Pd,
    PdOps, //
};
pub use queue_pair::{
    Qp,
    QpInit,
    QpOps,
    SignalType, //
};
pub use queue_pair_attributes::{
    PathMigration,
    QpAttributes,
    QpCap,
    QpModify,
    QpState,
    QpType,
    Transition, //
};
pub use registration::{
    DeviceOptions,
    Registration, //
};
pub use shared_receive_queue::{
    Srq,
    SrqAttributes,
    SrqModify,
    SrqOps, //
};
pub use umem::Umem;
pub use user_context::{
    UserContext,
    UserContextOps, //
};
pub use user_data::UserData;
pub use work_completion::{
    CompletionExtra,
    CompletionNetwork,
    QpReference,
    WorkCompletion, //
};
pub use work_request::{
    ElementList,
    ReceiveRequest,
    RemoteMemory,
    SendRequest,
    WorkOperation, //
};
