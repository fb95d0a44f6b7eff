// SPDX-License-Identifier: GPL-2.0

//! All peers of this host and the rails to them; joins rails, QPs and the network interface.

pub mod claim;
pub(crate) mod host_address;
mod hosts;
mod loopback;
mod peer;
pub mod peer_table;
mod port_state;
mod ready_list;

use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use kernel::task::Kuid;

use crate::base::clock;
use crate::base::lending_buffer::Arrived;
use crate::base::page_vec::PageVec;
use crate::base::page_vec::MAX_PAYLOAD;
use crate::base::workers::Workers;
use crate::fabric::claim::Claim;
use crate::fabric::hosts::Hosts;
use crate::fabric::loopback::Loopback;
use crate::fabric::peer::Peer;
use crate::fabric::peer_table::NewPeer;
use crate::fabric::port_state::PortState;
use crate::stream_adapter::client::Answers;
use crate::stream_adapter::client::Due;
use crate::stream_adapter::client::Occasion;
use crate::stream_adapter::client::Outgoing;
use crate::stream_adapter::client::Payload;
use crate::stream_adapter::client::RailClient;
use crate::stream_adapter::client::RailLink;
use crate::stream_adapter::client::Reception;
use crate::stream_adapter::client::TxBuffer;
use crate::transport::frame::Body;
use crate::transport::frame::DatagramHeader;
use crate::transport::frame::Header;
use crate::transport::frame::Operands;
use crate::transport::frame::Operation;
use crate::transport::frame::RequestHeader;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::outcome::Outcome;
use crate::transport::rail::hello::Identity;
use crate::transport::rail::router_uuid::RouterUuid;
use crate::transport::rail::InFlight;
use crate::transport::unreliable_datagram::destination;
use crate::verbs::device::RoceDevice;
use crate::verbs::mr::Regions;
use crate::verbs::multicast::MulticastGroups;
use crate::verbs::netdev::MacAddress;
use crate::verbs::netdev::Netdev;
use crate::verbs::netdev::SocketBuffer;
use crate::verbs::qp::Departure;
use crate::verbs::qp::FramePayload;
use crate::verbs::qp::QpRoute;
use crate::verbs::qp::QpTable;
use crate::verbs::qp::QueuePair;
use crate::verbs::qp::RxFrame;
use crate::verbs::qp::RxVerdict;
use crate::verbs::qp::FEATURES;
use crate::verbs::rdma::DeviceHandle;
use crate::verbs::route::FrameSink;
use crate::verbs::route::PortLink;
use crate::verbs::route::Reach;
use crate::verbs::route::RouteTable;
use crate::verbs::route::TxHint;
use crate::verbs::route_slot::Roster;

/// A frame of the network interface goes out at least once in so many frames of a rail, if one waits.
const DATAGRAM_SHARE: u32 = 16;

/// Keeps memory alive while a payload is being sent.
pub(crate) enum Ticket {
    /// The memory a payload is read from.
    Outgoing {
        _regions: Regions,
        /// Dropped after the regions.
        _departure: Option<Departure>,
    },
    /// A frame of the network interface.
    Datagram { _buffer: SocketBuffer },
}

/// All ways from this host.
#[pin_data]
pub(crate) struct Fabric {
    queue_pairs: Arc<QpTable>,
    groups: Arc<MulticastGroups>,
    netdev: Arc<Netdev>,
    loopback: Arc<Loopback>,
    workers: Arc<Workers>,
    #[pin]
    hosts: Hosts,
    #[pin]
    port: PortState,
    /// Frames of QPs since the last of the network interface, by rail.
    turns: [Atomic<u32>; RailId::COUNT],
}

impl Fabric {
    /// A fabric of this host alone.
    pub(crate) fn new(host: MacAddress, netdev: Arc<Netdev>) -> Result<Arc<Self>> {
        let queue_pairs = Arc::pin_init(QueuePair::table(), GFP_KERNEL)?;
        let groups = Arc::pin_init(MulticastGroups::new(), GFP_KERNEL)?;
        let workers = Arc::new(Workers::reserved(c"usb4_roce")?, GFP_KERNEL)?;
        let loopback = Loopback::new(host, queue_pairs.clone(), groups.clone(), workers.clone())?;
        let hosts = Hosts::new(host);
        let port = PortState::new(netdev.clone());
        Arc::pin_init(
            pin_init!(Self {
                queue_pairs,
                groups,
                netdev,
                loopback,
                workers,
                hosts <- hosts,
                port <- port,
                turns: [const { Atomic::new(0) }; RailId::COUNT],
            }),
            GFP_KERNEL,
        )
    }

