// SPDX-License-Identifier: GPL-2.0

//! A requester whose peer answers with anything.

use arbitrary::Result;
use arbitrary::Unstructured;
use usb4_roce::transport::frame::AckHeader;
use usb4_roce::transport::frame::Extent;
use usb4_roce::transport::frame::ResponseHeader;
use usb4_roce::transport::frame::SegmentSize;
use usb4_roce::transport::frame::Syndrome;
use usb4_roce::transport::frame::SMALL_PAYLOAD;
use usb4_roce::transport::ids::Duration;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::MessageSlot;
use usb4_roce::transport::ids::NakSerial;
use usb4_roce::transport::ids::Psn;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::limits::Limits;
use usb4_roce::transport::opcode::Opcode;
use usb4_roce::transport::opcode::WORD;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::rail::tx::FrameStatus;
use usb4_roce::transport::rail_set::RailSet;
use usb4_roce::transport::requester::Fencing;
use usb4_roce::transport::requester::LocalRange;
use usb4_roce::transport::requester::Rails;
use usb4_roce::transport::requester::Requester;
use usb4_roce::transport::requester::RequesterConfig;
use usb4_roce::transport::requester::RequesterTables;
use usb4_roce::transport::requester::ResponseDisposition;
use usb4_roce::transport::requester::ResponseToken;
use usb4_roce::transport::requester::SendRequest;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::timing::AckTimeout;
use usb4_roce::transport::timing::RetryLimit;
use usb4_roce::transport::timing::RnrTimer;

use super::heap::table;
use super::heap::Heap;
use super::host::nak_code;
use super::host::outcome;
use super::host::psn;

const DEPTH: usize = 8;
const WINDOW: u16 = 16;
const FIRST: Psn = Psn::new(Psn::MASK - 9);

struct NoRails;

impl Rails for NoRails {
    fn frame_status(&self, _rail: RailId, _seq: RailSeq) -> FrameStatus {
        FrameStatus::Settled
    }

    fn up(&self) -> RailSet {
        RailSet::NONE
    }
}

struct World {
    requester: Requester<Heap>,
    now: Instant,
    seq: RailSeq,
    /// The READs' payloads being placed.
    placing: Vec<(ResponseToken, MessageSlot)>,
    /// Length of the message in each slot.
    lengths: [u32; DEPTH],
    posted: u64,
    polled: u64,
    failed: bool,
}

impl World {
    fn new() -> Self {
        let mut requester = Requester::new(RequesterTables {
            messages: table(DEPTH),
            segments: table(usize::from(WINDOW)),
            reads: table(4),
        })
        .unwrap();
        requester.start(RequesterConfig {
            local_qpn: Qpn::new(1),
            remote_qpn: Qpn::new(2),
            initial_psn: FIRST,
            segment: SegmentSize::new(2 * SMALL_PAYLOAD).unwrap(),
            window: WINDOW,
            max_rd_atomic: 4,
            timeout: AckTimeout::new(8),
            retry: RetryLimit::from_retry_count(7),
            rnr_retry: RetryLimit::from_rnr_retry(7),
        });
        requester.set_peer_features(Features(u64::MAX));
        Self {
            requester,
            now: Instant(1),
            seq: RailSeq(0),
            placing: Vec::new(),
            lengths: [0; DEPTH],
            posted: 0,
            polled: 0,
            failed: false,
        }
    }

    fn assert_inside(&self, range: LocalRange) {
        let length = self.lengths[usize::from(range.slot.0)];
        let end = u64::from(range.offset) + u64::from(range.len);
        assert!(end <= u64::from(length), "{range:?} of {length}");
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let rail = RailId::new(input.int_in_range(0..=2)?).unwrap();
        match input.int_in_range(0..=15)? {
            0..=2 => self.post(input)?,
            3..=6 => {
                let had_work = self.requester.has_work(rail, self.now, &NoRails);
                if let Some(segment) = self
                    .requester
                    .next_segment(rail, self.seq, self.now, &NoRails)
                {
                    assert!(had_work);
                    self.seq = self.seq.next();
                    self.assert_inside(segment.source);
                    let opcode = segment.header.operation.opcode();
                    assert_eq!(segment.operands.is_some(), opcode.operands_len() > 0);
                    let len = segment.source.len + opcode.operands_len();
                    assert_eq!(len, segment.header.payload_len());
                }
            }
            7..=8 => {
                let ack = ack(input)?;
                self.requester.on_ack(&ack, self.now);
            }
            9..=10 => self.respond(input)?,
            11 => {
                let lost = psn(input, FIRST)?;
                let seq = RailSeq(self.seq.0.wrapping_sub(input.int_in_range(0..=8)?));
                self.requester.on_lost(lost, rail, seq);
            }
            12 => {
                self.now = self.now.after(Duration(input.int_in_range(0..=1 << 24)?));
                self.requester.on_timer(self.now, &NoRails);
            }
            13 => {
                if let Some(last) = self.placing.len().checked_sub(1) {
                    let (token, _) = self.placing.swap_remove(input.int_in_range(0..=last)?);
                    let outcome = outcome(input)?;
                    self.requester.commit_response(token, outcome, self.now);
                }
            }
            14 => self.requester.agree(&Limits {
                max_payload: SMALL_PAYLOAD,
                window: 1 << input.int_in_range(0..=10)?,
                max_rd_atomic: input.int_in_range(1..=8)?,
            }),
            _ => match input.int_in_range(0..=15)? {
                0 => self.requester.flush(),
                1 => self.requester.drain(),
                4 => self
                    .requester
                    .set_peer_features(Features(input.arbitrary()?)),
                2 => self.requester.resume(self.now),
                3 => {
                    let slot = MessageSlot(input.int_in_range(0..=DEPTH as u16 - 1)?);
                    let status = CompletionStatus::LocalProtectionError;
                    self.requester.fail_message(slot, status);
                }
                _ => {}
            },
        }
        self.poll();
        Ok(())
    }

