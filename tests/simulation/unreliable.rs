// SPDX-License-Identifier: GPL-2.0

//! A host's ends of unreliable connections, and what is checked of them: messages arrive whole, in order and at most once, never
//! mixed with others; what is lost is lost whole, and its sender is none the wiser.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::VecDeque;

use usb4_roce::transport::connection::FrameSlot;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::SegmentSize;
use usb4_roce::transport::frame::UnreliableHeader;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::ids::MessageSlot;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::ids::ReceiveSlot;
use usb4_roce::transport::ids::Rkey;
use usb4_roce::transport::limits::Limits;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::rail::tx::FrameStatus;
use usb4_roce::transport::rail::InFlight;
use usb4_roce::transport::rail_set::RailSet;
use usb4_roce::transport::requester::Rails;
use usb4_roce::transport::requester::SendRequest;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::requester::Solicitation;
use usb4_roce::transport::responder::Receive;
use usb4_roce::transport::responder::ReceiveCompletion;
use usb4_roce::transport::responder::ReceiveQueue;
use usb4_roce::transport::responder::Soundness;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::QpEvent;
use usb4_roce::transport::unreliable::ReceiverConfig;
use usb4_roce::transport::unreliable::SenderConfig;
use usb4_roce::transport::unreliable::UnreliableConnection;
use usb4_roce::transport::unreliable::UnreliableCounters;
use usb4_roce::transport::unreliable::UnreliableDisposition;

use crate::heap::table;
use crate::heap::Heap;
use crate::host::Outgoing;
use crate::host::Steadiness;
use crate::host::Way;
use crate::pattern;

/// Longest message.
pub const LARGEST: u32 = 150_000;

/// The key to all memory of the receiver.
const KEY: Rkey = Rkey(0x5eed);

/// A posted message.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    pub opcode: Opcode,
    pub length: u32,
    pub tag: u64,
    pub solicited: bool,
}

/// All messages of one connection, which go one way.
#[derive(Debug, Default)]
pub struct Stream {
    pub messages: Vec<Message>,
    /// How many the sender has seen completed.
    pub completed: usize,
    /// How many have been received that the receiver is told of, and the newest of them.
    pub received: u64,
    newest: Option<usize>,
    pub verified_bytes: u64,
}

impl Stream {
    /// A message has been received: `bytes` are what is there.
    fn receive(&mut self, completion: &ReceiveCompletion, bytes: &[u8]) {
        let first = self.newest.map_or(0, |newest| newest + 1);
        let is_it = |message: &Message| {
            message.opcode == completion.opcode
                && message.length == completion.byte_len
                && message.solicited == (completion.solicited == Solicitation::Solicited)
                && (!message.opcode.has_imm() || completion.imm == message.tag as u32)
                && bytes == pattern::bytes(message.tag, 0, message.length)
        };
        let found = self.messages[first..].iter().position(is_it);
        let found = found.expect("a message that was not sent behind the one before");
        self.newest = Some(first + found);
        self.received += 1;
        self.verified_bytes += bytes.len() as u64;
    }
}

/// Receives of a queue pair, with their buffers.
#[derive(Default)]
struct Receives {
    waiting: VecDeque<Receive>,
    /// Made when something is placed.
    buffers: HashMap<ReceiveSlot, Vec<u8>>,
    lengths: HashMap<ReceiveSlot, u32>,
    posted: u16,
}

impl ReceiveQueue for Receives {
    fn take(&mut self) -> Option<Receive> {
        self.waiting.pop_front()
    }
}

/// What a host knows of its rails to the peer.
struct View<'a> {
    up: RailSet,
    answering: RailSet,
    under_way: &'a HashSet<(RailId, RailSeq)>,
}

impl Rails for View<'_> {
    fn frame_status(&self, rail: RailId, seq: RailSeq) -> FrameStatus {
        if self.under_way.contains(&(rail, seq)) {
            FrameStatus::InFlight
        } else {
            FrameStatus::Settled
        }
    }

    fn up(&self) -> RailSet {
        self.up
    }

    fn answering(&self) -> RailSet {
        self.answering
    }
}

/// One end of a connection.
pub struct QueuePair {
    qpn: Qpn,
    peer: usize,
    stream: usize,
    protocol: UnreliableConnection<Heap>,
    /// Message index by slot.
    slots: HashMap<MessageSlot, usize>,
    receives: Receives,
    /// The receiver's.
    memory: Vec<u8>,
}

/// The ends of a host.
#[derive(Default)]
pub struct QueuePairs {
    all: Vec<QueuePair>,
    /// Those that may have frames for other rails than before.
    touched: BTreeSet<usize>,
    under_way: HashSet<(RailId, RailSeq)>,
    /// The one that is asked next.
    turn: usize,
}

