// SPDX-License-Identifier: GPL-2.0

//! perftest's programs from host to host: each operation over each service that it is offered for, in each way that the program has.

use anyhow::Result;

use super::both_ends::Ends;
use super::both_ends::Listens;
use super::both_ends::Path;
use super::both_ends::Runner;
use super::comparison::Comparison;
use crate::hosts::stage::Stage;
use crate::suite::both_devices::Device;

/// What each is given. Whether the processor's clock is steady is no matter here.
const OPTIONS: &str = "-d $device -x $gid -p $port -F";

/// A way to run a program: its name in tables, and options.
type Way = (&'static str, &'static str);

/// What measures bandwidth.
const BANDWIDTH: [Way; 6] = [
    ("plain", ""),
    ("bidirectional", "-b"),
    ("queue-pairs", "-q 16"),
    ("post-list", "-l 8"),
    ("old-post-send", "--use_old_post_send"),
    ("all-sizes", "-a"),
];

/// What measures latency.
const LATENCY: [Way; 2] = [("plain", ""), ("all-sizes", "-a")];

/// To sleep until there is a completion. WRITEs are waited for in memory.
const EVENTS: [Way; 1] = [("events", "-e")];

/// With the payload in the request, if perftest did so: it knows which vendors' devices can, and says that it does not for others.
const INLINE: [Way; 1] = [("inline", "-I 64 -s 64")];

/// What only WRITEs have.
const IMMEDIATE: [Way; 1] = [("immediate", "--write_with_imm")];

/// What only SENDs have.
const SHARED_RECEIVE_QUEUE: [Way; 1] = [("srq", "--use-srq")];

/// Atomic operations, which have a size of their own.
const ATOMIC_BANDWIDTH: [Way; 8] = [
    ("fetch-and-add", "-A FETCH_AND_ADD"),
    ("fetch-and-add-bidirectional", "-A FETCH_AND_ADD -b"),
    ("fetch-and-add-events", "-A FETCH_AND_ADD -e"),
    ("fetch-and-add-queue-pairs", "-A FETCH_AND_ADD -q 16"),
    ("compare-and-swap", "-A CMP_AND_SWAP"),
    ("compare-and-swap-bidirectional", "-A CMP_AND_SWAP -b"),
    ("compare-and-swap-events", "-A CMP_AND_SWAP -e"),
    ("compare-and-swap-queue-pairs", "-A CMP_AND_SWAP -q 16"),
];

/// The same, one at a time.
const ATOMIC_LATENCY: [Way; 4] = [
    ("fetch-and-add", "-A FETCH_AND_ADD"),
    ("fetch-and-add-events", "-A FETCH_AND_ADD -e"),
    ("compare-and-swap", "-A CMP_AND_SWAP"),
    ("compare-and-swap-events", "-A CMP_AND_SWAP -e"),
];

/// A program, over the services that it is run for, in these ways.
struct Program {
    name: &'static str,
    services: &'static [&'static str],
    ways: &'static [&'static [Way]],
}

/// All of them.
const PROGRAMS: [Program; 8] = [
    Program {
        name: "ib_write_bw",
        services: &["RC", "UC"],
        ways: &[&BANDWIDTH, &INLINE, &IMMEDIATE],
    },
    Program {
        name: "ib_write_lat",
        services: &["RC", "UC"],
        ways: &[&LATENCY, &INLINE],
    },
    Program {
        name: "ib_read_bw",
        services: &["RC"],
        ways: &[&BANDWIDTH, &EVENTS],
    },
    Program {
        name: "ib_read_lat",
        services: &["RC"],
        ways: &[&LATENCY, &EVENTS],
    },
    Program {
        name: "ib_send_bw",
        services: &["RC", "UC", "UD"],
        ways: &[&BANDWIDTH, &EVENTS, &INLINE, &SHARED_RECEIVE_QUEUE],
    },
    Program {
        name: "ib_send_lat",
        services: &["RC", "UC", "UD"],
        ways: &[&LATENCY, &EVENTS, &INLINE],
    },
    Program {
        name: "ib_atomic_bw",
        services: &["RC"],
        ways: &[&ATOMIC_BANDWIDTH],
    },
    Program {
        name: "ib_atomic_lat",
        services: &["RC"],
        ways: &[&ATOMIC_LATENCY],
    },
];

/// How many messages of which size: datagrams have one packet each, and all sizes together are many bytes. The number has to be a multiple
/// of a post list's length.
fn amount(program: &str, service: &str, options: &str) -> &'static str {
    let has = |option| options.split_whitespace().any(|word| word == option);
    match service {
        _ if has("-a") => "-n 10",
        // Those have a size already.
        _ if has("-I") || program.starts_with("ib_atomic") => "-n 200",
        "UD" => "-n 200 -s 2048",
        _ if program.ends_with("_bw") => "-n 96 -s 65536",
        _ => "-n 96 -s 64",
    }
}

/// Name and command of each test.
fn tests() -> Vec<(String, String)> {
    let mut tests = Vec::new();
    for Program {
        name,
        services,
        ways,
    } in PROGRAMS
    {
        for service in services {
            for (way, options) in ways.concat() {
                let amount = amount(name, service, options);
                let command = format!("{name} -c {service} {amount} {options}");
                let name = name.trim_start_matches("ib_");
                tests.push((format!("{name}/{service}/{way}"), command));
            }
        }
    }
    tests
}

/// Runs them on `device`.
pub fn run(stage: &Stage<'_>, device: Device, comparison: &mut Comparison) -> Result<()> {
    let mut runner = Runner::new(stage, device);
    for (name, command) in tests() {
        let ends = Ends::alike(&format!("{command} {OPTIONS}"), Listens::Tcp);
        let finding = runner.run(Path::Cable, &ends)?;
        comparison.add(device, &name, finding);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_sizes_single() {
        let tests = super::tests();
        let names: BTreeSet<_> = tests.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), tests.len());
        for (name, command) in &tests {
            let words = command.split_whitespace();
            let sizes = words.filter(|word| ["-s", "-a"].contains(word)).count();
            assert!(sizes <= 1, "{name}: {command}");
        }
    }
}
