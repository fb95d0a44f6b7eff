// SPDX-License-Identifier: GPL-2.0

//! Receives that cannot take the message, and receives that are missing
//! (IBTA vol. 1, 9.7.5.2.8 and 11.6.2).

use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Result;

use crate::bootstrap::Side;
use crate::verbs::Access;
use crate::verbs::EventKind;
use crate::verbs::Lkey;
use crate::verbs::Mr;
use crate::verbs::Operation;
use crate::verbs::QpState;
use crate::verbs::Sge;
use crate::verbs::Status;

use super::case::Case;
use super::case::Env;
use super::case::Outcome;
use super::end::request;
use super::end::with_end;
use super::end::EndConfig;
use super::end::ReceiveFrom;
use super::end::MESSAGE;

/// How long a sender is made to wait for a receive.
const RNR_WAIT: Duration = Duration::from_millis(500);

/// The RNR delay that the responder asks for (code 12).
const RNR_DELAY: Duration = Duration::from_micros(640);

/// Time in which an event that must not come would come.
const NO_EVENT: Duration = Duration::from_millis(100);

const SEND: Operation = Operation::Send { imm: None };

#[derive(Clone, Copy)]
enum Fault {
    TooShort,
    NoElement,
    BadKey,
    PastEnd,
    NoLocalWrite,
    TooMuch,
}

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    let too_long = (Status::LOC_LEN_ERR, Status::REM_INV_REQ_ERR);
    let protected = (Status::LOC_PROT_ERR, Status::REM_OP_ERR);
    let broken = (Status::LOC_LEN_ERR, Status::REM_OP_ERR);
    let mut cases = vec![
        faulty(
            "recv_too_short",
            Fault::TooShort,
            ReceiveFrom::Own,
            too_long,
        ),
        faulty(
            "recv_without_sge",
            Fault::NoElement,
            ReceiveFrom::Own,
            too_long,
        ),
        faulty(
            "recv_longer_than_a_message",
            Fault::TooMuch,
            ReceiveFrom::Own,
            broken,
        ),
        faulty(
            "srq_recv_longer_than_a_message",
            Fault::TooMuch,
            ReceiveFrom::Shared,
            broken,
        ),
        faulty("recv_bad_lkey", Fault::BadKey, ReceiveFrom::Own, protected),
        faulty(
            "recv_past_end_of_mr",
            Fault::PastEnd,
            ReceiveFrom::Own,
            protected,
        ),
        faulty(
            "recv_without_local_write",
            Fault::NoLocalWrite,
            ReceiveFrom::Own,
            protected,
        ),
        faulty(
            "srq_recv_too_short",
            Fault::TooShort,
            ReceiveFrom::Shared,
            too_long,
        ),
        faulty(
            "srq_recv_bad_lkey",
            Fault::BadKey,
            ReceiveFrom::Shared,
            protected,
        ),
    ];
    for retries in 0..=6 {
        cases.push(rnr_exceeded(retries));
    }
    cases.push(rnr_waits("rnr_retry_7_waits", ReceiveFrom::Own));
    cases.push(rnr_waits("srq_rnr_retry_7_waits", ReceiveFrom::Shared));
    cases
}

