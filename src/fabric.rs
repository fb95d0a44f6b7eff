// SPDX-License-Identifier: GPL-2.0

//! All peers of this host and the rails to them; joins rails, QPs and the network interface.

use kernel::new_mutex;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SpinLock;
use kernel::task::Kuid;

use crate::claim::Claim;
use crate::claim::Contradiction;
use crate::claim::RouterUuid;
use crate::claim::Standing;
use crate::clock;
use crate::identity::mac_of;
use crate::identity::HostIdentity;
use crate::loopback::Loopback;
use crate::page_vec::PageVec;
use crate::peer::Peer;
use crate::peer_table::NewPeer;
use crate::peer_table::PeerTable;
use crate::peer_table::Refusal;
use crate::route_slot::Roster;
use crate::stream_adapter::client::Answers;
use crate::stream_adapter::client::Outgoing;
use crate::stream_adapter::client::Payload;
use crate::stream_adapter::client::RailClient;
use crate::stream_adapter::client::RailLink;
use crate::stream_adapter::client::Rate;
use crate::stream_adapter::client::Reception;
use crate::stream_adapter::client::TxBuffer;
use crate::transport::frame::Body;
use crate::transport::frame::Header;
use crate::transport::ids::RailId;
use crate::transport::ids::RailSeq;
use crate::transport::outcome::Outcome;
use crate::transport::rail::hello::Identity;
use crate::transport::rail::InFlight;
use crate::verbs::device::RoceDevice;
use crate::verbs::mr::Regions;
use crate::verbs::netdev::neighbour::Neighbour;
use crate::verbs::netdev::Carrier;
use crate::verbs::netdev::MacAddress;
use crate::verbs::netdev::Netdev;
use crate::verbs::netdev::MAX_FRAME;
use crate::verbs::objects::Objects;
use crate::verbs::qp::Arrival;
use crate::verbs::qp::FramePayload;
use crate::verbs::rdma::DeviceHandle;
use crate::verbs::rdma::PortEvent;
use crate::verbs::rdma::PortNumber;
use crate::verbs::route::FrameSink;
use crate::verbs::route::Link;
use crate::verbs::route::RouteHandle;
use crate::verbs::route::Router;
use crate::verbs::route::Urgency;

/// Set in the first byte of an Ethernet address that is not one host's (IEEE 802).
const MAC_GROUP: u8 = 0x01;

/// A frame of the network interface goes out at least once in so many frames of a rail, if one waits.
const DATAGRAM_SHARE: u32 = 16;

/// Keeps memory alive while a payload is being sent.
pub(crate) enum Ticket {
    /// The memory a payload is read from.
    Outgoing { _regions: Regions },
    /// A frame for the network interface.
    Datagram,
}

/// What a rail leads to.
struct RailState {
    peer: Option<Arc<Peer>>,
    /// Keeps the peer in mind.
    _handle: Option<RouteHandle>,
    /// Who is at the other end, as it says.
    claim: Option<Claim>,
}

impl RailState {
    const DOWN: Self = Self {
        claim: None,
        peer: None,
        _handle: None,
    };
}

/// All ways from this host.
///
/// # Locking
///
/// `peers` is a mutex; the locks of peers are taken inside. `device` is one, taken alone or inside `rails_up`. `rails`
/// is a spinlock, taken alone and for moments.
#[pin_data]
pub(crate) struct Fabric {
    host: MacAddress,
    objects: Arc<Objects>,
    netdev: Arc<Netdev>,
    loopback: Arc<Loopback>,
    #[pin]
    peers: Mutex<PeerTable<Arc<Peer>>>,
    #[pin]
    rails: SpinLock<[RailState; RailId::COUNT]>,
    /// Frames of QPs since the last of the network interface, by rail.
    turns: [Atomic<u32>; RailId::COUNT],
    /// How many rails are up. Held until the interface and the verbs device have been told, so that the last they
    /// hear is how it is.
    #[pin]
    rails_up: Mutex<u32>,
    /// What the rails that are up carry, in Mb/s.
    rates: [Atomic<u32>; RailId::COUNT],
    #[pin]
    device: Mutex<Option<DeviceHandle<RoceDevice>>>,
}

