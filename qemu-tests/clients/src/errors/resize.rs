// SPDX-License-Identifier: GPL-2.0

//! Queues that change their size while they are used (ibv_resize_cq(3), ibv_modify_srq(3)): nothing in them
//! is lost, and a size that what is in them does not fit in is refused.

use std::thread;
use std::time::Duration;

use anyhow::ensure;
use nix::errno::Errno;

use crate::bootstrap::Side;
use crate::pattern::Pattern;
use crate::verbs::Operation;
use crate::verbs::Status;

use super::case::expect_errno;
use super::case::Case;
use super::case::Outcome;
use super::end::request;
use super::end::with_end;
use super::end::EndConfig;
use super::end::ReceiveFrom;

/// Bytes of each message.
const LEN: usize = 64;

/// Time in which completions come that have been seen to be due.
const COMPLETION: Duration = Duration::from_millis(500);

/// What may be answered to a size that is too small.
const TOO_SMALL: &[Errno] = &[Errno::EINVAL, Errno::ENOMEM];

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    vec![
        cq_during_traffic(),
        cq_below_content(),
        srq_during_traffic(),
        srq_below_content(),
    ]
}

fn cq_during_traffic() -> Case {
    Case::new("resize_cq_during_traffic", |env, peer| {
        const BURST: u64 = 16;
        const DEPTHS: [u32; 6] = [128, 17, 1000, 32, 20, 512];
        with_end(env, peer, &EndConfig::default(), |end, peer| {
            if env.side == Side::Client {
                let sges = [end.mr.sge(0..LEN)];
                for round in 0..4 * DEPTHS.len() {
                    let depth = DEPTHS[round % DEPTHS.len()];
                    let first = round as u64 * BURST;
                    for id in first..first + BURST {
                        end.qp.post_send(&[request(id, end.write(), &sges)])?;
                    }
                    end.cq.resize(depth)?;
                    ensure!(
                        end.cq.depth() >= depth as usize,
                        "{depth} entries were asked for, {} granted",
                        end.cq.depth()
                    );
                    for id in first..first + BURST {
                        end.expect(id, &[Status::SUCCESS])?;
                    }
                }
            }
            peer.barrier("resized")?;
            Ok(Outcome::Pass)
        })
    })
}

fn cq_below_content() -> Case {
    Case::new("resize_cq_below_content", |env, peer| {
        const COUNT: u64 = 15;
        with_end(env, peer, &EndConfig::default(), |end, peer| {
            if env.side == Side::Client {
                let sges = [end.mr.sge(0..LEN)];
                for id in 0..COUNT {
                    end.qp.post_send(&[request(id, end.write(), &sges)])?;
                }
                // Its own memory tells when all of them are done.
                let mark = 8 * LEN;
                let before = end.buffer.load_u64(mark);
                let read = Operation::Read {
                    remote: end.peer_memory,
                };
                end.qp
                    .post_send(&[request(COUNT, read, &[end.mr.sge(mark..mark + LEN)])])?;
                let mut patience = 1000;
                while end.buffer.load_u64(mark) == before && patience > 0 {
                    thread::sleep(Duration::from_millis(10));
                    patience -= 1;
                }
                thread::sleep(COMPLETION);
                expect_errno(end.cq.resize(4), TOO_SMALL)?;
                for id in 0..=COUNT {
                    end.expect(id, &[Status::SUCCESS])?;
                }
                end.cq.resize(4)?;
                end.expect_working(100)?;
            }
            peer.barrier("resized")?;
            Ok(Outcome::Pass)
        })
    })
}

fn shared() -> EndConfig {
    EndConfig {
        receive: ReceiveFrom::Shared,
        cq_depth: 512,
        ..EndConfig::default()
    }
}

/// Receives posted before and after the queue has grown are taken in order.
fn srq_during_traffic() -> Case {
    Case::new("resize_srq_during_traffic", |env, peer| {
        if env.device.limits.max_srq == 0 {
            return Ok(Outcome::Skip("the device has no SRQ".into()));
        }
        const BEFORE: u64 = 10;
        const ROOMS: [u64; 4] = [100, 40, 200, 17];
        with_end(env, peer, &shared(), |end, peer| {
            for (round, room) in ROOMS.into_iter().enumerate() {
                let place = |id: u64| {
                    let start = id as usize * LEN;
                    start..start + LEN
                };
                let message = |id: u64| Pattern::new(&[round as u64, id]).bytes(0, LEN);
                match (env.side, end.srq) {
                    (Side::Server, Some(srq)) => {
                        for id in 0..BEFORE {
                            end.post_recv(id, &[end.mr.sge(place(id))])?;
                        }
                        peer.barrier("some receives")?;
                        // The peer's messages arrive meanwhile.
                        srq.resize(room as u32)?;
                        for id in BEFORE..room {
                            end.post_recv(id, &[end.mr.sge(place(id))])?;
                        }
                        for id in 0..room {
                            end.expect(id, &[Status::SUCCESS])?;
                            ensure!(
                                end.buffer.to_vec(place(id)) == message(id),
                                "receive {id} of {room} holds another message"
                            );
                        }
                    }
                    _ => {
                        peer.barrier("some receives")?;
                        let send = Operation::Send { imm: None };
                        for id in 0..room {
                            end.buffer.write(place(id).start, &message(id));
                            let sges = [end.mr.sge(place(id))];
                            end.qp.post_send(&[request(id, send, &sges)])?;
                            end.expect(id, &[Status::SUCCESS])?;
                        }
                    }
                }
                peer.barrier("round done")?;
            }
            Ok(Outcome::Pass)
        })
    })
}

fn srq_below_content() -> Case {
    Case::new("resize_srq_below_content", |env, peer| {
        if env.device.limits.max_srq == 0 {
            return Ok(Outcome::Skip("the device has no SRQ".into()));
        }
        const COUNT: u64 = 12;
        with_end(env, peer, &shared(), |end, peer| {
            let sges = [end.mr.sge(0..LEN)];
            match (env.side, end.srq) {
                (Side::Server, Some(srq)) => {
                    for id in 0..COUNT {
                        end.post_recv(id, &sges)?;
                    }
                    expect_errno(srq.resize(2), TOO_SMALL)?;
                    expect_errno(
                        srq.resize(env.device.limits.max_srq_wr.saturating_add(1)),
                        TOO_SMALL,
                    )?;
                    peer.barrier("posted")?;
                    for id in 0..COUNT {
                        end.expect(id, &[Status::SUCCESS])?;
                    }
                }
                _ => {
                    peer.barrier("posted")?;
                    let send = Operation::Send { imm: None };
                    for id in 0..COUNT {
                        end.qp.post_send(&[request(id, send, &sges)])?;
                        end.expect(id, &[Status::SUCCESS])?;
                    }
                }
            }
            peer.barrier("done")?;
            Ok(Outcome::Pass)
        })
    })
}
