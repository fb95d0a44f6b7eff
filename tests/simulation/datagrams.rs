// SPDX-License-Identifier: GPL-2.0

//! A queue pair for unreliable datagrams on each host: they may vanish, but never come twice, damaged, or to somebody else.

use std::collections::HashMap;
use std::collections::VecDeque;

use rand::Rng;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::DatagramHeader;
use usb4_roce::transport::ids::Duration;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::MessageSlot;
use usb4_roce::transport::ids::Qkey;
use usb4_roce::transport::ids::Qpn;
use usb4_roce::transport::ids::ReceiveSlot;
use usb4_roce::transport::outcome::Outcome;
use usb4_roce::transport::rail::InFlight;
use usb4_roce::transport::requester::Signalling;
use usb4_roce::transport::requester::Solicitation;
use usb4_roce::transport::responder::Receive;
use usb4_roce::transport::responder::ReceiveQueue;
use usb4_roce::transport::responder::Soundness;
use usb4_roce::transport::status::CompletionStatus;
use usb4_roce::transport::status::NakCode;
use usb4_roce::transport::status::QpEvent;
use usb4_roce::transport::unreliable_datagram::DatagramReceiver;
use usb4_roce::transport::unreliable_datagram::DatagramRequest;
use usb4_roce::transport::unreliable_datagram::DatagramSender;
use usb4_roce::transport::unreliable_datagram::Gid;
use usb4_roce::transport::unreliable_datagram::Path;
use usb4_roce::transport::unreliable_datagram::MAX_DATAGRAM;
use usb4_roce::transport::unreliable_datagram::NETWORK_HEADER_LEN;

use crate::heap::table;
use crate::heap::Heap;
use crate::host::Outgoing;
use crate::host::Steadiness;
use crate::pattern;

/// How long a datagram waits for a rail.
const PATIENCE: Duration = Duration::from_millis(500);
/// Requests of a queue pair, and receives.
const DEPTH: usize = 16;
/// Datagrams that a host sends.
const COUNT: u32 = 60;

/// A datagram that was posted.
#[derive(Debug)]
struct Posted {
    from: usize,
    to: usize,
    qkey: Qkey,
    length: u32,
    solicited: bool,
    /// A rail has taken it.
    is_sent: bool,
    is_received: bool,
}

/// What has been seen of all datagrams; their immediate data is their number here.
#[derive(Debug, Default)]
pub struct DatagramLedger(Vec<Posted>);

impl DatagramLedger {
    pub fn posted(&self) -> u64 {
        self.0.len() as u64
    }

    pub fn received(&self) -> u64 {
        self.0.iter().filter(|posted| posted.is_received).count() as u64
    }
}

#[derive(Default)]
struct Receives {
    waiting: VecDeque<Receive>,
    posted: u64,
}

impl Receives {
    fn post(&mut self, length: u32) {
        self.posted += 1;
        self.waiting.push_back(Receive {
            slot: ReceiveSlot(self.posted as u16),
            wr_id: self.posted,
            length,
            soundness: Soundness::Sound,
        });
    }
}

impl ReceiveQueue for Receives {
    fn take(&mut self) -> Option<Receive> {
        self.waiting.pop_front()
    }
}

/// The queue pair, its user, and whom it sends to.
pub struct Port {
    host: usize,
    hosts: usize,
    rng: ChaCha8Rng,
    sender: DatagramSender<Heap>,
    receiver: DatagramReceiver<Heap>,
    receives: Receives,
    /// Buffers that were written to, by slot.
    written: HashMap<ReceiveSlot, Vec<u8>>,
    /// Receives that have completed: in the order of posting.
    completed_receives: u64,
    slots: HashMap<MessageSlot, usize>,
    waiting_since: Option<Instant>,
    /// The next datagram is another one, or the rails are.
    pub has_news: bool,
    left: u32,
    next_at: Instant,
    wr_id: u64,
    completed: u64,
    has_failed: bool,
}

fn qpn(host: usize) -> Qpn {
    Qpn::new(0x80_0000 + host as u32)
}

fn qkey(host: usize) -> Qkey {
    Qkey(0x1000 + host as u32)
}

fn gid(host: usize) -> Gid {
    let mut gid = [0xfe; 16];
    gid[15] = host as u8;
    Gid(gid)
}