    fn post(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let opcodes = [
            Opcode::Send,
            Opcode::Write,
            Opcode::WriteWithImm,
            Opcode::Read,
            Opcode::CompareSwap,
            Opcode::FetchAdd,
            Opcode::AtomicWrite,
            Opcode::Flush,
        ];
        let opcode = *input.choose(&opcodes)?;
        let request = SendRequest {
            wr_id: self.posted,
            opcode,
            length: if opcode.operands_len() > 0 {
                WORD
            } else if input.ratio(1, 2)? {
                input.int_in_range(0..=100)?
            } else {
                input.int_in_range(0..=200_000)?
            },
            signalling: Signalling::Signalled,
            fencing: if input.ratio(1, 8)? {
                Fencing::Fenced
            } else {
                Fencing::Unfenced
            },
            ..SendRequest::default()
        };
        if let Ok(slot) = self.requester.post(request, self.now) {
            self.lengths[usize::from(slot.0)] = request.length;
            self.posted += 1;
        }
        Ok(())
    }

    fn respond(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let segment = if input.ratio(1, 2)? {
            SMALL_PAYLOAD
        } else {
            2 * SMALL_PAYLOAD
        };
        let response = ResponseHeader {
            dest_qpn: Qpn::new(1),
            src_qpn: Qpn::new(2),
            response_psn: psn(input, FIRST)?,
            request_psn: psn(input, FIRST)?,
            extent: {
                let offset = input.int_in_range(0..=8)? * segment;
                let len = if input.ratio(1, 2)? {
                    segment
                } else {
                    input.int_in_range(0..=segment)?
                };
                Extent::new(offset, len).unwrap()
            },
        };
        if let ResponseDisposition::Place(placement) =
            self.requester.on_response(&response, self.now)
        {
            self.assert_inside(placement.target);
            assert_eq!(placement.target.len, response.extent.len());
            self.placing.push((placement.token, placement.target.slot));
        }
        Ok(())
    }

    fn poll(&mut self) {
        while let Some(completion) = self.requester.poll_completion() {
            assert_eq!(completion.wr_id, self.polled, "out of order");
            self.polled += 1;
            let is_flushed = completion.status == CompletionStatus::FlushError;
            assert!(!self.failed || is_flushed, "done behind a failure");
            self.failed |= completion.status != CompletionStatus::Success;
            let written = self
                .placing
                .iter()
                .any(|(_, slot)| *slot == completion.slot);
            assert!(!written, "complete while being written to");
        }
        while self.requester.poll_event().is_some() {}
        assert!(self.polled <= self.posted);
    }
}

fn ack(input: &mut Unstructured<'_>) -> Result<AckHeader> {
    let syndrome = match input.int_in_range(0..=9)? {
        0 => Syndrome::SequenceNak,
        1 => Syndrome::RnrNak(RnrTimer::new(input.arbitrary()?)),
        2 => Syndrome::Nak(nak_code(input)?),
        3 => Syndrome::ReadNak {
            psn: psn(input, FIRST)?,
            code: nak_code(input)?,
        },
        _ => Syndrome::Ack,
    };
    Ok(AckHeader {
        dest_qpn: Qpn::new(1),
        src_qpn: Qpn::new(if input.ratio(1, 32)? { 3 } else { 2 }),
        psn: psn(input, FIRST)?,
        response_psn: psn(input, FIRST)?,
        syndrome,
        nak_serial: NakSerial(input.int_in_range(0..=8)?),
    })
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
        world
            .requester
            .commit_response(token, Outcome::Aborted, world.now);
    }
    world.requester.flush();
    world.poll();
    assert_eq!(world.polled, world.posted, "a request has vanished");
    assert_eq!(world.requester.outstanding(), 0);
}
