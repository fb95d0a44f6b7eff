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
use crate::hosts::stage::Stage;
use crate::suite::both_devices::Device;

/// A program of librdmacm.
struct Program {
    name: &'static str,
    server: &'static str,
    client: &'static str,
    listens: Listens,
    /// The port, if it cannot be told.
    port: Option<u16>,
}

/// All of them.
const PROGRAMS: [Program; 9] = [
    Program {
        name: "rping",
        server: "rping -s -a $address -p $port -C 20 -V",
        client: "rping -c -a $address -p $port -C 20 -V",
        listens: Listens::ConnectionManager,
        port: None,
    },
    Program {
        name: "rping-large",
        server: "rping -s -a $address -p $port -C 20 -V -S 65000",
        client: "rping -c -a $address -p $port -C 20 -V -S 65000",
        listens: Listens::ConnectionManager,
        port: None,
    },
    Program {
        name: "ucmatose",
        server: "ucmatose -b $address -p $port -c 10 -C 20 -S 1000",
        client: "ucmatose -s $address -p $port -c 10 -C 20 -S 1000",
        listens: Listens::ConnectionManager,
        port: None,
    },
    Program {
        name: "udaddy",
        server: "udaddy -b $address -c 4 -C 20",
        client: "udaddy -s $address -c 4 -C 20",
        listens: Listens::ConnectionManager,
        port: Some(7174),
    },
    Program {
        name: "rdma_server",
        server: "rdma_server -p $port",
        client: "rdma_client -s $address -p $port",
        listens: Listens::ConnectionManager,
        port: None,
    },
    // It connects a second time without queue pairs, by numbers that it makes up, the same at both ends. The kernel's connection manager knows
    // who connects by device and number, and takes the second of two on one host for the first, come back: "stale connection". So the client
    // makes up others.
    Program {
        name: "cmtime",
        server: "cmtime -b $address -p $port -c 100",
        client: "cmtime -s $address -p $port -c 100 -q 100000",
        listens: Listens::ConnectionManager,
        port: None,
    },
    Program {
        name: "rstream",
        server: "rstream -b $address -p $port -S 4096 -C 100 -T v",
        client: "rstream -s $address -p $port -S 4096 -C 100 -T v",
        listens: Listens::ConnectionManager,
        port: None,
    },
    Program {
        name: "riostream",
        server: "riostream -b $address -p $port -S 4096 -C 100 -T v",
        client: "riostream -s $address -p $port -S 4096 -C 100 -T v",
        listens: Listens::ConnectionManager,
        port: None,
    },
    // Who sends posts all messages and destroys its queue pair without looking whether any has gone: many, of which some have.
    Program {
        name: "mckey",
        server: "mckey -m 239.55.0.1 -b $address -C 20 -S 1000",
        client: "mckey -m 239.55.0.1 -b $own_address -s -C 5000 -S 1000",
        listens: Listens::Datagrams,
        port: None,
    },
];

/// Where the client is.
const PATHS: [(&str, Path); 2] = [("cable", Path::Cable), ("loopback", Path::Loopback)];

/// The server's command `command`, which may end as rping's server does by chance: one thread closes what another still reads events from,
/// and that one ends the program, before the first has ended it well.
fn forgiving(command: &str) -> String {
    format!(
        "{command} 2> /tmp/words
        status=$?; cat /tmp/words >&2
        if [ $status = 255 ] && grep -q '^rdma_get_cm_event: Bad file descriptor' /tmp/words; then status=0; fi
        (exit $status)"
    )
}

/// Runs them on `device`.
pub fn run(stage: &Stage<'_>, device: Device, comparison: &mut Comparison) -> Result<()> {
    let mut runner = Runner::new(stage, device);
    for program in PROGRAMS {
        let ends = Ends {
            server: forgiving(program.server),
            client: program.client.to_owned(),
            listens: program.listens,
            port: program.port,
        };
        for (path_name, path) in PATHS {
            let finding = runner.run(path, &ends)?;
            comparison.add(device, &format!("{}/{path_name}", program.name), finding);
        }
    }
    Ok(())
}