/// A receive with a fault: the statuses are the receiver's and the sender's.
fn faulty(name: &str, fault: Fault, receive: ReceiveFrom, statuses: (Status, Status)) -> Case {
    Case::new(name, move |env, peer| {
        if receive == ReceiveFrom::Shared && env.device.limits.max_srq == 0 {
            return Ok(Outcome::Skip("the device has no SRQ".into()));
        }
        let config = EndConfig {
            receive,
            ..EndConfig::default()
        };
        with_end(env, peer, &config, |end, peer| {
            match env.side {
                Side::Client => {
                    peer.barrier("receive posted")?;
                    end.expect_refused(SEND, &[end.mr.sge(MESSAGE)], &[statuses.1])?;
                    peer.barrier("checked")?;
                }
                Side::Server => {
                    let inner = MESSAGE.len()..2 * MESSAGE.len();
                    let access = match fault {
                        Fault::NoLocalWrite => Access::REMOTE_READ,
                        _ => Access::LOCAL_WRITE,
                    };
                    let mr = Mr::new(end.pd, end.buffer, inner, access)?;
                    let right = mr.sge(MESSAGE);
                    let sges = match fault {
                        Fault::TooShort => vec![mr.sge(0..MESSAGE.len() - 1)],
                        Fault::NoElement => Vec::new(),
                        Fault::BadKey => vec![Sge {
                            lkey: Lkey(!right.lkey.0),
                            ..right
                        }],
                        Fault::PastEnd => vec![Sge {
                            address: right.address + 1,
                            ..right
                        }],
                        Fault::NoLocalWrite => vec![right],
                        Fault::TooMuch => vec![Sge {
                            length: u32::MAX,
                            ..right
                        }],
                    };
                    end.post_recv(1, &sges)?;
                    end.post_recv(2, &[end.mr.sge(MESSAGE)])?;
                    peer.barrier("receive posted")?;
                    end.expect(1, &[statuses.0])?;
                    end.expect_state(QpState::Err)?;
                    // A shared receive stays for other queue pairs; an own one is flushed.
                    match receive {
                        ReceiveFrom::Own => end.expect(2, &[Status::WR_FLUSH_ERR])?,
                        ReceiveFrom::Shared => end.expect_quiet(Duration::from_millis(100))?,
                    }
                    expect_no_event(env, receive)?;
                    peer.barrier("checked")?;
                }
            }
            Ok(Outcome::Pass)
        })
    })
}

/// The completion has told what there is to tell (IBTA vol. 1, 11.6.3); only that a shared queue is not drawn from any more
/// is left.
fn expect_no_event(env: &Env<'_>, receive: ReceiveFrom) -> Result<()> {
    let mut kinds = Vec::new();
    while let Some(event) = env.device.context.async_event(NO_EVENT)? {
        kinds.push(event.kind);
    }
    let expected: &[EventKind] = match receive {
        ReceiveFrom::Own => &[],
        ReceiveFrom::Shared => &[EventKind::QP_LAST_WQE_REACHED],
    };
    ensure!(kinds == expected, "events {kinds:?} came");
    Ok(())
}

fn rnr_exceeded(retries: u8) -> Case {
    Case::new(format!("rnr_retry_{retries}_exceeded"), move |env, peer| {
        let config = EndConfig {
            rnr_retry: retries,
            ..EndConfig::default()
        };
        with_end(env, peer, &config, |end, peer| {
            if env.side == Side::Client {
                let start = Instant::now();
                end.expect_refused(SEND, &[end.mr.sge(MESSAGE)], &[Status::RNR_RETRY_EXC_ERR])?;
                let least = RNR_DELAY * u32::from(retries);
                let took = start.elapsed();
                ensure!(took >= least, "gave up after {took:?}, before {least:?}");
            }
            peer.barrier("given up")?;
            end.expect_untouched()?;
            Ok(Outcome::Pass)
        })
    })
}

fn rnr_waits(name: &str, receive: ReceiveFrom) -> Case {
    Case::new(name, move |env, peer| {
        if receive == ReceiveFrom::Shared && env.device.limits.max_srq == 0 {
            return Ok(Outcome::Skip("the device has no SRQ".into()));
        }
        let config = EndConfig {
            receive,
            ..EndConfig::default()
        };
        with_end(env, peer, &config, |end, peer| {
            match env.side {
                Side::Client => {
                    end.qp
                        .post_send(&[request(1, SEND, &[end.mr.sge(MESSAGE)])])?;
                    end.expect_quiet(RNR_WAIT)?;
                    peer.barrier("waited")?;
                    end.expect(1, &[Status::SUCCESS])?;
                }
                Side::Server => {
                    peer.barrier("waited")?;
                    end.expect_untouched()?;
                    end.post_recv(1, &[end.mr.sge(MESSAGE)])?;
                    end.expect(1, &[Status::SUCCESS])?;
                }
            }
            peer.barrier("received")?;
            Ok(Outcome::Pass)
        })
    })
}
