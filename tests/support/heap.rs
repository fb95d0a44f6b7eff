// SPDX-License-Identifier: GPL-2.0

//! The transport's tables on the host.

use usb4_roce::transport::storage::Storage;

/// Tables are vectors.
pub struct Heap;

impl Storage for Heap {
    type Table<T> = Vec<T>;
}

/// A table of `length` empty entries.
pub fn table<T: Clone + Default>(length: usize) -> Vec<T> {
    vec![T::default(); length]
}
