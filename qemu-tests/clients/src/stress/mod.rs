// SPDX-License-Identifier: GPL-2.0

//! Many threads of several processes race with each other, and with another host, for the same objects.
//!
//! What they do depends on the seed alone, when they do it on the machine. There is no right result of an
//! operation; what must not happen is that the kernel complains, that a process cannot be killed, or that
//! something is left.

pub mod board;
pub mod objects;
pub mod operation;
pub mod scribble;
pub mod supervisor;
pub mod worker;
pub mod wqe;
