// SPDX-License-Identifier: GPL-2.0

//! One direction of a cable: moves data frames from the sender's transmit rings into the
//! receiver's receive rings.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::time::Instant;

use crate::counters::DirectionCounters;
use crate::fault::Admission;
use crate::fault::Damage;
use crate::fault::Fate;
use crate::fault::Faults;
use crate::fault::Injector;
use crate::frame::FrameMarks;
use crate::frame::Integrity;
use crate::frame::Signal;
use crate::guest_memory::DmaError;
use crate::guest_memory::GuestSlice;
use crate::ids::HopId;
use crate::ids::PortNumber;
use crate::ids::RingNumber;
use crate::ids::NHI_ADAPTER;
use crate::nhi::Nhi;
use crate::nhi::Receiver;

/// Most frames of one path under way in a cable with latency: 8 MiB, or 1.6 ms at 40 Gb/s.
const MAX_IN_FLIGHT: usize = 2048;

/// Most frames moved from one ring before others get their turn.
const BATCH: usize = 64;

/// What there is to do in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Progress {
    /// Nothing.
    Idle,
    /// Something, when the receiver has room for it.
    Held,
    /// Something, but not yet.
    Waiting,
    /// Frames have moved.
    Moved,
}

/// How a frame arrives.
struct Arrival {
    len: usize,
    marks: FrameMarks,
    damage: Damage,
    signal: Signal,
}

/// A frame on its way.
struct InFlight {
    due: Instant,
    payload: Vec<u8>,
    arrival: Arrival,
    flow_control: FlowControl,
}

/// What happens to frames that the receiver has no room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FlowControl {
    /// They wait.
    EndToEnd,
    /// They are dropped.
    None,
}

/// Where frames of a path end.
struct Target {
    /// The receive ring, unless the receiver has not set the path up.
    ring: Option<RingNumber>,
    /// What it takes.
    receiver: Receiver,
    flow_control: FlowControl,
}

/// One direction of a cable.
pub struct Channel {
    injector: Injector,
    counters: DirectionCounters,
    in_flight: BTreeMap<HopId, VecDeque<InFlight>>,
    /// The transmit rings held by end-to-end flow control, a bit each.
    held: u32,
}

impl Channel {
    /// A channel without faults.
    pub fn new(now: Instant) -> Self {
        Self {
            injector: Injector::new(Faults::default(), now),
            counters: DirectionCounters::default(),
            in_flight: BTreeMap::new(),
            held: 0,
        }
    }

    /// What was counted.
    pub fn counters(&self) -> &DirectionCounters {
        &self.counters
    }

    /// The faults.
    pub fn faults(&self) -> &Faults {
        self.injector.faults()
    }

    /// Replaces the faults.
    pub fn set_faults(&mut self, faults: Faults, now: Instant) {
        self.injector = Injector::new(faults, now);
    }

    /// An XDomain packet has passed.
    pub fn count_xdomain_packet(&mut self) {
        self.counters.xdomain_packets += 1;
    }

    /// The link is gone, and what is under way with it.
    pub fn flush(&mut self) {
        let frames: usize = self.in_flight.values().map(VecDeque::len).sum();
        self.counters.dropped += frames as u64;
        self.in_flight.clear();
        self.held = 0;
    }

