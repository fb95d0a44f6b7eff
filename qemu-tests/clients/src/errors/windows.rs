// SPDX-License-Identifier: GPL-2.0

//! Memory windows, and requests that make their keys invalid (IBTA vol. 1, 10.6.7, 10.6.5 and 9.9): what may be done by a
//! key while it is valid, and that nothing may be done by it before and afterwards.

use std::ops::Range;

use anyhow::bail;
use anyhow::ensure;
use anyhow::Result;
use nix::errno::Errno;

use crate::bootstrap::Peer;
use crate::bootstrap::Side;
use crate::verbs::zero_based;
use crate::verbs::Access;
use crate::verbs::Binding;
use crate::verbs::Mr;
use crate::verbs::Mw;
use crate::verbs::MwType;
use crate::verbs::Opcode;
use crate::verbs::Operation;
use crate::verbs::QpState;
use crate::verbs::RemoteAddr;
use crate::verbs::Rkey;
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

/// The window's bytes within its region: longer than a segment of any device.
const WINDOW: Range<usize> = 8192..8192 + 200_000;
/// Bytes of memory that hold a window.
const MEMORY: usize = 256 << 10;

fn config() -> EndConfig {
    EndConfig {
        memory: MEMORY,
        ..EndConfig::default()
    }
}

/// A region to which windows can be bound.
fn bindable<'a>(end: &'a End<'_>) -> Result<Mr<'a>> {
    let access = Access::LOCAL_WRITE | Access::MW_BIND;
    Ok(Mr::new(end.pd, end.buffer, 0..MEMORY, access)?)
}

fn expect_opcode(end: &End<'_>, wr_id: u64, opcode: Opcode) -> Result<()> {
    let completion = next_completion(end.cq, end.env.limit)?;
    ensure!(
        (completion.wr_id, completion.status, completion.opcode)
            == (wr_id, Status::SUCCESS, opcode),
        "request {} ({}) ended with {}; expected {wr_id} ({opcode})",
        completion.wr_id,
        completion.opcode,
        completion.status
    );
    Ok(())
}

fn write(end: &End<'_>, wr_id: u64, remote: RemoteAddr, length: usize) -> Result<()> {
    let operation = Operation::Write { remote, imm: None };
    let sges = [end.mr.sge(0..length)];
    end.qp.post_send(&[request(wr_id, operation, &sges)])?;
    end.expect(wr_id, &[Status::SUCCESS])
}

fn read(end: &End<'_>, wr_id: u64, remote: RemoteAddr, length: usize) -> Result<()> {
    let sges = [end.mr.sge(0..length)];
    let operation = Operation::Read { remote };
    end.qp.post_send(&[request(wr_id, operation, &sges)])?;
    end.expect(wr_id, &[Status::SUCCESS])
}

fn expect_write_refused(end: &End<'_>, remote: RemoteAddr) -> Result<()> {
    let operation = Operation::Write { remote, imm: None };
    let sges = [end.mr.sge(MESSAGE)];
    end.expect_refused(operation, &sges, &[Status::REM_ACCESS_ERR])
}

/// How the key of a window ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ending {
    LocalInvalidate,
    SendWithInvalidate,
    Deallocation,
    /// Of type 1: bound to something else.
    BoundAgain,
    /// Of type 1: bound to nothing.
    Unbound,
}

impl Ending {
    fn mw_type(self) -> MwType {
        match self {
            Self::LocalInvalidate | Self::SendWithInvalidate | Self::Deallocation => MwType::Two,
            Self::BoundAgain | Self::Unbound => MwType::One,
        }
    }
}

/// The owner of the memory: binds a window, has the peer use it, and ends its key.
fn lend(end: &End<'_>, peer: &mut Peer, ending: Ending) -> Result<()> {
    let mr = bindable(end)?;
    let window = Mw::new(end.pd, ending.mw_type())?;
    let access = Access::REMOTE_WRITE | Access::REMOTE_READ;
    let binding = Binding::new(&mr, WINDOW, access);
    match ending.mw_type() {
        MwType::One => end.qp.bind_type_1(1, &window, &binding)?,
        MwType::Two => end.qp.bind_type_2(1, &window, &binding)?,
    }
    expect_opcode(end, 1, Opcode::BIND_MW)?;
    let remote = RemoteAddr {
        address: binding.address(),
        rkey: window.rkey(),
    };
    end.post_recv(9, &[end.mr.sge(0..1)])?;
    peer.send(&remote)?;
    peer.barrier("used")?;
    match ending {
        Ending::LocalInvalidate => {
            end.qp.invalidate(2, remote.rkey)?;
            expect_opcode(end, 2, Opcode::LOCAL_INV)?;
        }
        Ending::SendWithInvalidate => {
            let completion = next_completion(end.cq, end.env.limit)?;
            ensure!(
                (completion.wr_id, completion.status) == (9, Status::SUCCESS),
                "the receive ended with {}",
                completion.status
            );
            ensure!(
                completion.invalidated == Some(remote.rkey),
                "{:?} is invalid, not {:?}",
                completion.invalidated,
                remote.rkey
            );
        }
        Ending::Deallocation => drop(window),
        Ending::BoundAgain | Ending::Unbound => {
            let again = Binding {
                length: match ending {
                    Ending::Unbound => 0,
                    _ => binding.length,
                },
                ..binding
            };
            end.qp.bind_type_1(2, &window, &again)?;
            expect_opcode(end, 2, Opcode::BIND_MW)?;
            ensure!(window.rkey() != remote.rkey, "the key is still the same");
        }
    }
    peer.barrier("ended")?;
    peer.barrier("refused")
}

