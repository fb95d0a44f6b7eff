// SPDX-License-Identifier: GPL-2.0

//! The other hosts: which there are, which of them each rail leads to, and whether that can be true.

use core::ops::Deref;

use kernel::new_mutex;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;
use kernel::sync::SpinLock;
use kernel::task::Kuid;

use crate::fabric::claim::Claim;
use crate::fabric::claim::Contradiction;
use crate::fabric::claim::Trust;
use crate::fabric::host_address::address_of;
use crate::fabric::peer::Peer;
use crate::fabric::peer_table::NewPeer;
use crate::fabric::peer_table::PeerTable;
use crate::fabric::peer_table::Refusal;
use crate::stream_adapter::client::RailLink;
use crate::transport::ids::Qpn;
use crate::transport::ids::RailId;
use crate::transport::rail::hello::Features;
use crate::transport::rail::hello::Identity;
use crate::verbs::netdev::net_peer::NetPeer;
use crate::verbs::netdev::MacAddress;
use crate::verbs::qp::QpRoute;
use crate::verbs::route::Reach;

/// Set in the first byte of an Ethernet address that is not one host's (IEEE 802).
const MAC_GROUP: u8 = 0x01;

/// The host that a rail leads to, kept in mind.
pub(super) struct Attachment {
    peer: Arc<Peer>,
    _handle: QpRoute,
}

impl Deref for Attachment {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

/// What a rail leads to.
struct RailState {
    attachment: Option<Attachment>,
    /// Who is at the other end, as it says.
    claim: Option<Claim>,
    /// What it can do.
    features: Features,
}

impl RailState {
    const DOWN: Self = Self {
        attachment: None,
        claim: None,
        features: Features::NONE,
    };
}

/// The other hosts.
///
/// # Locking
///
/// `peers` is a mutex; the locks of peers are taken inside. `rails` is a spinlock, under which nothing is locked; it may be taken
/// with a QP locked.
#[pin_data]
pub(super) struct Hosts {
    /// This host's address.
    own: MacAddress,
    #[pin]
    peers: Mutex<PeerTable<Arc<Peer>>>,
    #[pin]
    rails: SpinLock<[RailState; RailId::COUNT]>,
}

impl Hosts {
    /// None, as seen from the host with the address `own`.
    pub(super) fn new(own: MacAddress) -> impl PinInit<Self> {
        pin_init!(Self {
            own,
            peers <- new_mutex!(PeerTable::new()),
            rails <- new_spinlock!([RailState::DOWN; RailId::COUNT]),
        })
    }

    /// The host with that address, which is kept as long as the handle exists.
    pub(super) fn peer(
        &self,
        host: MacAddress,
        claim: &NewPeer<'_, Kuid>,
    ) -> Result<(Arc<Peer>, QpRoute)> {
        let mut peers = self.peers.lock();
        if let Some(peer) = peers.iter().find(|peer| peer.host() == host) {
            return Ok((peer.clone(), QpRoute::new(peer.clone())));
        }
        let named_by = match claim {
            NewPeer::Rail => None,
            NewPeer::User(user) => Some(**user),
        };
        let place = peers.make_room(claim).map_err(|_: Refusal| ENXIO)?;
        let net_peer = Arc::pin_init(NetPeer::new(host), GFP_KERNEL)?;
        let peer = Arc::pin_init(Peer::new(host, named_by, net_peer), GFP_KERNEL)?;
        *place = Some(peer.clone());
        // With the table locked, so that the host is not forgotten before.
        Ok((peer.clone(), QpRoute::new(peer)))
    }

    /// This host's address.
    pub(super) fn own(&self) -> MacAddress {
        self.own
    }

    /// The host with the lowest address above `after` that a rail leads to.
    pub(super) fn next_host(&self, after: MacAddress) -> Option<MacAddress> {
        let rails = self.rails.lock();
        let hosts = rails
            .iter()
            .filter_map(|rail| Some(rail.attachment.as_ref()?.host().0));
        hosts.filter(|host| *host > after.0).min().map(MacAddress)
    }

