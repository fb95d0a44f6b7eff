// SPDX-License-Identifier: GPL-2.0

//! Tracepoints of the way of a work request (`usb4_roce:*` in tracefs); `trace.h` says how they are shown.

use crate::transport::frame::Body;
use crate::transport::ids::Psn;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailId;
use crate::verbs::abi::completion::Completion;
use crate::verbs::abi::completion::WcOpcode;
use crate::verbs::bindings;

/// What kind of segment a frame carries.
#[derive(Clone, Copy)]
#[repr(u32)]
pub(crate) enum Kind {
    /// Of a request.
    Request = 0,
    /// Of an answer.
    Response = 1,
    /// An acknowledgement.
    Ack = 2,
    /// Of an unreliable connection.
    Unreliable = 3,
    /// A datagram.
    Datagram = 4,
}

/// A QP has taken a work request, of `length` bytes, from its send queue.
pub(crate) fn wqe(qpn: Qpn, wr_id: u64, opcode: WcOpcode, length: u32) {
    // SAFETY: It takes numbers only.
    unsafe { bindings::verbs_shim_trace_wqe(qpn.get(), wr_id, opcode as u32, length) };
}

/// A QP has a frame, with a payload of `length` bytes, sent over `rail`.
pub(crate) fn segment_sent(qpn: Qpn, body: &Body, length: u32, rail: RailId) {
    let (kind, psn) = match body {
        Body::Request(header) => (Kind::Request, header.psn),
        Body::Response(header) => (Kind::Response, header.response_psn),
        Body::Ack(header) => (Kind::Ack, header.psn),
        Body::Unreliable(header) => (Kind::Unreliable, header.psn),
        Body::UnreliableDatagram(_) => (Kind::Datagram, Psn::default()),
        // Rails send these on their own behalf.
        Body::Hello | Body::Nop { .. } | Body::Lost { .. } | Body::Goodbye | Body::Datagram(_) => {
            return
        }
    };
    // SAFETY: As in `wqe`.
    unsafe {
        bindings::verbs_shim_trace_segment_sent(
            qpn.get(),
            kind as u32,
            psn.get(),
            length,
            rail.index() as u32,
        );
    }
}

/// A frame has arrived for a QP, with a payload of `length` bytes.
pub(crate) fn segment_received(qpn: Qpn, kind: Kind, psn: Psn, length: u32) {
    // SAFETY: As in `wqe`.
    unsafe {
        bindings::verbs_shim_trace_segment_received(qpn.get(), kind as u32, psn.get(), length);
    }
}

/// A completion is due, also one that finds no room in its queue.
pub(crate) fn cqe(completion: &Completion) {
    // SAFETY: As in `wqe`.
    unsafe {
        bindings::verbs_shim_trace_cqe(
            completion.qp_num,
            completion.wr_id,
            completion.opcode as u32,
            completion.status as u32,
            completion.byte_len,
        );
    }
}
