// SPDX-License-Identifier: GPL-2.0

//! Memory that a processor keeps writing while a device reads it. Nobody can say what arrives, but it does arrive.

use std::fs;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Result;

use crate::bootstrap::Side;
use crate::verbs::Operation;
use crate::verbs::Status;

use super::case::Case;
use super::case::Env;
use super::case::Outcome;
use super::end::request;
use super::end::with_end;
use super::end::End;
use super::end::EndConfig;

/// Bytes that are read.
const LARGE: usize = 4 << 20;

/// No segment of an answer is smaller.
const SMALLEST_SEGMENT: usize = 4032;

/// Where at the server the client tells that it is done: behind what changes.
const FLAG: usize = LARGE;

/// What it writes there.
const DONE: u64 = 0x646f_6e65;

/// Reads in a row.
const ROUNDS: u64 = 4;

/// Stores, a cache line apart, between two looks at the flag.
const STRIDE: usize = 64;

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    vec![read_of_changing_memory()]
}

/// How many segments of answers this host has sent again, if its device counts them.
fn repeated_responses(env: &Env<'_>) -> Option<u64> {
    let device = env.device.context.name();
    let path = format!("/sys/class/infiniband/{device}/ports/1/hw_counters/repeated_responses");
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn read_of_changing_memory() -> Case {
    Case::new("read_of_changing_memory", |env, peer| {
        let config = EndConfig {
            memory: LARGE + STRIDE,
            ..EndConfig::default()
        };
        with_end(env, peer, &config, |end, peer| {
            match env.side {
                Side::Server => {
                    let before = repeated_responses(env);
                    end.buffer.store_u64(FLAG, 0);
                    peer.barrier("flag lowered")?;
                    change_until_done(&end)?;
                    if let (Some(before), Some(after)) = (before, repeated_responses(env)) {
                        let most = ROUNDS * (LARGE.div_ceil(SMALLEST_SEGMENT) as u64);
                        ensure!(
                            after - before <= most,
                            "{} segments were sent again, of {most}",
                            after - before
                        );
                    }
                }
                Side::Client => {
                    peer.barrier("flag lowered")?;
                    for round in 0..ROUNDS {
                        let read = Operation::Read {
                            remote: end.peer_memory,
                        };
                        end.qp
                            .post_send(&[request(round, read, &[end.mr.sge(0..LARGE)])])?;
                        end.expect(round, &[Status::SUCCESS])?;
                    }
                    end.buffer.store_u64(FLAG, DONE);
                    let mut remote = end.peer_memory;
                    remote.address += FLAG as u64;
                    let tell = Operation::Write { remote, imm: None };
                    let sges = [end.mr.sge(FLAG..FLAG + size_of::<u64>())];
                    end.qp.post_send(&[request(ROUNDS, tell, &sges)])?;
                    end.expect(ROUNDS, &[Status::SUCCESS])?;
                }
            }
            peer.barrier("done")?;
            Ok(Outcome::Pass)
        })
    })
}

/// Writes to all of the memory, again and again, until the client has what it wants.
fn change_until_done(end: &End<'_>) -> Result<()> {
    let begun = Instant::now();
    let mut value = 0u64;
    while end.buffer.load_u64(FLAG) != DONE {
        ensure!(
            begun.elapsed() < 3 * end.env.limit,
            "the client was never done"
        );
        value += 1;
        for offset in (0..LARGE).step_by(STRIDE) {
            end.buffer.store_u64(offset, value);
        }
    }
    Ok(())
}
