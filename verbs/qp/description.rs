// SPDX-License-Identifier: GPL-2.0

//! What a QP is at, for those who want to know why it does not go on.

use kernel::fmt;

use super::queue_pair::Backlog;
use super::queue_pair::QueuePair;
use crate::base::clock;
use crate::transport::ids::Duration;
use crate::transport::ids::Psn;
use crate::transport::ids::Qpn;
use crate::verbs::netdev::MacAddress;
use crate::verbs::rdma::QpState;
use crate::verbs::rdma::QpType;

/// What a QP is at.
pub(crate) struct Description {
    qpn: Qpn,
    qp_type: QpType,
    state: QpState,
    /// The other end of its connection.
    peer: Option<(MacAddress, Qpn)>,
    /// Whether there is a way to the peer.
    has_route: bool,
    /// Requests that the protocol would take on now.
    room: u32,
    /// The PSN of the next request that is posted, and of that which is expected.
    next_psn: Option<Psn>,
    expected_psn: Option<Psn>,
    /// In what time the protocol's next timer is due.
    timer: Option<Duration>,
    is_ack_due: bool,
    placements: u32,
    departures: u32,
    backlog: Backlog,
    has_held_receive: bool,
    is_fetching: bool,
    awaits_ending: bool,
}

impl QueuePair {
    /// What the QP is at now.
    pub(crate) fn describe(&self) -> Description {
        let state = self.state.lock();
        Description {
            qpn: self.qpn,
            qp_type: self.qp_type,
            state: state.state,
            peer: state
                .attributes
                .host()
                .map(|host| (host, state.attributes.destination_qpn)),
            has_route: state.route.get().is_some(),
            room: state.service.room(),
            next_psn: state.service.next_psn(),
            expected_psn: state.service.expected_psn(),
            timer: state
                .service
                .poll_timeout()
                .map(|due| due.since(clock::now())),
            is_ack_due: state.service.is_ack_due(),
            placements: state.placements,
            departures: state.departures.total(),
            backlog: state.backlog,
            has_held_receive: state.held.is_some(),
            is_fetching: state.paging.is_fetching(),
            awaits_ending: state.ending.is_some(),
        }
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "qpn={} {:?} {:?}",
            self.qpn.get(),
            self.qp_type,
            self.state
        )?;
        if let Some((host, qpn)) = self.peer {
            write!(f, " peer={host}/{}", qpn.get())?;
        }
        if let Some(psn) = self.next_psn {
            write!(f, " sq_psn={}", psn.get())?;
        }
        if let Some(psn) = self.expected_psn {
            write!(f, " rq_psn={}", psn.get())?;
        }
        write!(
            f,
            " room={} placements={} departures={}",
            self.room, self.placements, self.departures
        )?;
        if let Some(timer) = self.timer {
            write!(f, " timer={}us", timer.as_micros())?;
        }
        let notes = [
            (!self.has_route, " no-route"),
            (self.is_ack_due, " ack-due"),
            (self.backlog == Backlog::Possible, " backlog"),
            (self.has_held_receive, " receive-held"),
            (self.is_fetching, " waits-for-pages"),
            (self.awaits_ending, " waits-for-end-of-rights"),
        ];
        for (_, note) in notes.iter().filter(|(holds, _)| *holds) {
            f.write_str(note)?;
        }
        Ok(())
    }
}
