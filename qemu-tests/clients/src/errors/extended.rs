// SPDX-License-Identifier: GPL-2.0

//! Requests that are posted by calls (ibv_wr_post(3)): the provider writes them otherwise than those of a list.

use std::ops::Range;

use anyhow::ensure;
use anyhow::Result;

use crate::bootstrap::Side;
use crate::verbs::Operation;
use crate::verbs::Payload;
use crate::verbs::Posting;
use crate::verbs::RemoteAddr;
use crate::verbs::SendFlags;
use crate::verbs::SendRequest;
use crate::verbs::Status;

use super::case::Case;
use super::case::Outcome;
use super::end::with_end;
use super::end::End;
use super::end::EndConfig;

/// What a request can carry itself.
const INLINE: usize = 64;

/// Where at the server each message goes.
const PLACES: [Range<usize>; 4] = [
    0..8,
    4096..4096 + INLINE,
    8192..8192 + 3000,
    16384..16384 + 100,
];

/// The cases of this module.
pub fn cases() -> Vec<Case> {
    vec![posted_by_calls()]
}

/// A byte that is neither what memory begins with nor the same in two messages.
fn content(place: usize) -> Vec<u8> {
    (0..PLACES[place].len())
        .map(|at| (at * 7 + 13 * place + 1) as u8)
        .collect()
}

fn signalled(wr_id: usize, operation: Operation, payload: Payload<'_>) -> SendRequest<'_> {
    SendRequest {
        wr_id: wr_id as u64,
        operation,
        payload,
        flags: SendFlags::SIGNALED,
    }
}

fn posted_by_calls() -> Case {
    Case::new("posted_by_calls", |env, peer| {
        let config = EndConfig {
            posting: Posting::Calls,
            inline: INLINE as u32,
            send_sge: 2,
            ..EndConfig::default()
        };
        with_end(env, peer, &config, |end, peer| {
            match env.side {
                Side::Server => {
                    end.post_recv(3, &[end.mr.sge(PLACES[3].clone())])?;
                    peer.barrier("receive posted")?;
                    peer.barrier("sent")?;
                    end.expect(3, &[Status::SUCCESS])?;
                    for (place, range) in PLACES.into_iter().enumerate() {
                        let differs = end.buffer.first_difference(range.start, &content(place));
                        ensure!(
                            differs.is_none(),
                            "message {place} differs at byte {differs:?}"
                        );
                    }
                }
                Side::Client => {
                    peer.barrier("receive posted")?;
                    send_all(&end)?;
                    peer.barrier("sent")?;
                }
            }
            peer.barrier("checked")?;
            Ok(Outcome::Pass)
        })
    })
}

fn send_all(end: &End<'_>) -> Result<()> {
    let write = |place: usize| Operation::Write {
        remote: RemoteAddr {
            address: end.peer_memory.address + PLACES[place].start as u64,
            ..end.peer_memory
        },
        imm: None,
    };
    let flag = [content(0)];
    let longest = [content(1)];
    // Equal halves: up to rdma-core 63 the provider adds up the first one's length.
    let half = PLACES[2].len() / 2;
    end.buffer.write(0, &content(2));
    let halves = [end.mr.sge(0..half), end.mr.sge(half..2 * half)];
    let last = 32 << 10;
    end.buffer.write(last, &content(3));
    let whole = [end.mr.sge(last..last + PLACES[3].len())];
    end.qp.post_send(&[
        signalled(0, write(0), Payload::Inline(&flag)),
        signalled(1, write(1), Payload::Inline(&longest)),
        signalled(2, write(2), Payload::Sges(&halves)),
        signalled(3, Operation::Send { imm: None }, Payload::Sges(&whole)),
    ])?;
    for wr_id in 0..PLACES.len() as u64 {
        end.expect(wr_id, &[Status::SUCCESS])?;
    }
    Ok(())
}