/// The peer: uses a window, as far as it goes, and finds its key invalid then.
fn borrow(end: &End<'_>, peer: &mut Peer, ending: Ending) -> Result<()> {
    let remote: RemoteAddr = peer.recv()?;
    write(end, 1, remote, WINDOW.len())?;
    read(end, 2, remote.plus(100), WINDOW.len() - 100)?;
    write(end, 3, remote.plus(WINDOW.len() - 1), 1)?;
    if ending == Ending::SendWithInvalidate {
        // Behind a READ, for which it has to wait.
        let sges = [end.mr.sge(0..WINDOW.len())];
        let operation = Operation::Read { remote };
        end.qp.post_send(&[request(4, operation, &sges)])?;
        end.qp
            .send_and_invalidate(5, end.mr.sge(0..1), remote.rkey)?;
        end.expect(4, &[Status::SUCCESS])?;
        expect_opcode(end, 5, Opcode::SEND)?;
    }
    peer.barrier("used")?;
    peer.barrier("ended")?;
    expect_write_refused(end, remote)?;
    peer.barrier("refused")
}

fn ending_case(name: &str, ending: Ending) -> Case {
    Case::new(format!("window_{name}"), move |env, peer| {
        with_end(env, peer, &config(), |end, peer| {
            match env.side {
                Side::Client => borrow(&end, peer, ending)?,
                Side::Server => lend(&end, peer, ending)?,
            }
            Ok(Outcome::Pass)
        })
    })
}

/// What is wrong with an access.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Excess {
    BeforeStart,
    PastEnd,
    MissingRight,
    OtherQueuePair,
    NotBound,
}

fn excess_case(name: &str, excess: Excess) -> Case {
    Case::new(format!("window_used_{name}"), move |env, peer| {
        with_end(env, peer, &config(), |end, peer| {
            match env.side {
                Side::Client => {
                    let remote: RemoteAddr = peer.recv()?;
                    expect_write_refused(&end, remote)?;
                    peer.barrier("refused")?;
                }
                Side::Server => {
                    let mr = bindable(&end)?;
                    let window = Mw::new(end.pd, MwType::Two)?;
                    let access = match excess {
                        Excess::MissingRight => Access::REMOTE_READ,
                        _ => Access::REMOTE_WRITE,
                    };
                    let binding = Binding::new(&mr, WINDOW, access);
                    let loop_end;
                    let binder = if excess == Excess::OtherQueuePair {
                        loop_end = end.sibling()?;
                        &loop_end
                    } else {
                        &end.qp
                    };
                    if excess != Excess::NotBound {
                        binder.bind_type_2(1, &window, &binding)?;
                        let completion = next_completion(end.cq, env.limit)?;
                        ensure!(
                            completion.status == Status::SUCCESS,
                            "the binding ended with {}",
                            completion.status
                        );
                    }
                    let right = RemoteAddr {
                        address: binding.address(),
                        rkey: window.rkey(),
                    };
                    peer.send(&match excess {
                        Excess::BeforeStart => RemoteAddr {
                            address: right.address - 1,
                            ..right
                        },
                        Excess::PastEnd => right.plus(WINDOW.len() - MESSAGE.len() + 1),
                        _ => right,
                    })?;
                    peer.barrier("refused")?;
                    end.expect_untouched()?;
                }
            }
            Ok(Outcome::Pass)
        })
    })
}

/// What is wrong with a binding.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    RegionNotBindable,
    RegionNotWritable,
    BeyondRegion,
    BoundAlready,
    ForeignKey,
}

