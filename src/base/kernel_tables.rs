// SPDX-License-Identifier: GPL-2.0

//! Where the transport's tables live in the kernel.

use kernel::prelude::*;

use crate::transport::storage::Storage;

/// Tables in memory of `kvmalloc()`.
pub struct KernelTables;

impl Storage for KernelTables {
    type Table<T> = KVVec<T>;
}
