// SPDX-License-Identifier: GPL-2.0

//! A responder whose peer sends any requests.

use arbitrary::Result;
use arbitrary::Unstructured;
use usb4_roce::transport::frame::Action;
use usb4_roce::transport::frame::DataSegment;
use usb4_roce::transport::frame::ExecuteRequest;
use usb4_roce::transport::frame::Extent;
use usb4_roce::transport::frame::Flush;
use usb4_roce::transport::frame::Operation;
use usb4_roce::transport::frame::ReadRequest;
use usb4_roce::transport::frame::RequestHeader;
use usb4_roce::transport::frame::SegmentFlags;
use usb4_roce::transport::frame::SegmentSize;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::ids::ReceiveSlot;
use usb4_roce::transport::ids::Rkey;
use usb4_roce::transport::ids::Rsn;
use usb4_roce::transport::limits::Limits;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::opcode::MAX_MESSAGE;
use usb4_roce::transport::responder::Disposition;
use usb4_roce::transport::responder::KeyNotValid;
use usb4_roce::transport::responder::Receive;
use usb4_roce::transport::responder::ReceiveQueue;
use usb4_roce::transport::responder::RequestToken;
use usb4_roce::transport::responder::Responder;
use usb4_roce::transport::responder::ResponderConfig;
use usb4_roce::transport::responder::ResponderTables;
use usb4_roce::transport::responder::ResponseSource;
use usb4_roce::transport::responder::Soundness;
use usb4_roce::transport::timing::RnrTimer;

use super::heap::table;
use super::heap::Heap;
use super::host::nak_code;
use super::host::outcome;
use super::host::psn;

const WINDOW: u16 = 16;
const READS: u8 = 4;
const RECEIVE_LEN: u32 = 10_000;
const VALID_KEY: Rkey = Rkey(1);
const FIRST: Psn = Psn::new(Psn::MASK - 9);

#[derive(Default)]
struct Receives {
    posted: u16,
    taken: u16,
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
            soundness: Soundness::Sound,
        })
    }

    fn invalidate(&mut self, rkey: Rkey) -> Result<(), KeyNotValid> {
        if rkey == VALID_KEY {
            Ok(())
        } else {
            Err(KeyNotValid)
        }
    }
}

struct World {
    responder: Responder<Heap>,
    receives: Receives,
    /// Payloads being placed, and the receive they go to.
    placing: Vec<(RequestToken, Option<ReceiveSlot>)>,
    completed: u16,
    seq: RailSeq,
    /// PSN of what was carried out last.
    executed: Option<Psn>,
}

