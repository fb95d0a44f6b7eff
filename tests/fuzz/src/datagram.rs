// SPDX-License-Identifier: GPL-2.0

//! Unreliable datagrams of any peer, and of any user: each receive and each request completes once, in order, and none while it
//! is being written to.

use std::collections::VecDeque;

use arbitrary::Result;
use arbitrary::Unstructured;
use usb4_roce::transport::checksum::Seed;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::DatagramHeader;
use usb4_roce::transport::ids::MessageSlot;
use usb4_roce::transport::ids::Qkey;
use usb4_roce::transport::ids::ReceiveSlot;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::responder::Receive;
use usb4_roce::transport::responder::ReceiveQueue;
use usb4_roce::transport::responder::Soundness;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::NakCode;
use usb4_roce::transport::status::QpEvent;
use usb4_roce::transport::unreliable_datagram::destination;
use usb4_roce::transport::unreliable_datagram::DatagramReceiver;
use usb4_roce::transport::unreliable_datagram::DatagramRequest;
use usb4_roce::transport::unreliable_datagram::DatagramSender;
use usb4_roce::transport::unreliable_datagram::DatagramToken;

use super::frame::signed;
use super::heap::table;
use super::heap::Heap;

const DEPTH: usize = 8;
const QKEY: Qkey = Qkey(7);

#[derive(Default)]
struct Receives {
    waiting: VecDeque<Receive>,
    taken: VecDeque<Receive>,
}

impl ReceiveQueue for Receives {
    fn take(&mut self) -> Option<Receive> {
        let receive = self.waiting.pop_front()?;
        self.taken.push_back(receive);
        Some(receive)
    }
}

pub fn run(data: &[u8]) {
    let _ = receive(&mut Unstructured::new(data));
    let _ = send(&mut Unstructured::new(data));
    let _ = destination(data);
}

/// A datagram as a peer may send it.
fn header(input: &mut Unstructured<'_>) -> Result<Option<DatagramHeader>> {
    let mut bytes: [u8; 64] = input.arbitrary()?;
    // Kind, opcode, flags, and a length that often fits.
    bytes[16] = 9;
    bytes[17] &= 1;
    bytes[18] &= 1;
    bytes[19] = 0;
    bytes[21] &= 0x1f;
    bytes[22..24].fill(0);
    bytes[31] = 0;
    bytes[35] = 0;
    let qkey = QKEY.0 + u32::from(bytes[44] & 1);
    bytes[44..48].copy_from_slice(&qkey.to_le_bytes());
    Ok(
        match signed(&bytes, Seed::HANDSHAKE).map(|header| header.body) {
            Some(Body::UnreliableDatagram(header)) => Some(header),
            _ => None,
        },
    )
}

