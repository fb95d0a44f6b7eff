// SPDX-License-Identifier: GPL-2.0

//! The rxe user ABI: what the stock libibverbs provider `rxe` and the kernel share.
//!
//! Layouts are those of `include/uapi/rdma/rdma_user_rxe.h` and `ib_user_verbs.h`. Everything in a
//! mapped queue can be rewritten by the process at any time, so nothing here reads a ring: callers
//! copy the bytes out once and hand over the copy. No kernel types: the module also builds on a
//! host, for unit tests and fuzzing.
//!
//! Numbers are in the machine's byte order, as the ABI has them, unless said otherwise.

mod bytes;
pub mod completion;
pub mod datagram_wqe;
pub mod limits;
pub mod queue_layout;
pub mod receive_wqe;
pub mod response;
pub mod scatter;
pub mod send_wqe;
pub mod version;

#[cfg(test)]
mod tests;
