// SPDX-License-Identifier: GPL-2.0

//! The receiver of an unreliable connection whose peer sends any segments, over any rails.

use arbitrary::Result;
use arbitrary::Unstructured;
use usb4_roce::transport::frame::Extent;
use usb4_roce::transport::frame::SegmentFlags;
use usb4_roce::transport::frame::UnreliableHeader;
use usb4_roce::transport::frame::UnreliableOperation;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::ids::ReceiveSlot;
use usb4_roce::transport::ids::Rkey;
use usb4_roce::transport::opcode::MAX_MESSAGE;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::responder::Receive;
use usb4_roce::transport::responder::ReceiveQueue;
use usb4_roce::transport::responder::Soundness;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::unreliable::PlacementToken;
use usb4_roce::transport::unreliable::ReceiverConfig;
use usb4_roce::transport::unreliable::UnreliableConnection;
use usb4_roce::transport::unreliable::UnreliableDisposition;

use super::heap::table;
use super::heap::Heap;
use super::host::outcome;
use super::host::psn;

const RECEIVE_LEN: u32 = 10_000;
const FIRST: Psn = Psn::new(Psn::MASK - 9);

#[derive(Default)]
struct Receives {
    posted: u16,
    taken: u16,
    /// The next one is no good.
    broken: bool,
}

impl ReceiveQueue for Receives {
    fn take(&mut self) -> Option<Receive> {
        if self.taken == self.posted {
            return None;
        }
        self.taken += 1;
        Some(Receive {
            slot: ReceiveSlot(self.taken),
            wr_id: u64::from(self.taken),
            length: RECEIVE_LEN,
            soundness: if core::mem::take(&mut self.broken) {
                Soundness::Broken(CompletionStatus::LocalQpOperationError)
            } else {
                Soundness::Sound
            },
        })
    }
}

/// A payload that is being placed.
struct Placing {
    token: PlacementToken,
    /// The receive it goes to.
    receive: Option<ReceiveSlot>,
    /// Its life is over.
    is_stale: bool,
    header: UnreliableHeader,
}

/// What has been placed of the message that is being received.
struct Message {
    imm: Option<u32>,
    is_write: bool,
    placed: u32,
}

struct World {
    connection: UnreliableConnection<Heap>,
    receives: Receives,
    placing: Vec<Placing>,
    message: Option<Message>,
    completed: u16,
}

