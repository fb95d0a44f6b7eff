// SPDX-License-Identifier: GPL-2.0

//! Asynchronous and solicited events (IBTA vol. 1, 11.6.3 and 9.4.1; ibv_get_async_event(3)).

use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Result;

use crate::bootstrap::Side;
use crate::endpoint;
use crate::verbs::Cq;
use crate::verbs::EventKind;
use crate::verbs::Notify;
use crate::verbs::Operation;
use crate::verbs::Pd;
use crate::verbs::Qp;
use crate::verbs::QpCapacity;
use crate::verbs::QpInit;
use crate::verbs::QpState;
use crate::verbs::SendFlags;
use crate::verbs::Srq;
use crate::verbs::Status;
use crate::verbs::Subject;

use super::case::Case;
use super::case::Env;
use super::case::Outcome;
use super::end::request;
use super::end::with_end;
use super::end::End;
use super::end::EndConfig;
use super::end::ReceiveFrom;
use super::end::FULL_ACCESS;
use super::end::MESSAGE;

const SEND: Operation = Operation::Send { imm: None };

/// Time in which an event that must not come would come.
const NO_EVENT: Duration = Duration::from_millis(300);

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    vec![
        cq_overflow(),
        cq_overflow_ends_qp(),
        cq_overflow_by_receives_ends_qp(),
        srq_limit(),
        last_wqe_reached(),
        last_wqe_reached_in_init(),
        solicited_only(),
        notify_once(),
    ]
}

/// Waits for an event of `kind` about `subject`. Others may come before: a failing queue raises several.
fn expect_event(env: &Env<'_>, kind: EventKind, subject: Subject) -> Result<()> {
    let deadline = Instant::now() + env.limit;
    let mut others = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match env.device.context.async_event(left)? {
            Some(event) if event.kind == kind && event.subject == subject => return Ok(()),
            Some(event) => others.push(event.kind),
            None => bail!("no event \"{kind}\" within {:?}; got {others:?}", env.limit),
        }
    }
}

/// More requests than the smallest completion queue has entries.
fn small_cq() -> EndConfig {
    EndConfig {
        send_wr: 256,
        cq_depth: 4,
        ..EndConfig::default()
    }
}

/// Makes more completions than the queue holds.
fn overflow(end: &End<'_>) -> Result<()> {
    let sges = [end.mr.sge(0..64)];
    for id in 0..end.cq.depth() as u64 + 2 {
        end.qp.post_send(&[request(id, end.write(), &sges)])?;
    }
    Ok(())
}

/// More completions than the queue holds, and nobody takes them.
fn cq_overflow() -> Case {
    Case::new("cq_overflow_event", |env, peer| {
        let config = small_cq();
        with_end(env, peer, &config, |end, peer| {
            if env.side == Side::Client {
                let room = end.cq.depth();
                if room > config.send_wr as usize {
                    return Ok(Outcome::Skip(format!(
                        "the smallest completion queue has {room} entries"
                    )));
                }
                overflow(&end)?;
                expect_event(env, EventKind::CQ_ERR, Subject::Cq(end.cq.id()))?;
            }
            peer.barrier("overflowed")?;
            Ok(Outcome::Pass)
        })
    })
}

/// A completion that there is no room for is not lost in silence: the queue pair fails (11.6.3.2).
fn cq_overflow_ends_qp() -> Case {
    Case::new("cq_overflow_ends_qp", |env, peer| {
        with_end(env, peer, &small_cq(), |end, peer| {
            if env.side == Side::Client {
                let room = end.cq.depth();
                overflow(&end)?;
                expect_event(env, EventKind::QP_FATAL, Subject::Qp(end.qp.qpn()))?;
                end.expect_state(QpState::Err)?;
                for id in 0..room as u64 {
                    end.expect(id, &[Status::SUCCESS])?;
                }
            }
            peer.barrier("overflowed")?;
            Ok(Outcome::Pass)
        })
    })
}

