// SPDX-License-Identifier: GPL-2.0

//! The socket of an NHI.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use vhost::vhost_user::BackendReqHandler;
use vhost::vhost_user::Error;

use super::session::Session;
use crate::cable::NhiIndex;
use crate::fabric::Fabric;
use crate::front_end::FrontEnd;

/// A socket on which an NHI waits for its guest.
pub struct Listener {
    listener: UnixListener,
    fabric: Arc<Mutex<Fabric>>,
    nhi: NhiIndex,
    name: String,
}

impl Listener {
    /// Listens on a new socket at `path` for the guest of the NHI `nhi`.
    pub fn bind(path: &Path, fabric: Arc<Mutex<Fabric>>, nhi: NhiIndex) -> io::Result<Self> {
        Ok(Self {
            listener: UnixListener::bind(path)?,
            fabric,
            nhi,
            name: path.display().to_string(),
        })
    }
}

impl FrontEnd for Listener {
    fn run(&self) -> io::Result<()> {
        loop {
            let (stream, _) = self.listener.accept()?;
            let session = Session::new(Arc::clone(&self.fabric), self.nhi)?;
            let mut handler = BackendReqHandler::from_stream(stream, Arc::new(session));
            // A guest that asks for what cannot be is told so, and disconnected.
            let error = loop {
                match handler.handle_request() {
                    Ok(()) | Err(Error::SocketRetry(_)) => (),
                    Err(error) => break error,
                }
            };
            match error {
                Error::Disconnected => log::info!("{}: guest gone", self.name),
                error => log::warn!("{}: connection ended: {error}", self.name),
            }
        }
    }
}
