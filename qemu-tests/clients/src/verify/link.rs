// SPDX-License-Identifier: GPL-2.0

//! One queue pair to the peer over one region of memory, for one message at a time.

use std::thread;
use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;

use crate::bootstrap::Peer;
use crate::endpoint;
use crate::endpoint::QpAddress;
use crate::endpoint::Tuning;
use crate::endpoint::RNR_RETRY_FOREVER;
use crate::verbs::Access;
use crate::verbs::Completion;
use crate::verbs::Cq;
use crate::verbs::Mr;
use crate::verbs::Operation;
use crate::verbs::Payload;
use crate::verbs::Pd;
use crate::verbs::Psn;
use crate::verbs::Qp;
use crate::verbs::QpCapacity;
use crate::verbs::QpInit;
use crate::verbs::RecvRequest;
use crate::verbs::RemoteAddr;
use crate::verbs::SendFlags;
use crate::verbs::SendRequest;
use crate::verbs::Status;

use super::setup::Run;

/// What the peer may do with the region.
pub const ACCESS: Access = Access::LOCAL_WRITE
    .union(Access::REMOTE_WRITE)
    .union(Access::REMOTE_READ);

#[derive(Serialize, Deserialize)]
struct Offer {
    address: QpAddress,
    memory: RemoteAddr,
    max_message: usize,
}

/// A connected queue pair, and the region whose whole is each message.
pub struct Link<'a> {
    qp: &'a Qp<'a>,
    cq: &'a Cq<'a>,
    mr: &'a Mr<'a>,
    limit: Duration,
    /// The peer's region.
    pub remote: RemoteAddr,
}

impl<'a> Link<'a> {
    /// Connects a queue pair to the peer, which calls this too, and runs `body`. Fails when the ports do not
    /// allow messages as long as `mr`.
    pub fn with<R>(
        run: &Run<'_>,
        peer: &mut Peer,
        pd: &Pd<'_>,
        mr: &Mr<'_>,
        body: impl FnOnce(&Link<'_>, &mut Peer) -> Result<R>,
    ) -> Result<R> {
        let device = run.device;
        let cq = Cq::new(&device.context, 4, None)?;
        let qp = Qp::new(
            pd,
            &QpInit {
                send_cq: &cq,
                recv_cq: &cq,
                srq: None,
                capacity: QpCapacity {
                    send_wr: 2,
                    recv_wr: 1,
                    send_sge: 1,
                    recv_sge: 1,
                    inline: 0,
                },
            },
        )?;
        let psn = Psn(0xff_fff0);
        let theirs: Offer = peer.exchange(&Offer {
            address: QpAddress { qpn: qp.qpn(), psn },
            memory: mr.remote(),
            max_message: device.port_info.max_message as usize,
        })?;
        let most = theirs
            .max_message
            .min(device.port_info.max_message as usize)
            .min(u32::MAX as usize);
        ensure!(
            mr.len() <= most,
            "a message of {} bytes was asked for; the ports allow {most}",
            mr.len()
        );
        let tuning = Tuning {
            access: ACCESS,
            timeout: 18,
            retry_cnt: 7,
            rnr_retry: RNR_RETRY_FOREVER,
            min_rnr_timer: 12,
            rd_atomic: 1,
        };
        endpoint::connect(&qp, run.path, &tuning, psn, theirs.address)?;
        let link = Link {
            qp: &qp,
            cq: &cq,
            mr,
            limit: run.limit,
            remote: theirs.memory,
        };
        body(&link, peer)
    }

    /// Moves one message; gives the seconds it took.
    pub fn transfer(&self, operation: Operation) -> Result<f64> {
        let start = Instant::now();
        self.qp.post_send(&[SendRequest {
            wr_id: 1,
            operation,
            payload: Payload::Sges(&[self.mr.sge(0..self.mr.len())]),
            flags: SendFlags::SIGNALED,
        }])?;
        self.wait()?;
        Ok(start.elapsed().as_secs_f64())
    }

    /// Lets the peer's next SEND come.
    pub fn post_receive(&self) -> Result<()> {
        let sges = [self.mr.sge(0..self.mr.len())];
        self.qp.post_recv(&[RecvRequest {
            wr_id: 2,
            sges: &sges,
        }])?;
        Ok(())
    }

    /// Waits for a message to complete.
    pub fn wait(&self) -> Result<Completion> {
        let deadline = Instant::now() + self.limit;
        let mut completions = Vec::new();
        while self.cq.poll(&mut completions, 1)? == 0 {
            ensure!(
                Instant::now() < deadline,
                "the message did not complete within {:?}",
                self.limit
            );
            thread::yield_now();
        }
        ensure!(
            completions[0].status == Status::SUCCESS,
            "the message completed with {}",
            completions[0].status
        );
        Ok(completions[0])
    }
}
