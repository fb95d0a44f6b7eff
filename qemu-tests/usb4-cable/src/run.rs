// SPDX-License-Identifier: GPL-2.0

//! Runs a topology: sockets, threads.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use parking_lot::Mutex;

use crate::control_server::ControlServer;
use crate::fabric::Fabric;
use crate::poller;
use crate::topology::control_socket;
use crate::topology::Topology;

/// Why a topology cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// No memory or threads.
    #[error("cannot set up NHIs: {0}")]
    Setup(#[source] io::Error),
    /// A socket cannot be made.
    #[error("cannot listen on {path}: {source}")]
    Socket {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// The sockets of a running topology; dropping this removes them, the threads go on until the
/// process ends.
pub struct Running {
    sockets: Vec<PathBuf>,
}

impl Drop for Running {
    fn drop(&mut self) {
        for socket in &self.sockets {
            // What is gone already is gone.
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// Runs `topology`, which must have passed its check, with sockets in the directory `dir`: an
/// NHI's as [`NhiRef::socket`](crate::topology::NhiRef::socket) says, and [`control_socket`].
/// Sockets left behind by a program that is gone are replaced. For `spin` after something has moved, guests that tell of more
/// are looked at all the same.
///
/// All sockets take connections once this returns.
pub fn run(topology: &Topology, dir: &Path, spin: Duration) -> Result<Running, RunError> {
    let fabric = Fabric::new(topology, Instant::now()).map_err(RunError::Setup)?;
    let hosts = topology.hosts.iter();
    let kinds: HashMap<_, _> = hosts.map(|host| (&host.name, host.front_end)).collect();
    let nhis: Vec<_> = fabric
        .nhis()
        .map(|(index, nhi)| (index, kinds[&nhi.name().host], nhi.name().socket(dir)))
        .collect();
    let fabric = Arc::new(Mutex::new(fabric));
    let mut running = Running {
        sockets: Vec::new(),
    };
    for (index, kind, path) in nhis {
        let front_end = running.bind(path, |path| kind.bind(path, Arc::clone(&fabric), index))?;
        spawn("front-end", move || front_end.run())?;
    }
    let control = running.bind(control_socket(dir), |path| {
        ControlServer::bind(path, Arc::clone(&fabric))
    })?;
    spawn("control", move || control.run())?;
    spawn("poller", move || -> io::Result<()> {
        poller::run(&fabric, spin)
    })?;
    Ok(running)
}

impl Running {
    fn bind<T>(
        &mut self,
        path: PathBuf,
        bind: impl FnOnce(&Path) -> io::Result<T>,
    ) -> Result<T, RunError> {
        let bound = remove_stale(&path).and_then(|()| bind(&path));
        let bound = bound.map_err(|source| RunError::Socket {
            path: path.clone(),
            source,
        })?;
        self.sockets.push(path);
        Ok(bound)
    }
}

/// Removes a socket that nobody listens on any more.
fn remove_stale(path: &Path) -> io::Result<()> {
    use std::os::unix::net::UnixStream;
    match UnixStream::connect(path) {
        Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn spawn(
    name: &str,
    work: impl FnOnce() -> io::Result<()> + Send + 'static,
) -> Result<(), RunError> {
    let owned = name.to_owned();
    std::thread::Builder::new()
        .name(owned.clone())
        .spawn(move || {
            if let Err(error) = work() {
                log::error!("{owned}: {error}");
            }
        })
        .map_err(RunError::Setup)?;
    Ok(())
}