impl Port {
    pub fn new(host: usize, seed: u64) -> Self {
        let mut port = Self {
            host,
            hosts: 0,
            rng: ChaCha8Rng::seed_from_u64(seed ^ (host as u64) << 56 ^ 0x7564),
            sender: DatagramSender::new(table(DEPTH)).unwrap(),
            receiver: DatagramReceiver::new(table(DEPTH)).unwrap(),
            receives: Receives::default(),
            written: HashMap::new(),
            completed_receives: 0,
            slots: HashMap::new(),
            waiting_since: None,
            has_news: false,
            left: COUNT,
            next_at: Instant(0),
            wr_id: 0,
            completed: 0,
            has_failed: false,
        };
        port.start();
        port
    }

    /// How many hosts there are.
    pub fn join(&mut self, hosts: usize) {
        self.hosts = hosts;
    }

    fn start(&mut self) {
        self.has_failed = false;
        self.receiver.start(qkey(self.host));
        self.sender.start();
    }

    pub fn is_done(&self) -> bool {
        self.left == 0 && self.sender.outstanding() == 0
    }

    /// Whom the next datagram is for.
    pub fn head_peer(&self, ledger: &DatagramLedger) -> Option<usize> {
        let (slot, _) = self.sender.head()?;
        Some(ledger.0[self.slots[&slot]].to)
    }

    /// The next datagram is dropped.
    pub fn drop_head(&mut self) {
        self.sender.end_head();
        self.waiting_since = None;
        self.has_news = true;
    }

    pub fn note_waiting(&mut self, now: Instant) {
        self.waiting_since.get_or_insert(now);
    }

    pub fn next_event(&self) -> Option<Instant> {
        let deadline = self.waiting_since.map(|since| since.after(PATIENCE));
        let user = (self.left > 0).then_some(self.next_at);
        deadline.into_iter().chain(user).min()
    }

    /// The next datagram, for whom a rail to that host has room.
    pub fn next(&mut self, ledger: &mut DatagramLedger) -> Option<Outgoing> {
        let (slot, &request) = self.sender.head()?;
        let number = self.slots[&slot];
        let posted = &mut ledger.0[number];
        assert!(!posted.is_sent, "sent twice");
        posted.is_sent = true;
        let path = Path {
            source: gid(self.host),
            destination: gid(posted.to),
            ..Path::default()
        };
        let mut payload = path.network_header(posted.length).to_vec();
        payload.extend(pattern::bytes(number as u64, 0, posted.length));
        let header = DatagramHeader {
            dest_qpn: request.dest_qpn,
            src_qpn: qpn(self.host),
            qkey: request.qkey,
            imm: request.imm,
            solicited: request.solicitation,
            payload_len: payload.len() as u32,
        };
        self.drop_head();
        Some(Outgoing {
            body: Body::UnreliableDatagram(header),
            payload,
            item: InFlight::UnreliableDatagram {
                qpn: qpn(self.host),
            },
            steadiness: Steadiness::Steady,
        })
    }

    /// One has arrived.
    pub fn receive(&mut self, header: &DatagramHeader, payload: &[u8]) {
        assert_eq!(header.dest_qpn, qpn(self.host), "for somebody else");
        let Ok(placement) = self.receiver.handle_datagram(header, &mut self.receives) else {
            return;
        };
        let outcome = match self.rng.random_range(0..200) {
            0 => Outcome::Denied(NakCode::RemoteOperation),
            _ => Outcome::Placed,
        };
        if outcome == Outcome::Placed {
            let before = self.written.insert(placement.slot, payload.to_vec());
            assert_eq!(before, None, "two datagrams in one receive");
        }
        self.receiver.handle_payload(placement.token, outcome);
    }

    /// What the user does now.
    pub fn act(&mut self, now: Instant, ledger: &mut DatagramLedger) -> bool {
        let mut busy = self.poll(ledger);
        let waits_too_long = self
            .waiting_since
            .is_some_and(|since| since.after(PATIENCE) <= now);
        if waits_too_long {
            self.drop_head();
            busy = true;
        }
        if self.left == 0 || now < self.next_at {
            return busy;
        }
        let pause = [1_000, 1_000_000, 300_000_000][self.rng.random_range(0..3)];
        self.next_at = now.after(Duration(self.rng.random_range(1..pause)));
        if self.has_failed {
            self.receiver.reset();
            self.sender.reset();
            self.slots.clear();
            self.written.clear();
            self.completed_receives = self.receives.posted - self.receives.waiting.len() as u64;
            self.waiting_since = None;
            self.start();
        } else if self.rng.random_range(0..8) == 0 {
            // After a failure of the sender (SQE).
            self.sender.start();
        }
        while self.receives.waiting.len() < DEPTH {
            let message = self.rng.random_range(0..=MAX_DATAGRAM);
            let shortage = self.rng.random_range(0..10);
            let room = if shortage == 0 { message } else { MAX_DATAGRAM };
            self.receives.post(NETWORK_HEADER_LEN as u32 + room);
        }
        for _ in 0..self.rng.random_range(1..6) {
            if self.left > 0 && self.sender.room() > 0 {
                self.post(ledger);
            }
        }
        self.poll(ledger);
        true
    }