impl QueuePairs {
    /// Adds an end for the connection with this number; gives its index.
    pub fn add(&mut self, peer: usize, stream: usize, depth: usize) -> usize {
        self.all.push(QueuePair {
            // Those of reliable connections are below.
            qpn: Qpn::new(10_000 + self.all.len() as u32),
            peer,
            stream,
            protocol: UnreliableConnection::new(table(depth)).unwrap(),
            slots: HashMap::new(),
            receives: Receives::default(),
            memory: vec![0; LARGEST as usize],
        });
        self.all.len() - 1
    }

    pub fn qpn(&self, index: usize) -> Qpn {
        self.all[index].qpn
    }

    pub fn start_sender(
        &mut self,
        index: usize,
        remote_qpn: Qpn,
        initial_psn: Psn,
        limits: &Limits,
    ) {
        let qp = &mut self.all[index];
        qp.protocol.start_sender(SenderConfig {
            local_qpn: qp.qpn,
            remote_qpn,
            initial_psn,
            segment: SegmentSize::new(limits.max_payload).expect("a size of segments"),
        });
    }

    pub fn start_receiver(&mut self, index: usize, remote_qpn: Qpn, initial_psn: Psn) {
        let qp = &mut self.all[index];
        qp.protocol.start_receiver(ReceiverConfig {
            local_qpn: qp.qpn,
            remote_qpn,
            initial_psn,
        });
    }

    pub fn room(&self, index: usize) -> u32 {
        self.all[index].protocol.room()
    }

