// SPDX-License-Identifier: GPL-2.0

//! State transitions that must be refused, and requests posted in the wrong state
//! (ibv_modify_qp(3), IBTA vol. 1, 10.3.1 and 11.2.5).

use std::net::Ipv6Addr;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use nix::errno::Errno;

use crate::endpoint;
use crate::endpoint::QpAddress;
use crate::endpoint::Tuning;
use crate::endpoint::RNR_RETRY_FOREVER;
use crate::verbs::Access;
use crate::verbs::Buffer;
use crate::verbs::Cq;
use crate::verbs::Gid;
use crate::verbs::GidIndex;
use crate::verbs::Mr;
use crate::verbs::Operation;
use crate::verbs::PathMigration;
use crate::verbs::Payload;
use crate::verbs::Pd;
use crate::verbs::PortNum;
use crate::verbs::Psn;
use crate::verbs::Qp;
use crate::verbs::QpAttr;
use crate::verbs::QpCapacity;
use crate::verbs::QpInit;
use crate::verbs::QpState;
use crate::verbs::RecvRequest;

use super::case::expect_errno;
use super::case::Case;
use super::case::Env;
use super::case::Outcome;
use super::end::request;

const INVALID: &[Errno] = &[Errno::EINVAL];

const PSN: Psn = Psn(7);

const MESSAGE: usize = 64;

/// More elements than `with_qp` asks for are refused when posted.
const SGES: u32 = 2;

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    vec![
        Case::local("init_port_0", |env| {
            bad_init(env, |attr| attr.port = Some(PortNum(0)))
        }),
        Case::local("init_port_of_none", |env| {
            bad_init(env, |attr| attr.port = Some(PortNum(99)))
        }),
        Case::local("init_without_port", |env| {
            bad_init(env, |attr| attr.port = None)
        }),
        Case::local("init_without_access", |env| {
            bad_init(env, |attr| attr.access = None)
        }),
        Case::local("init_bad_pkey_index", |env| {
            bad_init(env, |attr| attr.pkey_index = Some(u16::MAX))
        }),
        Case::local("reset_to_rtr", |env| {
            with_qp(env, |qp| {
                expect_errno(qp.modify(rtr(env, qp)), INVALID)?;
                expect_state(qp, QpState::Reset)
            })
        }),
        Case::local("reset_to_rts", |env| {
            with_qp(env, |qp| {
                expect_errno(qp.modify(rts()), INVALID)?;
                expect_state(qp, QpState::Reset)
            })
        }),
        Case::local("init_to_rts", |env| {
            with_qp(env, |qp| {
                init(env, qp)?;
                expect_errno(qp.modify(rts()), INVALID)?;
                expect_state(qp, QpState::Init)
            })
        }),
        Case::local("rtr_without_dest_qpn", |env| {
            bad_rtr(env, |attr| attr.dest_qpn = None)
        }),
        Case::local("rtr_without_address", |env| {
            bad_rtr(env, |attr| attr.address = None)
        }),
        Case::local("rtr_without_mtu", |env| {
            bad_rtr(env, |attr| attr.path_mtu = None)
        }),
        Case::local("rtr_bad_gid_index", |env| {
            bad_rtr(env, |attr| {
                if let Some(address) = &mut attr.address {
                    address.sgid_index = GidIndex(u8::MAX);
                }
            })
        }),
        Case::local("rtr_group_address", |env| {
            bad_rtr(env, |attr| {
                if let Some(address) = &mut attr.address {
                    // All hosts of the link (RFC 4291).
                    address.dgid = Gid(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1).octets());
                }
            })
        }),
        Case::local("rtr_too_many_dest_rd_atomic", |env| {
            if env.device.limits.max_qp_rd_atom == u8::MAX {
                return Ok(Outcome::Skip("any number is allowed".into()));
            }
            bad_rtr(env, |attr| attr.max_dest_rd_atomic = Some(u8::MAX))
        }),
        Case::local("rts_too_many_rd_atomic", |env| {
            if env.device.limits.max_qp_init_rd_atom == u8::MAX {
                return Ok(Outcome::Skip("any number is allowed".into()));
            }
            bad_rts(env, |attr| attr.max_rd_atomic = Some(u8::MAX))
        }),
        Case::local("rts_migration_armed", |env| {
            bad_rts(env, |attr| {
                attr.path_migration = Some(PathMigration::Rearm);
            })
        }),
        Case::local("rts_without_psn", |env| {
            bad_rts(env, |attr| attr.sq_psn = None)
        }),
        Case::local("rts_without_timeout", |env| {
            bad_rts(env, |attr| attr.timeout = None)
        }),
        Case::local("err_to_rts", |env| {
            with_qp(env, |qp| {
                init(env, qp)?;
                qp.modify(rtr(env, qp))?;
                qp.modify(rts())?;
                qp.fail()?;
                expect_errno(qp.modify(rts()), INVALID)?;
                expect_state(qp, QpState::Err)
            })
        }),
        Case::local("post_send_in_reset", |env| post_send(env, QpState::Reset)),
        Case::local("post_send_in_init", |env| post_send(env, QpState::Init)),
        Case::local("post_send_in_rtr", |env| post_send(env, QpState::Rtr)),
        Case::local("post_recv_in_reset", post_recv_in_reset),
        Case::local("post_recv_in_init", post_recv_in_init),
        Case::local("post_send_too_many_sges", too_many_sges),
        Case::local("post_send_too_much_inline", too_much_inline),
        Case::local("post_recv_too_many_sges", too_many_recv_sges),
    ]
}