impl Fabric {
    /// A fabric of this host alone.
    pub(crate) fn new(identity: &HostIdentity, netdev: Arc<Netdev>) -> Result<Arc<Self>> {
        let host = MacAddress(identity.mac());
        let objects = Arc::pin_init(Objects::new(), GFP_KERNEL)?;
        let loopback = Loopback::new(host, objects.clone())?;
        Arc::pin_init(
            pin_init!(Self {
                host,
                objects,
                netdev,
                loopback,
                peers <- new_mutex!(PeerTable::new()),
                rails <- new_spinlock!([RailState::DOWN; RailId::COUNT]),
                turns: [const { Atomic::new(0) }; RailId::COUNT],
                rails_up <- new_mutex!(0),
                rates: [const { Atomic::new(0) }; RailId::COUNT],
                device <- new_mutex!(None),
            }),
            GFP_KERNEL,
        )
    }

    /// The tables of the QPs and regions that frames are for.
    pub(crate) fn objects(&self) -> &Arc<Objects> {
        &self.objects
    }

    /// The verbs device to be told of changes of the port, and how it is now; `None` when it goes away.
    pub(crate) fn set_device(&self, device: Option<DeviceHandle<RoceDevice>>) {
        let rails_up = self.rails_up.lock();
        let old = core::mem::replace(&mut *self.device.lock(), device);
        // Since it was registered the first rail may have come up, or the last gone.
        self.dispatch(match *rails_up {
            0 => PortEvent::Error,
            1.. => PortEvent::Active,
        });
        drop(rails_up);
        drop(old);
    }

    /// Makes sure that nothing is under way any more. To be called before the module goes, with all rails stopped and
    /// the verbs device unregistered.
    pub(crate) fn stop(&self) {
        self.loopback.stop();
    }

    /// The host with that address, which is kept as long as the handle exists.
    fn peer(
        &self,
        host: MacAddress,
        claim: &NewPeer<'_, Kuid>,
    ) -> Result<(Arc<Peer>, RouteHandle)> {
        let mut peers = self.peers.lock();
        if let Some(peer) = peers.iter().find(|peer| peer.host() == host) {
            return Ok((peer.clone(), RouteHandle::new(peer.clone())));
        }
        let named_by = match claim {
            NewPeer::Rail => None,
            NewPeer::User(user) => Some(**user),
        };
        let place = peers.make_room(claim).map_err(|_: Refusal| ENXIO)?;
        let neighbour = Arc::pin_init(Neighbour::new(host), GFP_KERNEL)?;
        let peer = Arc::pin_init(Peer::new(host, named_by, neighbour), GFP_KERNEL)?;
        *place = Some(peer.clone());
        // With the table locked, so that the host is not forgotten before.
        Ok((peer.clone(), RouteHandle::new(peer)))
    }

    /// Whether a host at the other end of a cable can have that address. With ours it could speak for
    /// QPs of this host.
    fn may_be_peer(&self, host: MacAddress) -> bool {
        host != self.host && host.0[0] & MAC_GROUP == 0 && host.0 != [0; 6]
    }

    /// Counts rails with `change`, and tells the interface and the verbs device. What the rail carries has been
    /// noted.
    fn recount(&self, change: impl FnOnce(u32) -> u32) {
        let mut rails_up = self.rails_up.lock();
        let before = *rails_up;
        *rails_up = change(before);
        let event = match (before, *rails_up) {
            (0, 1..) => {
                self.netdev.set_carrier(Carrier::Up);
                PortEvent::Active
            }
            (1.., 0) => {
                self.netdev.set_carrier(Carrier::Down);
                PortEvent::Error
            }
            (0, 0) | (1.., 1..) => PortEvent::SpeedChange,
        };
        self.dispatch(event);
    }

    /// What all rails that are up carry together.
    fn rate(&self) -> Rate {
        Rate(self.rates.iter().map(|rate| rate.load(Relaxed)).sum())
    }

    /// Notes what a rail carries from now on.
    fn set_rate(&self, rail: RailId, rate: Rate) {
        self.rates[rail.index()].store(rate.0, Relaxed);
        self.netdev.set_rate(self.rate());
    }

