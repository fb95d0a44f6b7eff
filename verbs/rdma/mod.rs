// SPDX-License-Identifier: GPL-2.0

//! A safe abstraction of `ib_core` for drivers of RDMA devices.
