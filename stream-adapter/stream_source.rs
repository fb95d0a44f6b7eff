// SPDX-License-Identifier: GPL-2.0

//! Where a rail gets its stream from.

use kernel::prelude::*;

use super::stream_file::StreamFile;

/// What a rail opens, again whenever its stream has failed.
pub trait StreamSource: Send + Sync {
    /// Opens the stream for reading and writing, without waiting for a peer.
    ///
    /// Must be called from a thread that may sleep. Fails with `ENXIO` while no peer is attached and with `ENODEV` when the
    /// stream is gone.
    fn open(&self) -> Result<StreamFile>;

    /// Whether the stream is gone for good.
    fn is_deleted(&self) -> bool;
}
