// SPDX-License-Identifier: GPL-2.0

//! The structs of the user ABI as the bytes that are copied from and to processes.
//!
//! Beside `abi` and not in it, because that knows nothing of the kernel.

use kernel::transmute::AsBytes;
use kernel::transmute::FromBytes;

use crate::verbs::abi::response::CreateAhResponse;
use crate::verbs::abi::response::CreateQpResponse;
use crate::verbs::abi::response::CreateSrqResponse;
use crate::verbs::abi::response::MmapInfo;
use crate::verbs::abi::response::ModifySrqCommand;

// SAFETY: The struct consists of integers without padding between them.
unsafe impl AsBytes for MmapInfo {}

// SAFETY: As above.
unsafe impl AsBytes for CreateQpResponse {}

// SAFETY: As above.
unsafe impl AsBytes for CreateSrqResponse {}

// SAFETY: As above.
unsafe impl AsBytes for CreateAhResponse {}

// SAFETY: Any bytes make an integer.
unsafe impl FromBytes for ModifySrqCommand {}