fn fault_case(name: &str, fault: Fault) -> Case {
    Case::new(format!("window_binding_{name}"), move |env, peer| {
        with_end(env, peer, &config(), |end, _| {
            let access = match fault {
                Fault::RegionNotBindable => FULL_ACCESS,
                Fault::RegionNotWritable => Access::MW_BIND,
                _ => Access::LOCAL_WRITE | Access::MW_BIND,
            };
            let mr = Mr::new(end.pd, end.buffer, 0..MEMORY, access)?;
            let window = Mw::new(end.pd, MwType::Two)?;
            let mut binding = Binding::new(&mr, WINDOW, Access::REMOTE_WRITE);
            match fault {
                Fault::BeyondRegion => binding.length = MEMORY - WINDOW.start + 1,
                Fault::BoundAlready => {
                    end.qp.bind_type_2(7, &window, &binding)?;
                    expect_opcode(&end, 7, Opcode::BIND_MW)?;
                }
                Fault::ForeignKey => window.set_rkey(mr.rkey()),
                Fault::RegionNotBindable | Fault::RegionNotWritable => {}
            }
            end.qp.bind_type_2(1, &window, &binding)?;
            end.qp
                .post_send(&[request(2, end.write(), &[end.mr.sge(MESSAGE)])])?;
            end.expect(1, &[Status::MW_BIND_ERR])?;
            end.expect(2, &[Status::WR_FLUSH_ERR])?;
            end.expect_state(QpState::Err)?;
            Ok(Outcome::Pass)
        })
    })
}

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        ending_case("local_invalidate", Ending::LocalInvalidate),
        ending_case("send_with_invalidate", Ending::SendWithInvalidate),
        ending_case("deallocated", Ending::Deallocation),
        ending_case("type_1_bound_again", Ending::BoundAgain),
        ending_case("type_1_unbound", Ending::Unbound),
        excess_case("before_its_start", Excess::BeforeStart),
        excess_case("past_its_end", Excess::PastEnd),
        excess_case("without_a_right", Excess::MissingRight),
        excess_case("over_another_qp", Excess::OtherQueuePair),
        excess_case("without_a_binding", Excess::NotBound),
        fault_case("to_region_without_right", Fault::RegionNotBindable),
        fault_case("to_region_not_writable", Fault::RegionNotWritable),
        fault_case("beyond_region", Fault::BeyondRegion),
        fault_case("while_bound", Fault::BoundAlready),
        fault_case("with_a_region_s_key", Fault::ForeignKey),
    ];
    cases.push(Case::new("window_zero_based", |env, peer| {
        with_end(env, peer, &config(), |end, peer| {
            match env.side {
                Side::Client => {
                    let rkey: Rkey = peer.recv()?;
                    write(&end, 1, zero_based(rkey), MESSAGE.len())?;
                    peer.barrier("written")?;
                }
                Side::Server => {
                    let mr = bindable(&end)?;
                    let window = Mw::new(end.pd, MwType::Two)?;
                    let access = Access::REMOTE_WRITE | Access::ZERO_BASED;
                    let binding = Binding::new(&mr, WINDOW, access);
                    end.qp.bind_type_2(1, &window, &binding)?;
                    expect_opcode(&end, 1, Opcode::BIND_MW)?;
                    peer.send(&window.rkey())?;
                    peer.barrier("written")?;
                    let written = WINDOW.start..WINDOW.start + MESSAGE.len();
                    end.expect_untouched_except(written.clone())?;
                    ensure!(
                        end.expect_untouched().is_err(),
                        "nothing was written at {written:?}"
                    );
                }
            }
            Ok(Outcome::Pass)
        })
    }));
    cases.push(Case::new("window_keeps_its_region", |env, peer| {
        with_end(env, peer, &config(), |end, _| {
            let mr = bindable(&end)?;
            let window = Mw::new(end.pd, MwType::Two)?;
            let binding = Binding::new(&mr, WINDOW, Access::REMOTE_WRITE);
            end.qp.bind_type_2(1, &window, &binding)?;
            expect_opcode(&end, 1, Opcode::BIND_MW)?;
            let mr = match mr.try_deregister() {
                Ok(()) => bail!("a region was deregistered that a window is bound to"),
                Err((mr, error)) => {
                    ensure!(error.errno() == Errno::EBUSY, "{error}");
                    mr
                }
            };
            drop(window);
            mr.deregister()?;
            Ok(Outcome::Pass)
        })
    }));
    cases.push(Case::new("local_invalidate_of_unknown_key", |env, peer| {
        with_end(env, peer, &config(), |end, _| {
            // A region's key is none that a request could make invalid.
            end.qp.invalidate(1, end.mr.rkey())?;
            end.expect(1, &[Status::MW_BIND_ERR])?;
            end.expect_state(QpState::Err)?;
            Ok(Outcome::Pass)
        })
    }));
    cases.push(Case::new(
        "send_with_invalidate_of_unknown_key",
        |env, peer| {
            with_end(env, peer, &config(), |end, peer| {
                match env.side {
                    Side::Client => {
                        peer.barrier("ready")?;
                        let rkey = end.peer_memory.rkey;
                        end.qp.send_and_invalidate(1, end.mr.sge(MESSAGE), rkey)?;
                        end.expect(1, &[Status::REM_ACCESS_ERR])?;
                    }
                    Side::Server => {
                        end.post_recv(9, &[end.mr.sge(MESSAGE)])?;
                        peer.barrier("ready")?;
                        end.expect(9, &[Status::REM_INV_REQ_ERR])?;
                    }
                }
                end.expect_state(QpState::Err)?;
                Ok(Outcome::Pass)
            })
        },
    ));
    cases
}
