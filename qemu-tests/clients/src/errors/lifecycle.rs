// SPDX-License-Identifier: GPL-2.0

//! Queue pairs that fail, vanish and come back, and regions that vanish while they are used.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Result;

use crate::bootstrap::Side;
use crate::endpoint;
use crate::pattern::Pattern;
use crate::verbs::Access;
use crate::verbs::Mr;
use crate::verbs::Operation;
use crate::verbs::QpAttr;
use crate::verbs::QpState;
use crate::verbs::RemoteAddr;
use crate::verbs::SendFlags;
use crate::verbs::Status;

use super::case::Case;
use super::case::Outcome;
use super::end::next_completion;
use super::end::request;
use super::end::with_end;
use super::end::End;
use super::end::EndConfig;
use super::end::FULL_ACCESS;
use super::end::MESSAGE;

const SEND: Operation = Operation::Send { imm: None };

/// Time in which a write by a device that should have stopped would show.
const AFTERMATH: Duration = Duration::from_millis(300);

/// Memory for transfers that take long enough to be interrupted.
const LARGE: usize = 4 << 20;

/// Requests posted on such memory.
const IN_FLIGHT: u64 = 4;

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    vec![
        flush_both_queues("err_flushes_both_queues", 8),
        // More than a device flushes in one go, or works on at a time.
        flush_both_queues("err_flushes_deep_queues", 400),
        flush_after_err(),
        unsignalled_failure_completes(),
        peer_gone("peer_destroyed", |end| Ok(end.qp.destroy()?)),
        peer_gone("peer_in_reset", |end| {
            end.qp.modify(QpAttr::to_state(QpState::Reset))?;
            // Not destroyed before the requester has given up.
            thread::sleep(AFTERMATH);
            Ok(())
        }),
        peer_gone("peer_in_err", |end| {
            end.qp.fail()?;
            thread::sleep(AFTERMATH);
            Ok(())
        }),
        reset_and_reuse(),
        query_tells_next_psns(),
        sqd_drains(),
        sqd_changes_reads(),
        read_where_none_may_be_outstanding(),
        destroy_with_work_in_flight(),
        remote_dereg_in_flight(),
        local_dereg_in_flight(),
        quiet_when_done("reset_in_flight", &[Status::RETRY_EXC_ERR], |end, _| {
            Ok(end.qp.modify(QpAttr::to_state(QpState::Reset))?)
        }),
        quiet_when_done("rereg_in_flight", &[Status::REM_ACCESS_ERR], |_, victim| {
            Ok(victim.change_access(Access::LOCAL_WRITE | Access::REMOTE_READ)?)
        }),
    ]
}

/// No receive at the peer, so the SENDs are outstanding when the queue pair fails.
fn flush_both_queues(name: &str, count: u32) -> Case {
    Case::new(name, move |env, peer| {
        const FIRST_RECV: u64 = 1 << 32;
        let config = EndConfig {
            send_wr: count,
            recv_wr: count,
            cq_depth: 2 * count,
            ..EndConfig::default()
        };
        let count = u64::from(count);
        with_end(env, peer, &config, |end, peer| {
            if env.side == Side::Client {
                let sges = [end.mr.sge(0..64)];
                for id in 0..count {
                    end.post_recv(FIRST_RECV + id, &sges)?;
                    end.qp.post_send(&[request(id, SEND, &sges)])?;
                }
                end.qp.fail()?;
                let mut sends = Vec::new();
                let mut receives = Vec::new();
                for _ in 0..2 * count {
                    let completion = next_completion(end.cq, env.limit)?;
                    ensure!(
                        completion.status == Status::WR_FLUSH_ERR,
                        "request {} ended with {}",
                        completion.wr_id,
                        completion.status
                    );
                    match completion.wr_id {
                        id if id < FIRST_RECV => sends.push(id),
                        id => receives.push(id - FIRST_RECV),
                    }
                }
                let order: Vec<u64> = (0..count).collect();
                ensure!(sends == order, "sends were flushed in the order {sends:?}");
                ensure!(
                    receives == order,
                    "receives were flushed in the order {receives:?}"
                );
                end.expect_quiet(AFTERMATH)?;
            }
            peer.barrier("flushed")?;
            Ok(Outcome::Pass)
        })
    })
}