fn receive(input: &mut Unstructured<'_>) -> Result<()> {
    let mut receiver = DatagramReceiver::<Heap>::new(table(DEPTH)).unwrap();
    let mut receives = Receives::default();
    let mut placing: Vec<(DatagramToken, ReceiveSlot)> = Vec::new();
    let mut stale: Vec<DatagramToken> = Vec::new();
    let mut next = 0u16;
    receiver.start(QKEY);
    while !input.is_empty() {
        match input.int_in_range(0..=9)? {
            0..=2 => {
                next = next.wrapping_add(1);
                let is_sound = input.ratio(9, 10)?;
                receives.waiting.push_back(Receive {
                    slot: ReceiveSlot(next),
                    wr_id: next.into(),
                    length: input.int_in_range(0..=8192)?,
                    soundness: if is_sound {
                        Soundness::Sound
                    } else {
                        Soundness::Broken(CompletionStatus::LocalQpOperationError)
                    },
                });
            }
            3..=5 => {
                let Some(header) = header(input)? else {
                    continue;
                };
                if let Ok(placement) = receiver.handle_datagram(&header, &mut receives) {
                    assert_eq!(header.qkey, QKEY);
                    let taken = receives.taken.iter().find(|r| r.slot == placement.slot);
                    assert!(taken.unwrap().length >= header.payload_len);
                    assert!(placing.iter().all(|&(_, slot)| slot != placement.slot));
                    placing.push((placement.token, placement.slot));
                }
            }
            6 => {
                if placing.is_empty() {
                    continue;
                }
                let (token, _) = placing.swap_remove(input.choose_index(placing.len())?);
                let outcome = match input.int_in_range(0..=9)? {
                    0 => Outcome::Denied(NakCode::RemoteOperation),
                    1 => Outcome::Aborted,
                    _ => Outcome::Placed,
                };
                receiver.handle_payload(token, outcome);
            }
            7 => {
                for token in stale.drain(..) {
                    receiver.handle_payload(token, Outcome::Placed);
                }
                receiver.flush();
            }
            8 => {
                receiver.reset();
                stale.extend(placing.drain(..).map(|(token, _)| token));
                receives.taken.clear();
                receiver.start(QKEY);
            }
            _ => {
                while let Some(completion) = receiver.poll_completion() {
                    let taken = receives.taken.pop_front().expect("never taken");
                    assert_eq!(completion.receive.wr_id, taken.wr_id);
                    assert!(placing.iter().all(|&(_, slot)| slot != taken.slot));
                    assert!(completion.receive.byte_len <= taken.length);
                }
                while let Some(event) = receiver.poll_event() {
                    match event {
                        QpEvent::ReceiveFailed => receiver.flush(),
                        QpEvent::LastWqeReached => assert!(receives.taken.is_empty()),
                        event => panic!("{event:?}"),
                    }
                }
            }
        }
    }
    Ok(())
}

fn send(input: &mut Unstructured<'_>) -> Result<()> {
    let mut sender = DatagramSender::<Heap>::new(table(DEPTH)).unwrap();
    let mut posted: VecDeque<(MessageSlot, u64)> = VecDeque::new();
    let mut sent = 0usize;
    let mut wr_id = 0;
    while !input.is_empty() {
        match input.int_in_range(0..=9)? {
            0..=3 => {
                wr_id += 1;
                let request = DatagramRequest {
                    wr_id,
                    ..DatagramRequest::default()
                };
                if let Ok(slot) = sender.post(request) {
                    assert!(posted.iter().all(|&(other, _)| other != slot));
                    posted.push_back((slot, wr_id));
                    assert!(posted.len() <= DEPTH);
                }
            }
            4 | 5 => {
                if let Some((slot, _)) = sender.head() {
                    assert_eq!(posted[sent].0, slot, "out of order");
                    sender.end_head();
                    sent += 1;
                }
            }
            6 => {
                if !posted.is_empty() {
                    let (slot, _) = posted[input.choose_index(posted.len())?];
                    sender.fail(slot, CompletionStatus::LocalProtectionError);
                }
            }
            7 => match input.int_in_range(0..=3)? {
                0 => {
                    // Its owner polls what has failed first.
                    poll(&mut sender, &mut posted, &mut sent);
                    sender.start();
                }
                1 => sender.drain(),
                2 => sender.flush(),
                _ => {
                    sender.reset();
                    posted.clear();
                    sent = 0;
                }
            },
            _ => {
                poll(&mut sender, &mut posted, &mut sent);
            }
        }
    }
    Ok(())
}

/// Of what was posted and not polled, the first `sent` have been sent.
fn poll(
    sender: &mut DatagramSender<Heap>,
    posted: &mut VecDeque<(MessageSlot, u64)>,
    sent: &mut usize,
) {
    while let Some(completion) = sender.poll_completion() {
        let (slot, wr_id) = posted.pop_front().expect("never posted");
        assert_eq!((completion.slot, completion.wr_id), (slot, wr_id));
        let is_sent = completion.status == CompletionStatus::Success;
        assert_eq!(is_sent, *sent > 0, "{completion:?}");
        *sent = sent.saturating_sub(1);
    }
    let _ = sender.poll_event();
}
