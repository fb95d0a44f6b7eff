// SPDX-License-Identifier: GPL-2.0

//! Unreliable datagrams between two ends, each of which sends in turn. The cable between them loses nothing here, so that what
//! does not arrive was dropped for a reason.

use std::time::Duration;
use std::time::Instant;

use anyhow::ensure;
use anyhow::Context as _;
use anyhow::Result;
use serde::Deserialize;
use serde::Serialize;

use crate::bootstrap::Peer;
use crate::bootstrap::Side;
use crate::endpoint::Device;
use crate::endpoint::Path;
use crate::verbs::Access;
use crate::verbs::AddressVector;
use crate::verbs::Ah;
use crate::verbs::Buffer;
use crate::verbs::Completion;
use crate::verbs::Cq;
use crate::verbs::DatagramTarget;
use crate::verbs::Gid;
use crate::verbs::GidKind;
use crate::verbs::Mr;
use crate::verbs::Operation;
use crate::verbs::Payload;
use crate::verbs::Pd;
use crate::verbs::Psn;
use crate::verbs::Qp;
use crate::verbs::QpAttr;
use crate::verbs::QpCapacity;
use crate::verbs::QpInit;
use crate::verbs::QpState;
use crate::verbs::Qpn;
use crate::verbs::RecvRequest;
use crate::verbs::SendFlags;
use crate::verbs::SendRequest;
use crate::verbs::Status;

/// Bytes of the network header before a message.
const HEADER: usize = 40;
/// Longest message.
const MTU: usize = 4096;
/// Bytes that are sent with the request.
const INLINE: usize = 64;
/// Lengths of messages.
const LENGTHS: [usize; 10] = [0, 1, 39, 40, 64, 65, 1000, 3992, 3993, MTU];
/// Key of all queue pairs here.
const QKEY: u32 = 0x1122_3344;
/// Stands for the queue pair's own key.
const OWN_QKEY: u32 = 1 << 31;
/// Stands for all queue pairs of a group.
const GROUP_QPN: Qpn = Qpn(0x00ff_ffff);
/// What memory that nothing is written to holds.
const UNTOUCHED: u8 = 0xa5;
/// Where what is sent is in the buffer; what is received is before.
const SENT: usize = 8192;

#[derive(Serialize, Deserialize)]
struct Offer {
    qpn: Qpn,
    gid: Gid,
}

struct End<'a> {
    qp: &'a Qp<'a>,
    cq: &'a Cq<'a>,
    buffer: &'a Buffer,
    memory: &'a Mr<'a>,
    limit: Duration,
    verified: u64,
}

fn contents(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 7 + length) as u8).collect()
}

/// From RESET to RTS.
fn start(qp: &Qp<'_>, path: &Path) -> Result<()> {
    qp.modify(QpAttr {
        state: Some(QpState::Init),
        port: Some(path.address.port),
        pkey_index: Some(0),
        qkey: Some(QKEY),
        ..QpAttr::default()
    })
    .context("RESET to INIT")?;
    qp.modify(QpAttr::to_state(QpState::Rtr))
        .context("INIT to RTR")?;
    qp.modify(QpAttr {
        sq_psn: Some(Psn(0)),
        ..QpAttr::to_state(QpState::Rts)
    })
    .context("RTR to RTS")
}

