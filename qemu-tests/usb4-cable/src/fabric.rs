// SPDX-License-Identifier: GPL-2.0

//! All NHIs and the cables between them.

use std::collections::HashMap;
use std::time::Instant;

use crate::attachment::Doorbells;
use crate::attachment::Kick;
use crate::attachment::Readiness;
use crate::cable::Cable;
use crate::cable::CableIndex;
use crate::cable::End;
use crate::cable::NhiIndex;
use crate::channel::Progress;
use crate::control::Answer;
use crate::control::Request;
use crate::control_packet::acknowledged_adapter;
use crate::control_packet::ControlPacket;
use crate::control_packet::PacketKind;
use crate::control_packet::Route;
use crate::fault::Faults;
use crate::hotplug::HotplugEvents;
use crate::ids::HopId;
use crate::ids::PortNumber;
use crate::ids::RingNumber;
use crate::ids::NHI_ADAPTER;
use crate::link::Direction;
use crate::link::LinkState;
use crate::link::Plug;
use crate::nhi::Nhi;
use crate::router::LaneWidth;
use crate::status::NhiStatus;
use crate::status::Status;
use crate::topology::NhiRef;
use crate::topology::Topology;
use crate::topology::PORTS_PER_NHI;
use crate::xdomain::RefusalGate;

/// An NHI and what hangs on it.
struct Station {
    nhi: Nhi,
    ports: [Port; PORTS_PER_NHI as usize],
    refusals: RefusalGate,
}

/// A port.
#[derive(Default)]
struct Port {
    cable: Option<CableIndex>,
    events: HotplugEvents,
}

/// All NHIs and cables.
pub struct Fabric {
    stations: Vec<Station>,
    cables: Vec<Cable>,
}

impl Fabric {
    /// Builds what `topology` says: every NHI powered on without a guest, every cable plugged in.
    ///
    /// # Errors
    ///
    /// When there is no memory for the registers.
    pub fn new(topology: &Topology, now: Instant) -> std::io::Result<Self> {
        let mut indices = HashMap::new();
        let mut stations = Vec::new();
        for host in &topology.hosts {
            for number in 0..topology.nhis(host) {
                let name = NhiRef {
                    host: host.name.clone(),
                    nhi: number,
                };
                indices.insert(name.clone(), NhiIndex(stations.len()));
                stations.push(Station {
                    nhi: Nhi::new(name, host.router_uid(number))?,
                    ports: Default::default(),
                    refusals: RefusalGate::default(),
                });
            }
        }
        let mut cables = Vec::new();
        for cable in &topology.cables {
            let end = |port: &crate::topology::PortRef| End {
                nhi: indices[&port.nhi()],
                port: PortNumber(port.port % PORTS_PER_NHI),
            };
            let (a, b) = (end(&cable.a), end(&cable.b));
            for end in [a, b] {
                let station = &mut stations[end.nhi.0];
                station.ports[end.port.index()].cable = Some(CableIndex(cables.len()));
                station.nhi.router.set_speed(end.port, cable.speed);
            }
            cables.push(Cable::new(cable.name.clone(), a, b, now));
        }
        Ok(Self { stations, cables })
    }

    /// The NHIs, in the order of the topology.
    pub fn nhis(&self) -> impl Iterator<Item = (NhiIndex, &Nhi)> {
        let stations = self.stations.iter().enumerate();
        stations.map(|(index, station)| (NhiIndex(index), &station.nhi))
    }

    /// Lets a front end work on an NHI, and follows up on what that changed.
    pub fn with_nhi<R>(&mut self, index: NhiIndex, work: impl FnOnce(&mut Nhi) -> R) -> R {
        let result = work(&mut self.stations[index.0].nhi);
        self.update_links();
        result
    }

