// SPDX-License-Identifier: GPL-2.0

//! A ring all-reduce in host memory that uses verbs as NCCL's IB transport does (NCCL
//! src/transport/net_ib.cc): receives without elements, clear-to-send elements written by the receiver
//! and polled by the sender in plain memory, data by RDMA WRITE with immediate data.

pub mod collective;
pub mod comm;
pub mod latency;
pub mod ring;
pub mod schedule;
pub mod tensor;
