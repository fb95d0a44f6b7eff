// SPDX-License-Identifier: GPL-2.0

//! Objects larger than the device allows (ibv_create_cq(3), ibv_create_qp(3), ibv_create_srq(3)).

use anyhow::Context as _;
use anyhow::Result;
use nix::errno::Errno;

use crate::verbs::Cq;
use crate::verbs::Pd;
use crate::verbs::Qp;
use crate::verbs::QpCapacity;
use crate::verbs::QpInit;
use crate::verbs::Srq;

use super::case::expect_errno;
use super::case::Case;
use super::case::Env;
use super::case::Outcome;

/// What a library or a driver may answer to a size that it cannot provide.
const TOO_LARGE: &[Errno] = &[Errno::EINVAL, Errno::ENOMEM];

const MODEST: QpCapacity = QpCapacity {
    send_wr: 4,
    recv_wr: 4,
    send_sge: 1,
    recv_sge: 1,
    inline: 0,
};

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    vec![
        Case::local("create_cq_empty", |env| cq(env, 0)),
        Case::local("create_cq_too_deep", |env| {
            cq(env, env.device.limits.max_cqe + 1)
        }),
        qp_case("create_qp_too_many_send_wr", |env, capacity| {
            capacity.send_wr = env.device.limits.max_qp_wr + 1;
        }),
        qp_case("create_qp_too_many_recv_wr", |env, capacity| {
            capacity.recv_wr = env.device.limits.max_qp_wr + 1;
        }),
        qp_case("create_qp_too_many_send_sge", |env, capacity| {
            capacity.send_sge = env.device.limits.max_sge + 1;
        }),
        qp_case("create_qp_too_many_recv_sge", |env, capacity| {
            capacity.recv_sge = env.device.limits.max_sge + 1;
        }),
        qp_case("create_qp_too_much_inline", |_, capacity| {
            capacity.inline = 1 << 20;
        }),
        qp_case("create_qp_sizes_overflow", |_, capacity| {
            *capacity = QpCapacity {
                send_wr: u32::MAX,
                recv_wr: u32::MAX,
                send_sge: u32::MAX,
                recv_sge: u32::MAX,
                inline: u32::MAX,
            };
        }),
        Case::local("create_srq_too_many_wr", |env| {
            srq(env, env.device.limits.max_srq_wr.saturating_add(1), 1)
        }),
        Case::local("create_srq_too_many_sge", |env| {
            srq(env, 4, env.device.limits.max_srq_sge.saturating_add(1))
        }),
    ]
}

fn cq(env: &Env<'_>, depth: u32) -> Result<Outcome> {
    expect_errno(Cq::new(&env.device.context, depth, None), TOO_LARGE)?;
    Ok(Outcome::Pass)
}

fn qp_case(name: &'static str, exceed: fn(&Env<'_>, &mut QpCapacity)) -> Case {
    Case::local(name, move |env| {
        let pd = Pd::new(&env.device.context)?;
        let cq = Cq::new(&env.device.context, 8, None)?;
        let init = |capacity| QpInit {
            send_cq: &cq,
            recv_cq: &cq,
            srq: None,
            capacity,
        };
        let mut capacity = MODEST;
        exceed(env, &mut capacity);
        expect_errno(Qp::new(&pd, &init(capacity)), TOO_LARGE)?;
        Qp::new(&pd, &init(MODEST)).context("a modest QP after the refused one")?;
        Ok(Outcome::Pass)
    })
}

fn srq(env: &Env<'_>, max_wr: u32, max_sge: u32) -> Result<Outcome> {
    if env.device.limits.max_srq == 0 {
        return Ok(Outcome::Skip("the device has no SRQ".into()));
    }
    let pd = Pd::new(&env.device.context)?;
    expect_errno(Srq::new(&pd, max_wr, max_sge), TOO_LARGE)?;
    Ok(Outcome::Pass)
}