    /// Executes a request of the control socket.
    pub fn execute(&mut self, request: Request, now: Instant) -> Answer {
        let done = match request {
            Request::Status => return Answer::Status(self.status()),
            Request::Plug { cable } => self.set_plug(&cable, Plug::Plugged),
            Request::Unplug { cable } => self.set_plug(&cable, Plug::Unplugged),
            Request::SetFaults {
                cable,
                direction,
                faults,
            } => self.set_faults(&cable, direction, &faults, now),
        };
        self.update_links();
        match done {
            Ok(()) => Answer::Done,
            Err(message) => Answer::Error { message },
        }
    }

    fn status(&self) -> Status {
        Status {
            cables: self.cables.iter().map(Cable::status).collect(),
            nhis: self
                .nhis()
                .map(|(_, nhi)| NhiStatus {
                    nhi: nhi.name().clone(),
                    connection: nhi.connection(),
                    counters: nhi.counters().clone(),
                    rings: nhi.rings(),
                })
                .collect(),
        }
    }

    fn cable_mut(&mut self, name: &str) -> Result<&mut Cable, String> {
        self.cables
            .iter_mut()
            .find(|cable| cable.name() == name)
            .ok_or_else(|| format!("there is no cable {name:?}"))
    }

    fn set_plug(&mut self, name: &str, plug: Plug) -> Result<(), String> {
        self.cable_mut(name)?.plug = plug;
        Ok(())
    }

    fn set_faults(
        &mut self,
        name: &str,
        direction: Option<Direction>,
        faults: &Faults,
        now: Instant,
    ) -> Result<(), String> {
        let cable = self.cable_mut(name)?;
        for one in [Direction::AToB, Direction::BToA] {
            if direction.is_none_or(|only| only == one) {
                cable.channel_mut(one).set_faults(faults.clone(), now);
            }
        }
        Ok(())
    }

    /// Does all there is to do now.
    pub fn step(&mut self, now: Instant) -> Progress {
        let mut progress = self.take_accesses();
        progress = progress.max(self.take_control_packets(now));
        progress = progress.max(self.forward_frames(now));
        progress = progress.max(self.deliver_due_frames(now));
        if progress == Progress::Moved {
            // Register accesses come between frames, resets among them.
            self.update_links();
        }
        for station in &mut self.stations {
            for (port, number) in station.ports.iter_mut().zip(PortNumber::all()) {
                if let Some(event) = port.events.poll(number, now) {
                    station.nhi.send_control(event);
                }
            }
            while let Some(refusal) = station.refusals.poll(now) {
                station.nhi.send_control(refusal);
            }
            station.nhi.deliver_control();
            station.nhi.fire_interrupts(now);
            if station.nhi.is_interrupt_waiting() {
                progress = progress.max(Progress::Waiting);
            }
        }
        progress
    }