    /// The QPs that frames are for.
    pub(crate) fn queue_pairs(&self) -> &Arc<QpTable> {
        &self.queue_pairs
    }

    /// The groups that datagrams are for.
    pub(crate) fn multicast_groups(&self) -> &Arc<MulticastGroups> {
        &self.groups
    }

    /// Threads for what QPs, and the way from this host to itself, do later.
    pub(crate) fn workers(&self) -> &Arc<Workers> {
        &self.workers
    }

    /// The verbs device to be told of changes of the port, and how it is now; `None` when it goes away.
    pub(crate) fn set_device(&self, device: Option<DeviceHandle<RoceDevice>>) {
        self.port.set_device(device);
    }

    /// Makes sure that nothing is under way any more. To be called before the module goes, with all rails stopped and
    /// the verbs device unregistered.
    pub(crate) fn stop(&self) {
        self.loopback.stop();
    }

    /// Has the QP with that number take the frame.
    fn deliver_to(
        &self,
        qpn: Qpn,
        peer: &Peer,
        frame: RxFrame<'_>,
        payload: &[u8],
        pages: &mut PageVec,
    ) -> Reception {
        let Some(qp) = self.queue_pairs.find(qpn.get()) else {
            return Reception::Discarded;
        };
        let verdict = qp.on_frame(peer.host(), frame, clock::now(), pages, TxHint::Coalesce);
        match verdict {
            RxVerdict::Discarded => Reception::Discarded,
            RxVerdict::Taken => Reception::Taken,
            RxVerdict::Place(placement) => {
                // The pages are as long as the payload.
                let outcome = match pages.copy_from_slice_in_order(payload) {
                    Ok(()) => Outcome::Placed,
                    Err(_) => Outcome::Aborted,
                };
                // They may be gone when the placement is.
                pages.clear();
                placement.commit(outcome, TxHint::Coalesce);
                Reception::Taken
            }
            RxVerdict::PlaceOnDemand(placement) => {
                placement.place(payload, TxHint::Coalesce);
                Reception::Taken
            }
        }
    }

    /// Has all members of the group that a datagram is for take it.
    fn deliver_to_group(
        &self,
        peer: &Peer,
        header: &DatagramHeader,
        payload: &[u8],
        pages: &mut PageVec,
    ) -> Reception {
        let Some(group) = destination(payload) else {
            return Reception::Discarded;
        };
        let mut reception = Reception::Discarded;
        let mut from = Qpn::default();
        while let Some(qpn) = self.groups.next_member(group, from) {
            let frame = RxFrame::Datagram(header);
            if self.deliver_to(qpn, peer, frame, payload, pages) == Reception::Taken {
                reception = Reception::Taken;
            }
            from = Qpn::new(qpn.get() + 1);
        }
        reception
    }

    fn next_datagram(
        &self,
        rail: RailId,
        peer: &Peer,
        tx: &mut TxBuffer<'_>,
    ) -> Option<Outgoing<Ticket>> {
        if !takes_datagrams(tx) {
            return None;
        }
        let datagram = self.netdev.take_tx(peer.net_peer(), rail, tx)?;
        self.turns[rail.index()].store(0, Relaxed);
        Some(Outgoing {
            body: Body::Datagram(datagram.state),
            item: InFlight::Datagram,
            payload: datagram.payload,
            ticket: Ticket::Datagram {
                _buffer: datagram.buffer,
            },
        })
    }
}

/// Whether a frame of the network interface may be sent there: whoever sends small frames only leaves it to the rail's transmitting
/// thread, which is woken for each.
fn takes_datagrams(tx: &TxBuffer<'_>) -> bool {
    tx.room() as usize >= MAX_PAYLOAD
}

impl RouteTable for Fabric {
    type Member = Arc<QueuePair>;

