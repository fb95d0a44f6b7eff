// SPDX-License-Identifier: GPL-2.0

//! The lab's own verbs client programs (`clients/`), on two hosts or on one.

use std::time::Duration;

use anyhow::Result;

use super::programs::VerbsProgram;
use super::DEVICE;
use crate::hosts::stage::Stage;
use crate::roce;

/// A client program. It reports in JSON.
pub struct ClientProgram<'a> {
    /// Its name.
    pub name: &'a str,
    /// Options of both of its ends.
    pub options: &'a str,
    /// TCP port on which the two find each other.
    pub port: u16,
}

impl ClientProgram<'_> {
    fn script(&self) -> String {
        let Self { name, options, .. } = self;
        format!("exec /lab/share/{name} --device {DEVICE} --json {options}")
    }

    /// With one end on the host `server`, and further `options` for the other one.
    pub fn between(&self, server: &str, options: &str) -> VerbsProgram {
        let address = format!("{}:{}", roce::address(server), self.port);
        let script = self.script();
        VerbsProgram {
            server_host: server.to_owned(),
            server: format!("{script} --listen {address}"),
            client: format!("{script} {options} --connect {address}"),
            port: self.port,
        }
    }

    /// Runs it with both ends on `host`, and further `options`; gives its report.
    pub fn loopback(
        &self,
        stage: &Stage<'_>,
        host: &str,
        options: &str,
        limit: Duration,
    ) -> Result<String> {
        stage.shell(
            host,
            &format!("{} {options} --loopback", self.script()),
            limit,
        )
    }
}
