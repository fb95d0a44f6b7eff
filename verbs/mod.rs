// SPDX-License-Identifier: GPL-2.0

//! What RDMA users see: the verbs device, its objects and its network interface.

pub(crate) mod bindings;
pub mod netdev;
pub(crate) mod rdma;
