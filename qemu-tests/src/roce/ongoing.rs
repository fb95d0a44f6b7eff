// SPDX-License-Identifier: GPL-2.0

//! Client programs that go on until they are told to stop.

use std::time::Duration;

use anyhow::bail;
use anyhow::Result;

use super::client_program::ClientProgram;
use super::programs::Ends;
use crate::hosts::stage::Stage;

/// Host of the server.
const SERVER: &str = "a";

/// Host of the client.
const CLIENT: &str = "b";

/// At the client: when it comes into being, the program stops.
const STOP: &str = "/tmp/stop-client-program";

/// How long an order to a host may take.
const ORDER_LIMIT: Duration = Duration::from_secs(120);

/// A client program, of which host `b` has the client and host `a` the server, in the background.
pub struct Ongoing {
    ends: Ends,
}

impl Ongoing {
    /// Starts `program`, which knows the option `--until`.
    pub fn start(stage: &Stage<'_>, program: &ClientProgram<'_>, limit: Duration) -> Result<Self> {
        stage.shell(CLIENT, &format!("rm -f {STOP}"), ORDER_LIMIT)?;
        let program = program.between(SERVER, &format!("--until {STOP}"));
        Ok(Self {
            ends: program.start(stage, CLIENT, limit)?,
        })
    }

    /// Has it stop; gives the client's report. Fails if an end has failed.
    pub fn stop(self, stage: &Stage<'_>, limit: Duration) -> Result<String> {
        stage.shell(CLIENT, &format!("touch {STOP}"), ORDER_LIMIT)?;
        let client = stage.wait(&self.ends.client, limit)?;
        if !client.status.success() {
            stage.kill(&self.ends.server)?;
            let server = stage.wait(&self.ends.server, ORDER_LIMIT)?;
            bail!(
                "the client broke off: {}{}",
                client.everything(),
                server.everything()
            );
        }
        stage.finish(&self.ends.server, limit)?;
        Ok(client.text())
    }
}