fn tuning() -> Tuning {
    Tuning {
        access: Access::LOCAL_WRITE,
        timeout: 14,
        retry_cnt: 1,
        rnr_retry: RNR_RETRY_FOREVER,
        min_rnr_timer: 12,
        rd_atomic: 1,
    }
}

fn init(env: &Env<'_>, qp: &Qp<'_>) -> Result<()> {
    endpoint::init(qp, env.device.port, Access::LOCAL_WRITE)
}

/// To itself: the attributes are valid, and nothing is ever sent.
fn rtr(env: &Env<'_>, qp: &Qp<'_>) -> QpAttr {
    let to = QpAddress {
        qpn: qp.qpn(),
        psn: PSN,
    };
    endpoint::rtr_attr(env.path, &tuning(), to)
}

fn rts() -> QpAttr {
    endpoint::rts_attr(&tuning(), PSN)
}

fn with_qp(env: &Env<'_>, body: impl FnOnce(&Qp<'_>) -> Result<()>) -> Result<Outcome> {
    let pd = Pd::new(&env.device.context)?;
    let cq = Cq::new(&env.device.context, 8, None)?;
    let qp = new_qp(&pd, &cq)?;
    body(&qp)?;
    Ok(Outcome::Pass)
}

fn new_qp<'a>(pd: &'a Pd<'_>, cq: &'a Cq<'a>) -> Result<Qp<'a>> {
    Ok(Qp::new(
        pd,
        &QpInit {
            send_cq: cq,
            recv_cq: cq,
            srq: None,
            capacity: QpCapacity {
                send_wr: 4,
                recv_wr: 4,
                send_sge: SGES,
                recv_sge: SGES,
                inline: 0,
            },
        },
    )?)
}

fn expect_state(qp: &Qp<'_>, state: QpState) -> Result<()> {
    let now = qp.state()?;
    ensure!(now == state, "the QP is in {now:?}, expected {state:?}");
    Ok(())
}

/// A refused transition to INIT must leave the queue pair in RESET, and the right one then succeed.
fn bad_init(env: &Env<'_>, spoil: impl FnOnce(&mut QpAttr)) -> Result<Outcome> {
    with_qp(env, |qp| {
        let mut attr = QpAttr {
            state: Some(QpState::Init),
            port: Some(env.device.port),
            pkey_index: Some(0),
            access: Some(Access::LOCAL_WRITE),
            ..QpAttr::default()
        };
        spoil(&mut attr);
        expect_errno(qp.modify(attr), INVALID)?;
        expect_state(qp, QpState::Reset)?;
        init(env, qp).context("after the refused one")
    })
}

fn bad_rtr(env: &Env<'_>, spoil: impl FnOnce(&mut QpAttr)) -> Result<Outcome> {
    with_qp(env, |qp| {
        init(env, qp)?;
        let mut attr = rtr(env, qp);
        spoil(&mut attr);
        // The kernel's core answers ENODATA for an unused entry of the GID table.
        expect_errno(qp.modify(attr), &[Errno::EINVAL, Errno::ENODATA])?;
        expect_state(qp, QpState::Init)?;
        qp.modify(rtr(env, qp)).context("after the refused one")
    })
}

fn bad_rts(env: &Env<'_>, spoil: impl FnOnce(&mut QpAttr)) -> Result<Outcome> {
    with_qp(env, |qp| {
        init(env, qp)?;
        qp.modify(rtr(env, qp))?;
        let mut attr = rts();
        spoil(&mut attr);
        expect_errno(qp.modify(attr), INVALID)?;
        expect_state(qp, QpState::Rtr)?;
        qp.modify(rts()).context("after the refused one")
    })
}

