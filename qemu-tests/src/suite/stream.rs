// SPDX-License-Identifier: GPL-2.0

//! USB4STREAM between the hosts, with nothing but the kernel's drivers.

use std::time::Duration;

use anyhow::ensure;
use anyhow::Result;

use super::Lab;
use super::Outcome;
use super::Suite;
use super::Test;
use crate::hosts::stage::Job;
use crate::hosts::stage::Stage;
use crate::hosts::streams;

/// Bytes sent each way.
const BYTES: u32 = 16 << 20;

/// Time limit of a command. The stream moves some tens of MB a second under TCG.
const LIMIT: Duration = Duration::from_secs(120);

/// The suite.
pub fn suite() -> Suite {
    Suite {
        name: "stream",
        lab: Lab::DRIVERS,
        tests: vec![
            Test::new("data-from-a-to-b", LIMIT, |stage| {
                transfer(stage, &[("a", "b")])
            }),
            Test::new("data-from-b-to-a", LIMIT, |stage| {
                transfer(stage, &[("b", "a")])
            }),
            Test::new("data-both-ways-at-once", LIMIT, |stage| {
                transfer(stage, &[("a", "b"), ("b", "a")])
            }),
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

/// Holds the stream open while others read and write it, until told to [`let_go`] of it. The driver stops the stream and tells
/// the peer when its last user closes it: a reader that has all it wants and a writer that has not begun must not be that, and
/// what is written is given half a second to leave.
const HOLD: &str = "rm -f /tmp/let-go; exec 3<> /dev/tbstream0; touch /tmp/held; until [ -e /tmp/let-go ]; do sleep 0.1; done; rm /tmp/held";

/// Prints the checksum of the next [`BYTES`] bytes of the stream.
fn reader() -> String {
    format!("head -c {BYTES} /dev/tbstream0 | sha256sum")
}

/// Makes data of which no two parts are the same.
fn make_data() -> String {
    format!("head -c {BYTES} /dev/urandom > /tmp/data")
}

/// Prints the checksum of the data and sends it.
const WRITER: &str = "sha256sum < /tmp/data && cat /tmp/data > /dev/tbstream0";

/// Makes `host` hold its stream. The open returns only when the driver has posted its buffers: a frame that arrives before
/// would be miscounted.
fn hold(stage: &Stage<'_>, host: &str) -> Result<Job> {
    let holder = stage.start(host, HOLD, LIMIT)?;
    stage.shell(host, "until [ -e /tmp/held ]; do sleep 0.1; done", LIMIT)?;
    Ok(holder)
}

/// Ends [`hold`].
fn let_go(stage: &Stage<'_>, host: &str, holder: &Job) -> Result<()> {
    stage.shell(host, "touch /tmp/let-go", LIMIT)?;
    stage.finish(holder, LIMIT)?;
    Ok(())
}

/// Sends [`BYTES`] bytes along each of `ways`, (from, to), at once.
fn transfer(stage: &Stage<'_>, ways: &[(&str, &str)]) -> Result<Outcome> {
    make_stream(stage)?;
    let holders = [("a", hold(stage, "a")?), ("b", hold(stage, "b")?)];
    for (from, _) in ways {
        stage.shell(from, &make_data(), LIMIT)?;
    }
    let mut jobs = Vec::new();
    for (from, to) in ways {
        let reader = stage.start(to, &reader(), LIMIT)?;
        jobs.push((stage.start(from, WRITER, LIMIT)?, reader));
    }
    for (writer, reader) in &jobs {
        let sent = stage.finish(writer, LIMIT)?;
        let received = stage.finish(reader, LIMIT)?;
        ensure!(!sent.is_empty(), "the writer printed no checksum");
        ensure!(sent == received, "sent {sent}received {received}");
    }
    for (host, holder) in &holders {
        let_go(stage, host, holder)?;
    }
    Ok(Outcome::Passed)
}
