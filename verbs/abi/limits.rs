// SPDX-License-Identifier: GPL-2.0

//! Upper bounds of what a process may ask for. Queue memory is bounded by them.

/// Most scatter/gather elements of one work request.
pub const MAX_SGE: u32 = 32;

/// Most bytes of inline data of one send; as many as [`MAX_SGE`] elements take.
pub const MAX_INLINE: u32 = 512;

/// Most work requests a send, receive or shared receive queue may hold.
pub const MAX_QUEUE_WR: u32 = (1 << 14) - 1;

/// Most entries a completion queue may hold.
pub const MAX_CQE: u32 = (1 << 16) - 1;
