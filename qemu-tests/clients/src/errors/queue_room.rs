// SPDX-License-Identifier: GPL-2.0

//! Queues that are full: ENOMEM (ibv_post_send(3), ibv_post_recv(3)), and nothing posted before is
//! lost.

use anyhow::ensure;
use anyhow::Result;
use nix::errno::Errno;

use crate::bootstrap::Side;
use crate::verbs::Operation;
use crate::verbs::PostError;
use crate::verbs::RecvRequest;
use crate::verbs::Status;

use super::case::Case;
use super::case::Outcome;
use super::end::request;
use super::end::with_end;
use super::end::EndConfig;
use super::end::ReceiveFrom;

const SEND: Operation = Operation::Send { imm: None };

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    vec![
        sq_full(),
        rq_full("rq_full", ReceiveFrom::Own),
        rq_full("srq_full", ReceiveFrom::Shared),
    ]
}

/// Posts one by one until it is refused; gives how many were accepted. The refusal must be ENOMEM and
/// come after at least `granted`, and before a queue of `granted` could have grown eightfold.
fn fill(granted: u32, mut post: impl FnMut(u64) -> Result<(), PostError>) -> Result<u64> {
    let most = u64::from(granted) * 8;
    for accepted in 0..most {
        if let Err(refused) = post(accepted) {
            ensure!(
                refused.error.errno() == Errno::ENOMEM,
                "{refused}; expected ENOMEM"
            );
            ensure!(
                accepted >= u64::from(granted),
                "full after {accepted} requests; {granted} were granted"
            );
            return Ok(accepted);
        }
    }
    anyhow::bail!("{most} requests fitted a queue of {granted}")
}

/// Without receives at the peer no SEND completes, so the queue fills.
fn sq_full() -> Case {
    Case::new("sq_full", |env, peer| {
        with_end(env, peer, &EndConfig::default(), |end, peer| {
            match env.side {
                Side::Client => {
                    let granted = end.qp.capacity().send_wr;
                    let sges = [end.mr.sge(0..64)];
                    let accepted =
                        fill(granted, |id| end.qp.post_send(&[request(id, SEND, &sges)]))?;
                    end.qp.fail()?;
                    for id in 0..accepted {
                        end.expect(id, &[Status::WR_FLUSH_ERR])?;
                    }
                    peer.barrier("filled")?;
                }
                Side::Server => peer.barrier("filled")?,
            }
            Ok(Outcome::Pass)
        })
    })
}

fn rq_full(name: &str, receive: ReceiveFrom) -> Case {
    Case::new(name, move |env, peer| {
        if receive == ReceiveFrom::Shared && env.device.limits.max_srq == 0 {
            return Ok(Outcome::Skip("the device has no SRQ".into()));
        }
        let config = EndConfig {
            receive,
            cq_depth: 512,
            ..EndConfig::default()
        };
        with_end(env, peer, &config, |end, peer| {
            let sges = [end.mr.sge(0..64)];
            match env.side {
                Side::Server => {
                    let granted = match receive {
                        ReceiveFrom::Own => end.qp.capacity().recv_wr,
                        ReceiveFrom::Shared => config.recv_wr,
                    };
                    let accepted = fill(granted, |id| {
                        let receive = [RecvRequest {
                            wr_id: id,
                            sges: &sges,
                        }];
                        match end.srq {
                            Some(srq) => srq.post_recv(&receive),
                            None => end.qp.post_recv(&receive),
                        }
                    })?;
                    peer.send(&accepted)?;
                    for id in 0..accepted {
                        end.expect(id, &[Status::SUCCESS])?;
                    }
                }
                Side::Client => {
                    let accepted: u64 = peer.recv()?;
                    for id in 0..accepted {
                        end.qp.post_send(&[request(id, SEND, &sges)])?;
                        end.expect(id, &[Status::SUCCESS])?;
                    }
                }
            }
            peer.barrier("drained")?;
            Ok(Outcome::Pass)
        })
    })
}
