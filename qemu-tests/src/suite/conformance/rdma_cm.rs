// SPDX-License-Identifier: GPL-2.0

//! Programs that connect by IP address: those of librdmacm.
//!
//! perftest's `-R` is not among them: its two ends connect twice, and its client ends by a wrong pointer if it comes the second time before
//! the server listens again, which on hosts with one processor is up to chance, on any device.

use anyhow::Result;

use super::both_ends::Ends;
use super::both_ends::Listens;
use super::both_ends::Path;
use super::both_ends::Runner;
use super::comparison::Comparison;
use super::device::Device;
use crate::hosts::stage::Stage;

/// A program of librdmacm.
struct Program {
    name: &'static str,
    server: &'static str,
    client: &'static str,
    /// The port, if it cannot be told.
    port: Option<u16>,
}

/// All of them.
const PROGRAMS: [Program; 8] = [
    Program {
        name: "rping",
        server: "rping -s -a $address -p $port -C 20 -V",
        client: "rping -c -a $address -p $port -C 20 -V",
        port: None,
    },
    Program {
        name: "rping-large",
        server: "rping -s -a $address -p $port -C 20 -V -S 65000",
        client: "rping -c -a $address -p $port -C 20 -V -S 65000",
        port: None,
    },
    Program {
        name: "ucmatose",
        server: "ucmatose -b $address -p $port -c 10 -C 20 -S 1000",
        client: "ucmatose -s $address -p $port -c 10 -C 20 -S 1000",
        port: None,
    },
    Program {
        name: "udaddy",
        server: "udaddy -b $address -c 4 -C 20",
        client: "udaddy -s $address -c 4 -C 20",
        port: Some(7174),
    },
    Program {
        name: "rdma_server",
        server: "rdma_server -p $port",
        client: "rdma_client -s $address -p $port",
        port: None,
    },
    Program {
        name: "cmtime",
        server: "cmtime -b $address -p $port -c 100",
        client: "cmtime -s $address -p $port -c 100",
        port: None,
    },
    Program {
        name: "rstream",
        server: "rstream -b $address -p $port -S 4096 -C 100",
        client: "rstream -s $address -p $port -S 4096 -C 100",
        port: None,
    },
    Program {
        name: "riostream",
        server: "riostream -b $address -p $port -S 4096 -C 100",
        client: "riostream -s $address -p $port -S 4096 -C 100",
        port: None,
    },
];

/// Where the client is.
const PATHS: [(&str, Path); 2] = [("cable", Path::Cable), ("loopback", Path::Loopback)];

/// Runs them on `device`.
pub fn run(stage: &Stage<'_>, device: Device, comparison: &mut Comparison) -> Result<()> {
    let mut runner = Runner::new(stage, device);
    for program in PROGRAMS {
        let ends = Ends {
            server: program.server.to_owned(),
            client: program.client.to_owned(),
            listens: Listens::ConnectionManager,
            port: program.port,
        };
        for (path_name, path) in PATHS {
            let finding = runner.run(path, &ends)?;
            comparison.add(device, &format!("{}/{path_name}", program.name), finding);
        }
    }
    Ok(())
}