fn segment(input: &mut Unstructured<'_>, base: Psn) -> Result<UnreliableHeader> {
    let wild = input.ratio(1, 16)?;
    let bits: u8 = input.arbitrary()?;
    let flags = [
        SegmentFlags::FIRST,
        SegmentFlags::LAST,
        SegmentFlags::SOLICITED,
    ];
    let flags = flags
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .fold(SegmentFlags::none(), |all, (_, flag)| all.with(flag));
    let offset = if wild {
        input.int_in_range(0..=MAX_MESSAGE - MAX_PAYLOAD)?
    } else if flags.contains(SegmentFlags::FIRST) {
        0
    } else {
        input.int_in_range(0..=3)? * SMALL_PAYLOAD
    };
    let len = *input.choose(&[0, 1, SMALL_PAYLOAD, MAX_PAYLOAD])?;
    let imm = input.arbitrary::<bool>()?.then_some(7);
    let operation = if input.arbitrary()? {
        UnreliableOperation::Send { imm }
    } else {
        UnreliableOperation::Write {
            imm,
            va: if wild { input.arbitrary()? } else { 0x1000 },
            rkey: Rkey(1),
        }
    };
    let psn = if input.ratio(3, 4)? {
        base
    } else {
        psn(input, base)?
    };
    Ok(UnreliableHeader {
        dest_qpn: Qpn::new(1),
        src_qpn: Qpn::new(if input.ratio(1, 32)? { 3 } else { 2 }),
        psn,
        flags,
        operation,
        extent: Extent::new(offset, len).expect("within a message"),
    })
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            connection: UnreliableConnection::new(table(1)).unwrap(),
            receives: Receives::default(),
            placing: Vec::new(),
            message: None,
            completed: 0,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.message = None;
        self.connection.start_receiver(ReceiverConfig {
            local_qpn: Qpn::new(1),
            remote_qpn: Qpn::new(2),
            initial_psn: FIRST,
        });
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let base = self.connection.expected_psn().unwrap_or(FIRST);
        match input.int_in_range(0..=15)? {
            0 | 1 => self.receives.posted += u16::from(input.arbitrary::<u8>()? % 8),
            2 if input.ratio(1, 8)? => self.receives.broken = true,
            3 if input.ratio(1, 8)? => self.connection.flush(),
            4 if input.ratio(1, 16)? => {
                // A receive of the old life is the owner's; payloads under way are ignored.
                self.completed = self.receives.taken;
                for placing in &mut self.placing {
                    placing.receive = None;
                    placing.is_stale = true;
                }
                self.start();
            }
            5..=9 => {
                if let Some(last) = self.placing.len().checked_sub(1) {
                    let placing = self.placing.swap_remove(input.int_in_range(0..=last)?);
                    let outcome = outcome(input)?;
                    self.connection.handle_payload(placing.token, outcome);
                    match (outcome, &mut self.message) {
                        _ if placing.is_stale => {}
                        (Outcome::Placed, Some(message)) => {
                            message.placed = placing.header.extent.end();
                        }
                        _ => self.message = None,
                    }
                }
            }
            _ => {
                let rail = RailId::new(input.int_in_range(0..=2)?).unwrap();
                let header = segment(input, base)?;
                self.receive(header, rail);
            }
        }
        self.poll();
        Ok(())
    }

    fn receive(&mut self, header: UnreliableHeader, rail: RailId) {
        let disposition = self
            .connection
            .handle_segment(&header, rail, &mut self.receives);
        let (token, receive) = match disposition {
            UnreliableDisposition::Write { va, len, token, .. } => {
                assert!(va.checked_add(u64::from(len)).is_some());
                assert!(len > 0);
                (Some(token), None)
            }
            UnreliableDisposition::Receive {
                slot,
                offset,
                len,
                token,
            } => {
                assert!(len > 0 && offset + len <= RECEIVE_LEN);
                assert_eq!(slot, ReceiveSlot(self.completed + 1), "of another message");
                (Some(token), Some(slot))
            }
            UnreliableDisposition::NoPayload => (None, None),
            UnreliableDisposition::Drop(_) => return,
        };
        let imm = header.operation.imm();
        let is_write = matches!(header.operation, UnreliableOperation::Write { .. });
        if header.is_first() {
            self.message = Some(Message {
                imm,
                is_write,
                placed: 0,
            });
        }
        let message = self.message.as_ref().expect("continues nothing");
        assert_eq!((message.imm, message.is_write), (imm, is_write));
        assert_eq!(message.placed, header.extent.offset(), "a gap");
        if let Some(token) = token {
            let all_stale = self.placing.iter().all(|one| one.is_stale);
            assert!(all_stale, "two at a time");
            self.placing.push(Placing {
                token,
                receive,
                is_stale: false,
                header,
            });
        }
    }

    fn poll(&mut self) {
        while let Some(completion) = self.connection.poll_receive_completion() {
            self.completed += 1;
            assert_eq!(completion.slot, ReceiveSlot(self.completed), "out of order");
            let written = self
                .placing
                .iter()
                .any(|placing| placing.receive == Some(completion.slot));
            assert!(!written, "complete while being written to");
            if completion.status == CompletionStatus::Success {
                let message = self.message.take().expect("nothing was received");
                assert_eq!(completion.byte_len, message.placed);
                assert_eq!(completion.opcode.has_imm(), message.imm.is_some());
            }
        }
        while self.connection.poll_event().is_some() {}
    }
}

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut world = World::new();
    while !input.is_empty() {
        if world.step(&mut input).is_err() {
            break;
        }
    }
    for placing in std::mem::take(&mut world.placing) {
        world
            .connection
            .handle_payload(placing.token, Outcome::Aborted);
    }
    world.poll();
    world.connection.flush();
    world.poll();
    assert_eq!(
        world.completed, world.receives.taken,
        "a receive has vanished"
    );
}
