// SPDX-License-Identifier: GPL-2.0

//! `/dev/infiniband/uverbsN`.

use std::fs;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::fd::FromRawFd;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::libc;

use super::Command;
use super::Number;

/// The node of the verbs device called `device`.
pub fn node_of(device: &str) -> anyhow::Result<PathBuf> {
    const CLASS: &str = "/sys/class/infiniband_verbs";
    for entry in fs::read_dir(CLASS).with_context(|| format!("list {CLASS}"))? {
        let entry = entry?;
        let name = fs::read_to_string(entry.path().join("ibdev")).unwrap_or_default();
        if name.trim() == device {
            return Ok(Path::new("/dev/infiniband").join(entry.file_name()));
        }
    }
    anyhow::bail!("no verbs device is called {device}");
}

/// An open node. What it is asked goes to the kernel as it is.
pub struct Uverbs {
    file: File,
    /// Asynchronous events; closed with the rest.
    _events: Option<OwnedFd>,
}

impl Uverbs {
    /// Opens the node, and makes a context in it.
    pub fn open(node: &Path) -> nix::Result<Self> {
        let mut this = Self::open_bare(node)?;
        let mut response = [0; 8];
        this.write(&Command::with_response(Number::GetContext, &mut response).finish())?;
        let number = i32::from_ne_bytes([response[0], response[1], response[2], response[3]]);
        // SAFETY: The kernel has just made this descriptor for us.
        this._events = Some(unsafe { OwnedFd::from_raw_fd(number) });
        Ok(this)
    }

    /// Opens the node without a context in it.
    pub fn open_bare(node: &Path) -> nix::Result<Self> {
        let file = File::options().read(true).write(true).open(node);
        let file = file.map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(0)))?;
        Ok(Self {
            file,
            _events: None,
        })
    }

    /// The descriptor.
    pub fn raw(&self) -> i32 {
        self.file.as_raw_fd()
    }

    /// Writes a command, whatever is in it.
    pub fn write(&self, command: &[u8]) -> nix::Result<()> {
        nix::unistd::write(&self.file, command).map(drop)
    }

    /// `RDMA_VERBS_IOCTL` with `argument`: a `struct ib_uverbs_ioctl_hdr` with its attributes, aligned as such.
    pub fn ioctl(&self, argument: &mut [u64]) -> nix::Result<()> {
        /// `_IOWR(0x1b, 1, struct ib_uverbs_ioctl_hdr)`, which has 24 bytes.
        const RDMA_VERBS_IOCTL: libc::c_ulong = 0xc018_1b01;
        // SAFETY: The kernel copies from and to `argument` as far as its length field says, which callers
        // keep within it, and to what the attributes name.
        let returned = unsafe { libc::ioctl(self.raw(), RDMA_VERBS_IOCTL, argument.as_mut_ptr()) };
        Errno::result(returned).map(drop)
    }
}
