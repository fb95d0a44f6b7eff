// SPDX-License-Identifier: GPL-2.0

//! What RDMA users see: the verbs device, its objects and its network interface.

pub mod abi;
mod abi_bytes;
mod access;
mod access_error;
mod address;
pub(crate) mod address_range;
mod ah;
pub(crate) mod bindings;
mod counters;
mod cq;
pub(crate) mod device;
mod elements;
pub(crate) mod fast_region;
pub(crate) mod kernel_completions;
mod kernel_elements;
mod kernel_memory;
mod limits;
pub(crate) mod memory_key;
mod mmap_offer;
pub(crate) mod mr;
pub(crate) mod multicast;
mod mw;
pub mod netdev;
mod on_demand;
mod owned_region;
pub(crate) mod pagers;
pub(crate) mod pd;
mod pieces;
mod port_speed;
pub(crate) mod qp;
pub(crate) mod queue;
pub(crate) mod quota;
pub mod rdma;
mod receive;
mod receive_poster;
pub(crate) mod resources;
pub(crate) mod route;
pub mod route_slot;
mod srq;
mod trace;
mod user_context;
pub(crate) mod window;