    /// Moves frames of transmit ring `ring` of `from`, whose path leads onto the link as `hop`,
    /// to where they arrive in `to` through `ingress`.
    pub fn forward(
        &mut self,
        from: &mut Nhi,
        to: &mut Nhi,
        ring: RingNumber,
        ingress: PortNumber,
        hop: HopId,
        now: Instant,
    ) -> Progress {
        let mut progress = Progress::Idle;
        let mut available = from.tx_available(ring);
        for _ in 0..BATCH {
            if from.take_accesses().max(to.take_accesses()) == Progress::Moved {
                // The rings may be others now.
                progress = Progress::Moved;
                available = 0;
            }
            if available == 0 {
                available = from.tx_available(ring);
                if available == 0 {
                    break;
                }
            }
            available -= 1;
            match self.injector.admit(hop, now) {
                Admission::Open => (),
                Admission::Wait => return progress.max(Progress::Waiting),
                Admission::Stalled => break,
            }
            let flow_control = if from.is_tx_e2e(ring) {
                FlowControl::EndToEnd
            } else {
                FlowControl::None
            };
            let target = target(to, ingress, hop, flow_control);
            let delayed = self.in_flight.get(&hop).map_or(0, VecDeque::len);
            let has_room = match target.receiver {
                Receiver::Ready(frames) => delayed < usize::from(frames),
                Receiver::Full => false,
            };
            let bit = 1 << ring.index();
            if target.flow_control == FlowControl::EndToEnd && !has_room {
                self.counters.e2e_holds += u64::from(self.held & bit == 0);
                self.held |= bit;
                if let Some(ring) = target.ring {
                    to.note_hold(ring);
                }
                progress = progress.max(Progress::Held);
                break;
            }
            self.held &= !bit;
            if delayed >= MAX_IN_FLIGHT {
                return progress.max(Progress::Waiting);
            }
            let frame = match from.peek_tx(ring) {
                Ok(frame) => frame,
                Err(fault) => {
                    from.skip_bad_tx(ring, fault);
                    progress = Progress::Moved;
                    continue;
                }
            };
            let latency = self.injector.latency();
            let len = frame.payload.len();
            match self.injector.decide(hop, len) {
                Fate::Lost => self.counters.lost += 1,
                Fate::Arrives { damage, signal } => {
                    let arrival = Arrival {
                        len,
                        marks: frame.marks,
                        damage,
                        signal,
                    };
                    let payload = frame.payload;
                    if latency.is_zero() && delayed == 0 {
                        self.deliver(to, &target, &arrival, |buffer| {
                            buffer.copy_from(payload.first(buffer.len()))
                        });
                    } else {
                        self.counters.delayed += 1;
                        self.in_flight.entry(hop).or_default().push_back(InFlight {
                            due: now + latency,
                            payload: payload.to_vec(),
                            arrival,
                            flow_control: target.flow_control,
                        });
                    }
                }
            }
            from.complete_tx(ring);
            progress = Progress::Moved;
        }
        progress
    }

    /// Delivers the frames that are due to `to`, where they arrive through `ingress`.
    pub fn deliver_due(&mut self, to: &mut Nhi, ingress: PortNumber, now: Instant) -> Progress {
        let mut progress = Progress::Idle;
        let mut in_flight = std::mem::take(&mut self.in_flight);
        for (hop, frames) in &mut in_flight {
            while let Some(frame) = frames.front() {
                progress = progress.max(to.take_accesses());
                if frame.due > now {
                    progress = progress.max(Progress::Waiting);
                    break;
                }
                let target = target(to, ingress, *hop, frame.flow_control);
                let full = target.receiver == Receiver::Full;
                if full && target.flow_control == FlowControl::EndToEnd {
                    break;
                }
                self.deliver(to, &target, &frame.arrival, |buffer| {
                    buffer.write(&frame.payload[..buffer.len()])
                });
                frames.pop_front();
                progress = Progress::Moved;
            }
        }
        in_flight.retain(|_, frames| !frames.is_empty());
        self.in_flight = in_flight;
        progress
    }

    /// Puts a frame where it belongs, or drops it if there is no room.
    fn deliver(
        &mut self,
        to: &mut Nhi,
        target: &Target,
        arrival: &Arrival,
        fill: impl FnOnce(GuestSlice<'_>) -> Result<(), DmaError>,
    ) {
        let (Some(ring), Receiver::Ready(_)) = (target.ring, target.receiver) else {
            self.counters.dropped += 1;
            return;
        };
        if !to.accepts(ring, arrival.marks) {
            self.counters.masked += 1;
            return;
        }
        let integrity = if arrival.damage.is_empty() {
            Integrity::Intact
        } else {
            self.counters.corrupted += 1;
            Integrity::CrcError
        };
        self.counters.late_interrupts += u64::from(arrival.signal == Signal::Late);
        to.receive(
            ring,
            arrival.len,
            arrival.marks,
            integrity,
            arrival.signal,
            |buffer| {
                fill(buffer)?;
                let within = |flip: &&(usize, u8)| flip.0 < buffer.len();
                arrival
                    .damage
                    .iter()
                    .filter(within)
                    .try_for_each(|(at, bits)| buffer.flip(*at, *bits))
            },
        );
        self.counters.frames += 1;
        self.counters.bytes += arrival.len as u64;
    }
}

/// Where frames that arrive in `to` through `ingress` as `hop` end; the sender asks for
/// `flow_control`, and the receiving ring may.
fn target(to: &mut Nhi, ingress: PortNumber, hop: HopId, flow_control: FlowControl) -> Target {
    let ring = to
        .router
        .path(ingress.lane_0(), hop)
        .filter(|path| path.out_adapter() == NHI_ADAPTER)
        .and_then(|path| RingNumber::of_hop(path.next_hop()));
    let receiver = ring.map_or(Receiver::Full, |ring| to.rx_available(ring));
    let flow_control = match ring {
        Some(ring) if to.is_rx_e2e(ring) => FlowControl::EndToEnd,
        _ => flow_control,
    };
    Target {
        ring,
        receiver,
        flow_control,
    }
}
