// SPDX-License-Identifier: GPL-2.0

//! Regions whose rights or domain change while they are used (ibv_rereg_mr(3)).

use anyhow::Result;
use nix::errno::Errno;

use crate::bootstrap::Side;
use crate::verbs::Access;
use crate::verbs::Mr;
use crate::verbs::Operation;
use crate::verbs::Pd;
use crate::verbs::RemoteAddr;
use crate::verbs::Status;

use super::case::expect_errno;
use super::case::Case;
use super::case::Outcome;
use super::end::request;
use super::end::with_end;
use super::end::End;
use super::end::EndConfig;
use super::end::FULL_ACCESS;
use super::end::MESSAGE;

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    vec![
        changed("rereg_takes_remote_write", |_, victim, _| {
            Ok(victim.change_access(Access::LOCAL_WRITE | Access::REMOTE_READ)?)
        }),
        changed("rereg_moves_to_other_domain", |_, victim, other| {
            Ok(victim.change_domain(other)?)
        }),
        access_during_traffic(),
        other_memory(),
    ]
}

fn write(remote: RemoteAddr) -> Operation {
    Operation::Write { remote, imm: None }
}

/// The peer may write to a region until `change` is made to it.
fn changed(name: &str, change: for<'a> fn(&End<'_>, &Mr<'a>, &'a Pd<'a>) -> Result<()>) -> Case {
    Case::new(name, move |env, peer| {
        with_end(env, peer, &EndConfig::default(), |end, peer| {
            match env.side {
                Side::Server => {
                    let other = Pd::new(&env.device.context)?;
                    let victim = Mr::new(end.pd, end.buffer, MESSAGE, FULL_ACCESS)?;
                    peer.send(&victim.remote())?;
                    peer.barrier("written")?;
                    change(&end, &victim, &other)?;
                    let before = end.buffer.to_vec(0..end.buffer.len());
                    peer.barrier("changed")?;
                    peer.barrier("refused")?;
                    anyhow::ensure!(
                        end.buffer.first_difference(0, &before).is_none(),
                        "memory was changed through a region that does not allow it any more"
                    );
                }
                Side::Client => {
                    let remote = peer.recv()?;
                    let sges = [end.mr.sge(MESSAGE)];
                    end.qp.post_send(&[request(10, write(remote), &sges)])?;
                    end.expect(10, &[Status::SUCCESS])?;
                    peer.barrier("written")?;
                    peer.barrier("changed")?;
                    end.expect_refused(write(remote), &sges, &[Status::REM_ACCESS_ERR])?;
                    peer.barrier("refused")?;
                }
            }
            Ok(Outcome::Pass)
        })
    })
}

/// Rights that are not needed come and go; the WRITEs of the peer do not notice.
fn access_during_traffic() -> Case {
    Case::new("rereg_access_during_traffic", |env, peer| {
        const CHANGES: u64 = 200;
        const WRITES: u64 = 100;
        with_end(env, peer, &EndConfig::default(), |end, peer| {
            match env.side {
                Side::Server => {
                    let victim = Mr::new(end.pd, end.buffer, MESSAGE, FULL_ACCESS)?;
                    peer.send(&victim.remote())?;
                    for change in 0..CHANGES {
                        victim.change_access(match change % 2 {
                            0 => FULL_ACCESS - Access::REMOTE_READ,
                            _ => FULL_ACCESS,
                        })?;
                    }
                    peer.barrier("written")?;
                }
                Side::Client => {
                    let remote = peer.recv()?;
                    let sges = [end.mr.sge(MESSAGE)];
                    for id in 0..WRITES {
                        end.qp.post_send(&[request(id, write(remote), &sges)])?;
                        end.expect(id, &[Status::SUCCESS])?;
                    }
                    peer.barrier("written")?;
                }
            }
            Ok(Outcome::Pass)
        })
    })
}

/// A device need not be able to change the memory itself; the region stays what it was then.
fn other_memory() -> Case {
    Case::new("rereg_other_memory", |env, peer| {
        with_end(env, peer, &EndConfig::default(), |end, peer| {
            if env.side == Side::Client {
                match end.mr.change_translation() {
                    Ok(()) => {}
                    refused => expect_errno(refused, &[Errno::EOPNOTSUPP])?,
                }
                end.expect_working(1)?;
            }
            peer.barrier("done")?;
            Ok(Outcome::Pass)
        })
    })
}