fn flush_after_err() -> Case {
    Case::new("posts_in_err_are_flushed", |env, peer| {
        with_end(env, peer, &EndConfig::default(), |end, peer| {
            if env.side == Side::Client {
                end.qp.fail()?;
                let sges = [end.mr.sge(0..64)];
                end.qp.post_send(&[request(1, SEND, &sges)])?;
                end.expect(1, &[Status::WR_FLUSH_ERR])?;
                end.post_recv(2, &sges)?;
                end.expect(2, &[Status::WR_FLUSH_ERR])?;
                end.qp.post_send(&[request(3, SEND, &sges)])?;
                end.expect(3, &[Status::WR_FLUSH_ERR])?;
            }
            peer.barrier("flushed")?;
            Ok(Outcome::Pass)
        })
    })
}

/// An unsignalled request that fails makes a CQE nevertheless (IBTA vol. 1, 10.8.5).
fn unsignalled_failure_completes() -> Case {
    Case::new("unsignalled_failure_completes", |env, peer| {
        with_end(env, peer, &EndConfig::default(), |end, peer| {
            if env.side == Side::Client {
                let sges = [end.mr.sge(MESSAGE)];
                let mut faulty = request(
                    1,
                    Operation::Read {
                        remote: RemoteAddr {
                            address: u64::MAX / 2,
                            ..end.peer_memory
                        },
                    },
                    &sges,
                );
                faulty.flags = SendFlags::empty();
                let mut follower = request(2, end.write(), &sges);
                follower.flags = SendFlags::empty();
                end.qp.post_send(&[faulty, follower])?;
                end.expect(1, &[Status::REM_ACCESS_ERR])?;
                end.expect(2, &[Status::WR_FLUSH_ERR])?;
            }
            peer.barrier("failed")?;
            Ok(Outcome::Pass)
        })
    })
}