    fn peer_of(&self, rail: RailId) -> Option<Arc<Peer>> {
        self.rails.lock()[rail.index()].peer.clone()
    }

    fn dispatch(&self, event: PortEvent) {
        if let Some(device) = &*self.device.lock() {
            device.dispatch(PortNumber::FIRST, event);
        }
    }

    /// How far a peer is to be believed that says who it is; not at all if there is no answer.
    fn believe(
        &self,
        rail: RailId,
        claim: &Claim,
        identity: &Identity,
        link: &dyn RailLink,
    ) -> Option<Standing> {
        let host = MacAddress(identity.mac);
        let name = link.name();
        if !self.may_be_peer(host) || identity.mac != mac_of(claim.guid) {
            if let Some(left_out) = link.take_log_line() {
                pr_err!(
                    "rail {name}: {} says it has address {:02x?}, which it cannot have; the rail stays unused: see \
                     what is at the other end of the cable{left_out}\n",
                    identity.name(),
                    host.0
                );
            }
            return None;
        }
        let checked = {
            let mut rails = self.rails.lock();
            let others = rails.iter().filter_map(|rail| rail.claim.as_ref());
            let checked = claim.check(others);
            if checked.is_ok() {
                rails[rail.index()].claim = Some(*claim);
            }
            checked
        };
        match checked {
            Ok(Standing::Unvouched) => {
                if let Some(left_out) = link.take_log_line() {
                    pr_info!(
                        "rail {name}: {} says it is host {:016x}, of which the cable leads to another controller; \
                         that cannot be checked{left_out}\n",
                        identity.name(),
                        claim.guid.0
                    );
                }
            }
            Ok(Standing::Vouched | Standing::Unknown) => {}
            Err(Contradiction { other }) => {
                if let Some(left_out) = link.take_log_line() {
                    pr_err!(
                        "rail {name}: {} says it is host {:016x}, but over another stream of the same cable it is \
                         {:016x}; the rail stays unused{left_out}\n",
                        identity.name(),
                        claim.guid.0,
                        other.0
                    );
                }
            }
        }
        checked.ok()
    }

    fn next_datagram(
        &self,
        rail: RailId,
        peer: &Peer,
        tx: &mut TxBuffer<'_>,
    ) -> Option<Outgoing<Ticket>> {
        // Whoever sends small frames only leaves it to the rail's writer, which is woken for each.
        if (tx.room() as usize) < MAX_FRAME {
            return None;
        }
        let len = self.netdev.take_tx(peer.neighbour(), rail, tx.staging())?;
        self.turns[rail.index()].store(0, Relaxed);
        Some(Outgoing {
            body: Body::Datagram,
            item: InFlight::Datagram,
            payload: Payload::Staged(len),
            ticket: Ticket::Datagram,
        })
    }
}

impl Router for Fabric {
    fn route(&self, host: MacAddress) -> Result<RouteHandle> {
        if host == self.host {
            return Ok(RouteHandle::new(self.loopback.clone()));
        }
        if !self.may_be_peer(host) {
            return Err(EINVAL);
        }
        let (_, route) = self.peer(host, &NewPeer::User(&Kuid::current_euid()))?;
        Ok(route)
    }

