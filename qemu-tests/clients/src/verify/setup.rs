// SPDX-License-Identifier: GPL-2.0

//! Makes the objects of a variant at both ends, connects them and runs it.

use std::num::NonZeroU64;
use std::time::Duration;

use anyhow::Context as _;
use anyhow::Result;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde::Serialize;

use crate::bootstrap::Peer;
use crate::bootstrap::Side;
use crate::endpoint;
use crate::endpoint::Device;
use crate::endpoint::Path;
use crate::endpoint::QpAddress;
use crate::endpoint::Tuning;
use crate::endpoint::RNR_RETRY_FOREVER;
use crate::pattern::fold;
use crate::pattern::Pattern;
use crate::verbs::Access;
use crate::verbs::Buffer;
use crate::verbs::CompChannel;
use crate::verbs::Cq;
use crate::verbs::Pd;
use crate::verbs::Psn;
use crate::verbs::Qp;
use crate::verbs::QpCapacity;
use crate::verbs::QpInit;
use crate::verbs::RemoteAddr;
use crate::verbs::Srq;

use super::plan::Shape;
use super::region::Region;
use super::session::QpEnd;
use super::session::Session;
use super::session::SharedReceive;
use super::settings::CqLayout;
use super::settings::Receiving;
use super::settings::Settings;
use super::settings::Variant;
use super::settings::Waiting;
use super::tally::Tally;

/// WQEs in a send queue: fewer than a round has, so that it fills and wraps.
const SEND_DEPTH: usize = 16;

/// WQEs in a receive queue.
const RECV_DEPTH: usize = 32;

/// Scatter/gather elements per WQE, if the device has as many.
const MAX_SGE: usize = 4;

/// Inline bytes to ask for, if the device grants them.
const INLINE_WANTED: u32 = 128;

/// READs at a time, if the device can.
const RD_ATOMIC: u8 = 16;

const FULL_ACCESS: Access = Access::LOCAL_WRITE
    .union(Access::REMOTE_WRITE)
    .union(Access::REMOTE_READ);

/// What an end tells the other about its abilities.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Abilities {
    max_sge: usize,
    max_message: usize,
    rd_atomic: u8,
    srq: usize,
}

/// What an end tells the other about one of its queue pairs.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct QpOffer {
    address: QpAddress,
    source: RemoteAddr,
    target: RemoteAddr,
    inline: u32,
}

/// What the ends are about to do together, and how they reach each other.
pub struct Run<'r> {
    /// The device of this end.
    pub device: &'r Device,
    /// The way to the other.
    pub path: &'r Path,
    /// Which end this is.
    pub side: Side,
    /// The client's settings.
    pub settings: &'r Settings,
    /// Time for a round.
    pub limit: Duration,
}

