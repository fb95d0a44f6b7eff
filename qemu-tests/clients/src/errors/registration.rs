// SPDX-License-Identifier: GPL-2.0

//! Memory registrations that must be refused (ibv_reg_mr(3), IBTA vol. 1, 11.2.8).

use anyhow::Result;
use nix::errno::Errno;

use crate::verbs::Access;
use crate::verbs::Buffer;
use crate::verbs::Mr;
use crate::verbs::Pd;
use crate::verbs::Protection;

use super::case::expect_errno;
use super::case::Case;
use super::case::Env;
use super::case::Outcome;

const LEN: usize = 16 << 10;

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    vec![
        Case::local("reg_mr_unmapped", unmapped),
        Case::local("reg_mr_no_permission", no_permission),
        Case::local("reg_mr_read_only_memory", read_only),
        Case::local("reg_mr_wraps_address_space", wraps),
        Case::local("reg_mr_zero_length", zero_length),
        Case::local("reg_mr_remote_write_without_local", remote_without_local),
    ]
}

fn unmapped(env: &Env<'_>) -> Result<Outcome> {
    let pd = Pd::new(&env.device.context)?;
    // The first page is never mapped (vm.mmap_min_addr).
    expect_errno(Mr::probe(&pd, 0, LEN), &[Errno::EFAULT])?;
    Ok(Outcome::Pass)
}

fn no_permission(env: &Env<'_>) -> Result<Outcome> {
    let pd = Pd::new(&env.device.context)?;
    let buffer = Buffer::with_protection(LEN, Protection::None)?;
    let access = Access::LOCAL_WRITE;
    expect_errno(Mr::new(&pd, &buffer, 0..LEN, access), &[Errno::EFAULT])?;
    Ok(Outcome::Pass)
}

fn read_only(env: &Env<'_>) -> Result<Outcome> {
    let pd = Pd::new(&env.device.context)?;
    let buffer = Buffer::with_protection(LEN, Protection::ReadOnly)?;
    let access = Access::LOCAL_WRITE;
    expect_errno(
        Mr::new(&pd, &buffer, 0..LEN, access),
        &[Errno::EFAULT, Errno::EPERM],
    )?;
    Ok(Outcome::Pass)
}

fn wraps(env: &Env<'_>) -> Result<Outcome> {
    let pd = Pd::new(&env.device.context)?;
    let buffer = Buffer::new(LEN)?;
    expect_errno(
        Mr::probe(&pd, buffer.address(0), usize::MAX),
        &[
            Errno::EINVAL,
            Errno::ENOMEM,
            Errno::EFAULT,
            Errno::EOVERFLOW,
        ],
    )?;
    Ok(Outcome::Pass)
}

fn zero_length(env: &Env<'_>) -> Result<Outcome> {
    let pd = Pd::new(&env.device.context)?;
    let buffer = Buffer::new(LEN)?;
    expect_errno(Mr::probe(&pd, buffer.address(0), 0), &[Errno::EINVAL])?;
    Ok(Outcome::Pass)
}

fn remote_without_local(env: &Env<'_>) -> Result<Outcome> {
    let pd = Pd::new(&env.device.context)?;
    let buffer = Buffer::new(LEN)?;
    for access in [Access::REMOTE_WRITE, Access::REMOTE_ATOMIC] {
        expect_errno(Mr::new(&pd, &buffer, 0..LEN, access), &[Errno::EINVAL])?;
    }
    Ok(Outcome::Pass)
}