fn request(input: &mut Unstructured<'_>, base: Psn) -> Result<RequestHeader> {
    let opcodes = [
        Opcode::Send,
        Opcode::SendWithImm,
        Opcode::SendWithInvalidate,
        Opcode::Write,
        Opcode::WriteWithImm,
        Opcode::Read,
        Opcode::CompareSwap,
        Opcode::FetchAdd,
        Opcode::AtomicWrite,
        Opcode::Flush,
    ];
    let opcode = *input.choose(&opcodes)?;
    let bits: u8 = input.arbitrary()?;
    let flags = [
        SegmentFlags::FIRST,
        SegmentFlags::LAST,
        SegmentFlags::SOLICITED,
        SegmentFlags::ORDERED,
        SegmentFlags::ACK_REQUEST,
        SegmentFlags::REPEAT,
    ];
    let flags = flags
        .into_iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 == 1)
        .fold(SegmentFlags::none(), |all, (_, flag)| all.with(flag));
    let wild = input.ratio(1, 16)?;
    let offset = if wild {
        input.int_in_range(0..=MAX_MESSAGE - MAX_PAYLOAD)?
    } else {
        input.int_in_range(0..=3)? * SMALL_PAYLOAD
    };
    let segment = input.int_in_range(0..=MAX_PAYLOAD)? & !63;
    let src_qpn = Qpn::new(if input.ratio(1, 32)? { 3 } else { 2 });
    let psn_of_request = psn(input, base)?;
    let rsn = if wild {
        Rsn(input.arbitrary()?)
    } else {
        Rsn::FIRST.add(input.int_in_range(0..=40)?)
    };
    let va = if wild { input.arbitrary()? } else { 0x1000 };
    let rkey = if input.ratio(1, 32)? {
        Rkey(2)
    } else {
        VALID_KEY
    };
    let response_psn = psn(input, base)?;
    let imm = opcode.has_imm().then_some(7);
    let operation = match opcode {
        Opcode::Read => Operation::Read(ReadRequest {
            va,
            rkey,
            length: offset,
            segment: SegmentSize::new(segment).unwrap_or_default(),
            response_psn,
        }),
        Opcode::CompareSwap | Opcode::FetchAdd | Opcode::AtomicWrite | Opcode::Flush => {
            Operation::Execute(ExecuteRequest {
                action: match opcode {
                    Opcode::CompareSwap => Action::CompareSwap,
                    Opcode::FetchAdd => Action::FetchAdd,
                    Opcode::AtomicWrite => Action::AtomicWrite,
                    _ => Action::Flush {
                        flush: Flush::default(),
                        length: offset,
                    },
                },
                va,
                rkey,
                response_psn,
            })
        }
        Opcode::Send
        | Opcode::SendWithImm
        | Opcode::SendWithInvalidate
        | Opcode::Write
        | Opcode::WriteWithImm => {
            let data = DataSegment {
                rsn,
                extent: Extent::new(offset, input.int_in_range(0..=SMALL_PAYLOAD)?).unwrap(),
            };
            match opcode {
                Opcode::Send | Opcode::SendWithImm => Operation::Send {
                    data,
                    imm,
                    response_psn: Some(response_psn),
                },
                Opcode::SendWithInvalidate => Operation::SendWithInvalidate {
                    data,
                    rkey,
                    response_psn,
                },
                _ => Operation::Write {
                    data,
                    imm,
                    va,
                    rkey,
                },
            }
        }
    };
    Ok(RequestHeader {
        dest_qpn: Qpn::new(1),
        src_qpn,
        psn: psn_of_request,
        flags,
        operation,
    })
}

impl World {
    fn new() -> Self {
        let window = usize::from(WINDOW);
        let mut world = Self {
            responder: Responder::new(ResponderTables {
                requests: table(window),
                receives: table(window),
                reads: table(usize::from(READS)),
                responses: table(window),
            })
            .unwrap(),
            receives: Receives::default(),
            placing: Vec::new(),
            completed: 0,
            seq: RailSeq(0),
            executed: None,
        };
        world.start();
        world
    }