    /// How the guests say that there is something to do.
    pub fn doorbells(&self) -> impl Iterator<Item = Doorbells> + '_ {
        self.nhis().filter_map(|(_, nhi)| nhi.doorbells())
    }

    /// Asks all guests that queue register accesses for a kick at the next one that is worth it. Adds to `kicks` what becomes
    /// readable then.
    pub fn await_kicks(&mut self, kicks: &mut Vec<Kick>) -> Readiness {
        for station in &mut self.stations {
            if station.nhi.await_kick(kicks) == Readiness::Ready {
                return Readiness::Ready;
            }
        }
        Readiness::Quiet
    }

    /// Whatever waits for room in a receive ring, the guests' next accesses are worth a kick.
    pub fn forget_holds(&mut self) {
        for station in &mut self.stations {
            station.nhi.forget_hold();
        }
    }

    fn take_accesses(&mut self) -> Progress {
        let stations = self.stations.iter_mut();
        let progress = stations
            .map(|station| station.nhi.take_accesses())
            .max()
            .unwrap_or(Progress::Idle);
        if progress == Progress::Moved {
            self.update_links();
        }
        progress
    }

    fn take_control_packets(&mut self, now: Instant) -> Progress {
        let mut progress = Progress::Idle;
        for index in 0..self.stations.len() {
            while let Some(packet) = self.stations[index].nhi.next_control_packet() {
                self.handle_control_packet(NhiIndex(index), packet, now);
                progress = Progress::Moved;
            }
        }
        if progress == Progress::Moved {
            self.update_links();
        }
        progress
    }

    fn handle_control_packet(&mut self, index: NhiIndex, packet: ControlPacket, now: Instant) {
        let station = &mut self.stations[index.0];
        match packet.kind {
            PacketKind::Read | PacketKind::Write if packet.route == Route::HOST => {
                if let Some(answer) = station.nhi.router.configure(&packet) {
                    station.nhi.send_control(answer);
                }
            }
            PacketKind::Read | PacketKind::Write => {
                let link = self.link_behind(index, packet.route);
                self.stations[index.0]
                    .refusals
                    .refuse(packet.route, link, now);
            }
            PacketKind::XdomainRequest | PacketKind::XdomainResponse => {
                self.forward_xdomain(index, packet, now);
            }
            PacketKind::Error => {
                let acknowledged = acknowledged_adapter(&packet.body)
                    .and_then(PortNumber::of_adapter)
                    .and_then(|port| station.ports.get_mut(port.index()));
                if let Some(port) = acknowledged {
                    port.events.acknowledge();
                }
            }
            PacketKind::NotifyAck | PacketKind::Hotplug | PacketKind::Other(_) => (),
        }
    }

    /// State of the link through which `route` leaves an NHI's router.
    fn link_behind(&self, index: NhiIndex, route: Route) -> LinkState {
        self.cable_behind(index, route)
            .map_or(LinkState::Down, |(cable, _)| self.cables[cable.0].link)
    }

    fn cable_behind(&self, index: NhiIndex, route: Route) -> Option<(CableIndex, PortNumber)> {
        let port = PortNumber::of_adapter(route.first_hop())?;
        let cable = self.stations[index.0].ports.get(port.index())?.cable?;
        Some((cable, port))
    }

    /// Passes an XDomain packet on to the host behind its route, as a packet from there.
    ///
    /// Without a link it is dropped silently, since the driver would take an error for the peer's
    /// answer and a UUID of zero. Once the host knows that the link is gone there are no such
    /// requests any more, but those of `thunderbolt_net` to log out, for which the driver would
    /// wait ten seconds: they are refused, as a router does.
    fn forward_xdomain(&mut self, index: NhiIndex, packet: ControlPacket, now: Instant) {
        let Some((cable, port)) = self.cable_behind(index, packet.route) else {
            return;
        };
        let cable = &mut self.cables[cable.0];
        if cable.link == LinkState::Down {
            let station = &mut self.stations[index.0];
            let knows = station.ports[port.index()].events.is_empty();
            let may_be_log_out = packet.kind == PacketKind::XdomainResponse;
            if knows && may_be_log_out && station.refusals.is_quiet(now) {
                station.refusals.refuse(packet.route, cable.link, now);
            }
            return;
        }
        let direction = cable.direction_from(End { nhi: index, port });
        cable.channel_mut(direction).count_xdomain_packet();
        let (_, to) = cable.route(direction);
        if packet.kind == PacketKind::XdomainRequest {
            self.stations[index.0].refusals.request_sent(now);
        }
        let receiver = &mut self.stations[to.nhi.0];
        if packet.kind == PacketKind::XdomainResponse {
            receiver.refusals.response_received();
        }
        receiver.nhi.send_control(ControlPacket {
            route: Route::behind(to.port.lane_0()),
            ..packet
        });
    }

    fn forward_frames(&mut self, now: Instant) -> Progress {
        let mut progress = Progress::Idle;
        self.forget_holds();
        for index in (0..self.stations.len()).map(NhiIndex) {
            for ring in self.stations[index.0].nhi.data_tx_rings() {
                progress = progress.max(self.forward_ring(index, ring, now));
            }
        }
        progress
    }

    /// Moves frames of a transmit ring. They wait while the ring has no path or no link.
    fn forward_ring(&mut self, index: NhiIndex, ring: RingNumber, now: Instant) -> Progress {
        let Some((end, hop)) = self.egress(index, ring) else {
            return Progress::Idle;
        };
        let Some(cable) = self.stations[index.0].ports[end.port.index()].cable else {
            return Progress::Idle;
        };
        let cable = &mut self.cables[cable.0];
        if cable.link == LinkState::Down {
            return Progress::Idle;
        }
        let direction = cable.direction_from(end);
        let (_, to) = cable.route(direction);
        let Some((sender, receiver)) = two_mut(&mut self.stations, index.0, to.nhi.0) else {
            return Progress::Idle;
        };
        cable.channel_mut(direction).forward(
            &mut sender.nhi,
            &mut receiver.nhi,
            ring,
            to.port,
            hop,
            now,
        )
    }

    /// The port through which the path of a transmit ring leaves, and the HopID on the link.
    fn egress(&self, index: NhiIndex, ring: RingNumber) -> Option<(End, HopId)> {
        let nhi = &self.stations[index.0].nhi;
        let path = nhi.router.path(NHI_ADAPTER, ring.hop())?;
        let port = PortNumber::of_adapter(path.out_adapter())?;
        Some((End { nhi: index, port }, path.next_hop()))
    }

    fn deliver_due_frames(&mut self, now: Instant) -> Progress {
        let mut progress = Progress::Idle;
        for cable in &mut self.cables {
            for direction in [Direction::AToB, Direction::BToA] {
                let (_, to) = cable.route(direction);
                let receiver = &mut self.stations[to.nhi.0].nhi;
                let channel = cable.channel_mut(direction);
                progress = progress.max(channel.deliver_due(receiver, to.port, now));
            }
        }
        progress
    }

    /// Brings every link up or down as cables and hosts are, and tells the hosts.
    fn update_links(&mut self) {
        for cable in &mut self.cables {
            let ends = cable.ends();
            let ready = ends.map(|end| self.stations[end.nhi.0].nhi.is_port_ready(end.port));
            let link = if cable.plug == Plug::Plugged && ready == [true, true] {
                LinkState::Up
            } else {
                LinkState::Down
            };
            if link != cable.link {
                log::info!("cable {}: link {link:?}", cable.name());
                cable.link = link;
                for (end, ready) in ends.into_iter().zip(ready) {
                    let station = &mut self.stations[end.nhi.0];
                    station.nhi.router.set_link(end.port, link);
                    let events = &mut station.ports[end.port.index()].events;
                    if ready {
                        events.push(link);
                    } else {
                        events.clear();
                    }
                }
                for direction in [Direction::AToB, Direction::BToA] {
                    cable.channel_mut(direction).flush();
                }
            }
            let wanted = ends.map(|end| self.stations[end.nhi.0].nhi.router.wanted_width(end.port));
            let width = if wanted.contains(&LaneWidth::Dual) {
                LaneWidth::Dual
            } else {
                LaneWidth::Single
            };
            for end in ends {
                let router = &mut self.stations[end.nhi.0].nhi.router;
                router.set_width(end.port, width);
            }
        }
    }
}

/// Two different elements of a slice; `None` if they are the same.
fn two_mut<T>(slice: &mut [T], first: usize, second: usize) -> Option<(&mut T, &mut T)> {
    use std::cmp::Ordering;
    match first.cmp(&second) {
        Ordering::Less => {
            let (low, high) = slice.split_at_mut(second);
            Some((&mut low[first], &mut high[0]))
        }
        Ordering::Greater => {
            let (low, high) = slice.split_at_mut(first);
            Some((&mut high[0], &mut low[second]))
        }
        Ordering::Equal => None,
    }
}

#[cfg(test)]
mod tests;
