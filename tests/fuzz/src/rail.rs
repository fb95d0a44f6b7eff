// SPDX-License-Identifier: GPL-2.0

//! An end of a rail whose peer knows the session and says whatever it likes.

use std::collections::HashSet;

use arbitrary::Result;
use arbitrary::Unstructured;
use usb4_roce::transport::checksum::Seed;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::Header;
use usb4_roce::transport::frame::PacketState;
use usb4_roce::transport::frame::HEADER_LEN;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::ids::Duration;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::limits::Limits;
use usb4_roce::transport::rail::endpoint::Incoming;
use usb4_roce::transport::rail::endpoint::RailEndpoint;
use usb4_roce::transport::rail::hello::Challenge;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::rail::hello::Hello;
use usb4_roce::transport::rail::hello::Identity;
use usb4_roce::transport::rail::hello::NodeGuid;
use usb4_roce::transport::rail::hello::ReaderSync;
use usb4_roce::transport::rail::hello::NODE_NAME_LEN;
use usb4_roce::transport::rail::InFlight;

use super::checksum::HostHash;
use super::frame::signed;
use super::heap::table;
use super::heap::Heap;

const TABLE: usize = 16;

/// More control frames in one go than there can be reasons for.
const MOST_CONTROL_FRAMES: usize = 32;

struct End {
    endpoint: RailEndpoint<Heap>,
    now: Instant,
    /// What the end has said about itself last.
    heard: Option<Challenge>,
    own: Challenge,
    under_way: HashSet<RailSeq>,
}

fn identity(guid: u64) -> Identity {
    Identity {
        node_guid: NodeGuid(guid),
        mac: [2, 0, 0, 0, 0, 1],
        features: Features::FAST_CRC32C,
        limits: Limits {
            max_payload: MAX_PAYLOAD,
            window: 64,
            max_rd_atomic: 4,
        },
        name: [0; NODE_NAME_LEN],
    }
}

impl End {
    fn new() -> Self {
        let mut end = Self {
            endpoint: RailEndpoint::new(identity(1), table(TABLE), 1 << 20).unwrap(),
            now: Instant(1),
            heard: None,
            own: Challenge {
                session: 2,
                nonce: 0,
            },
            under_way: HashSet::new(),
        };
        end.endpoint.open(1, end.now);
        end
    }

    /// Takes everything the end has to say, and hears its hellos.
    fn listen(&mut self) {
        for _ in 0..MOST_CONTROL_FRAMES {
            let Some(frame) = self.endpoint.next_control::<HostHash>(self.now) else {
                let due = self.endpoint.deadline();
                assert!(
                    due.is_none_or(|due| due > Instant(0)),
                    "due, but nothing to say"
                );
                return;
            };
            let bytes = frame.bytes();
            assert_eq!(bytes.len() % HEADER_LEN, 0);
            if let Ok(header) = Header::decode::<HostHash>(bytes, Seed::HANDSHAKE) {
                assert_eq!(header.body, Body::Hello);
                self.heard = Hello::decode(&bytes[HEADER_LEN..])
                    .ok()
                    .map(|hello| hello.own);
            }
        }
        panic!("no end of control frames");
    }

    /// Says hello as a good peer would, but for `sync`.
    fn greet(&mut self, sync: ReaderSync, first_seq: RailSeq) {
        self.own.nonce += 1;
        let hello = Hello {
            identity: identity(2),
            own: self.own,
            echo: self.heard.unwrap_or_default(),
            sync,
            first_seq,
        };
        let _ = self
            .endpoint
            .on_hello::<HostHash>(&hello.encode(), self.now);
    }

    fn hand_back(&mut self) {
        while let Some((seq, item)) = self.endpoint.next_lost() {
            assert_eq!(item, InFlight::Datagram);
            assert!(self.under_way.remove(&seq), "handed back what was not sent");
        }
    }

    fn step(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        match input.int_in_range(0..=9)? {
            0 => {
                self.now = self
                    .now
                    .after(Duration(input.int_in_range(0..=4_000_000_000)?));
                self.endpoint.judge(self.now);
                if self.endpoint.check(self.now).is_err() {
                    self.close();
                }
            }
            1 => self.greet(ReaderSync::InSync, RailSeq(input.arbitrary()?)),
            2 => self.greet(ReaderSync::Unproven, RailSeq(input.arbitrary()?)),
            3 => {
                self.own.session = input.arbitrary::<u64>()?.max(1);
                self.greet(ReaderSync::Unproven, RailSeq(0));
            }
            4 => {
                let payload: [u8; 128] = input.arbitrary()?;
                let _ = self.endpoint.on_hello::<HostHash>(&payload, self.now);
            }
            5 => {
                for _ in 0..input.int_in_range(0..=TABLE)? {
                    self.send();
                }
            }
            6 => self.endpoint.note_damage(self.now),
            7 => self.close(),
            _ => self.receive(input)?,
        }
        Ok(())
    }

    fn send(&mut self) {
        let could = self.endpoint.can_send(0);
        let stamped = self.endpoint.stamp(
            Body::Datagram(PacketState::Finished),
            0,
            0,
            InFlight::Datagram,
            self.now,
        );
        // A table that is full takes nothing; the limit of bytes is for the caller to keep.
        assert!(!could || stamped.is_some());
        if let Some(header) = stamped {
            self.under_way.insert(header.seq);
        }
    }

    /// Any frame of the session, with numbers that are close to right ones.
    fn receive(&mut self, input: &mut Unstructured<'_>) -> Result<()> {
        let Some(seed) = self.endpoint.seed() else {
            return Ok(());
        };
        let mut bytes: [u8; HEADER_LEN] = input.arbitrary()?;
        let near = |bytes: &mut [u8], base: RailSeq| {
            let number = base.add(u32::from(bytes[0])).add(u32::MAX - 31);
            bytes.copy_from_slice(&number.0.to_le_bytes());
        };
        if input.ratio(7, 8)? {
            bytes[16] = bytes[16] % 8 + 1;
            bytes[17..20].fill(0);
            bytes[20..24].fill(0);
            near(&mut bytes[12..16], self.endpoint.next_seq());
            near(&mut bytes[36..40], self.endpoint.next_seq());
            near(&mut bytes[40..44], self.endpoint.next_seq());
        }
        let Some(header) = signed(&bytes, seed) else {
            return Ok(());
        };
        if header.body == Body::Hello {
            return Ok(());
        }
        if input.ratio(1, 4)? {
            if self.endpoint.on_corrupt(&header, self.now).is_err() {
                self.close();
            }
            return Ok(());
        }
        match self.endpoint.on_header(&header, self.now) {
            Ok(Incoming::Deliver) => self.endpoint.finish(self.now),
            Ok(Incoming::Done) => {}
            Err(_) => self.close(),
        }
        Ok(())
    }

    fn close(&mut self) {
        self.endpoint.close();
        self.hand_back();
        assert!(!self.endpoint.is_up());
        assert_eq!(self.endpoint.next_lost(), None);
        self.under_way.clear();
        self.endpoint.open(1, self.now);
        self.heard = None;
    }
}

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let mut end = End::new();
    while !input.is_empty() {
        if end.step(&mut input).is_err() {
            return;
        }
        end.hand_back();
        end.listen();
    }
}
