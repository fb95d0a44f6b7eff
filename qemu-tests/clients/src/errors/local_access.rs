// SPDX-License-Identifier: GPL-2.0

//! Requests whose local buffers are not theirs to use: LOC_PROT_ERR at the requester
//! (IBTA vol. 1, 11.6.2), and nothing reaches the peer.

use std::ops::Range;

use anyhow::Result;

use crate::bootstrap::Side;
use crate::verbs::Access;
use crate::verbs::Lkey;
use crate::verbs::Mr;
use crate::verbs::Operation;
use crate::verbs::Pd;
use crate::verbs::Sge;
use crate::verbs::Status;

use super::case::Case;
use super::case::Outcome;
use super::end::with_end;
use super::end::End;
use super::end::EndConfig;
use super::end::FULL_ACCESS;
use super::end::MESSAGE;

/// A key that differs from all valid ones in the part that a device looks up.
const KEY_FLIP: u32 = 0x5a5a_5a5a;

/// The region under test: in the middle of the buffer, so that the bytes around it are valid memory.
const INNER: Range<usize> = MESSAGE.end..2 * MESSAGE.end;

#[derive(Clone, Copy)]
enum Request {
    Send,
    Write,
    Read,
}

#[derive(Clone, Copy)]
enum Fault {
    BadKey,
    PastEnd,
    BeforeStart,
    OtherPd,
    Deregistered,
    NoLocalWrite,
}

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    let requests = [
        ("send", Request::Send),
        ("write", Request::Write),
        ("read", Request::Read),
    ];
    let faults = [
        ("bad_lkey", Fault::BadKey),
        ("past_end_of_local_mr", Fault::PastEnd),
        ("before_start_of_local_mr", Fault::BeforeStart),
        ("lkey_of_other_pd", Fault::OtherPd),
        ("deregistered_lkey", Fault::Deregistered),
    ];
    let mut cases: Vec<Case> = requests
        .into_iter()
        .flat_map(|(request_name, request)| {
            faults.map(|(fault_name, fault)| {
                case(&format!("{request_name}_{fault_name}"), request, fault)
            })
        })
        .collect();
    cases.push(case(
        "read_into_mr_without_local_write",
        Request::Read,
        Fault::NoLocalWrite,
    ));
    cases
}

fn case(name: &str, request: Request, fault: Fault) -> Case {
    Case::new(name, move |env, peer| {
        with_end(env, peer, &EndConfig::default(), |end, peer| {
            match env.side {
                Side::Client => refuse(&end, request, fault)?,
                Side::Server => end.post_recv(9, &[end.mr.sge(MESSAGE)])?,
            }
            peer.barrier("refused")?;
            match (env.side, request, fault) {
                // What a READ brought before it met the end of the region may be there.
                (Side::Client, Request::Read, Fault::PastEnd) => {
                    end.expect_untouched_except(INNER)?;
                }
                _ => end.expect_untouched()?,
            }
            Ok(Outcome::Pass)
        })
    })
}

fn refuse(end: &End<'_>, request: Request, fault: Fault) -> Result<()> {
    let other_pd;
    let (pd, access) = match fault {
        Fault::OtherPd => {
            other_pd = Pd::new(&end.env.device.context)?;
            (&other_pd, FULL_ACCESS)
        }
        Fault::NoLocalWrite => (end.pd, Access::REMOTE_READ),
        _ => (end.pd, FULL_ACCESS),
    };
    let mr = Mr::new(pd, end.buffer, INNER, access)?;
    let right = mr.sge(MESSAGE);
    let sge = match fault {
        Fault::BadKey => Sge {
            lkey: Lkey(right.lkey.0 ^ KEY_FLIP),
            ..right
        },
        Fault::PastEnd => Sge {
            address: right.address + 1,
            ..right
        },
        Fault::BeforeStart => Sge {
            address: right.address - 1,
            ..right
        },
        Fault::OtherPd | Fault::Deregistered | Fault::NoLocalWrite => right,
    };
    let _alive = match fault {
        Fault::Deregistered => {
            mr.deregister()?;
            None
        }
        _ => Some(mr),
    };
    let operation = match request {
        Request::Send => Operation::Send { imm: None },
        Request::Write => end.write(),
        Request::Read => Operation::Read {
            remote: end.peer_memory,
        },
    };
    end.expect_refused(operation, &[sge], &[Status::LOC_PROT_ERR])
}
