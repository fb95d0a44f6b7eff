// SPDX-License-Identifier: GPL-2.0

//! Two ends of a rail, joined by wires that lose what they are told to.

#[path = "support/checksum.rs"]
mod checksum;
#[path = "support/heap.rs"]
mod heap;

use checksum::HostHash;
use heap::table;
use heap::Heap;
use usb4_roce::transport::checksum::Algorithm;
use usb4_roce::transport::checksum::Seed;
use usb4_roce::transport::frame::Body;
use usb4_roce::transport::frame::PacketState;
use usb4_roce::transport::frame::MAX_PAYLOAD;
use usb4_roce::transport::ids::Duration;
use usb4_roce::transport::ids::Instant;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::limits::Limits;
use usb4_roce::transport::rail::deframer::Deframer;
use usb4_roce::transport::rail::deframer::Found;
use usb4_roce::transport::rail::endpoint::Answers;
use usb4_roce::transport::rail::endpoint::HelloEffect;
use usb4_roce::transport::rail::endpoint::Incoming;
use usb4_roce::transport::rail::endpoint::RailEndpoint;
use usb4_roce::transport::rail::endpoint::RailFault;
use usb4_roce::transport::rail::hello::Challenge;
use usb4_roce::transport::rail::hello::Features;
use usb4_roce::transport::rail::hello::Hello;
use usb4_roce::transport::rail::hello::HelloError;
use usb4_roce::transport::rail::hello::Identity;
use usb4_roce::transport::rail::hello::NodeGuid;
use usb4_roce::transport::rail::hello::ReaderSync;
use usb4_roce::transport::rail::hello::HELLO_LEN;
use usb4_roce::transport::rail::hello::NODE_NAME_LEN;
use usb4_roce::transport::rail::tx::FrameStatus;
use usb4_roce::transport::rail::InFlight;

/// How many bytes may be in flight.
const WINDOW_BYTES: u32 = 1 << 20;

struct Rail {
    now: Instant,
    ends: [RailEndpoint<Heap>; 2],
    /// Frames to lose on the way to each end.
    lose: [u32; 2],
    handed_back: [u32; 2],
}

fn identity(guid: u64, features: Features) -> Identity {
    Identity {
        node_guid: NodeGuid(guid),
        mac: [2, 0, 0, 0, 0, 1],
        features,
        limits: Limits {
            max_payload: MAX_PAYLOAD,
            window: 256,
            max_rd_atomic: 16,
        },
        name: [0; NODE_NAME_LEN],
    }
}

impl Rail {
    fn new() -> Self {
        Self::between([Features::NONE; 2])
    }

    /// A rail between ends that offer these.
    fn between(features: [Features; 2]) -> Self {
        Self::with_window(features, 64)
    }

    /// One on which so many frames may be in flight, a power of two.
    fn with_window(features: [Features; 2], frames: usize) -> Self {
        let end = |guid, features| {
            RailEndpoint::new(identity(guid, features), table(frames), WINDOW_BYTES).unwrap()
        };
        let mut rail = Self {
            now: Instant(1),
            ends: [end(1, features[0]), end(2, features[1])],
            lose: [0; 2],
            handed_back: [0; 2],
        };
        rail.ends[0].open(5, rail.now);
        rail.ends[1].open(6, rail.now);
        rail.run(Duration(0));
        assert!(rail.ends.iter().all(RailEndpoint::is_up));
        rail
    }

    /// One end sends a datagram.
    fn send(&mut self, end: usize) {
        let seed = self.ends[end].seed().unwrap();
        let checksum = seed.checksum::<HostHash>(&[]);
        let header = self.ends[end]
            .stamp(
                Body::Datagram(PacketState::Finished),
                0,
                checksum,
                InFlight::Datagram,
                self.now,
            )
            .unwrap();
        self.carry(1 - end, &header.encode::<HostHash>(seed));
    }

    fn carry(&mut self, to: usize, bytes: &[u8]) {
        if self.lose[to] > 0 {
            self.lose[to] -= 1;
            return;
        }
        let end = &mut self.ends[to];
        let piece = Deframer::<HostHash>::new().next(bytes, end.seed()).unwrap();
        assert_eq!(piece.len, bytes.len());
        match piece.found {
            Found::Damage => end.note_damage(self.now),
            Found::Hello(payload) => {
                end.on_hello::<HostHash>(&bytes[payload], self.now).unwrap();
            }
            Found::Corrupt(header) => end.on_corrupt(&header, self.now).unwrap(),
            Found::Frame(header, _) => {
                if end.on_header(&header, self.now).unwrap() == Incoming::Deliver {
                    end.finish(self.now);
                }
            }
        }
        while end.next_lost().is_some() {
            self.handed_back[to] += 1;
        }
    }