/// The responder's queue pair answers no more.
fn peer_gone(name: &str, leave: fn(End<'_>) -> Result<()>) -> Case {
    Case::new(name, move |env, peer| {
        let config = EndConfig {
            // 16.8 ms, 3 times.
            timeout: 12,
            retry_cnt: 3,
            ..EndConfig::default()
        };
        with_end(env, peer, &config, |end, peer| {
            match env.side {
                Side::Server => {
                    peer.barrier("about to leave")?;
                    leave(end)?;
                    peer.barrier("left")?;
                    peer.barrier("noticed")?;
                }
                Side::Client => {
                    end.expect_working(10)?;
                    peer.barrier("about to leave")?;
                    peer.barrier("left")?;
                    let sges = [end.mr.sge(MESSAGE)];
                    end.expect_refused(end.write(), &sges, &[Status::RETRY_EXC_ERR])?;
                    peer.barrier("noticed")?;
                }
            }
            Ok(Outcome::Pass)
        })
    })
}

fn reset_and_reuse() -> Case {
    Case::new("reset_and_reuse", |env, peer| {
        with_end(env, peer, &EndConfig::default(), |end, peer| {
            for round in 0..3 {
                if env.side == Side::Client {
                    end.expect_working(round)?;
                }
                peer.barrier("worked")?;
                end.qp.fail()?;
                end.qp.modify(QpAttr::to_state(QpState::Reset))?;
                peer.barrier("both reset")?;
                let own_psn = end.peer_qp.psn;
                endpoint::connect(&end.qp, env.path, &end.tuning, own_psn, end.peer_qp)?;
                peer.barrier("connected again")?;
            }
            if env.side == Side::Client {
                end.expect_working(10)?;
            }
            peer.barrier("done")?;
            Ok(Outcome::Pass)
        })
    })
}

/// The PSNs that are reported are the next ones, not the first (IBTA vol. 1, 11.2.5.3).
fn query_tells_next_psns() -> Case {
    Case::new("query_tells_next_psns", |env, peer| {
        with_end(env, peer, &EndConfig::default(), |end, peer| {
            let before = end.qp.report()?;
            peer.barrier("asked")?;
            if env.side == Side::Client {
                end.expect_working(1)?;
                end.expect_working(2)?;
            }
            peer.barrier("written")?;
            let after = end.qp.report()?;
            let (sent, received) = match env.side {
                Side::Client => (after.send_psn != before.send_psn, false),
                Side::Server => (false, after.receive_psn != before.receive_psn),
            };
            ensure!(
                sent || received,
                "the PSNs stayed: {before:?}, then {after:?}"
            );
            let idle = match env.side {
                Side::Client => after.receive_psn == before.receive_psn,
                Side::Server => after.send_psn == before.send_psn,
            };
            ensure!(
                idle,
                "a PSN of the idle direction went on: {before:?}, then {after:?}"
            );
            peer.barrier("asked again")?;
            Ok(Outcome::Pass)
        })
    })
}

/// In SQD what was begun is finished, and nothing else; the queue tells when it is (IBTA vol. 1, 10.3.1.5).
fn sqd_drains() -> Case {
    Case::new("sqd_drains", |env, peer| {
        with_end(env, peer, &EndConfig::default(), |end, peer| {
            let sges = [end.mr.sge(MESSAGE)];
            match env.side {
                Side::Server => {
                    peer.barrier("draining")?;
                    end.post_recv(1, &sges)?;
                    end.expect(1, &[Status::SUCCESS])?;
                    peer.barrier("drained")?;
                }
                Side::Client => {
                    end.qp.post_send(&[request(1, SEND, &sges)])?;
                    // It waits for a receive.
                    end.expect_quiet(AFTERMATH)?;
                    end.qp.modify(QpAttr::to_state(QpState::Sqd))?;
                    end.qp.post_send(&[request(2, end.write(), &sges)])?;
                    let report = end.qp.report()?;
                    ensure!(report.is_draining, "not draining: {report:?}");
                    peer.barrier("draining")?;
                    end.expect(1, &[Status::SUCCESS])?;
                    peer.barrier("drained")?;
                    end.expect_quiet(AFTERMATH)?;
                    let report = end.qp.report()?;
                    ensure!(!report.is_draining, "still draining: {report:?}");
                    end.qp.modify(QpAttr::to_state(QpState::Rts))?;
                    end.expect(2, &[Status::SUCCESS])?;
                }
            }
            peer.barrier("done")?;
            Ok(Outcome::Pass)
        })
    })
}

/// A READ that could never begin does not wait for ever.
fn read_where_none_may_be_outstanding() -> Case {
    Case::new("read_where_none_may_be_outstanding", |env, peer| {
        let config = EndConfig {
            rd_atomic: 0,
            ..EndConfig::default()
        };
        with_end(env, peer, &config, |end, peer| {
            if env.side == Side::Client {
                let read = Operation::Read {
                    remote: end.peer_memory,
                };
                end.qp
                    .post_send(&[request(1, read, &[end.mr.sge(MESSAGE)])])?;
                end.expect(1, &[Status::LOC_QP_OP_ERR])?;
                end.expect_state(QpState::Err)?;
            }
            peer.barrier("refused")?;
            Ok(Outcome::Pass)
        })
    })
}

/// What may be changed in SQD takes effect: how many READs may be outstanding, at who sends them and at who answers.
fn sqd_changes_reads() -> Case {
    /// How many READs the peer may have outstanding, first and afterwards.
    const FEW: u8 = 1;
    const MANY: u8 = IN_FLIGHT as u8;
    Case::new("sqd_changes_reads", |env, peer| {
        let config = EndConfig {
            rd_atomic: match env.side {
                Side::Server => FEW,
                Side::Client => MANY,
            },
            ..large()
        };
        with_end(env, peer, &config, |end, peer| {
            let change = |attr: QpAttr| -> Result<()> {
                end.qp.modify(QpAttr::to_state(QpState::Sqd))?;
                end.qp.modify(QpAttr {
                    state: Some(QpState::Sqd),
                    ..attr
                })?;
                Ok(end.qp.modify(QpAttr::to_state(QpState::Rts))?)
            };
            let allow = |count| {
                change(QpAttr {
                    max_dest_rd_atomic: Some(count),
                    ..QpAttr::default()
                })
            };
            let begin = |count| {
                change(QpAttr {
                    max_rd_atomic: Some(count),
                    ..QpAttr::default()
                })
            };
            for count in [MANY, FEW] {
                match env.side {
                    Side::Server => allow(count)?,
                    Side::Client => begin(count)?,
                }
                peer.barrier("changed")?;
                if env.side == Side::Client {
                    let sges = [end.mr.sge(0..LARGE)];
                    for id in 0..IN_FLIGHT {
                        let read = Operation::Read {
                            remote: end.peer_memory,
                        };
                        end.qp.post_send(&[request(id, read, &sges)])?;
                    }
                    for id in 0..IN_FLIGHT {
                        end.expect(id, &[Status::SUCCESS])?;
                    }
                }
                peer.barrier("read")?;
            }
            Ok(Outcome::Pass)
        })
    })
}

fn large() -> EndConfig {
    EndConfig {
        memory: LARGE,
        ..EndConfig::default()
    }
}

/// Posts WRITEs and READs of all memory.
fn post_large(end: &End<'_>, sges: &[crate::verbs::Sge]) -> Result<()> {
    for id in 0..IN_FLIGHT {
        let operation = if id % 2 == 0 {
            end.write()
        } else {
            Operation::Read {
                remote: end.peer_memory,
            }
        };
        end.qp.post_send(&[request(id, operation, sges)])?;
    }
    Ok(())
}

fn destroy_with_work_in_flight() -> Case {
    Case::new("destroy_with_work_in_flight", |env, peer| {
        with_end(env, peer, &large(), |end, peer| {
            if env.side == Side::Client {
                post_large(&end, &[end.mr.sge(0..LARGE)])?;
                let start = Instant::now();
                end.qp.destroy()?;
                ensure!(
                    start.elapsed() < env.limit,
                    "it took {:?} to destroy the QP",
                    start.elapsed()
                );
                let before = end.buffer.to_vec(0..LARGE);
                thread::sleep(AFTERMATH);
                ensure!(
                    end.buffer.first_difference(0, &before).is_none(),
                    "a READ of a destroyed QP still writes to memory"
                );
            }
            peer.barrier("destroyed")?;
            Ok(Outcome::Pass)
        })
    })
}

/// Once the responder has deregistered, its memory must not change any more.
fn remote_dereg_in_flight() -> Case {
    Case::new("remote_dereg_in_flight", |env, peer| {
        with_end(env, peer, &large(), |end, peer| {
            match env.side {
                Side::Server => {
                    let victim = Mr::new(end.pd, end.buffer, 0..LARGE, FULL_ACCESS)?;
                    let first = end.buffer.load_u64(0);
                    peer.send(&victim.remote())?;
                    // Into the middle of the transfers.
                    await_change(&end, first);
                    victim.deregister()?;
                    let before = end.buffer.to_vec(0..LARGE);
                    thread::sleep(AFTERMATH);
                    ensure!(
                        end.buffer.first_difference(0, &before).is_none(),
                        "memory changed after its region was deregistered"
                    );
                    peer.barrier("ended")?;
                }
                Side::Client => {
                    let remote = peer.recv()?;
                    let sges = [end.mr.sge(0..LARGE)];
                    for id in 0..IN_FLIGHT {
                        let write = Operation::Write { remote, imm: None };
                        end.qp.post_send(&[request(id, write, &sges)])?;
                    }
                    expect_end(&end, Status::REM_ACCESS_ERR)?;
                    peer.barrier("ended")?;
                }
            }
            Ok(Outcome::Pass)
        })
    })
}

/// Once `end_placement` has returned, memory must not change any more, not even by the rest of a payload that
/// is half in place.
fn quiet_when_done(
    name: &str,
    statuses: &'static [Status],
    end_placement: impl for<'a> Fn(&End<'_>, &Mr<'a>) -> Result<()> + Sync + 'static,
) -> Case {
    /// Small enough to be overwritten while a segment is placed.
    const SIZE: usize = 256 << 10;
    const ROUNDS: u64 = 20;
    /// After so long, it was the last round.
    const ENOUGH: Duration = Duration::from_secs(10);
    const WRITES: u64 = 16;
    /// 67 ms: nobody waits long for a peer that has been reset.
    const TIMEOUT: u8 = 14;
    Case::new(name, move |env, peer| {
        let config = EndConfig {
            memory: SIZE,
            timeout: TIMEOUT,
            retry_cnt: 2,
            ..EndConfig::default()
        };
        let begin = Instant::now();
        for round in 0..ROUNDS {
            let mut more = true;
            with_end(env, peer, &config, |end, peer| {
                match env.side {
                    Side::Server => {
                        let victim = Mr::new(end.pd, end.buffer, 0..SIZE, FULL_ACCESS)?;
                        let marks = Pattern::new(&[round]).bytes(0, SIZE);
                        let first = end.buffer.load_u64(0);
                        peer.send(&victim.remote())?;
                        await_change(&end, first);
                        end_placement(&end, &victim)?;
                        end.buffer.write(0, &marks);
                        thread::sleep(AFTERMATH / 6);
                        ensure!(
                            end.buffer.first_difference(0, &marks).is_none(),
                            "memory changed afterwards, in round {round}"
                        );
                        more = begin.elapsed() < ENOUGH;
                        peer.send(&more)?;
                        peer.barrier("ended")?;
                    }
                    Side::Client => {
                        let remote = peer.recv()?;
                        let sges = [end.mr.sge(0..SIZE)];
                        for id in 0..WRITES {
                            let write = Operation::Write { remote, imm: None };
                            end.qp.post_send(&[request(id, write, &sges)])?;
                        }
                        for _ in 0..WRITES {
                            let status = next_completion(end.cq, env.limit)?.status;
                            let is_expected = statuses.contains(&status)
                                || [Status::SUCCESS, Status::WR_FLUSH_ERR].contains(&status);
                            ensure!(is_expected, "a WRITE ended with {status}");
                        }
                        more = peer.recv()?;
                        peer.barrier("ended")?;
                    }
                }
                Ok(Outcome::Pass)
            })?;
            if !more {
                break;
            }
        }
        Ok(Outcome::Pass)
    })
}

/// Waits until the peer has begun to write to this end's memory, which began with `first` before.
fn await_change(end: &End<'_>, first: u64) {
    let deadline = Instant::now() + end.env.limit;
    while end.buffer.load_u64(0) == first && Instant::now() < deadline {
        thread::yield_now();
    }
}

fn local_dereg_in_flight() -> Case {
    Case::new("local_dereg_in_flight", |env, peer| {
        with_end(env, peer, &large(), |end, peer| {
            if env.side == Side::Client {
                let marks = Pattern::new(&[3]).bytes(0, LARGE);
                end.buffer.write(0, &marks);
                let own = Mr::new(end.pd, end.buffer, 0..LARGE, FULL_ACCESS)?;
                let sges = [own.sge(0..LARGE)];
                for id in 0..IN_FLIGHT {
                    let read = Operation::Read {
                        remote: end.peer_memory,
                    };
                    end.qp.post_send(&[request(id, read, &sges)])?;
                }
                own.deregister()?;
                let before = end.buffer.to_vec(0..LARGE);
                expect_end(&end, Status::LOC_PROT_ERR)?;
                thread::sleep(AFTERMATH);
                ensure!(
                    end.buffer.first_difference(0, &before).is_none(),
                    "memory changed after its region was deregistered"
                );
            }
            peer.barrier("ended")?;
            Ok(Outcome::Pass)
        })
    })
}

/// All requests of the transfers end, in order: some with success, then at most one with `status`, and
/// the rest flushed.
fn expect_end(end: &End<'_>, status: Status) -> Result<()> {
    let mut failed = None;
    for id in 0..IN_FLIGHT {
        let completion = next_completion(end.cq, end.env.limit)?;
        ensure!(
            completion.wr_id == id,
            "request {} ended in place of {id}",
            completion.wr_id
        );
        let allowed: &[Status] = match failed {
            None => &[Status::SUCCESS, status],
            Some(_) => &[Status::WR_FLUSH_ERR],
        };
        ensure!(
            allowed.contains(&completion.status),
            "request {id} ended with {}, expected one of {allowed:?}",
            completion.status
        );
        if completion.status == status {
            failed = Some(id);
        }
    }
    Ok(())
}