/// Nor is that of a receive.
fn cq_overflow_by_receives_ends_qp() -> Case {
    Case::new("cq_overflow_by_receives_ends_qp", |env, peer| {
        let config = EndConfig {
            recv_wr: 256,
            send_wr: 256,
            cq_depth: match env.side {
                Side::Server => 4,
                Side::Client => 256,
            },
            ..EndConfig::default()
        };
        with_end(env, peer, &config, |end, peer| {
            let sges = [end.mr.sge(0..64)];
            match env.side {
                Side::Server => {
                    let room = end.cq.depth() as u64;
                    peer.exchange(&room)?;
                    for id in 0..room + 2 {
                        end.post_recv(id, &sges)?;
                    }
                    peer.barrier("posted")?;
                    expect_event(env, EventKind::QP_FATAL, Subject::Qp(end.qp.qpn()))?;
                    end.expect_state(QpState::Err)?;
                    for id in 0..room {
                        end.expect(id, &[Status::SUCCESS])?;
                    }
                }
                Side::Client => {
                    let room: u64 = peer.exchange(&0u64)?;
                    peer.barrier("posted")?;
                    for id in 0..room + 2 {
                        end.qp.post_send(&[request(id, SEND, &sges)])?;
                    }
                }
            }
            peer.barrier("overflowed")?;
            Ok(Outcome::Pass)
        })
    })
}

fn shared(env: &Env<'_>) -> Result<EndConfig, Outcome> {
    if env.device.limits.max_srq == 0 {
        return Err(Outcome::Skip("the device has no SRQ".into()));
    }
    Ok(EndConfig {
        receive: ReceiveFrom::Shared,
        ..EndConfig::default()
    })
}

fn srq_limit() -> Case {
    Case::new("srq_limit_event", |env, peer| {
        const POSTED: u64 = 8;
        const LIMIT: u32 = 5;
        /// Leaves exactly as many as the limit, which is not yet below it.
        const HARMLESS: u64 = POSTED - LIMIT as u64;
        let config = match shared(env) {
            Ok(config) => config,
            Err(skip) => return Ok(skip),
        };
        with_end(env, peer, &config, |end, peer| {
            let sges = [end.mr.sge(MESSAGE)];
            match (env.side, end.srq) {
                (Side::Server, Some(srq)) => {
                    for id in 0..POSTED {
                        end.post_recv(id, &sges)?;
                    }
                    srq.arm_limit(LIMIT)?;
                    peer.barrier("armed")?;
                    peer.barrier("at the limit")?;
                    let early = env.device.context.async_event(NO_EVENT)?;
                    ensure!(early.is_none(), "an event at the limit: {early:?}");
                    peer.barrier("no event")?;
                    let subject = Subject::Srq(srq.id());
                    expect_event(env, EventKind::SRQ_LIMIT_REACHED, subject)?;
                }
                _ => {
                    let send = |id| -> Result<()> {
                        end.qp.post_send(&[request(id, SEND, &sges)])?;
                        end.expect(id, &[Status::SUCCESS])
                    };
                    peer.barrier("armed")?;
                    for id in 0..HARMLESS {
                        send(id)?;
                    }
                    peer.barrier("at the limit")?;
                    peer.barrier("no event")?;
                    send(HARMLESS)?;
                }
            }
            peer.barrier("event taken")?;
            Ok(Outcome::Pass)
        })
    })
}

fn last_wqe_reached() -> Case {
    Case::new("last_wqe_reached_event", |env, peer| {
        let config = match shared(env) {
            Ok(config) => config,
            Err(skip) => return Ok(skip),
        };
        with_end(env, peer, &config, |end, peer| {
            if env.side == Side::Client {
                end.post_recv(1, &[end.mr.sge(MESSAGE)])?;
                end.qp.fail()?;
                let subject = Subject::Qp(end.qp.qpn());
                expect_event(env, EventKind::QP_LAST_WQE_REACHED, subject)?;
            }
            peer.barrier("event taken")?;
            Ok(Outcome::Pass)
        })
    })
}

