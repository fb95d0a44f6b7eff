// SPDX-License-Identifier: GPL-2.0

//! The service of unreliable datagrams.
//!
//! A QP is in the list of one route, which is that of the next datagram: the rails to that host take it when they have
//! room, as they take the segments of connections. So a queue is no longer than its ring, and every QP gets its turn. That a
//! host which takes nothing does not hold up datagrams for others, [`Patience`] sees to: what waits for it is dropped then.

use kernel::prelude::*;
use kernel::sync::Arc;

use super::attributes::Attributes;
use super::limits::WINDOW;
use crate::base::kernel_tables::KernelTables;
use crate::transport::frame::DatagramHeader;
use crate::transport::frame::SMALL_PAYLOAD;
use crate::transport::ids::Duration;
use crate::transport::ids::Instant;
use crate::transport::ids::MessageSlot;
use crate::transport::ids::Qkey;
use crate::transport::ids::Qpn;
use crate::transport::opcode::Opcode;
use crate::transport::requester::PostError;
use crate::transport::requester::SendRequest;
use crate::transport::status::CompletionStatus;
use crate::transport::unreliable_datagram::Datagram;
use crate::transport::unreliable_datagram::DatagramDropped;
use crate::transport::unreliable_datagram::DatagramReceiver;
use crate::transport::unreliable_datagram::DatagramRequest;
use crate::transport::unreliable_datagram::DatagramSender;
use crate::transport::unreliable_datagram::TakenReceive;
use crate::transport::unreliable_datagram::MAX_DATAGRAM;
use crate::transport::unreliable_datagram::NETWORK_HEADER_LEN;
use crate::verbs::abi::datagram_wqe::DatagramTarget;
use crate::verbs::abi::send_wqe;
use crate::verbs::address::look_up;
use crate::verbs::address::Address;
use crate::verbs::address::Destination;
use crate::verbs::address::PathTable;
use crate::verbs::counters::Counter;
use crate::verbs::counters::Counters;
use crate::verbs::netdev::MacAddress;
use crate::verbs::pd::PdId;
use crate::verbs::route::RouteTable;

/// Set in a Q_Key of a request that stands for the QP's own (IBTA 10.2.5).
const OWN_QKEY: u32 = 1 << 31;

/// How long a datagram waits for a rail that is up: longer than a rail takes to find out that the host does not answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long datagrams for that host are dropped at once after one has waited in vain.
const GRUDGE: Duration = Duration::from_millis(2_000);
/// Hosts that a QP bears a grudge against at the same time.
const GRUDGES: usize = 4;

/// Hosts that have taken nothing for long.
#[derive(Default)]
struct Patience {
    /// Since when the next datagram has waited.
    since: Option<Instant>,
    /// Hosts, and until when nothing waits for them.
    grudges: [Option<(MacAddress, Instant)>; GRUDGES],
    /// Which grudge is given up for the next.
    next: usize,
}

impl Patience {
    fn deadline(&self) -> Option<Instant> {
        Some(self.since?.after(PATIENCE))
    }

    /// The host has kept a datagram waiting too long.
    fn lose(&mut self, host: MacAddress, now: Instant) {
        self.since = None;
        self.grudges[self.next] = Some((host, now.after(GRUDGE)));
        self.next = (self.next + 1) & (GRUDGES - 1);
    }

    fn is_lost(&self, host: MacAddress, now: Instant) -> bool {
        self.grudges
            .iter()
            .flatten()
            .any(|&(other, until)| other == host && now < until)
    }
}

const _: () = assert!(GRUDGES.is_power_of_two());

/// How far the next datagram has got, if it is for a group: to this host first, then to the others in the order of their addresses.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Round {
    /// It is to go to this host.
    #[default]
    Own,
    /// It has gone to all up to this one.
    Others(MacAddress),
}

/// The next datagram and one host to send it to.
pub(super) struct Stop {
    pub(super) host: MacAddress,
    pub(super) slot: MessageSlot,
    pub(super) address: Address,
    pub(super) request: DatagramRequest,
}

