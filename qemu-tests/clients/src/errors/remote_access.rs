// SPDX-License-Identifier: GPL-2.0

//! Requests for memory of the peer that they may not use: REM_ACCESS_ERR at the requester
//! (IBTA vol. 1, 9.7.4.1 and 11.6.2), and the memory is untouched.

use anyhow::ensure;
use anyhow::Result;

use crate::bootstrap::Side;
use crate::verbs::Access;
use crate::verbs::EventKind;
use crate::verbs::Mr;
use crate::verbs::Operation;
use crate::verbs::Pd;
use crate::verbs::Posting;
use crate::verbs::QpState;
use crate::verbs::RemoteAddr;
use crate::verbs::Rkey;
use crate::verbs::Status;
use crate::verbs::Subject;

use super::case::Case;
use super::case::Outcome;
use super::end::next_completion;
use super::end::with_end;
use super::end::End;
use super::end::EndConfig;
use super::end::FULL_ACCESS;
use super::end::MESSAGE;

/// A key that differs from all valid ones in the part that a device looks up.
const KEY_FLIP: u32 = 0x5a5a_5a5a;

/// Bytes that an atomic operation is about.
const WORD: usize = size_of::<u64>();

#[derive(Clone, Copy, PartialEq, Eq)]
enum Request {
    Write,
    WriteImm,
    Read,
    FetchAdd,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    BadKey,
    PastEnd,
    BeforeStart,
    AddressWraps,
    MissingAccess,
    OtherPd,
    Deregistered,
    QpForbids,
}

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    let requests = [
        ("write", Request::Write),
        ("write_imm", Request::WriteImm),
        ("read", Request::Read),
        ("fetch_add", Request::FetchAdd),
    ];
    let faults = [
        ("bad_rkey", Fault::BadKey),
        ("past_end_of_remote_mr", Fault::PastEnd),
        ("before_start_of_remote_mr", Fault::BeforeStart),
        ("remote_address_wraps", Fault::AddressWraps),
        ("missing_mr_access", Fault::MissingAccess),
        ("rkey_of_other_pd", Fault::OtherPd),
        ("deregistered_rkey", Fault::Deregistered),
        ("forbidden_by_remote_qp", Fault::QpForbids),
    ];
    let mut cases: Vec<Case> = requests
        .into_iter()
        .flat_map(|(request_name, request)| {
            faults.map(|(fault_name, fault)| {
                let name = format!("{request_name}_{fault_name}");
                Case::new(name, move |env, peer| {
                    with_end(env, peer, &config(request, fault), |end, peer| {
                        match env.side {
                            Side::Client => {
                                let remote = peer.recv()?;
                                refuse(&end, request, fault, remote)?;
                                peer.barrier("refused")?;
                            }
                            Side::Server => {
                                let pd = Pd::new(&env.device.context)?;
                                let victim = victim(&end, &pd, request, fault)?;
                                end.post_recv(9, &[])?;
                                peer.send(&victim.address)?;
                                peer.barrier("refused")?;
                            }
                        }
                        end.expect_untouched()?;
                        Ok(Outcome::Pass)
                    })
                })
            })
        })
        .collect();
    cases.push(Case::new(
        "responder_fails_after_access_violation",
        |env, peer| {
            with_end(env, peer, &EndConfig::default(), |end, peer| {
                match env.side {
                    Side::Client => violate(&end)?,
                    Side::Server => end.post_recv(9, &[end.mr.sge(MESSAGE)])?,
                }
                peer.barrier("refused")?;
                if env.side == Side::Server {
                    end.expect_state(QpState::Err)?;
                    let completion = next_completion(end.cq, env.limit)?;
                    ensure!(
                        completion.wr_id == 9 && completion.status != Status::SUCCESS,
                        "the receive ended with {}",
                        completion.status
                    );
                }
                Ok(Outcome::Pass)
            })
        },
    ));
    cases.push(Case::new(
        "responder_event_after_access_violation",
        |env, peer| {
            with_end(env, peer, &EndConfig::default(), |end, peer| {
                if env.side == Side::Client {
                    violate(&end)?;
                }
                peer.barrier("refused")?;
                if env.side == Side::Server {
                    let event = env.device.context.async_event(env.limit)?;
                    let event = event.map(|event| (event.kind, event.subject));
                    let wanted = (EventKind::QP_ACCESS_ERR, Subject::Qp(end.qp.qpn()));
                    ensure!(event == Some(wanted), "got {event:?}, expected {wanted:?}");
                }
                Ok(Outcome::Pass)
            })
        },
    ));
    cases.extend(atomic_cases());
    cases
}

