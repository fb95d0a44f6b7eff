// SPDX-License-Identifier: GPL-2.0

//! What a peer must be able to do for a request. One that it does not know it takes for damage, and would be sent for ever.

use crate::transport::opcode::Opcode;
use crate::transport::rail::hello::Features;

/// The features that a peer must offer for requests with this opcode.
pub const fn needed_for(opcode: Opcode) -> Features {
    match opcode {
        Opcode::Send
        | Opcode::SendWithImm
        | Opcode::Write
        | Opcode::WriteWithImm
        | Opcode::Read => Features::NONE,
        Opcode::CompareSwap | Opcode::FetchAdd => Features::ATOMICS,
        Opcode::AtomicWrite => Features::ATOMIC_WRITE,
        Opcode::Flush => Features::FLUSH,
    }
}
