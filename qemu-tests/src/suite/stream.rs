// SPDX-License-Identifier: GPL-2.0

//! USB4STREAM between the hosts, with nothing but the kernel's drivers.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Result;

use super::as_booted;
use super::Outcome;
use super::Subject;
use super::Suite;
use super::Test;
use crate::accelerator::CpuModel;
use crate::fabric::Fabric;
use crate::kernel_tree::Kernel;
use crate::stage::Stage;
use crate::streams;

/// Bytes sent each way.
const BYTES: u32 = 16 << 20;

/// Time limit of a command. The stream moves some tens of MB a second under TCG.
const LIMIT: Duration = Duration::from_secs(120);

/// With two CPUs a host's writer was left waiting in the driver, after its peer had closed the stream, when both hosts wrote at
/// once and one was done before the other. Apparently, who does not read is not told; `usb4_roce` always reads.
const CPUS: u32 = 1;

/// The suite.
pub fn suite() -> Suite {
    Suite {
        name: "stream",
        fabric: Fabric::PAIR,
        kernel: Kernel::Stock,
        processor: CpuModel::Fast,
        cpus: CPUS,
        subject: Subject::Drivers,
        prepare: as_booted,
        tests: vec![
            Test {
                name: "data-from-a-to-b",
                limit: LIMIT,
                run: |stage| transfer(stage, "a", "b"),
            },
            Test {
                name: "data-from-b-to-a",
                limit: LIMIT,
                run: |stage| transfer(stage, "b", "a"),
            },
            Test {
                name: "data-both-ways-at-once",
                limit: LIMIT,
                run: both_ways,
            },
        ],
    }
}

/// Makes `/dev/tbstream0` on both hosts unless it is there.
fn make_stream(stage: &Stage<'_>) -> Result<()> {
    let there = stage.attempt("b", "[ -e /dev/tbstream0 ]", LIMIT)?;
    if !there.status.success() {
        streams::make(stage.instance(), "lab")?;
    }
    Ok(())
}

/// Reads the stream and prints the checksum of [`BYTES`] bytes. The reader opens first: a frame that
/// arrives while the driver posts its buffers would be miscounted.
fn reader() -> String {
    format!("head -c {BYTES} /dev/tbstream0 | sha256sum")
}

/// Makes the data of the host `from`, of which no two parts are the same, and prints its checksum, then sends it.
fn writer(from: &str) -> String {
    format!(
        "seq -f '{from} %.0f' 1 {BYTES} | head -c {BYTES} > /tmp/data && sha256sum < /tmp/data && cat /tmp/data > /dev/tbstream0"
    )
}

/// Succeeds once some process holds the stream open.
const IS_OPEN: &str = "ls -l /proc/[0-9]*/fd 2>/dev/null | grep -q /dev/tbstream0";

fn wait_open(stage: &Stage<'_>, host: &str) -> Result<()> {
    // The open returns only when the driver has posted its buffers; the descriptor shows up then.
    let script = format!("until {IS_OPEN}; do sleep 0.1; done");
    stage.shell(host, &script, LIMIT)?;
    Ok(())
}

fn transfer(stage: &Stage<'_>, from: &str, to: &str) -> Result<Outcome> {
    make_stream(stage)?;
    let reader = stage.start(to, &reader(), LIMIT)?;
    wait_open(stage, to)?;
    let sent = stage.shell(from, &writer(from), LIMIT)?;
    let received = stage.finish(&reader, LIMIT)?;
    ensure!(!sent.is_empty(), "the writer printed no checksum");
    ensure!(sent == received, "sent {sent}received {received}");
    Ok(Outcome::Passed)
}

fn both_ways(stage: &Stage<'_>) -> Result<Outcome> {
    make_stream(stage)?;
    let mut readers = Vec::new();
    for host in ["a", "b"] {
        readers.push(stage.start(host, &reader(), LIMIT)?);
        wait_open(stage, host)?;
    }
    let mut writers = Vec::new();
    for host in ["b", "a"] {
        writers.push(stage.start(host, &writer(host), LIMIT)?);
    }
    for (reader, writer) in readers.iter().zip(&writers) {
        let sent = stage.finish(writer, LIMIT)?;
        let received = stage.finish(reader, LIMIT)?;
        ensure!(!sent.is_empty(), "the writer printed no checksum");
        ensure!(sent == received, "sent {sent}received {received}");
    }
    Ok(Outcome::Passed)
}