impl Stop {
    /// The header of its frame.
    pub(super) fn header(&self, source: Qpn) -> DatagramHeader {
        DatagramHeader {
            dest_qpn: match self.address.destination {
                Destination::Host(_) => self.request.dest_qpn,
                Destination::Group => Qpn::MULTICAST,
            },
            src_qpn: source,
            qkey: self.request.qkey,
            imm: self.request.imm,
            solicited: self.request.solicitation,
            payload_len: self.payload_len(),
        }
    }

    /// Bytes of network header and message.
    pub(super) fn payload_len(&self) -> u32 {
        NETWORK_HEADER_LEN as u32 + self.request.length
    }
}

/// Unreliable datagrams.
pub(super) struct Datagrams {
    pub(super) sender: DatagramSender<KernelTables>,
    pub(super) receiver: DatagramReceiver<KernelTables>,
    paths: Arc<PathTable>,
    pd: PdId,
    qkey: Qkey,
    /// Where those in the sender's slots go.
    addresses: KVVec<Address>,
    /// The host that the QP's route leads to.
    pub(super) aimed: Option<MacAddress>,
    round: Round,
    patience: Patience,
}

impl Datagrams {
    /// Those of a new QP of `pd`, with room for `max_active` requests: a power of two.
    pub(super) fn new(max_active: usize, paths: Arc<PathTable>, pd: PdId) -> Result<Self> {
        let requests = KVVec::from_elem(Datagram::default(), max_active, GFP_KERNEL_ACCOUNT)?;
        let receives = KVVec::from_elem(
            TakenReceive::default(),
            usize::from(WINDOW),
            GFP_KERNEL_ACCOUNT,
        )?;
        Ok(Self {
            sender: DatagramSender::new(requests).map_err(|_| EINVAL)?,
            receiver: DatagramReceiver::new(receives).map_err(|_| EINVAL)?,
            paths,
            pd,
            qkey: Qkey::default(),
            addresses: KVVec::from_elem(Address::default(), max_active, GFP_KERNEL_ACCOUNT)?,
            aimed: None,
            round: Round::Own,
            patience: Patience::default(),
        })
    }

    /// Begins to receive.
    pub(super) fn start_receiving(&mut self, attributes: &Attributes) {
        self.qkey = attributes.qkey;
        self.receiver.start(attributes.qkey);
    }

    /// Has the attributes that may change take effect.
    pub(super) fn tune(&mut self, attributes: &Attributes) {
        self.qkey = attributes.qkey;
        self.receiver.set_qkey(attributes.qkey);
    }

    /// Flushes everything.
    pub(super) fn flush(&mut self) {
        self.sender.flush();
        self.receiver.flush();
    }

    /// Forgets everything. The QP has no route any more.
    pub(super) fn reset(&mut self) {
        self.sender.reset();
        self.receiver.reset();
        self.aimed = None;
        self.round = Round::Own;
        self.patience = Patience::default();
    }

    /// Posts a request whose WQE has that header.
    pub(super) fn post(
        &mut self,
        request: &SendRequest,
        header: &[u8; send_wqe::HEADER_SIZE],
    ) -> Result<MessageSlot, PostError> {
        let target = DatagramTarget::decode(header);
        let (address, verdict) = match self.check(request, &target) {
            Ok(address) => (address, None),
            Err(status) => (Address::default(), Some(status)),
        };
        let slot = self.sender.post(DatagramRequest {
            wr_id: request.wr_id,
            signalling: request.signalling,
            solicitation: request.solicitation,
            length: request.length,
            dest_qpn: Qpn::new(target.qpn),
            qkey: if target.qkey & OWN_QKEY != 0 {
                self.qkey
            } else {
                Qkey(target.qkey)
            },
            imm: request.opcode.has_imm().then_some(request.imm),
        })?;
        self.addresses[usize::from(slot.0)] = address;
        if let Some(status) = verdict {
            self.sender.fail(slot, status);
        }
        Ok(slot)
    }