    /// Whether datagrams can be sent to another host. If they cannot, as its driver is too old, that is logged once.
    pub(super) fn reach(&self, host: MacAddress) -> Reach {
        let rails = self.rails.lock();
        let mut leading_there = rails.iter().filter_map(|rail| {
            let attachment = rail.attachment.as_ref()?;
            (attachment.host() == host).then_some((attachment, rail.features))
        });
        match leading_there.next() {
            None => Reach::NoRail,
            Some((_, features)) if features.contains(Features::UNRELIABLE_DATAGRAMS) => Reach::Open,
            Some((peer, _)) => {
                if peer.is_first_complaint() {
                    pr_warn!(
                        "usb4_roce0: host {:02x?} has a version of the driver that knows no unreliable datagrams: those for it are \
                         dropped\n",
                        host.0
                    );
                }
                Reach::TooOld
            }
        }
    }

    /// The host with that address, if a rail leads to it.
    pub(super) fn reachable(&self, host: MacAddress) -> Option<Arc<Peer>> {
        let rails = self.rails.lock();
        let mut attachments = rails.iter().filter_map(|rail| rail.attachment.as_ref());
        let attachment = attachments.find(|attachment| attachment.host() == host)?;
        Some(attachment.peer.clone())
    }

    /// Whether that is this host's address.
    pub(super) fn is_this_host(&self, host: MacAddress) -> bool {
        host == self.own
    }

    /// Whether a host at the other end of a cable can have that address. With ours it could speak for
    /// QPs of this host.
    pub(super) fn may_be_peer(&self, host: MacAddress) -> bool {
        !self.is_this_host(host) && host.0[0] & MAC_GROUP == 0 && host.0 != [0; 6]
    }

    /// The host that `rail` leads to, while it is up.
    pub(super) fn peer_of(&self, rail: RailId) -> Option<Arc<Peer>> {
        let rails = self.rails.lock();
        let attachment = rails[rail.index()].attachment.as_ref()?;
        Some(attachment.peer.clone())
    }

    /// From now on `rail` leads to `peer`, which is what `claim` says, and has these `features`.
    pub(super) fn attach(
        &self,
        rail: RailId,
        peer: &Arc<Peer>,
        handle: QpRoute,
        claim: Claim,
        features: Features,
    ) {
        let state = RailState {
            attachment: Some(Attachment {
                peer: peer.clone(),
                _handle: handle,
            }),
            claim: Some(claim),
            features,
        };
        let old = core::mem::replace(&mut self.rails.lock()[rail.index()], state);
        drop(old);
    }

    /// Detaches the rail; returns its peer, if it had one.
    pub(super) fn detach(&self, rail: RailId) -> Option<Attachment> {
        let old = core::mem::replace(&mut self.rails.lock()[rail.index()], RailState::DOWN);
        old.attachment
    }

    /// The last acknowledgement of the QP with that number got lost over a rail that is down by now. Numbers of QPs are
    /// this host's, so that only one peer has it.
    pub(super) fn on_lost_final_ack(&self, qpn: Qpn) {
        let peers = self.peers.lock();
        peers.iter().for_each(|peer| peer.on_lost_final_ack(qpn));
    }

    /// Whether a peer is believed that says who it is. What speaks against it is logged.
    pub(super) fn believe(
        &self,
        rail: RailId,
        claim: &Claim,
        identity: &Identity,
        link: &dyn RailLink,
    ) -> bool {
        let host = MacAddress(identity.mac);
        let name = link.name();
        if !self.may_be_peer(host) || host != address_of(claim.guid) {
            if let Some(left_out) = link.take_log_line() {
                pr_err!(
                    "rail {name}: {} says it has address {:02x?}, which it cannot have; the rail stays unused: see \
                     what is at the other end of the cable{left_out}\n",
                    identity.name(),
                    host.0
                );
            }
            return false;
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
            Ok(Trust::Unvouched) => {
                if let Some(left_out) = link.take_log_line() {
                    pr_info!(
                        "rail {name}: {} says it is host {:016x}, of which the cable leads to another controller; \
                         that cannot be checked{left_out}\n",
                        identity.name(),
                        claim.guid.0
                    );
                }
            }
            Ok(Trust::Contested) => {
                if let Some(left_out) = link.take_log_line() {
                    pr_warn!(
                        "rail {name}: {} says it is host {:016x}, and so does a host at another cable; one of them is not: see \
                         what is at the other ends of the cables{left_out}\n",
                        identity.name(),
                        claim.guid.0
                    );
                }
            }
            Ok(Trust::Vouched | Trust::Unknown) => {}
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
        checked.is_ok()
    }
}