/// An immediate error, or none at all: IBTA 10.8.2 lets a post in these states fail immediately, and a
/// completion must not appear.
fn post_send(env: &Env<'_>, state: QpState) -> Result<Outcome> {
    let pd = Pd::new(&env.device.context)?;
    let cq = Cq::new(&env.device.context, 8, None)?;
    let buffer = Buffer::new(MESSAGE)?;
    let mr = Mr::new(&pd, &buffer, 0..MESSAGE, Access::LOCAL_WRITE)?;
    let qp = new_qp(&pd, &cq)?;
    if state != QpState::Reset {
        init(env, &qp)?;
    }
    if state == QpState::Rtr {
        qp.modify(rtr(env, &qp))?;
    }
    let sges = [mr.sge(0..MESSAGE)];
    let posted = qp.post_send(&[request(1, Operation::Send { imm: None }, &sges)]);
    expect_errno(posted.map_err(|refused| refused.error), INVALID)?;
    let mut completions = Vec::new();
    cq.poll(&mut completions, 1)?;
    ensure!(
        completions.is_empty(),
        "a CQE for a request that was not posted: {completions:?}"
    );
    Ok(Outcome::Pass)
}

fn post_recv_in_reset(env: &Env<'_>) -> Result<Outcome> {
    let mut outcome = Outcome::Pass;
    with_qp(env, |qp| {
        let posted = qp.post_recv(&[RecvRequest {
            wr_id: 1,
            sges: &[],
        }]);
        if posted.is_ok() {
            outcome = Outcome::Skip(
                "the library's provider writes receives to shared memory without looking at the state".into(),
            );
            return Ok(());
        }
        expect_errno(posted.map_err(|refused| refused.error), INVALID)
    })?;
    Ok(outcome)
}

fn post_recv_in_init(env: &Env<'_>) -> Result<Outcome> {
    with_qp(env, |qp| {
        init(env, qp)?;
        qp.post_recv(&[RecvRequest {
            wr_id: 1,
            sges: &[],
        }])
        .context("receives may be posted in INIT")
    })
}

fn too_many_sges(env: &Env<'_>) -> Result<Outcome> {
    let pd = Pd::new(&env.device.context)?;
    let cq = Cq::new(&env.device.context, 8, None)?;
    let buffer = Buffer::new(MESSAGE)?;
    let mr = Mr::new(&pd, &buffer, 0..MESSAGE, Access::LOCAL_WRITE)?;
    let qp = new_qp(&pd, &cq)?;
    init(env, &qp)?;
    qp.modify(rtr(env, &qp))?;
    qp.modify(rts())?;
    let sges = vec![mr.sge(0..1); qp.capacity().send_sge as usize + 1];
    let posted = qp.post_send(&[request(1, Operation::Send { imm: None }, &sges)]);
    expect_errno(posted.map_err(|refused| refused.error), INVALID)?;
    Ok(Outcome::Pass)
}

fn too_much_inline(env: &Env<'_>) -> Result<Outcome> {
    with_qp(env, |qp| {
        init(env, qp)?;
        qp.modify(rtr(env, qp))?;
        qp.modify(rts())?;
        let mut refused = request(1, Operation::Send { imm: None }, &[]);
        let bytes = [vec![0; qp.capacity().inline as usize + 1]];
        refused.payload = Payload::Inline(&bytes);
        let posted = qp.post_send(&[refused]);
        expect_errno(
            posted.map_err(|refused| refused.error),
            &[Errno::EINVAL, Errno::ENOMEM],
        )
    })
}

fn too_many_recv_sges(env: &Env<'_>) -> Result<Outcome> {
    let pd = Pd::new(&env.device.context)?;
    let cq = Cq::new(&env.device.context, 8, None)?;
    let buffer = Buffer::new(MESSAGE)?;
    let mr = Mr::new(&pd, &buffer, 0..MESSAGE, Access::LOCAL_WRITE)?;
    let qp = new_qp(&pd, &cq)?;
    init(env, &qp)?;
    let sges = vec![mr.sge(0..1); qp.capacity().recv_sge as usize + 1];
    let posted = qp.post_recv(&[RecvRequest {
        wr_id: 1,
        sges: &sges,
    }]);
    expect_errno(posted.map_err(|refused| refused.error), INVALID)?;
    Ok(Outcome::Pass)
}