    /// Where a request goes, if it can be sent.
    fn check(
        &self,
        request: &SendRequest,
        target: &DatagramTarget,
    ) -> Result<Address, CompletionStatus> {
        match request.opcode {
            Opcode::Send | Opcode::SendWithImm => {}
            Opcode::Write
            | Opcode::WriteWithImm
            | Opcode::Read
            | Opcode::CompareSwap
            | Opcode::FetchAdd
            | Opcode::AtomicWrite
            | Opcode::Flush => return Err(CompletionStatus::LocalQpOperationError),
        }
        if request.length > MAX_DATAGRAM {
            return Err(CompletionStatus::LocalLengthError);
        }
        if target.pkey_index != 0 {
            return Err(CompletionStatus::LocalQpOperationError);
        }
        look_up(&self.paths, self.pd, &target.address)
            .ok_or(CompletionStatus::LocalQpOperationError)
    }

    /// The next datagram, and where to; none for a group that has been at all hosts.
    pub(super) fn next_stop(&self, routes: &(impl RouteTable + ?Sized)) -> Option<Next> {
        let (slot, &request) = self.sender.head()?;
        let address = self.addresses[usize::from(slot.0)];
        let host = match (address.destination, self.round) {
            (Destination::Host(host), _) => host,
            (Destination::Group, Round::Own) => routes.own_host(),
            (Destination::Group, Round::Others(last)) => match routes.next_host(last) {
                Some(host) => host,
                None => return Some(Next::RoundOver),
            },
        };
        Some(Next::Stop(Stop {
            host,
            slot,
            address,
            request,
        }))
    }

    /// The next datagram has gone to that host, or nowhere.
    pub(super) fn leave(&mut self, stop: &Stop, routes: &(impl RouteTable + ?Sized)) {
        self.patience.since = None;
        match (stop.address.destination, self.round) {
            (Destination::Host(_), _) => self.sender.end_head(),
            (Destination::Group, Round::Own) => {
                self.round = Round::Others(MacAddress([0; 6]));
            }
            (Destination::Group, Round::Others(_)) => self.round = Round::Others(stop.host),
        }
        if let Some(Next::RoundOver) = self.next_stop(routes) {
            self.end_round();
        }
    }

    /// The next datagram has been everywhere.
    pub(super) fn end_round(&mut self) {
        self.round = Round::Own;
        self.sender.end_head();
    }

    /// The next datagram waits for a rail to `host`, if that is worth it.
    pub(super) fn wait_for(&mut self, host: MacAddress, now: Instant) -> Result<(), GivenUp> {
        if self.patience.is_lost(host, now) {
            return Err(GivenUp);
        }
        self.patience.since.get_or_insert(now);
        Ok(())
    }

    /// There is no next datagram.
    pub(super) fn wait_for_nothing(&mut self) {
        self.patience.since = None;
        // It may have been flushed on its way.
        self.round = Round::Own;
    }

    /// When [`Self::handle_timeout`] is to be called, if ever.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.sender.head()?;
        self.patience.deadline()
    }

    /// If the next datagram has waited too long, none waits for that host for a while.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        let is_due = self.poll_timeout().is_some_and(|deadline| deadline <= now);
        if let Some(host) = self.aimed.filter(|_| is_due) {
            self.patience.lose(host, now);
        }
    }

    /// Whether there is something for the rails of the QP's route.
    pub(super) fn has_frame(&self) -> bool {
        self.sender.head().is_some() && self.aimed.is_some()
    }

    /// Whether what was posted last is so little that who posts it had better send it.
    pub(super) fn is_urgent(&self) -> bool {
        self.sender.outstanding() <= 1
            && self.sender.head().is_some_and(|(_, request)| {
                request.length + NETWORK_HEADER_LEN as u32 <= SMALL_PAYLOAD
            })
    }
}

/// A host has taken nothing for so long that nothing waits for it now.
pub(super) struct GivenUp;

/// What is to be done about the next datagram.
pub(super) enum Next {
    /// It is to be sent.
    Stop(Stop),
    /// It has been everywhere.
    RoundOver,
}

/// Counts a datagram that nobody gets.
pub(super) fn count_dropped(counters: &Counters, dropped: DatagramDropped) {
    match dropped {
        DatagramDropped::NotReceiving => {}
        DatagramDropped::Qkey => counters.add(Counter::QkeyViolations, 1),
        DatagramDropped::NoReceive => counters.add(Counter::RefusedDatagrams, 1),
    }
}
