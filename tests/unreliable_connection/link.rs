// SPDX-License-Identifier: GPL-2.0

//! The two ends of an unreliable connection, and rails between them that keep order and lose frames.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::VecDeque;

use crate::heap::table;
use crate::heap::Heap;
use usb4_roce::transport::connection::FrameSlot;
use usb4_roce::transport::frame::SegmentSize;
use usb4_roce::transport::frame::UnreliableHeader;
use usb4_roce::transport::frame::MAX_PAYLOAD;
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
use usb4_roce::transport::rail_set::RailSet;
use usb4_roce::transport::requester::Rails;
use usb4_roce::transport::requester::SendCompletion;
use usb4_roce::transport::requester::SendRequest;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::responder::Receive;
use usb4_roce::transport::responder::ReceiveCompletion;
use usb4_roce::transport::responder::ReceiveQueue;
use usb4_roce::transport::responder::Soundness;
use usb4_roce::transport::unreliable::DepartureToken;
use usb4_roce::transport::unreliable::PlacementToken;
use usb4_roce::transport::unreliable::ReceiverConfig;
use usb4_roce::transport::unreliable::SenderConfig;
use usb4_roce::transport::unreliable::UnreliableConnection;
use usb4_roce::transport::unreliable::UnreliableDisposition;

/// So that numbers wrap.
pub const FIRST: Psn = Psn::new(Psn::MASK - 2);
pub const DEPTH: usize = 8;
pub const RAILS: usize = 3;
/// Segments are as short as they may be.
pub const SEGMENT: u32 = SegmentSize::SMALLEST.get();
pub const KEY: Rkey = Rkey(7);

const SENDER: Qpn = Qpn::new(2);
const RECEIVER: Qpn = Qpn::new(3);

pub fn rail(number: usize) -> RailId {
    RailId::new(number as u8).unwrap()
}

/// Byte `at` of message `number`.
pub fn byte(number: usize, at: u32) -> u8 {
    (number as u32)
        .wrapping_mul(31)
        .wrapping_add(at.wrapping_mul(7)) as u8
}

/// Receives, and the memory that they name.
#[derive(Default)]
pub struct Receives {
    pub waiting: VecDeque<Receive>,
    pub buffers: HashMap<ReceiveSlot, Vec<u8>>,
    posted: u16,
    pub taken: usize,
}

impl Receives {
    pub fn post(&mut self, length: u32, soundness: Soundness) {
        self.posted += 1;
        let slot = ReceiveSlot(self.posted);
        self.waiting.push_back(Receive {
            slot,
            wr_id: self.posted.into(),
            length,
            soundness,
        });
        self.buffers.insert(slot, vec![0; length as usize]);
    }
}

impl ReceiveQueue for Receives {
    fn take(&mut self) -> Option<Receive> {
        let receive = self.waiting.pop_front()?;
        self.taken += 1;
        Some(receive)
    }
}

/// A frame on its way.
pub struct Frame {
    pub seq: RailSeq,
    pub header: UnreliableHeader,
    pub payload: Vec<u8>,
}

/// A rail from the sender to the receiver.
pub struct Rail {
    pub is_up: bool,
    pub answers: bool,
    pub frames: VecDeque<Frame>,
    next: RailSeq,
    /// The frame whose payload is being placed.
    pub placing: Option<Placing>,
}

/// A payload that is being placed.
pub struct Placing {
    pub token: PlacementToken,
    pub seq: RailSeq,
    target: Target,
    payload: Vec<u8>,
}

enum Target {
    Receive(ReceiveSlot, u32),
    Memory(u64),
}

pub struct RailsOfLink<'a>(&'a [Rail]);

impl RailsOfLink<'_> {
    fn set(&self, which: impl Fn(&Rail) -> bool) -> RailSet {
        let mut set = RailSet::NONE;
        for (number, _) in self.0.iter().enumerate().filter(|(_, rail)| which(rail)) {
            set.insert(rail(number));
        }
        set
    }
}