    fn post(&mut self, ledger: &mut DatagramLedger) {
        self.left -= 1;
        let to = (self.host + self.rng.random_range(1..self.hosts)) % self.hosts;
        let number = ledger.0.len();
        let qkey = match self.rng.random_range(0..10) {
            0 => Qkey(0),
            _ => qkey(to),
        };
        let solicited = self.rng.random_range(0..2) == 0;
        let length = match self.rng.random_range(0..4) {
            0 => 0,
            1 => MAX_DATAGRAM,
            _ => self.rng.random_range(0..=MAX_DATAGRAM),
        };
        ledger.0.push(Posted {
            from: self.host,
            to,
            qkey,
            length,
            solicited,
            is_sent: false,
            is_received: false,
        });
        self.wr_id += 1;
        let slot = self.sender.post(DatagramRequest {
            wr_id: self.wr_id,
            signalling: Signalling::Signalled,
            solicitation: if solicited {
                Solicitation::Solicited
            } else {
                Solicitation::Unsolicited
            },
            length,
            dest_qpn: qpn(to),
            qkey,
            imm: Some(number as u32),
        });
        let slot = slot.unwrap();
        self.slots.insert(slot, number);
        if self.rng.random_range(0..30) == 0 {
            self.sender
                .fail(slot, CompletionStatus::LocalProtectionError);
        }
        self.has_news = true;
    }

    fn poll(&mut self, ledger: &mut DatagramLedger) -> bool {
        let mut any = false;
        while let Some(completion) = self.sender.poll_completion() {
            any = true;
            self.completed += 1;
            let number = self
                .slots
                .remove(&completion.slot)
                .expect("completed twice");
            match completion.status {
                CompletionStatus::Success => {}
                CompletionStatus::FlushError | CompletionStatus::LocalProtectionError => {
                    assert!(!ledger.0[number].is_sent, "failed after it was sent");
                }
                status => panic!("{status:?}"),
            }
        }
        while let Some(completion) = self.receiver.poll_completion() {
            any = true;
            self.completed_receives += 1;
            let receive = completion.receive;
            assert_eq!(receive.wr_id, self.completed_receives, "out of order");
            if receive.status != CompletionStatus::Success {
                let expected = [
                    CompletionStatus::LocalProtectionError,
                    CompletionStatus::FlushError,
                ];
                assert!(expected.contains(&receive.status), "{receive:?}");
                continue;
            }
            let payload = self.written.remove(&receive.slot).expect("nothing came");
            assert_eq!(payload.len() as u32, receive.byte_len);
            let number = receive.imm as usize;
            let posted = &mut ledger.0[number];
            assert!(posted.is_sent && !posted.is_received, "{posted:?} again");
            posted.is_received = true;
            assert_eq!((posted.to, posted.qkey), (self.host, qkey(self.host)));
            assert_eq!(completion.source, Some(qpn(posted.from)));
            let solicited = receive.solicited == Solicitation::Solicited;
            assert_eq!(solicited, posted.solicited);
            let (header, message) = payload.split_at(NETWORK_HEADER_LEN);
            assert_eq!(header[8..24], gid(posted.from).0);
            assert_eq!(header[24..40], gid(self.host).0);
            assert!(message == pattern::bytes(number as u64, 0, posted.length));
        }
        while let Some(event) = self
            .sender
            .poll_event()
            .or_else(|| self.receiver.poll_event())
        {
            any = true;
            match event {
                QpEvent::ReceiveFailed => {
                    self.has_failed = true;
                    self.sender.flush();
                    self.receiver.flush();
                }
                QpEvent::SendFailed | QpEvent::LastWqeReached => {}
                event => panic!("{event:?}"),
            }
        }
        any
    }
}
