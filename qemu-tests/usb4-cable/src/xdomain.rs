// SPDX-License-Identifier: GPL-2.0

//! What a router answers to accesses beyond a link to another domain: an error, which makes the
//! driver look for an XDomain there.
//!
//! The driver takes any error packet for the answer to the oldest of its outstanding requests
//! (`tb_cfg_request_find()` in `drivers/thunderbolt/ctl.c`), so an error is kept back while the
//! host waits for the answer to an XDomain request.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use crate::control_packet::error_body;
use crate::control_packet::ControlPacket;
use crate::control_packet::ErrorCode;
use crate::control_packet::PacketKind;
use crate::control_packet::Route;
use crate::link::LinkState;

/// An XDomain request is given up by the driver after this (`XDOMAIN_DEFAULT_TIMEOUT`).
const REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// Longest an error is kept back: less than the driver waits for the answer to an access.
const MAX_DELAY: Duration = Duration::from_millis(80);

/// Most errors kept back.
const MAX_WAITING: usize = 16;

/// Lets the errors through to a host when they do no harm.
#[derive(Default)]
pub struct RefusalGate {
    waiting: VecDeque<(Instant, ControlPacket)>,
    /// When the XDomain requests without an answer were sent.
    outstanding: VecDeque<Instant>,
}

impl RefusalGate {
    /// The host accesses a router at `route`, which is behind `link`.
    pub fn refuse(&mut self, route: Route, link: LinkState, now: Instant) {
        let code = match link {
            LinkState::Up => ErrorCode::InvalidSpace,
            LinkState::Down => ErrorCode::NotConnected,
        };
        let refusal = ControlPacket {
            kind: PacketKind::Error,
            route,
            body: vec![error_body(code, route.first_hop())],
        };
        if self.waiting.len() < MAX_WAITING {
            self.waiting.push_back((now, refusal));
        }
    }

    /// The host has sent an XDomain request.
    pub fn request_sent(&mut self, now: Instant) {
        if self.outstanding.len() == MAX_WAITING {
            self.outstanding.pop_front();
        }
        self.outstanding.push_back(now);
    }

    /// The host has been sent an XDomain response.
    pub fn response_received(&mut self) {
        self.outstanding.pop_front();
    }

    /// Whether the host waits for no answer to an XDomain request.
    pub fn is_quiet(&mut self, now: Instant) -> bool {
        self.outstanding
            .retain(|sent| now.saturating_duration_since(*sent) < REQUEST_TIMEOUT);
        self.outstanding.is_empty()
    }

    /// An error that may go to the host now.
    pub fn poll(&mut self, now: Instant) -> Option<ControlPacket> {
        let (since, _) = self.waiting.front()?;
        let delayed = now.saturating_duration_since(*since);
        if delayed < MAX_DELAY && !self.is_quiet(now) {
            return None;
        }
        self.waiting.pop_front().map(|(_, refusal)| refusal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::AdapterNumber;

    const ROUTE: Route = Route(3);

    #[test]
    fn at_once_when_nothing_is_outstanding() {
        let now = Instant::now();
        let mut gate = RefusalGate::default();
        gate.refuse(ROUTE, LinkState::Up, now);
        let refusal = gate.poll(now).unwrap();
        assert_eq!(refusal.kind, PacketKind::Error);
        assert_eq!(refusal.route, ROUTE);
        let code = |code| vec![error_body(code, AdapterNumber(3))];
        assert_eq!(refusal.body, code(ErrorCode::InvalidSpace));
        gate.refuse(ROUTE, LinkState::Down, now);
        assert_eq!(gate.poll(now).unwrap().body, code(ErrorCode::NotConnected));
        assert_eq!(gate.poll(now), None);
    }

    #[test]
    fn after_the_answer() {
        let now = Instant::now();
        let mut gate = RefusalGate::default();
        gate.request_sent(now);
        gate.refuse(ROUTE, LinkState::Up, now);
        assert_eq!(gate.poll(now), None);
        gate.response_received();
        assert!(gate.poll(now).is_some());
    }

    #[test]
    fn in_time_when_no_answer_comes() {
        let now = Instant::now();
        let mut gate = RefusalGate::default();
        gate.request_sent(now);
        gate.refuse(ROUTE, LinkState::Up, now);
        assert!(gate.poll(now + MAX_DELAY).is_some());
        gate.refuse(ROUTE, LinkState::Up, now + REQUEST_TIMEOUT);
        assert!(gate.poll(now + REQUEST_TIMEOUT).is_some(), "given up");
    }
}
