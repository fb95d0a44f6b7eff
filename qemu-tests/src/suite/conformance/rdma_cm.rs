// SPDX-License-Identifier: GPL-2.0

//! Programs that connect by IP address, over rdma_cm: those of librdmacm, and perftest's with `-R`.

use anyhow::Result;

use super::both_ends::Ends;
use super::both_ends::Listens;
use super::both_ends::Path;
use super::both_ends::Runner;
use super::comparison::Comparison;
use super::device::Device;
use super::finding::Verdict;
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

/// Programs of perftest: what they are called here, and commands.
const PERFTEST: [(&str, &str); 8] = [
    ("send_bw", "ib_send_bw -n 96 -s 65536"),
    ("send_lat", "ib_send_lat -n 96 -s 64"),
    ("send_lat-events", "ib_send_lat -n 96 -s 64 -e"),
    ("send_lat-datagrams", "ib_send_lat -c UD -n 96 -s 64"),
    ("write_bw", "ib_write_bw -n 96 -s 65536"),
    ("write_bw-queue-pairs", "ib_write_bw -n 96 -s 65536 -q 4"),
    ("read_bw", "ib_read_bw -n 96 -s 65536"),
    ("atomic_bw", "ib_atomic_bw -n 96"),
];

/// How often a program of perftest is run that does not pass, on either device: its two ends connect twice, and the client may come a second
/// time before the server listens again.
const TRIES: u32 = 3;

/// What each of perftest is given.
const OPTIONS: &str = "-R -d $device -p $port -F";

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
    for (name, command) in PERFTEST {
        let command = format!("{command} {OPTIONS}");
        let ends = Ends::alike(&command, Listens::ConnectionManager);
        let mut finding = runner.run(Path::Cable, &ends)?;
        for _ in 1..TRIES {
            if finding.verdict != Verdict::Pass {
                finding = runner.run(Path::Cable, &ends)?;
            }
        }
        comparison.add(device, &format!("perftest/{name}"), finding);
    }
    Ok(())
}