fn violate(end: &End<'_>) -> Result<()> {
    let remote = RemoteAddr {
        rkey: Rkey(end.peer_memory.rkey.0 ^ KEY_FLIP),
        ..end.peer_memory
    };
    end.expect_refused(
        Operation::Write { remote, imm: None },
        &[end.mr.sge(MESSAGE)],
        &[Status::REM_ACCESS_ERR],
    )
}

fn config(request: Request, fault: Fault) -> EndConfig {
    let mut config = EndConfig::default();
    if fault == Fault::QpForbids {
        config.qp_access.remove(needed(request));
    }
    config
}

/// The right that a request needs.
fn needed(request: Request) -> Access {
    match request {
        Request::Write | Request::WriteImm => Access::REMOTE_WRITE,
        Request::Read => Access::REMOTE_READ,
        Request::FetchAdd => Access::REMOTE_ATOMIC,
    }
}

/// Memory of the responder with a fault; the region, where it lives on, with it.
struct Victim<'a> {
    address: RemoteAddr,
    _mr: Option<Mr<'a>>,
}

fn victim<'a>(
    end: &'a End<'_>,
    other_pd: &'a Pd<'_>,
    request: Request,
    fault: Fault,
) -> Result<Victim<'a>> {
    let pd = match fault {
        Fault::OtherPd => other_pd,
        _ => end.pd,
    };
    let access = match fault {
        Fault::MissingAccess => FULL_ACCESS.difference(needed(request)),
        _ => FULL_ACCESS,
    };
    // In the middle of the buffer, so that the bytes around it are valid memory.
    let inner = MESSAGE.len()..2 * MESSAGE.len();
    let mr = Mr::new(pd, end.buffer, inner, access)?;
    let right = mr.remote();
    let address = match fault {
        Fault::BadKey => RemoteAddr {
            rkey: Rkey(right.rkey.0 ^ KEY_FLIP),
            ..right
        },
        Fault::PastEnd if request == Request::FetchAdd => right.plus(MESSAGE.len()),
        Fault::PastEnd => right.plus(1),
        Fault::BeforeStart if request == Request::FetchAdd => RemoteAddr {
            address: right.address - WORD as u64,
            ..right
        },
        Fault::BeforeStart => RemoteAddr {
            address: right.address - 1,
            ..right
        },
        Fault::AddressWraps => RemoteAddr {
            // A multiple of 8: the provider posts no atomic operation on another.
            address: u64::MAX - 7,
            ..right
        },
        _ => right,
    };
    let mr = match fault {
        Fault::Deregistered => {
            mr.deregister()?;
            None
        }
        _ => Some(mr),
    };
    Ok(Victim { address, _mr: mr })
}

fn refuse(end: &End<'_>, request: Request, fault: Fault, remote: RemoteAddr) -> Result<()> {
    let operation = match request {
        Request::Write => Operation::Write { remote, imm: None },
        Request::WriteImm => Operation::Write {
            remote,
            imm: Some(1),
        },
        Request::Read => Operation::Read { remote },
        Request::FetchAdd => Operation::FetchAdd { remote, add: 1 },
    };
    let local = match request {
        Request::Write | Request::WriteImm | Request::Read => MESSAGE,
        Request::FetchAdd => 0..WORD,
    };
    let statuses: &[Status] = match fault {
        // A queue pair without the right may also call the request invalid: it does not support it.
        Fault::QpForbids => &[Status::REM_ACCESS_ERR, Status::REM_INV_REQ_ERR],
        _ => &[Status::REM_ACCESS_ERR],
    };
    end.expect_refused(operation, &[end.mr.sge(local)], statuses)
}

/// Atomic operations that are wrong in themselves.
fn atomic_cases() -> Vec<Case> {
    let case = |name, offset, local: usize, status| {
        Case::new(name, move |env, peer| {
            // The provider looks at lists of requests, and does not post such ones; not so at calls.
            let config = EndConfig {
                posting: Posting::Calls,
                ..EndConfig::default()
            };
            with_end(env, peer, &config, |end, peer| {
                if env.side == Side::Client {
                    let remote = end.peer_memory.plus(offset);
                    let operation = Operation::FetchAdd { remote, add: 1 };
                    end.expect_refused(operation, &[end.mr.sge(0..local)], &[status])?;
                }
                peer.barrier("refused")?;
                end.expect_untouched()?;
                Ok(Outcome::Pass)
            })
        })
    };
    vec![
        case("fetch_add_misaligned", 4, WORD, Status::REM_INV_REQ_ERR),
        case("fetch_add_short_answer", 0, WORD / 2, Status::LOC_LEN_ERR),
        case("fetch_add_long_answer", 0, 2 * WORD, Status::LOC_LEN_ERR),
        case("fetch_add_without_answer", 0, 0, Status::LOC_LEN_ERR),
    ]
}
