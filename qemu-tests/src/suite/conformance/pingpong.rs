// SPDX-License-Identifier: GPL-2.0

//! The examples of libibverbs: `ibv_*_pingpong`.

use anyhow::Result;

use super::both_ends::Ends;
use super::both_ends::Listens;
use super::both_ends::Path;
use super::both_ends::Runner;
use super::comparison::Comparison;
use crate::hosts::stage::Stage;
use crate::suite::both_devices::Device;

/// The programs, with options of their own: to look at what has arrived, if they can, and fewer rounds than by themselves. Where both
/// ends poll on the same processor, a round takes until the scheduler's next tick.
const PROGRAMS: [(&str, &str); 5] = [
    ("rc", "-c -n 100"),
    ("uc", "-c -n 100"),
    ("ud", "-c -n 100"),
    ("srq", "-c -n 100"),
    ("xsrq", ""),
];

/// How they wait for completions.
const WAITS: [(&str, &str); 2] = [("poll", ""), ("events", "-e")];

/// Where the client is.
const PATHS: [(&str, Path); 2] = [("cable", Path::Cable), ("loopback", Path::Loopback)];

/// What each is given.
const OPTIONS: &str = "-d $device -g $gid -p $port";

/// Runs them on `device`.
pub fn run(stage: &Stage<'_>, device: Device, comparison: &mut Comparison) -> Result<()> {
    let mut runner = Runner::new(stage, device);
    for (service, own) in PROGRAMS {
        for (path_name, path) in PATHS {
            for (wait_name, wait) in WAITS {
                let name = format!("{service}/{path_name}/{wait_name}");
                let command = format!("ibv_{service}_pingpong {own} {wait} {OPTIONS}");
                let finding = runner.run(path, &Ends::alike(&command, Listens::Tcp))?;
                comparison.add(device, &name, finding);
            }
        }
    }
    Ok(())
}
