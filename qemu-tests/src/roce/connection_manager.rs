// SPDX-License-Identifier: GPL-2.0

//! Programs that connect by IP address, over the kernel's connection manager.

use std::time::Duration;

use anyhow::Context;
use anyhow::Result;

use crate::hosts::stage::Stage;
use crate::roce::address;

/// Host of the servers.
const SERVER: &str = "a";

/// What programs need of the kernel.
const LOAD: &str = "modprobe rdma_ucm || exit";

/// Waits for a program that listens.
const AWAIT_LISTENER: &str = "until rdma resource show cm_id | grep -q LISTEN; do sleep 0.05; done";

/// A program that connects by IP address.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The server's command, with the server's address as `$address`.
    pub server: &'static str,
    /// The client's.
    pub client: &'static str,
}

/// Moves data by READs and WRITEs, and looks at what has arrived.
pub const RPING: Program = Program {
    server: "rping -s -a $address -C 20 -S 8000 -V",
    client: "rping -c -a $address -C 20 -S 8000 -V",
};

/// Makes several connections at once.
pub const UCMATOSE: Program = Program {
    server: "ucmatose -b $address -c 8 -C 10 -S 1000",
    client: "ucmatose -s $address -c 8 -C 10 -S 1000",
};

/// Finds queue pairs for datagrams.
pub const UDADDY: Program = Program {
    server: "udaddy -b $address -c 4 -C 10",
    client: "udaddy -s $address -c 4 -C 10",
};

/// Family of the addresses.
#[derive(Clone, Copy, Debug)]
pub enum Family {
    /// Those that hosts are given.
    Ipv4,
    /// Those of the link.
    Ipv6,
}

/// The server's IPv6 address of the link.
const LINK_ADDRESS: &str =
    "ip -6 -o address show dev usb4r0 scope link | sed 's/.*inet6 \\([^/]*\\).*/\\1%usb4r0/'";

impl Program {
    /// Runs it; its client on `client_host`.
    pub fn run(
        self,
        stage: &Stage<'_>,
        family: Family,
        client_host: &str,
        limit: Duration,
    ) -> Result<()> {
        let address = match family {
            Family::Ipv4 => address(SERVER),
            Family::Ipv6 => stage.shell(SERVER, LINK_ADDRESS, limit)?.trim().to_owned(),
        };
        let script = |command| format!("{LOAD}\naddress={address}\n{command}");
        let server = stage.start(SERVER, &script(self.server), limit)?;
        stage
            .shell(SERVER, AWAIT_LISTENER, limit)
            .context("nobody listens")?;
        stage.shell(client_host, &script(self.client), limit)?;
        stage.finish(&server, limit)?;
        Ok(())
    }
}
