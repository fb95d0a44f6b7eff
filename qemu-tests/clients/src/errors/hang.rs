// SPDX-License-Identifier: GPL-2.0

//! Keeps requests in flight in both directions until one of the ends is killed, or the time is over:
//! what happens to the survivor, and to the kernel of the dead.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::Serialize;

use crate::bootstrap::Peer;
use crate::bootstrap::Side;
use crate::verbs::Completion;
use crate::verbs::Operation;
use crate::verbs::Status;

use super::case::Env;
use super::case::Outcome;
use super::end::request;
use super::end::with_end;
use super::end::EndConfig;

const MEMORY: usize = 1 << 20;

/// Requests in flight.
const DEPTH: u64 = 8;

/// How the end that was not killed fared.
#[derive(Clone, Debug, Serialize)]
pub struct HangReport {
    /// Which end this is.
    pub side: Side,
    /// Requests that succeeded.
    pub completed: u64,
    /// The status of the first that did not; none when the time was over first.
    pub ended_with: Option<String>,
    /// From the last success to that.
    pub seconds_to_notice: f64,
}

/// Posts until the peer is gone or `time` has passed. `started` is called once requests are in flight.
pub fn run(
    env: &Env<'_>,
    peer: &mut Peer,
    time: Duration,
    started: impl Fn(),
) -> Result<HangReport> {
    let config = EndConfig {
        memory: MEMORY,
        ..EndConfig::default()
    };
    let mut report = HangReport {
        side: env.side,
        completed: 0,
        ended_with: None,
        seconds_to_notice: 0.0,
    };
    with_end(env, peer, &config, |end, _| {
        let sges = [end.mr.sge(0..MEMORY)];
        let deadline = Instant::now() + time;
        let mut last_success = Instant::now();
        let mut posted = 0;
        let mut completions: Vec<Completion> = Vec::new();
        while Instant::now() < deadline {
            while posted - report.completed < DEPTH {
                let operation = if posted % 2 == 0 {
                    end.write()
                } else {
                    Operation::Read {
                        remote: end.peer_memory,
                    }
                };
                end.qp.post_send(&[request(posted, operation, &sges)])?;
                posted += 1;
            }
            if end.cq.poll(&mut completions, DEPTH as usize)? == 0 {
                ensure!(
                    last_success.elapsed() < env.limit,
                    "requests are in flight, but none completed for {:?}",
                    env.limit
                );
                thread::yield_now();
            }
            for completion in completions.drain(..) {
                if completion.status != Status::SUCCESS {
                    report.seconds_to_notice = last_success.elapsed().as_secs_f64();
                    report.ended_with = Some(completion.status.to_string());
                    ensure!(
                        completion.status == Status::RETRY_EXC_ERR,
                        "a vanished peer was noticed as {}",
                        completion.status
                    );
                    return Ok(Outcome::Pass);
                }
                ensure!(
                    completion.wr_id == report.completed,
                    "request {} completed in place of {}",
                    completion.wr_id,
                    report.completed
                );
                if report.completed == 0 {
                    started();
                }
                last_success = Instant::now();
                report.completed += 1;
            }
        }
        Ok(Outcome::Pass)
    })
    .context("with requests in flight")?;
    Ok(report)
}
