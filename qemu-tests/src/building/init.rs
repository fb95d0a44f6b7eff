// SPDX-License-Identifier: GPL-2.0

//! What a host's first process is, once its root is there.

use serde::Deserialize;
use serde::Serialize;

/// The first process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Init {
    /// The lab's agent, and nothing runs beside it. What the host writes is gone when it ends.
    Agent,
    /// systemd, with all that Debian starts. The agent is a service; the drivers are loaded by udev, as on any machine. What an emulated host
    /// writes is there when it boots again; a native one has no disk.
    Systemd,
}