    pub fn counters(&self) -> impl Iterator<Item = UnreliableCounters> + '_ {
        self.all.iter().map(|qp| qp.protocol.counters())
    }

    pub fn counters_of(&self, index: usize) -> UnreliableCounters {
        self.all[index].protocol.counters()
    }

    /// How many receives wait at this end.
    pub fn receives(&self, index: usize) -> usize {
        self.all[index].receives.waiting.len()
    }

    pub fn post_receive(&mut self, index: usize, length: u32) {
        let receives = &mut self.all[index].receives;
        receives.posted = receives.posted.wrapping_add(1);
        let slot = ReceiveSlot(receives.posted);
        receives.lengths.insert(slot, length);
        receives.waiting.push_back(Receive {
            slot,
            wr_id: receives.posted.into(),
            length,
            soundness: Soundness::Sound,
        });
    }

    pub fn post(&mut self, index: usize, message: Message, streams: &mut [Stream]) {
        let qp = &mut self.all[index];
        let stream = &mut streams[qp.stream];
        let request = SendRequest {
            wr_id: stream.messages.len() as u64,
            opcode: message.opcode,
            signalling: Signalling::Signalled,
            solicitation: if message.solicited {
                Solicitation::Solicited
            } else {
                Solicitation::Unsolicited
            },
            length: message.length,
            rkey: KEY,
            imm: message.tag as u32,
            ..SendRequest::default()
        };
        let slot = qp.protocol.post(request).unwrap();
        qp.slots.insert(slot, stream.messages.len());
        stream.messages.push(message);
        self.touched.insert(index);
    }

    /// The rails that are worth asking, by peer, since something was done.
    pub fn schedule(
        &mut self,
        rails_to: impl Fn(usize) -> (RailSet, RailSet),
    ) -> Vec<(usize, RailSet)> {
        core::mem::take(&mut self.touched)
            .into_iter()
            .map(|index| {
                let qp = &self.all[index];
                let (up, answering) = rails_to(qp.peer);
                let view = self.view(up, answering);
                (qp.peer, qp.protocol.rails_with_frames(&view))
            })
            .collect()
    }

    fn view(&self, up: RailSet, answering: RailSet) -> View<'_> {
        View {
            up,
            answering,
            under_way: &self.under_way,
        }
    }

    /// The rails to a peer over which there is something to send.
    pub fn rails_with_frames(&self, peer: usize, up: RailSet, answering: RailSet) -> Vec<RailSet> {
        let view = self.view(up, answering);
        self.all
            .iter()
            .filter(|qp| qp.peer == peer)
            .map(|qp| qp.protocol.rails_with_frames(&view))
            .filter(|rails| !rails.is_empty())
            .collect()
    }

    /// The next frame for a rail.
    pub fn next(
        &mut self,
        way: &Way,
        seq: RailSeq,
        (up, answering): (RailSet, RailSet),
        streams: &mut [Stream],
    ) -> Option<Outgoing> {
        let count = self.all.len();
        for step in 0..count {
            let index = (self.turn + step) % count;
            let view = View {
                up,
                answering,
                under_way: &self.under_way,
            };
            let qp = &mut self.all[index];
            if qp.peer != way.peer {
                continue;
            }
            if qp.protocol.awaits_limits() {
                qp.protocol
                    .handle_peer(&way.limits, Features::UNRELIABLE_CONNECTIONS);
            }
            let slot = FrameSlot {
                rail: way.rail,
                seq,
                room: MAX_PAYLOAD,
            };
            let announced = qp.protocol.rails_with_frames(&view).contains(way.rail);
            let segment = qp.protocol.poll_segment(slot, &view);
            assert_eq!(segment.is_some(), announced, "work that was not announced");
            // Some other rail may be worth asking now.
            self.touched.insert(index);
            let Some(segment) = segment else {
                continue;
            };
            self.turn = index + 1;
            let source = segment.source;
            let message = streams[qp.stream].messages[qp.slots[&source.slot]];
            let payload = pattern::bytes(message.tag, source.offset, source.len);
            let item = InFlight::Unreliable { qpn: qp.qpn };
            // It has been copied.
            qp.protocol.handle_departure(segment.token);
            self.under_way.insert((way.rail, seq));
            self.poll_sender(index, streams);
            return Some(Outgoing {
                body: Body::Unreliable(segment.header),
                payload,
                item,
                steadiness: Steadiness::Steady,
            });
        }
        None
    }

    fn poll_sender(&mut self, index: usize, streams: &mut [Stream]) {
        let qp = &mut self.all[index];
        let stream = &mut streams[qp.stream];
        while let Some(completion) = qp.protocol.poll_send_completion() {
            assert_eq!(
                completion.wr_id, stream.completed as u64,
                "completions out of order"
            );
            assert_eq!(completion.status, CompletionStatus::Success);
            assert_eq!(
                qp.slots.remove(&completion.slot),
                Some(stream.completed),
                "of another message"
            );
            stream.completed += 1;
        }
        assert_eq!(qp.protocol.poll_event(), None);
    }

    /// What was sent over a rail did not arrive.
    pub fn lost(&mut self, rail: RailId, seq: RailSeq, qpn: Qpn) {
        self.under_way.remove(&(rail, seq));
        let index = self.all.iter().position(|qp| qp.qpn == qpn);
        let index = index.expect("one that was never there");
        self.all[index].protocol.handle_lost();
        self.touched.insert(index);
    }

    /// Some of what was under way over a rail is not any more.
    pub fn settle(&mut self, rail: RailId, status: impl Fn(RailSeq) -> FrameStatus) {
        let before = self.under_way.len();
        self.under_way
            .retain(|&(other, seq)| other != rail || status(seq) == FrameStatus::InFlight);
        if self.under_way.len() < before {
            self.touch_all();
        }
    }

    /// The choice of rails has changed.
    pub fn touch_all(&mut self) {
        self.touched.extend(0..self.all.len());
    }

    /// Whether nothing is under way.
    pub fn is_settled(&self) -> bool {
        self.under_way.is_empty()
    }

    /// An intact segment has arrived over a rail.
    pub fn deliver(
        &mut self,
        rail: RailId,
        header: &UnreliableHeader,
        payload: &[u8],
        streams: &mut [Stream],
    ) {
        let qp = self.all.iter_mut().find(|qp| qp.qpn == header.dest_qpn);
        let qp = qp.expect("one that was never there");
        let stream = &mut streams[qp.stream];
        let disposition = qp.protocol.handle_segment(header, rail, &mut qp.receives);
        let place = match disposition {
            UnreliableDisposition::Write {
                va,
                rkey,
                len,
                token,
            } => {
                assert_eq!(rkey, KEY);
                Some((&mut qp.memory, va as u32, len, token))
            }
            UnreliableDisposition::Receive {
                slot,
                offset,
                len,
                token,
            } => {
                let length = qp.receives.lengths[&slot] as usize;
                let buffer = qp.receives.buffers.entry(slot);
                let buffer = buffer.or_insert_with(|| vec![0; length]);
                Some((buffer, offset, len, token))
            }
            UnreliableDisposition::NoPayload | UnreliableDisposition::Drop(_) => None,
        };
        if let Some((memory, offset, len, token)) = place {
            assert_eq!(len as usize, payload.len());
            memory[offset as usize..][..payload.len()].copy_from_slice(payload);
            qp.protocol.handle_payload(token, Outcome::Placed);
        }
        while let Some(completion) = qp.protocol.poll_receive_completion() {
            assert_eq!(completion.status, CompletionStatus::Success);
            let length = qp.receives.lengths.remove(&completion.slot);
            assert!(length.is_some(), "completed twice, or never posted");
            let buffer = qp.receives.buffers.remove(&completion.slot);
            let buffer = buffer.unwrap_or_default();
            let bytes = if completion.opcode.names_memory() {
                &qp.memory
            } else {
                &buffer
            };
            stream.receive(&completion, &bytes[..completion.byte_len as usize]);
        }
        while let Some(event) = qp.protocol.poll_event() {
            assert_eq!(event, QpEvent::CommunicationEstablished);
        }
    }
}
