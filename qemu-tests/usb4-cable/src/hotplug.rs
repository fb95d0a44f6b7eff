// SPDX-License-Identifier: GPL-2.0

//! Hotplug events: sent to a host until its connection manager acknowledges them.

use std::collections::VecDeque;
use std::time::Duration;
use std::time::Instant;

use crate::control_packet::ControlPacket;
use crate::control_packet::PacketKind;
use crate::control_packet::Route;
use crate::ids::PortNumber;
use crate::link::LinkState;

/// Pause before an event that was not acknowledged is sent again. A guest without hardware
/// virtualisation may take its time.
const RESEND_AFTER: Duration = Duration::from_millis(500);

/// How often an event is sent at most.
const MAX_SENT: u32 = 10;

const UNPLUG: u32 = 1 << 31;

/// The events of one port that its host has not acknowledged, the oldest first.
#[derive(Default)]
pub struct HotplugEvents {
    waiting: VecDeque<LinkState>,
    sent: u32,
    last: Option<Instant>,
}

impl HotplugEvents {
    /// The link has changed.
    pub fn push(&mut self, link: LinkState) {
        self.waiting.push_back(link);
    }

    /// Whether the host has acknowledged all events.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Forgets everything: the host's connection manager is gone.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// The host has acknowledged an event of the port.
    pub fn acknowledge(&mut self) {
        if self.sent > 0 {
            self.next();
        }
    }

    /// The packet to send now, if one is due.
    pub fn poll(&mut self, port: PortNumber, now: Instant) -> Option<ControlPacket> {
        let link = self.waiting.front()?;
        if self
            .last
            .is_some_and(|last| now.saturating_duration_since(last) < RESEND_AFTER)
        {
            return None;
        }
        if self.sent == MAX_SENT {
            self.next();
            return None;
        }
        let unplug = match link {
            LinkState::Up => 0,
            LinkState::Down => UNPLUG,
        };
        self.sent += 1;
        self.last = Some(now);
        Some(ControlPacket {
            kind: PacketKind::Hotplug,
            route: Route::HOST,
            body: vec![u32::from(port.lane_0().0) | unplug],
        })
    }

    fn next(&mut self) {
        self.waiting.pop_front();
        self.sent = 0;
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: PortNumber = PortNumber(1);

    #[test]
    fn sent_until_acknowledged() {
        let start = Instant::now();
        let mut events = HotplugEvents::default();
        events.push(LinkState::Up);
        events.push(LinkState::Down);
        let plug = events.poll(PORT, start).unwrap();
        assert_eq!(plug.body, [3]);
        assert_eq!(events.poll(PORT, start), None);
        assert_eq!(events.poll(PORT, start + RESEND_AFTER), Some(plug));
        events.acknowledge();
        let unplug = events.poll(PORT, start + RESEND_AFTER).unwrap();
        assert_eq!(unplug.body, [3 | UNPLUG]);
        events.acknowledge();
        assert_eq!(events.poll(PORT, start + 9 * RESEND_AFTER), None);
    }

    #[test]
    fn given_up_at_last() {
        let mut now = Instant::now();
        let mut events = HotplugEvents::default();
        events.push(LinkState::Up);
        let mut sent = 0;
        for _ in 0..100 {
            sent += u32::from(events.poll(PORT, now).is_some());
            now += RESEND_AFTER;
        }
        assert_eq!(sent, MAX_SENT);
    }

    #[test]
    fn an_acknowledgement_of_nothing_is_ignored() {
        let mut events = HotplugEvents::default();
        events.push(LinkState::Up);
        events.acknowledge();
        assert!(events.poll(PORT, Instant::now()).is_some());
    }
}