    fn route(&self, host: MacAddress) -> Result<QpRoute> {
        if self.hosts.is_this_host(host) {
            return Ok(QpRoute::new(self.loopback.clone()));
        }
        if !self.hosts.may_be_peer(host) {
            return Err(EINVAL);
        }
        let (_, route) = self
            .hosts
            .peer(host, &NewPeer::User(&Kuid::current_euid()))?;
        Ok(route)
    }

    fn port_link(&self) -> PortLink {
        self.port.link()
    }

    fn own_host(&self) -> MacAddress {
        self.hosts.own()
    }

    fn next_host(&self, after: MacAddress) -> Option<MacAddress> {
        self.hosts.next_host(after)
    }

    fn reach(&self, host: MacAddress) -> Reach {
        if self.hosts.is_this_host(host) {
            Reach::Open
        } else {
            self.hosts.reach(host)
        }
    }

    fn reachable(&self, host: MacAddress) -> Option<QpRoute> {
        if self.hosts.is_this_host(host) {
            return Some(QpRoute::new(self.loopback.clone()));
        }
        Some(QpRoute::new(self.hosts.reachable(host)?))
    }
}

/// The room for a payload that a rail offers.
struct RailSink<'a, 'b>(&'a mut TxBuffer<'b>);

impl FrameSink for RailSink<'_, '_> {
    fn staging(&mut self) -> &mut [u8] {
        self.0.staging()
    }

    fn pages(&mut self) -> &mut PageVec {
        self.0.pages()
    }

    fn stage_pages(&mut self, at: usize) -> Result {
        self.0.stage_pages_at(at)
    }

    fn room(&self) -> u32 {
        self.0.room()
    }
}

/// The operands of an atomic operation, if it is one.
fn operands_of(header: &RequestHeader, payload: &[u8]) -> Option<Operands> {
    match header.operation {
        Operation::Execute(_) => Operands::from_bytes(payload),
        Operation::Send { .. }
        | Operation::SendWithInvalidate { .. }
        | Operation::Write { .. }
        | Operation::Read(_) => None,
    }
}

impl RailClient for Fabric {
    type Ticket = Ticket;

    fn rail_up(
        &self,
        rail: RailId,
        identity: &Identity,
        router: Option<RouterUuid>,
        link: &Arc<dyn RailLink>,
    ) {
        let claim = Claim {
            guid: identity.node_guid,
            router,
        };
        if !self.hosts.believe(rail, &claim, identity, &**link) {
            return;
        }
        let host = MacAddress(identity.mac);
        let (peer, handle) = match self.hosts.peer(host, &NewPeer::Rail) {
            Ok(peer) => peer,
            Err(error) => {
                if let Some(left_out) = link.take_log_line() {
                    pr_err!(
                        "rail {}: no room for peer {} ({error:?}); the rail stays unused until it is \
                         reconnected{left_out}\n",
                        link.name(),
                        identity.name()
                    );
                }
                return;
            }
        };
        let offer = (identity.limits, identity.features.both(FEATURES));
        if peer.rail_up(rail, link, offer).is_err() {
            if let Some(left_out) = link.take_log_line() {
                pr_err!(
                    "rail {}: {} says other limits than over another cable; the rail stays unused until it is \
                     reconnected{left_out}\n",
                    link.name(),
                    identity.name()
                );
            }
            return;
        }
        self.hosts
            .attach(rail, &peer, handle, claim, identity.features);
        let announced =
            self.netdev
                .rail_up(peer.net_peer(), rail, identity.features, link.tx_event());
        if let Err(error) = announced {
            if let Some(left_out) = link.take_log_line() {
                pr_warn!(
                    "rail {}: carries no IP ({error:?}){left_out}\n",
                    link.name()
                );
            }
        }
        self.port.rail_up(rail, link);
    }

    fn rail_down(&self, rail: RailId) {
        let Some(peer) = self.hosts.detach(rail) else {
            return;
        };
        peer.rail_down(rail);
        let mut number = 0;
        while let Some((found, qp)) = self.queue_pairs.find_from(number) {
            qp.on_rail_down(peer.id(), clock::now());
            number = found + 1;
        }
        self.netdev.rail_down(peer.net_peer(), rail);
        self.port.rail_down(rail);
    }

    fn note_answers(&self, rail: RailId, answers: Answers) {
        if let Some(peer) = self.hosts.peer_of(rail) {
            peer.note_answers(rail, answers);
            self.netdev.note_answers(peer.net_peer(), rail, answers);
        }
    }