    /// Lets time pass; both ends say what they have to.
    fn run(&mut self, span: Duration) {
        let until = self.now.after(span);
        loop {
            let mut moved = false;
            for end in 0..2 {
                self.ends[end].judge(self.now);
                self.ends[end].check(self.now).unwrap();
                while let Some(frame) = self.ends[end].next_control::<HostHash>(self.now) {
                    moved = true;
                    self.carry(1 - end, frame.bytes());
                }
            }
            if !moved {
                if self.now >= until {
                    return;
                }
                self.now = self.now.after(Duration::from_millis(1)).min(until);
            }
        }
    }
}

#[test]
fn a_loss_is_handed_back_at_once() {
    let mut rail = Rail::new();
    rail.lose[1] = 1;
    rail.send(0);
    rail.send(0);
    rail.run(Duration(0));
    assert_eq!(rail.handed_back, [1, 0]);
}

#[test]
fn the_loss_of_the_last_frame_is_noticed_by_a_nudge() {
    let mut rail = Rail::new();
    rail.lose[1] = 1;
    rail.send(0);
    rail.run(Duration::from_millis(19));
    assert_eq!(rail.handed_back, [0, 0]);
    rail.run(Duration::from_millis(2));
    assert_eq!(rail.handed_back, [1, 0]);
}

#[test]
fn while_frames_come_nobody_need_be_woken_for_each() {
    let mut rail = Rail::new();
    // The handshake was long ago.
    rail.run(Duration::from_millis(100));
    rail.send(0);
    let looks_at = rail.ends[1].look_again_at(rail.now).unwrap();
    for _ in 0..4 {
        rail.now = rail.now.after(Duration::from_millis(1));
        rail.send(1);
        rail.send(0);
        assert!(rail.ends[1].deadline().unwrap() >= looks_at);
    }
    // A new one would have to be acknowledged sooner than the next sign of life is due.
    rail.send(1);
    assert!(rail.ends[1].look_again_at(rail.now).unwrap() < rail.ends[1].deadline().unwrap());
    rail.now = rail.now.after(Duration::from_millis(5));
    assert_eq!(
        rail.ends[1].look_again_at(rail.now),
        rail.ends[1].deadline()
    );
}

#[test]
fn damage_is_asked_about_at_once() {
    let mut rail = Rail::new();
    let seed = rail.ends[0].seed().unwrap();
    let checksum = seed.checksum::<HostHash>(&[]);
    let header = rail.ends[0]
        .stamp(
            Body::Datagram(PacketState::Finished),
            0,
            checksum,
            InFlight::Datagram,
            rail.now,
        )
        .unwrap();
    let mut bytes = header.encode::<HostHash>(seed);
    bytes[20] ^= 1;
    rail.carry(1, &bytes);
    rail.run(Duration::from_millis(6));
    assert_eq!(rail.handed_back, [1, 0]);
}

#[test]
fn an_idle_peer_is_not_suspected_when_something_is_sent() {
    let mut rail = Rail::new();
    // Shortly before it would say something by itself.
    rail.run(Duration::from_millis(900));
    rail.lose[1] = 1;
    rail.send(0);
    assert_eq!(rail.ends[0].answers(rail.now), Answers::Come);
    let later = rail.now.after(Duration::from_millis(400));
    assert_eq!(rail.ends[0].answers(later), Answers::Missing);
}

