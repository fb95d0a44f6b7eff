// SPDX-License-Identifier: GPL-2.0

//! What RDMA users see: the verbs device, its objects and its network interface.

pub mod abi;
mod abi_bytes;
mod access;
mod address;
mod ah;
pub(crate) mod bindings;
mod counters;
mod cq;
pub(crate) mod device;
mod elements;
mod limits;
mod mmap_offer;
pub(crate) mod mr;
pub(crate) mod multicast;
pub mod netdev;
mod pd;
mod port_speed;
pub(crate) mod qp;
pub(crate) mod queue;
pub(crate) mod quota;
pub mod rdma;
mod receive;
pub(crate) mod resources;
pub(crate) mod route;
pub mod route_slot;
mod srq;
mod user_context;