    fn busy(&self, rail: RailId) {
        if let Some(peer) = self.hosts.peer_of(rail) {
            peer.rail_busy(rail);
        }
    }

    fn lost(&self, rail: RailId, seq: RailSeq, item: InFlight) {
        let qpn = match item {
            InFlight::Request { qpn, .. }
            | InFlight::Response { qpn, .. }
            | InFlight::Ack { qpn }
            | InFlight::Unreliable { qpn }
            | InFlight::UnreliableDatagram { qpn } => qpn,
            InFlight::Datagram => return,
        };
        if let Some(qp) = self.queue_pairs.find(qpn.get()) {
            qp.on_lost(rail, seq, item, clock::now());
        }
        // It may have been of a QP that is gone, or of the life of this one before it was reset.
        if let InFlight::Ack { .. } = item {
            match self.hosts.peer_of(rail) {
                Some(peer) => peer.on_lost_final_ack(qpn),
                None => self.hosts.on_lost_final_ack(qpn),
            }
        }
    }

    fn next(&self, rail: RailId, seq: RailSeq, tx: &mut TxBuffer<'_>) -> Option<Outgoing<Ticket>> {
        let peer = self.hosts.peer_of(rail)?;
        let turn = self.turns[rail.index()].fetch_add(1, Relaxed);
        if turn >= DATAGRAM_SHARE && takes_datagrams(tx) {
            if let Some(datagram) = self.next_datagram(rail, &peer, tx) {
                return Some(datagram);
            }
            self.turns[rail.index()].store(0, Relaxed);
        }
        let afterwards = tx.afterwards();
        let frame = peer.next(rail, seq, clock::now(), &mut RailSink(tx), afterwards);
        let Some(frame) = frame else {
            let datagram = self.next_datagram(rail, &peer, tx);
            if datagram.is_some() {
                peer.rail_busy(rail);
            }
            return datagram;
        };
        let payload = match frame.payload {
            FramePayload::Empty => Payload::Empty,
            FramePayload::Staged(len) => Payload::Staged(len),
            FramePayload::Pages => Payload::Pages,
            // A segment is never longer than the staging memory.
            FramePayload::PagesToStage => match tx.stage_pages() {
                Ok(len) => Payload::Staged(len),
                Err(_) => Payload::Pages,
            },
        };
        Some(Outgoing {
            body: frame.body,
            item: frame.item,
            payload,
            ticket: Ticket::Outgoing {
                _regions: frame.regions,
                _departure: frame.departure,
            },
        })
    }

    fn deliver(
        &self,
        rail: RailId,
        header: &Header,
        payload: Arrived<'_>,
        pages: &mut PageVec,
    ) -> Reception {
        // Frames of an unauthenticated rail are dropped.
        let Some(peer) = self.hosts.peer_of(rail) else {
            return Reception::Discarded;
        };
        let frame = match &header.body {
            Body::Request(header) => RxFrame::Request(header, operands_of(header, payload.bytes())),
            Body::Response(header) => RxFrame::Response(header),
            Body::Ack(header) => RxFrame::Ack(header),
            Body::Unreliable(header) => RxFrame::Unreliable(header, rail),
            Body::UnreliableDatagram(header) if header.dest_qpn == Qpn::MULTICAST => {
                return self.deliver_to_group(&peer, header, payload.bytes(), pages);
            }
            Body::UnreliableDatagram(header) => RxFrame::Datagram(header),
            Body::Datagram(state) => {
                self.netdev.receive(peer.host(), rail, *state, payload);
                return Reception::Taken;
            }
            Body::Hello | Body::Nop { .. } | Body::Lost { .. } | Body::Goodbye => {
                return Reception::Discarded;
            }
        };
        let reception = self.deliver_to(frame.destination(), &peer, frame, payload.bytes(), pages);
        // If the rail went down meanwhile, nobody is going to ask for what is due.
        if self.hosts.peer_of(rail).is_none() {
            let _ = peer.send_due(Occasion::MustGo);
        }
        reception
    }

    fn send_due(&self, rail: RailId, occasion: Occasion) -> Due {
        match self.hosts.peer_of(rail) {
            Some(peer) => peer.send_due(occasion),
            None => Due::Settled,
        }
    }
}
