// SPDX-License-Identifier: GPL-2.0

//! Listens for vfio-user clients: one at a time, one after the other.

use std::io;
use std::os::fd::AsRawFd;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use vfio_user::Server;

use super::backend::Backend;
use super::region;
use crate::cable::NhiIndex;
use crate::fabric::Fabric;
use crate::front_end::FrontEnd;

/// A socket on which an NHI waits for its guest.
pub struct Listener {
    listener: UnixListener,
    fabric: Arc<Mutex<Fabric>>,
    nhi: NhiIndex,
    /// The NHI's registers, to be mapped into the guest.
    registers: OwnedFd,
    name: String,
}

/// The device takes resets.
const RESETTABLE: bool = true;

impl Listener {
    /// Listens on a new socket at `path` for the guest of the NHI `nhi`.
    pub fn bind(path: &Path, fabric: Arc<Mutex<Fabric>>, nhi: NhiIndex) -> io::Result<Self> {
        let registers = fabric
            .lock()
            .with_nhi(nhi, |nhi| nhi.registers().file().try_clone_to_owned())?;
        Ok(Self {
            listener: UnixListener::bind(path)?,
            registers,
            fabric,
            nhi,
            name: path.display().to_string(),
        })
    }
}

impl FrontEnd for Listener {
    fn run(&self) -> io::Result<()> {
        loop {
            // A server serves one connection; a guest that comes early waits in the backlog.
            let listener = OwnedFd::from(self.listener.try_clone()?);
            let server = Server::from_owned_fd(
                listener,
                RESETTABLE,
                region::interrupts(),
                region::regions(self.registers.as_raw_fd()),
            );
            let mut backend = Backend::new(Arc::clone(&self.fabric), self.nhi);
            match server.run(&mut backend) {
                Ok(()) => log::info!("{}: guest gone", self.name),
                Err(vfio_user::Error::SocketAccept(error)) => return Err(error),
                Err(error) => log::warn!("{}: connection ended: {error}", self.name),
            }
        }
    }
}