    fn start(&mut self) {
        self.executed = None;
        self.responder.start(ResponderConfig {
            local_qpn: Qpn::new(1),
            remote_qpn: Qpn::new(2),
            initial_psn: FIRST,
            window: WINDOW,
            max_dest_rd_atomic: READS,
            rnr_timer: RnrTimer::new(1),
        });
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let base = self.responder.expected_psn().unwrap_or(FIRST);
        let rail = RailId::new(0).unwrap();
        match input.int_in_range(0..=15)? {
            0 => self.receives.posted += u16::from(input.arbitrary::<u8>()? % 8),
            1 => self.responder.on_response_ack(psn(input, FIRST)?),
            2 => {
                for _ in 0..=WINDOW {
                    let Some(segment) = self.responder.next_response(rail, self.seq) else {
                        break;
                    };
                    self.seq = self.seq.next();
                    let len = segment.header.extent.len();
                    assert!(len <= MAX_PAYLOAD);
                    if let ResponseSource::Memory(source) = segment.source {
                        assert_eq!(source.len, len);
                        assert!(source.va.checked_add(u64::from(source.len)).is_some());
                    }
                }
            }
            3 => {
                let lost = psn(input, FIRST)?;
                for back in 0..4 {
                    let seq = RailSeq(self.seq.0.wrapping_sub(back));
                    self.responder.on_lost_response(lost, rail, seq);
                }
            }
            4 => self
                .responder
                .fail_response(psn(input, FIRST)?, nak_code(input)?),
            5 => self.responder.announce_ready(),
            6 => self.responder.agree(&Limits {
                max_payload: SMALL_PAYLOAD,
                window: 1 << input.int_in_range(0..=10)?,
                max_rd_atomic: 1,
            }),
            7 if input.ratio(1, 8)? => self.responder.flush(),
            8 if input.ratio(1, 16)? => {
                // Receives of the old life are the owner's; payloads under way are ignored.
                self.completed = self.receives.taken;
                self.placing
                    .iter_mut()
                    .for_each(|(_, receive)| *receive = None);
                self.start();
            }
            9..=11 => {
                if let Some(last) = self.placing.len().checked_sub(1) {
                    let (token, _) = self.placing.swap_remove(input.int_in_range(0..=last)?);
                    self.responder
                        .commit(token, outcome(input)?, &mut self.receives);
                }
            }
            _ => self.receive(&request(input, base)?),
        }
        self.execute(input)?;
        self.poll();
        Ok(())
    }

    /// Carries out all whose turn has come: each number has one, once.
    fn execute(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        while let Some(execution) = self.responder.poll_execution() {
            let psn = self.responder.expected_psn();
            assert_ne!(psn, self.executed, "executed again");
            self.executed = psn;
            assert_eq!(self.responder.poll_execution(), None);
            let result = if input.ratio(1, 16)? {
                Err(nak_code(input)?)
            } else {
                Ok(input.arbitrary()?)
            };
            for _ in 0..2 {
                self.responder
                    .commit_execution(execution.token, result, &mut self.receives);
            }
        }
        Ok(())
    }

    fn receive(&mut self, request: &RequestHeader) {
        match self.responder.on_request(request, &mut self.receives) {
            Disposition::Write { va, len, token, .. }
            | Disposition::CheckRead { va, len, token, .. } => {
                assert!(va.checked_add(u64::from(len)).is_some());
                self.placing.push((token, None));
            }
            Disposition::CheckExecution {
                action, va, token, ..
            } => {
                assert!(action.is_aligned(va));
                assert!(va.checked_add(u64::from(action.length())).is_some());
                self.placing.push((token, None));
            }
            Disposition::Receive {
                slot,
                offset,
                len,
                token,
            } => {
                assert!(offset + len <= RECEIVE_LEN);
                assert!(slot.0 > self.completed && slot.0 <= self.receives.taken);
                self.placing.push((token, Some(slot)));
            }
            Disposition::NoPayload | Disposition::Drop(_) => {}
        }
    }

    fn poll(&mut self) {
        while let Some(completion) = self.responder.poll_completion() {
            self.completed += 1;
            assert_eq!(completion.slot, ReceiveSlot(self.completed), "out of order");
            let written = self
                .placing
                .iter()
                .any(|(_, receive)| *receive == Some(completion.slot));
            assert!(!written, "complete while being written to");
        }
        while self.responder.poll_event().is_some() {}
        let base = self.responder.expected_psn().unwrap_or(FIRST);
        if let Some(ack) = self.responder.take_ack(Psn::new(0)) {
            assert_eq!(ack.psn, base);
        }
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
    for (token, _) in std::mem::take(&mut world.placing) {
        let aborted = usb4_roce::transport::outcome::Outcome::Aborted;
        world.responder.commit(token, aborted, &mut world.receives);
    }
    world.poll();
    world.responder.flush();
    world.poll();
    assert_eq!(
        world.completed, world.receives.taken,
        "a receive has vanished"
    );
}
