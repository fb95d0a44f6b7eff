// SPDX-License-Identifier: GPL-2.0

//! Programs in containers.

use std::time::Duration;

use anyhow::Context;
use anyhow::Result;

use crate::building::container::Release;
use crate::hosts::stage::Stage;
use crate::roce;
use crate::roce::programs::VerbsProgram;
use crate::roce::FIND_GID;

/// Time limit of a program.
pub const LIMIT: Duration = Duration::from_secs(300);

/// Port which the programs listen on.
pub const PORT: u16 = 18515;

/// Host of the servers.
pub const SERVER: &str = "a";

/// Host of the clients.
pub const CLIENT: &str = "b";

/// Runs a program in a container.
const CONTAIN: &str = "/lab/share/contain";

/// The command that runs `command` in the container of `release`.
fn contain(release: Release, command: &str) -> String {
    format!("sh {CONTAIN} {release} {command}")
}

/// Runs `command` in the container of `release` on `host`; gives what it wrote.
pub fn run(stage: &Stage<'_>, host: &str, release: Release, command: &str) -> Result<String> {
    stage.shell(host, &format!("exec {}", contain(release, command)), LIMIT)
}

/// A program with both ends in containers: `command` knows the GID as `$gid`.
pub struct Contained<'a> {
    /// Of the server.
    pub server: Release,
    /// Of the client.
    pub client: Release,
    /// The program, and what both ends are told.
    pub command: &'a str,
}

impl Contained<'_> {
    /// Runs it; gives what the client wrote.
    pub fn run(&self, stage: &Stage<'_>) -> Result<String> {
        self.with_ends("", &roce::address(SERVER), stage)
    }

    /// Runs it with `listen` behind the server's words, and `connect` behind the client's; gives what the client wrote.
    pub fn with_ends(&self, listen: &str, connect: &str, stage: &Stage<'_>) -> Result<String> {
        let script = |release: Release, more: &str| {
            let command = contain(release, self.command);
            format!("{FIND_GID}\nexec {command} {more}")
        };
        let program = VerbsProgram {
            server_host: SERVER.to_owned(),
            server: script(self.server, listen),
            client: script(self.client, connect),
            port: PORT,
        };
        program.run(stage, CLIENT, LIMIT).with_context(|| {
            format!(
                "{}, server of {}, client of {}",
                self.command, self.server, self.client
            )
        })
    }
}
