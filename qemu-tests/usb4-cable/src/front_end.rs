// SPDX-License-Identifier: GPL-2.0

//! Front ends: the ways by which guests reach their NHIs.

use std::io;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::cable::NhiIndex;
use crate::fabric::Fabric;
use crate::topology::FrontEndKind;
use crate::vfio;
use crate::vhost;

/// A socket on which an NHI waits for its guest.
pub trait FrontEnd: Send {
    /// Serves one guest after the other, until listening fails.
    ///
    /// The guest's end, by shutdown or crash, resets the NHI; its peers see the cable unplugged.
    fn run(&self) -> io::Result<()>;
}

impl FrontEndKind {
    /// Listens on a new socket at `path` for the guest of the NHI `nhi`.
    pub(crate) fn bind(
        self,
        path: &Path,
        fabric: Arc<Mutex<Fabric>>,
        nhi: NhiIndex,
    ) -> io::Result<Box<dyn FrontEnd>> {
        Ok(match self {
            Self::VfioUser => Box::new(vfio::Listener::bind(path, fabric, nhi)?),
            Self::VhostUser => Box::new(vhost::Listener::bind(path, fabric, nhi)?),
        })
    }
}