impl Rails for RailsOfLink<'_> {
    fn frame_status(&self, rail: RailId, seq: RailSeq) -> FrameStatus {
        let rail = &self.0[rail.index()];
        let is_placing = rail
            .placing
            .as_ref()
            .is_some_and(|placing| placing.seq == seq);
        if is_placing || rail.frames.iter().any(|frame| frame.seq == seq) {
            FrameStatus::InFlight
        } else {
            FrameStatus::Settled
        }
    }

    fn up(&self) -> RailSet {
        self.set(|rail| rail.is_up)
    }

    fn answering(&self) -> RailSet {
        let answering = self.set(|rail| rail.is_up && rail.answers);
        if answering.is_empty() {
            self.up()
        } else {
            answering
        }
    }
}

/// A sender and a receiver.
pub struct Link {
    pub sender: UnreliableConnection<Heap>,
    pub receiver: UnreliableConnection<Heap>,
    pub rails: Vec<Rail>,
    pub receives: Receives,
    /// Memory at the receiver that may be written to.
    pub memory: Vec<u8>,
    /// What has been posted, by slot.
    pub posted: Vec<SendRequest>,
    pub slots: BTreeMap<u16, usize>,
    /// Segments whose data is on its way out.
    pub leaving: Vec<DepartureToken>,
    /// Whether data leaves at once.
    pub departs: bool,
}

pub const PEER: Limits = Limits {
    max_payload: SEGMENT,
    window: 16,
    max_rd_atomic: 1,
};

impl Link {
    pub fn new() -> Self {
        let mut link = Self::unconnected();
        link.start();
        link
    }

    pub fn unconnected() -> Self {
        let end = || UnreliableConnection::new(table(DEPTH)).unwrap();
        Self {
            sender: end(),
            receiver: end(),
            rails: (0..RAILS)
                .map(|_| Rail {
                    is_up: true,
                    answers: true,
                    frames: VecDeque::new(),
                    next: RailSeq::FIRST,
                    placing: None,
                })
                .collect(),
            receives: Receives::default(),
            memory: vec![0; 1 << 16],
            posted: Vec::new(),
            slots: BTreeMap::new(),
            leaving: Vec::new(),
            departs: true,
        }
    }

    pub fn start(&mut self) {
        self.start_receiver();
        self.start_sender(FIRST);
    }

    pub fn start_receiver(&mut self) {
        self.receiver.start_receiver(ReceiverConfig {
            local_qpn: RECEIVER,
            remote_qpn: SENDER,
            initial_psn: FIRST,
        });
    }

    pub fn start_sender(&mut self, initial_psn: Psn) {
        self.sender.start_sender(SenderConfig {
            local_qpn: SENDER,
            remote_qpn: RECEIVER,
            initial_psn,
            segment: SegmentSize::LARGEST,
        });
        assert!(self.sender.awaits_limits());
        self.sender
            .handle_peer(&PEER, Features::UNRELIABLE_CONNECTIONS);
    }

    /// Posts a message; its name is its number.
    pub fn post(&mut self, opcode: Opcode, length: u32) -> usize {
        let number = self.posted.len();
        let request = SendRequest {
            wr_id: number as u64,
            opcode,
            signalling: Signalling::Signalled,
            length,
            imm: number as u32,
            rkey: KEY,
            remote_va: 0,
            ..SendRequest::default()
        };
        let slot = self.sender.post(request).unwrap();
        self.posted.push(request);
        self.slots.insert(slot.0, number);
        number
    }

    /// A rail asks for a frame.
    pub fn pump(&mut self, number: usize) -> bool {
        if !self.rails[number].is_up {
            return false;
        }
        let seq = self.rails[number].next;
        let slot = FrameSlot {
            rail: rail(number),
            seq,
            room: MAX_PAYLOAD,
        };
        let announced = self.sender.rails_with_frames(&RailsOfLink(&self.rails));
        let segment = self.sender.poll_segment(slot, &RailsOfLink(&self.rails));
        assert_eq!(segment.is_some(), announced.contains(rail(number)));
        let Some(segment) = segment else {
            return false;
        };
        let source = segment.source;
        let message = self.slots[&source.slot.0];
        let payload = (source.offset..source.offset + source.len)
            .map(|at| byte(message, at))
            .collect();
        let rail = &mut self.rails[number];
        rail.next = seq.next();
        rail.frames.push_back(Frame {
            seq,
            header: segment.header,
            payload,
        });
        if self.departs {
            self.sender.handle_departure(segment.token);
        } else {
            self.leaving.push(segment.token);
        }
        true
    }

