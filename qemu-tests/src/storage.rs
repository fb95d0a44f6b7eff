// SPDX-License-Identifier: GPL-2.0

//! What one host lends to another: disks by NVMe over Fabrics and SRP, directories by NFS, and what loads them.

use std::fmt;
use std::time::Duration;

use crate::roce;

pub mod fio;
pub mod nfs;
pub mod nvme;
pub mod srp;

/// Who has the disk, or the directory.
pub const TARGET: &str = "a";

/// Who uses it.
pub const INITIATOR: &str = "b";

/// Time limit of a command.
const LIMIT: Duration = Duration::from_secs(500);

/// What moves requests and data between the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// A verbs device.
    Rdma,
    /// TCP.
    Tcp,
}

/// Its name, as the kernel and the programs have it.
impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rdma => "rdma",
            Self::Tcp => "tcp",
        })
    }
}

/// How the target is reached.
#[derive(Clone, Debug)]
pub struct Way {
    /// By what.
    pub carrier: Carrier,
    /// At which address: it says over which device as well.
    pub address: String,
}

impl Way {
    /// By RDMA over usb4_roce.
    pub fn roce() -> Self {
        Self {
            carrier: Carrier::Rdma,
            address: roce::address(TARGET),
        }
    }
}