impl End<'_> {
    fn completion(&self) -> Result<Completion> {
        let begun = Instant::now();
        let mut found = Vec::new();
        while self.cq.poll(&mut found, 1)? == 0 {
            ensure!(
                begun.elapsed() < self.limit,
                "no completion within {:?}",
                self.limit
            );
            std::thread::yield_now();
        }
        found.pop().context("a completion")
    }

    /// Posts a receive of that many bytes behind the network header.
    fn post_receive(&self, room: usize) -> Result<()> {
        self.buffer.write(0, &vec![UNTOUCHED; SENT]);
        self.qp.post_recv(&[RecvRequest {
            wr_id: room as u64,
            sges: &[self.memory.sge(0..HEADER + room)],
        }])?;
        Ok(())
    }

    /// Sends a message and gives how that ended.
    fn send(&self, to: &DatagramTarget<'_>, length: usize) -> Result<Status> {
        let bytes = contents(length);
        self.buffer.write(SENT, &bytes);
        let pieces = [bytes];
        let split = SENT + length / 2;
        let end = SENT + length;
        let sges = [self.memory.sge(SENT..split), self.memory.sge(split..end)];
        let request = SendRequest {
            wr_id: length as u64,
            operation: Operation::Send {
                imm: Some(length as u32),
            },
            payload: if length <= INLINE {
                Payload::Inline(&pieces)
            } else {
                Payload::Sges(&sges)
            },
            flags: SendFlags::SIGNALED,
        };
        self.qp.post_datagram(to, request)?;
        let completion = self.completion()?;
        ensure!(completion.wr_id == length as u64, "{completion:?}");
        Ok(completion.status)
    }

    fn send_well(&self, to: &DatagramTarget<'_>, length: usize) -> Result<()> {
        let status = self.send(to, length)?;
        ensure!(status == Status::SUCCESS, "sent with {status}");
        Ok(())
    }

    /// Checks the message in the receive of `room` bytes: `length` bytes of `from`, for `to`.
    fn expect(&mut self, room: usize, length: usize, from: Qpn, to: Gid) -> Result<()> {
        let completion = self.completion()?;
        ensure!(
            completion.status == Status::SUCCESS
                && completion.wr_id == room as u64
                && completion.byte_len as usize == HEADER + length
                && completion.imm == Some(length as u32)
                && completion.source == from
                && completion.has_network_header,
            "{length} bytes from {from}: {completion:?}"
        );
        let header = self.buffer.to_vec(0..HEADER);
        let is_ipv4 = to.0[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        let fits = if is_ipv4 {
            header[20] == 0x45 && header[36..40] == to.0[12..16]
        } else {
            header[0] >> 4 == 6 && header[24..40] == to.0
        };
        ensure!(fits, "a network header to {to}: {header:02x?}");
        let differs = self.buffer.first_difference(HEADER, &contents(length));
        ensure!(differs.is_none(), "wrong from byte {differs:?} of {length}");
        let rest = self.buffer.to_vec(HEADER + length..SENT);
        ensure!(
            rest.iter().all(|byte| *byte == UNTOUCHED),
            "written beyond {length} bytes"
        );
        self.verified += 1;
        Ok(())
    }
}

/// What an end does in an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    Sends,
    Receives,
}

/// Both ends send, the client first.
fn turns(side: Side) -> [Turn; 2] {
    match side {
        Side::Client => [Turn::Sends, Turn::Receives],
        Side::Server => [Turn::Receives, Turn::Sends],
    }
}

/// Runs all checks; gives how many datagrams were verified here.
pub fn run(device: &Device, side: Side, peer: &mut Peer, limit: Duration) -> Result<u64> {
    let path = device.agree_path(peer)?;
    let context = &device.context;
    let pd = Pd::new(context)?;
    let cq = Cq::new(context, 16, None)?;
    let other_cq = Cq::new(context, 16, None)?;
    let buffer = Buffer::new(2 * SENT)?;
    let memory = Mr::new(&pd, &buffer, 0..2 * SENT, Access::LOCAL_WRITE)?;
    let init = |cq| QpInit {
        send_cq: cq,
        recv_cq: cq,
        srq: None,
        capacity: QpCapacity {
            send_wr: 4,
            recv_wr: 4,
            send_sge: 2,
            recv_sge: 2,
            inline: INLINE as u32,
        },
    };
    let qp = Qp::for_datagrams(&pd, &init(&cq))?;
    start(&qp, &path)?;
    let theirs: Offer = peer.exchange(&Offer {
        qpn: qp.qpn(),
        gid: path.local,
    })?;
    let handle = Ah::new(&pd, &path.address)?;
    let to = DatagramTarget {
        handle: &handle,
        qpn: theirs.qpn,
        qkey: QKEY,
    };
    let mut end = End {
        qp: &qp,
        cq: &cq,
        buffer: &buffer,
        memory: &memory,
        limit,
        verified: 0,
    };
    for turn in turns(side) {
        for length in LENGTHS {
            exchange(
                &mut end,
                peer,
                turn,
                &theirs,
                path.local,
                &|end| end.send_well(&to, length),
                length,
            )
            .with_context(|| format!("a message of {length} bytes"))?;
        }
        exchange(
            &mut end,
            peer,
            turn,
            &theirs,
            path.local,
            &|end| {
                let wrong = DatagramTarget { qkey: 1, ..to };
                end.send_well(&wrong, 7)?;
                let own = DatagramTarget {
                    qkey: OWN_QKEY | 1,
                    ..to
                };
                end.send_well(&own, 100)
            },
            100,
        )
        .context("a wrong key, then the own one")?;
        exchange(
            &mut end,
            peer,
            turn,
            &theirs,
            path.local,
            &|end| {
                let status = end.send(&to, MTU + 1)?;
                ensure!(status == Status::LOC_LEN_ERR, "sent with {status}");
                let state = end.qp.state()?;
                ensure!(state == QpState::Sqe, "then in {state:?}");
                let status = end.send(&to, 1)?;
                ensure!(status == Status::WR_FLUSH_ERR, "flushed with {status}");
                end.qp.modify(QpAttr::to_state(QpState::Rts))?;
                end.send_well(&to, 200)
            },
            200,
        )
        .context("a message that is too long")?;
        too_short(&mut end, peer, turn, &theirs, path.local, &to)
            .context("a receive that is too short")?;
    }
    let second = Qp::for_datagrams(&pd, &init(&other_cq))?;
    start(&second, &path)?;
    multicast(
        &mut end, peer, side, &second, &other_cq, &pd, &path, &theirs,
    )
    .context("multicast")?;
    Ok(end.verified)
}