/// Runs `variant`. `Ok(None)` means that an end has no shared receive queues.
pub fn run_variant(run: &Run<'_>, peer: &mut Peer, variant: Variant) -> Result<Option<Tally>> {
    let Run { device, path, .. } = *run;
    let limits = &device.limits;
    let abilities = Abilities {
        max_sge: limits.max_sge.min(match variant.receiving() {
            Receiving::Own => u32::MAX,
            Receiving::Shared => limits.max_srq_sge,
        }) as usize,
        max_message: device.port_info.max_message as usize,
        rd_atomic: limits.max_qp_rd_atom.min(limits.max_qp_init_rd_atom),
        srq: limits.max_srq.min(limits.max_srq_wr) as usize,
    };
    let theirs = peer.exchange(&abilities)?;
    let mut shape = Shape {
        qps: run.settings.qps,
        max_message: run
            .settings
            .max_message
            .min(abilities.max_message)
            .min(theirs.max_message),
        max_inline: 0,
        max_sge: MAX_SGE.min(abilities.max_sge).min(theirs.max_sge).max(1),
        send_depth: SEND_DEPTH,
        recv_depth: RECV_DEPTH,
        receiving: variant.receiving(),
    };
    if variant.receiving() == Receiving::Shared && abilities.srq.min(theirs.srq) < shape.slots() {
        return Ok(None);
    }
    let tuning = Tuning {
        access: FULL_ACCESS,
        // 1.07 s: longer than an emulated machine stalls.
        timeout: 18,
        retry_cnt: 7,
        rnr_retry: RNR_RETRY_FOREVER,
        min_rnr_timer: 12,
        rd_atomic: RD_ATOMIC.min(abilities.rd_atomic).min(theirs.rd_atomic),
    };

    let context = &device.context;
    let pd = Pd::new(context)?;
    let channel = match variant.waiting() {
        Waiting::Poll => None,
        Waiting::Event => Some(CompChannel::new(context)?),
    };
    let depth = (shape.qps * (SEND_DEPTH + RECV_DEPTH)) as u32;
    let cq_count = match variant.cq_layout() {
        CqLayout::One => 1,
        CqLayout::PerDirection => 2,
    };
    let cqs = (0..cq_count)
        .map(|_| Cq::new(context, depth, channel.as_ref()))
        .collect::<Result<Vec<_>, _>>()?;
    let (send_cq, recv_cq) = (&cqs[0], &cqs[cq_count - 1]);
    let srq = match shape.receiving {
        Receiving::Own => None,
        Receiving::Shared => Some(Srq::new(&pd, shape.slots() as u32, shape.max_sge as u32)?),
    };
    let (own_receives, shared_receives) = match shape.receiving {
        Receiving::Own => (shape.qps, 0),
        Receiving::Shared => (0, 1),
    };
    let allocate = |count: usize, len: usize| {
        (0..count)
            .map(|_| Region::buffer(len))
            .collect::<Result<Vec<Buffer>, _>>()
            .context("not enough memory for the buffers")
    };
    let source_buffers = allocate(shape.qps, shape.source_len())?;
    let target_buffers = allocate(shape.qps, shape.target_len())?;
    let receive_buffers = allocate(own_receives + shared_receives, shape.receive_len())?;

    let seed = fold(&[run.settings.seed, variant as u64]);
    let region = |name: &str, number: usize, buffer, len, access| {
        let pattern = Pattern::new(&[seed, run.side.index() as u64, number as u64, len as u64]);
        Region::new(name.to_string(), &pd, buffer, len, access, pattern)
    };
    let mut qps = Vec::new();
    for number in 0..shape.qps {
        let init = |inline| QpInit {
            send_cq,
            recv_cq,
            srq: srq.as_ref(),
            capacity: QpCapacity {
                send_wr: shape.send_depth as u32,
                recv_wr: match shape.receiving {
                    Receiving::Own => shape.recv_depth as u32,
                    Receiving::Shared => 0,
                },
                send_sge: shape.max_sge as u32,
                recv_sge: match shape.receiving {
                    Receiving::Own => shape.max_sge as u32,
                    Receiving::Shared => 0,
                },
                inline,
            },
        };
        // A device need not have inline data at all.
        let qp = Qp::new(&pd, &init(INLINE_WANTED)).or_else(|_| Qp::new(&pd, &init(0)))?;
        let source = region(
            &format!("source region of QP {number}"),
            number,
            &source_buffers[number],
            shape.source_len(),
            Access::REMOTE_READ,
        )?;
        let target = region(
            &format!("target region of QP {number}"),
            number,
            &target_buffers[number],
            shape.target_len(),
            FULL_ACCESS,
        )?;
        let receive = match shape.receiving {
            Receiving::Own => Some(region(
                &format!("receive region of QP {number}"),
                number,
                &receive_buffers[number],
                shape.receive_len(),
                Access::LOCAL_WRITE,
            )?),
            Receiving::Shared => None,
        };
        let psn = Psn(fold(&[seed, run.side.index() as u64, qp.qpn().0.into()]) as u32 & 0xff_ffff);
        let offer = QpOffer {
            address: QpAddress { qpn: qp.qpn(), psn },
            source: source.remote(),
            target: target.remote(),
            inline: qp.capacity().inline,
        };
        let theirs = peer.exchange(&offer)?;
        let inline = offer.inline.min(theirs.inline).min(INLINE_WANTED) as usize;
        shape.max_inline = match number {
            0 => inline,
            _ => shape.max_inline.min(inline),
        };
        endpoint::connect(&qp, path, &tuning, psn, theirs.address)?;
        qps.push(QpEnd {
            qp,
            source,
            target,
            receive,
            peer_source: theirs.source,
            peer_target: theirs.target,
        });
    }
    let shared = match &srq {
        None => None,
        Some(srq) => Some(SharedReceive {
            srq,
            region: region(
                "shared receive region",
                shape.qps,
                &receive_buffers[0],
                shape.receive_len(),
                Access::LOCAL_WRITE,
            )?,
        }),
    };
    let mut session = Session {
        side: run.side,
        seed,
        limit: run.limit,
        shape,
        variant,
        late_receives: NonZeroU64::new(run.settings.late_receives),
        qps,
        shared,
        cqs: cqs.iter().collect(),
        channel: channel.as_ref(),
        rng: ChaCha8Rng::seed_from_u64(fold(&[seed, run.side.index() as u64])),
        tally: Tally::default(),
    };
    session.run(&run.settings.duty, peer)?;
    // Neither end may destroy its queue pairs while the other still waits for an acknowledgement.
    peer.barrier("variant done")?;
    Ok(Some(session.tally.clone()))
}
