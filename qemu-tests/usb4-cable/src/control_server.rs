// SPDX-License-Identifier: GPL-2.0

//! The server of the control socket.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

use crate::control::Answer;
use crate::fabric::Fabric;

/// Answers the requests of any number of clients.
pub(crate) struct ControlServer {
    listener: UnixListener,
    fabric: Arc<Mutex<Fabric>>,
}

impl ControlServer {
    /// Listens on a new socket at `path`.
    pub(crate) fn bind(path: &Path, fabric: Arc<Mutex<Fabric>>) -> io::Result<Self> {
        Ok(Self {
            listener: UnixListener::bind(path)?,
            fabric,
        })
    }

    /// Serves clients, each in a thread of its own, until listening fails.
    pub(crate) fn run(&self) -> io::Result<()> {
        loop {
            let (stream, _) = self.listener.accept()?;
            let fabric = Arc::clone(&self.fabric);
            std::thread::Builder::new()
                .name("control-client".into())
                .spawn(move || {
                    if let Err(error) = serve(&stream, &fabric) {
                        log::warn!("control client: {error}");
                    }
                })?;
        }
    }
}

fn serve(mut stream: &UnixStream, fabric: &Mutex<Fabric>) -> io::Result<()> {
    for line in BufReader::new(stream).lines() {
        let answer = match serde_json::from_str(&line?) {
            Ok(request) => fabric.lock().execute(request, Instant::now()),
            Err(error) => Answer::Error {
                message: format!("not a request: {error}"),
            },
        };
        let mut text = serde_json::to_vec(&answer)?;
        text.push(b'\n');
        stream.write_all(&text)?;
    }
    Ok(())
}