/// One end sends what the other one expects to be a message of that length.
fn exchange(
    end: &mut End<'_>,
    peer: &mut Peer,
    turn: Turn,
    theirs: &Offer,
    local: Gid,
    send: &dyn Fn(&End<'_>) -> Result<()>,
    length: usize,
) -> Result<()> {
    if turn == Turn::Receives {
        end.post_receive(MTU)?;
    }
    peer.barrier("armed")?;
    if turn == Turn::Sends {
        send(end)?;
    } else {
        end.expect(MTU, length, theirs.qpn, local)?;
    }
    peer.barrier("sent")
}

/// A message that is too long for a receive leaves it to the next one.
fn too_short(
    end: &mut End<'_>,
    peer: &mut Peer,
    turn: Turn,
    theirs: &Offer,
    local: Gid,
    to: &DatagramTarget<'_>,
) -> Result<()> {
    const ROOM: usize = 10;
    if turn == Turn::Receives {
        end.post_receive(ROOM)?;
    }
    peer.barrier("armed")?;
    if turn == Turn::Sends {
        end.send_well(to, ROOM + 1)?;
        end.send_well(to, ROOM)?;
    } else {
        end.expect(ROOM, ROOM, theirs.qpn, local)?;
    }
    peer.barrier("sent")
}

/// The group, of the same kind as the address.
fn group_of(gid: Gid) -> Gid {
    let mut group = [0; 16];
    match gid.kind() {
        GidKind::Ipv4Mapped => {
            group[10..12].fill(0xff);
            group[12..].copy_from_slice(&[239, 77, 0, 1]);
        }
        GidKind::LinkLocal | GidKind::Ipv6 => {
            group[..2].copy_from_slice(&[0xff, 0x0e]);
            group[15] = 77;
        }
    }
    Gid(group)
}

/// The client sends to a group: both of the server's queue pairs get it, and the client's other one, but not the sender.
#[allow(clippy::too_many_arguments, reason = "all there is")]
fn multicast(
    end: &mut End<'_>,
    peer: &mut Peer,
    side: Side,
    second: &Qp<'_>,
    second_cq: &Cq<'_>,
    pd: &Pd<'_>,
    path: &Path,
    theirs: &Offer,
) -> Result<()> {
    const LENGTH: usize = 500;
    let group = group_of(path.local);
    end.qp.join(group)?;
    second.join(group)?;
    let handle = Ah::new(
        pd,
        &AddressVector {
            dgid: group,
            ..path.address
        },
    )?;
    let to = DatagramTarget {
        handle: &handle,
        qpn: GROUP_QPN,
        qkey: QKEY,
    };
    let from = match side {
        Side::Client => end.qp.qpn(),
        Side::Server => theirs.qpn,
    };
    let first = End {
        verified: 0,
        ..*end
    };
    let mut other = End {
        qp: second,
        cq: second_cq,
        ..first
    };
    if side == Side::Client {
        // It must not be used up.
        end.post_receive(MTU)?;
    }
    other.post_receive(MTU)?;
    peer.barrier("armed")?;
    if side == Side::Client {
        end.send_well(&to, LENGTH)?;
    }
    other.expect(MTU, LENGTH, from, group)?;
    end.verified += other.verified;
    peer.barrier("sent")?;
    second.leave(group)?;
    if side == Side::Server {
        end.post_receive(MTU)?;
    }
    peer.barrier("armed again")?;
    match side {
        Side::Client => end.send_well(&to, LENGTH)?,
        Side::Server => end.expect(MTU, LENGTH, from, group)?,
    }
    let mut none = Vec::new();
    ensure!(
        second_cq.poll(&mut none, 1)? == 0,
        "got it after it had left"
    );
    ensure!(end.cq.poll(&mut none, 1)? == 0, "got its own");
    end.qp.leave(group)?;
    peer.barrier("sent again")
}
