// SPDX-License-Identifier: GPL-2.0

//! The acknowledgement of a QP: what its requester and its responder have to say, in one frame.

use super::frame::AckHeader;
use super::requester::Requester;
use super::responder::Responder;
use super::storage::Storage;

/// Whether an acknowledgement has been sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Not since there was last something to say, or since it was last lost.
    Due,
    /// It is under way, or has arrived.
    Sent,
}

/// How the acknowledgement of the QP with these two sides stands.
pub fn standing<S: Storage>(requester: &Requester<S>, responder: &Responder<S>) -> Standing {
    if responder.ack_due() || requester.response_ack_due() {
        Standing::Due
    } else {
        Standing::Sent
    }
}

/// The acknowledgement as it is now; it counts as sent. Nothing if the QP is not connected.
pub fn take<S: Storage>(
    requester: &mut Requester<S>,
    responder: &mut Responder<S>,
) -> Option<AckHeader> {
    let response_psn = requester.take_response_ack();
    responder.take_ack(response_psn)
}

/// The acknowledgement, if it is due.
pub fn take_due<S: Storage>(
    requester: &mut Requester<S>,
    responder: &mut Responder<S>,
) -> Option<AckHeader> {
    match standing(requester, responder) {
        Standing::Due => take(requester, responder),
        Standing::Sent => None,
    }
}