    fn link(&self) -> Link {
        Link {
            rails: *self.rails_up.lock(),
            rate: self.rate(),
        }
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

    fn room(&self) -> u32 {
        self.0.room()
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
        let Some(standing) = self.believe(rail, &claim, identity, &**link) else {
            return;
        };
        let host = MacAddress(identity.mac);
        let (peer, handle) = match self.peer(host, &NewPeer::Rail) {
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
        if peer.rail_up(rail, link, identity.limits, standing).is_err() {
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
        let old = {
            let mut rails = self.rails.lock();
            core::mem::replace(
                &mut rails[rail.index()],
                RailState {
                    peer: Some(peer.clone()),
                    _handle: Some(handle),
                    claim: Some(claim),
                },
            )
        };
        drop(old);
        let announced = self.netdev.rail_up(peer.neighbour(), rail, link.kick());
        if let Err(error) = announced {
            if let Some(left_out) = link.take_log_line() {
                pr_warn!(
                    "rail {}: carries no IP ({error:?}){left_out}\n",
                    link.name()
                );
            }
        }
        self.set_rate(rail, link.rate());
        self.recount(|rails| rails + 1);
    }

    fn rail_down(&self, rail: RailId) {
        let old = {
            let mut rails = self.rails.lock();
            core::mem::replace(&mut rails[rail.index()], RailState::DOWN)
        };
        let Some(peer) = &old.peer else {
            return;
        };
        peer.rail_down(rail);
        let mut number = 0;
        while let Some((found, qp)) = self.objects.queue_pairs.find_from(number) {
            qp.on_rail_down(peer.id(), clock::now());
            number = found + 1;
        }
        self.netdev.rail_down(peer.neighbour(), rail);
        self.set_rate(rail, Rate(0));
        self.recount(|rails| rails - 1);
    }

    fn note_answers(&self, rail: RailId, answers: Answers) {
        if let Some(peer) = self.peer_of(rail) {
            peer.note_answers(rail, answers);
            self.netdev.note_answers(peer.neighbour(), rail, answers);
        }
    }

    fn busy(&self, rail: RailId) {
        if let Some(peer) = self.peer_of(rail) {
            peer.rail_busy(rail);
        }
    }

    fn lost(&self, rail: RailId, seq: RailSeq, item: InFlight) {
        let qpn = match item {
            InFlight::Request { qpn, .. }
            | InFlight::Response { qpn, .. }
            | InFlight::Ack { qpn } => qpn,
            InFlight::Datagram => return,
        };
        if let Some(qp) = self.objects.queue_pairs.find(qpn.get()) {
            qp.on_lost(rail, seq, item, clock::now());
        }
        // It may have been of a QP that is gone, or of the life of this one before it was reset.
        if let InFlight::Ack { .. } = item {
            match self.peer_of(rail) {
                Some(peer) => peer.on_lost_final_ack(qpn),
                // The rail is down already. Numbers of QPs are this host's, so that only one peer has it.
                None => self
                    .peers
                    .lock()
                    .iter()
                    .for_each(|peer| peer.on_lost_final_ack(qpn)),
            }
        }
    }

    fn next(&self, rail: RailId, seq: RailSeq, tx: &mut TxBuffer<'_>) -> Option<Outgoing<Ticket>> {
        let peer = self.peer_of(rail)?;
        let turn = self.turns[rail.index()].fetch_add(1, Relaxed);
        if turn >= DATAGRAM_SHARE {
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
            FramePayload::None => Payload::None,
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
            },
        })
    }

    fn deliver(
        &self,
        rail: RailId,
        header: &Header,
        payload: &[u8],
        pages: &mut PageVec,
    ) -> Reception {
        // No rail without a peer is used, for whatever: who is at its other end is not who it says.
        let Some(peer) = self.peer_of(rail) else {
            return Reception::Discarded;
        };
        let arrival = match &header.body {
            Body::Request(header) => Arrival::Request(header),
            Body::Response(header) => Arrival::Response(header),
            Body::Ack(header) => Arrival::Ack(header),
            Body::Datagram => {
                self.netdev.receive(peer.host(), payload);
                return Reception::Taken;
            }
            Body::Hello | Body::Nop { .. } | Body::Lost { .. } | Body::Goodbye => {
                return Reception::Discarded;
            }
        };
        let Some(qp) = self.objects.queue_pairs.find(arrival.destination().get()) else {
            return Reception::Discarded;
        };
        let delivery = qp.deliver(peer.host(), arrival, clock::now(), pages, Urgency::Gathered);
        let reception = match delivery {
            None => Reception::Discarded,
            Some(delivery) => {
                // The pages are as long as the payload.
                let outcome = match pages.copy_from_slice_in_order(payload) {
                    Ok(()) => Outcome::Placed,
                    Err(_) => Outcome::Aborted,
                };
                // They may be gone when the delivery is.
                pages.clear();
                delivery.commit(outcome, Urgency::Gathered);
                Reception::Taken
            }
        };
        // If the rail went down meanwhile, nobody is going to ask for a flush of it.
        if self.peer_of(rail).is_none() {
            peer.flush();
        }
        reception
    }

    fn flush(&self, rail: RailId) {
        if let Some(peer) = self.peer_of(rail) {
            peer.flush();
        }
    }
}