/// A queue pair that fails before it was connected has no receive of the shared queue either, and says so once.
fn last_wqe_reached_in_init() -> Case {
    Case::local("last_wqe_reached_in_init_event", |env| {
        if env.device.limits.max_srq == 0 {
            return Ok(Outcome::Skip("the device has no SRQ".into()));
        }
        let pd = Pd::new(&env.device.context)?;
        let cq = Cq::new(&env.device.context, 8, None)?;
        let srq = Srq::new(&pd, 8, 1)?;
        let init = QpInit {
            send_cq: &cq,
            recv_cq: &cq,
            srq: Some(&srq),
            capacity: QpCapacity {
                send_wr: 4,
                recv_wr: 0,
                send_sge: 1,
                recv_sge: 0,
                inline: 0,
            },
        };
        let qp = Qp::new(&pd, &init)?;
        endpoint::init(&qp, env.path.address.port, FULL_ACCESS)?;
        qp.fail()?;
        let subject = Subject::Qp(qp.qpn());
        expect_event(env, EventKind::QP_LAST_WQE_REACHED, subject)?;
        let second = env.device.context.async_event(NO_EVENT)?;
        ensure!(second.is_none(), "a second event: {second:?}");
        Ok(Outcome::Pass)
    })
}

/// A queue armed for solicited events is woken by a solicited SEND only.
fn solicited_only() -> Case {
    Case::new("solicited_event_only", |env, peer| {
        with_end(env, peer, &EndConfig::default(), |end, peer| {
            let sges = [end.mr.sge(MESSAGE)];
            match env.side {
                Side::Server => {
                    end.post_recv(1, &sges)?;
                    end.post_recv(2, &sges)?;
                    end.cq.request_notify(Notify::Solicited)?;
                    peer.barrier("armed")?;
                    peer.barrier("plain SEND done")?;
                    let early = end.channel.wait(NO_EVENT)?;
                    ensure!(early.is_none(), "an event for an unsolicited message");
                    peer.barrier("no event")?;
                    let event = end.channel.wait(env.limit)?;
                    ensure!(
                        event == Some(end.cq.id()),
                        "no event for a solicited message"
                    );
                    end.expect(1, &[Status::SUCCESS])?;
                    end.expect(2, &[Status::SUCCESS])?;
                }
                Side::Client => {
                    peer.barrier("armed")?;
                    end.qp.post_send(&[request(1, SEND, &sges)])?;
                    end.expect(1, &[Status::SUCCESS])?;
                    peer.barrier("plain SEND done")?;
                    peer.barrier("no event")?;
                    let mut solicited = request(2, SEND, &sges);
                    solicited.flags |= SendFlags::SOLICITED;
                    end.qp.post_send(&[solicited])?;
                    end.expect(2, &[Status::SUCCESS])?;
                }
            }
            peer.barrier("done")?;
            Ok(Outcome::Pass)
        })
    })
}

/// One request for notification, one event; a new request does not report what came before it.
fn notify_once() -> Case {
    Case::new("one_event_per_notify", |env, peer| {
        with_end(env, peer, &EndConfig::default(), |end, peer| {
            if env.side == Side::Client {
                end.cq.request_notify(Notify::Any)?;
                end.expect_working(1)?;
                let event = end.channel.wait(env.limit)?;
                ensure!(event == Some(end.cq.id()), "no event for a completion");
                end.expect_working(2)?;
                let second = end.channel.wait(NO_EVENT)?;
                ensure!(second.is_none(), "an event that nobody asked for");
                end.cq.request_notify(Notify::Any)?;
                thread::sleep(NO_EVENT);
                let stale = end.channel.wait(Duration::ZERO)?;
                ensure!(stale.is_none(), "an event without a new completion");
            }
            peer.barrier("done")?;
            Ok(Outcome::Pass)
        })
    })
}