#[test]
#[cfg_attr(miri, ignore = "takes too long")]
fn losses_in_both_directions_do_not_hold_each_other_up() {
    for also_lost in 0..6 {
        let mut rail = Rail::new();
        rail.lose = [1, 1];
        rail.send(0);
        rail.send(1);
        // These show the losses, and both ends report.
        rail.send(0);
        rail.send(1);
        // The reports, or what confirms them, may be lost as well.
        rail.lose = [also_lost % 3, also_lost / 3];
        let last = [0, 1].map(|end| rail.ends[end].next_seq());
        rail.run(Duration::from_millis(1_000));
        assert_eq!(rail.handed_back, [1, 1], "{also_lost}");
        for (end, next) in last.into_iter().enumerate() {
            let before = RailSeq(next.0.wrapping_sub(1));
            assert_eq!(
                rail.ends[end].frame_status(before),
                FrameStatus::Settled,
                "{also_lost}"
            );
        }
        // Neither is taken for dead.
        rail.run(Duration::from_millis(5_000));
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes too long")]
fn full_windows_with_losses_in_both_directions_recover() {
    for also_lost in 0..9 {
        let mut rail = Rail::new();
        rail.lose = [2, 2];
        for end in [0, 1] {
            while rail.ends[end].can_send(0) {
                rail.send(end);
            }
        }
        // The reports, or what confirms them, may be lost as well.
        rail.lose = [also_lost % 3, also_lost / 3];
        let last = [0, 1].map(|end| rail.ends[end].next_seq());
        rail.run(Duration::from_millis(500));
        assert_eq!(rail.handed_back, [2, 2], "{also_lost}");
        for (end, next) in last.into_iter().enumerate() {
            assert!(rail.ends[end].can_send(0), "{also_lost}");
            let before = RailSeq(next.0.wrapping_sub(1));
            assert_eq!(
                rail.ends[end].frame_status(before),
                FrameStatus::Settled,
                "{also_lost}"
            );
        }
        // Neither is taken for dead.
        rail.run(Duration::from_millis(5_000));
    }
}

#[test]
#[cfg_attr(miri, ignore = "takes too long")]
fn steady_losses_do_not_keep_an_old_report_from_being_repeated() {
    let mut rail = Rail::new();
    rail.lose[1] = 1;
    rail.send(0);
    rail.send(0);
    // Its report is lost.
    rail.lose[0] = 1;
    rail.run(Duration(0));
    for _ in 0..200 {
        rail.lose[1] = 1;
        rail.send(0);
        rail.send(0);
        rail.run(Duration::from_millis(5));
    }
    rail.run(Duration::from_millis(50));
    assert_eq!(rail.handed_back, [201, 0]);
    assert!(rail.ends[0].can_send(0));
}

#[test]
fn silence_is_death() {
    let rail = Rail::new();
    let end = &rail.ends[0];
    let last = rail.now.after(Duration::from_millis(2_999));
    assert_eq!(end.check(last), Ok(()));
    let over = rail.now.after(Duration::from_millis(3_000));
    assert_eq!(end.check(over), Err(RailFault::Dead));
}

#[test]
fn talk_without_progress_is_death_as_well() {
    let mut rail = Rail::new();
    rail.lose[1] = u32::MAX;
    rail.send(0);
    for _ in 0..5 {
        assert_eq!(rail.ends[0].check(rail.now), Ok(()));
        rail.now = rail.now.after(Duration::from_millis(600));
        // It still says that it has got nothing.
        rail.send(1);
    }
    assert_eq!(rail.ends[0].check(rail.now), Err(RailFault::Dead));
}

#[test]
fn a_window_full_of_bytes_is_acknowledged_without_waiting() {
    // So many frames that those which fit the window of bytes are not enough for an acknowledgement by number.
    const FRAMES: usize = 1024;
    let mut rail = Rail::with_window([Features::NONE; 2], FRAMES);
    let seed = rail.ends[0].seed().unwrap();
    let payload = vec![0; MAX_PAYLOAD as usize];
    let checksum = seed.checksum::<HostHash>(&payload);
    let mut sent = 0;
    while rail.ends[0].can_send(MAX_PAYLOAD) {
        let header = rail.ends[0]
            .stamp(
                Body::Datagram(PacketState::Finished),
                MAX_PAYLOAD,
                checksum,
                InFlight::Datagram,
                rail.now,
            )
            .unwrap();
        assert_eq!(
            rail.ends[1].on_header(&header, rail.now).unwrap(),
            Incoming::Deliver
        );
        rail.ends[1].finish(rail.now);
        sent += 1;
    }
    assert!(sent < FRAMES / 16);
    rail.run(Duration(0));
    assert!(rail.ends[0].can_send(MAX_PAYLOAD));
}

#[test]
fn a_number_is_taken_once() {
    let mut rail = Rail::new();
    let header = rail.ends[0]
        .stamp(
            Body::Datagram(PacketState::Finished),
            0,
            0,
            InFlight::Datagram,
            rail.now,
        )
        .unwrap();
    let end = &mut rail.ends[1];
    assert_eq!(end.on_header(&header, rail.now), Ok(Incoming::Deliver));
    end.finish(rail.now);
    assert_eq!(end.on_header(&header, rail.now), Ok(Incoming::Done));
}

#[test]
fn ends_agree_on_the_checksum() {
    let (fast, plain) = (Features::FAST_CRC32C, Features::NONE);
    for (features, expected) in [
        ([fast, fast], Algorithm::Crc32c),
        ([fast, plain], Algorithm::Xxh64),
        ([plain, fast], Algorithm::Xxh64),
    ] {
        let mut rail = Rail::between(features);
        for end in &rail.ends {
            assert_eq!(end.seed().map(Seed::algorithm), Some(expected));
        }
        rail.send(0);
        rail.run(Duration::from_millis(50));
        assert_eq!(rail.handed_back, [0, 0]);
        assert!(rail.ends[0].frame_status(RailSeq::FIRST) == FrameStatus::Settled);
    }
}

/// A hello that a process has put into a payload.
fn forged_hello(session: u64) -> [u8; HELLO_LEN] {
    Hello {
        identity: identity(7, Features::NONE),
        own: Challenge { session, nonce: 1 },
        echo: Challenge::default(),
        sync: ReaderSync::Unproven,
        first_seq: RailSeq(0),
    }
    .encode()
}

#[test]
fn what_is_no_hello_does_not_end_a_session() {
    let mut rail = Rail::new();
    for payload in [&[][..], &[0; 64], &[0; HELLO_LEN], &[0xff; 4000]] {
        let effect = rail.ends[0].on_hello::<HostHash>(payload, rail.now);
        assert_eq!(effect, Ok(HelloEffect::Ignored));
    }
    assert!(rail.ends[0].is_up());
}

#[test]
fn what_is_no_hello_does_not_end_a_handshake_before_its_time() {
    let mut end =
        RailEndpoint::<Heap>::new(identity(1, Features::NONE), table(64), 1 << 20).unwrap();
    end.open(5, Instant(1));
    let other_version = [0xff; HELLO_LEN];
    let effect = end.on_hello::<HostHash>(&other_version, Instant(1));
    assert_eq!(effect, Ok(HelloEffect::Ignored));
    assert_eq!(end.check(Instant(1)), Ok(()));
    // But if nothing better comes, it is told.
    let over = Instant(1).after(Duration::from_millis(5_000));
    let version = HelloError::Version(0xffff);
    assert_eq!(end.check(over), Err(RailFault::Hello(version)));
}

#[test]
fn a_forged_hello_costs_a_question_and_nothing_else() {
    let mut rail = Rail::new();
    rail.send(0);
    for session in 1_000..1_100 {
        let payload = forged_hello(session);
        let effect = rail.ends[1].on_hello::<HostHash>(&payload, rail.now);
        assert_eq!(effect, Ok(HelloEffect::Nothing));
        rail.run(Duration::from_millis(7));
        assert!(rail.ends.iter().all(RailEndpoint::is_up));
    }
    rail.send(1);
    rail.run(Duration::from_millis(1_000));
    assert!(rail.ends.iter().all(RailEndpoint::is_up));
    assert_eq!(rail.handed_back, [0, 0]);
    assert_eq!(rail.ends[1].peer().unwrap().node_guid, NodeGuid(1));
}

#[test]
fn own_hellos_in_a_payload_do_not_end_a_session() {
    let mut rail = Rail::new();
    // Its own session id.
    let effect = rail.ends[0].on_hello::<HostHash>(&forged_hello(5), rail.now);
    assert_eq!(effect, Ok(HelloEffect::Nothing));
    rail.run(Duration::from_millis(1_000));
    assert!(rail.ends.iter().all(RailEndpoint::is_up));
}

#[test]
fn a_peer_that_began_anew_is_noticed_in_a_fifth_of_a_second() {
    for session in [1, 900] {
        let mut rail = Rail::new();
        rail.lose[1] = 1;
        rail.send(0);
        // The stream is closed and opened, and nobody is told.
        rail.ends[1].close();
        rail.ends[1].open(session, rail.now);
        rail.run(Duration::from_millis(220));
        assert!(rail.ends.iter().all(RailEndpoint::is_up));
        assert_eq!(rail.handed_back, [1, 0]);
    }
}