    /// Rails take all that there is.
    pub fn pump_all(&mut self) {
        while (0..RAILS).any(|number| self.pump(number)) {}
    }

    /// The next frame of a rail arrives. Says what the receiver wants to have done with it, if there was one.
    pub fn arrive(&mut self, number: usize) -> Option<UnreliableDisposition> {
        assert!(self.rails[number].placing.is_none());
        let frame = self.rails[number].frames.pop_front()?;
        let disposition =
            self.receiver
                .handle_segment(&frame.header, rail(number), &mut self.receives);
        let (token, target) = match disposition {
            UnreliableDisposition::Write { va, token, .. } => (token, Target::Memory(va)),
            UnreliableDisposition::Receive {
                slot,
                offset,
                token,
                ..
            } => (token, Target::Receive(slot, offset)),
            UnreliableDisposition::NoPayload | UnreliableDisposition::Drop(_) => {
                return Some(disposition)
            }
        };
        self.rails[number].placing = Some(Placing {
            token,
            seq: frame.seq,
            target,
            payload: frame.payload,
        });
        Some(disposition)
    }

    /// The payload that has arrived is placed, or not.
    pub fn settle(&mut self, number: usize, outcome: Outcome) {
        let Some(placing) = self.rails[number].placing.take() else {
            return;
        };
        if outcome == Outcome::Placed {
            let memory = match placing.target {
                Target::Receive(slot, offset) => {
                    &mut self.receives.buffers.get_mut(&slot).unwrap()[offset as usize..]
                }
                Target::Memory(va) => &mut self.memory[va as usize..],
            };
            memory[..placing.payload.len()].copy_from_slice(&placing.payload);
        }
        self.receiver.handle_payload(placing.token, outcome);
    }

    /// The next frame of a rail arrives and is placed.
    pub fn deliver(&mut self, number: usize) -> Option<UnreliableDisposition> {
        let disposition = self.arrive(number);
        self.settle(number, Outcome::Placed);
        disposition
    }

    /// All that is under way arrives, rail by rail.
    pub fn deliver_all(&mut self) -> Vec<ReceiveCompletion> {
        let mut completions = Vec::new();
        for number in 0..RAILS {
            while self.deliver(number).is_some() {
                completions.extend(self.receiver.poll_receive_completion());
            }
        }
        completions
    }

    /// The next frame of a rail is lost.
    pub fn lose(&mut self, number: usize) -> bool {
        let lost = self.rails[number].frames.pop_front().is_some();
        if lost {
            self.sender.handle_lost();
        }
        lost
    }

    /// The rail over which something is under way.
    pub fn busy_rail(&self) -> usize {
        self.rails
            .iter()
            .position(|rail| !rail.frames.is_empty())
            .expect("nothing is under way")
    }

    pub fn sent(&mut self) -> Vec<SendCompletion> {
        core::iter::from_fn(|| self.sender.poll_send_completion()).collect()
    }

    /// The message that this completion is of is in its receive's buffers, whole and unmixed.
    pub fn assert_received(&self, completion: &ReceiveCompletion, number: usize) {
        let request = &self.posted[number];
        assert_eq!(completion.opcode, request.opcode);
        assert_eq!(completion.byte_len, request.length);
        if request.opcode.has_imm() {
            assert_eq!(completion.imm, request.imm);
        }
        let buffer = if request.opcode.names_memory() {
            &self.memory
        } else {
            &self.receives.buffers[&completion.slot]
        };
        for (at, &found) in buffer.iter().take(request.length as usize).enumerate() {
            assert_eq!(
                found,
                byte(number, at as u32),
                "byte {at} of message {number}"
            );
        }
    }
}
