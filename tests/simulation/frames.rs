// SPDX-License-Identifier: GPL-2.0

//! What became of every frame that a rail has numbered: it arrives, or it is handed back to its owner.

use std::collections::HashMap;

use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::rail::InFlight;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fate {
    UnderWay,
    Arrived,
    HandedBack,
}

/// Frames of one end of a rail; their numbers go on from stream to stream.
#[derive(Debug, Default)]
pub struct Frames {
    frames: HashMap<RailSeq, (InFlight, Fate)>,
    pub sent: u64,
    pub handed_back: u64,
}

impl Frames {
    pub fn send(&mut self, seq: RailSeq, item: InFlight) {
        self.sent += 1;
        let known = self.frames.insert(seq, (item, Fate::UnderWay));
        assert_eq!(known, None, "number used twice");
    }

    /// The peer has taken it.
    pub fn arrive(&mut self, seq: RailSeq) {
        let (_, fate) = self.frames.get_mut(&seq).expect("arrived, but not sent");
        assert_ne!(*fate, Fate::Arrived, "arrived twice");
        *fate = Fate::Arrived;
    }

    /// It was handed back. It may have arrived: then it comes twice.
    pub fn hand_back(&mut self, seq: RailSeq, item: InFlight) {
        let (sent, fate) = self
            .frames
            .get_mut(&seq)
            .expect("handed back, but not sent");
        assert_eq!(*sent, item, "handed back as something else");
        assert_ne!(*fate, Fate::HandedBack, "handed back twice");
        self.handed_back += 1;
        *fate = Fate::HandedBack;
    }

    /// Nothing of what `is_settled` says is settled may be unaccounted for.
    pub fn assert_settled(&self, is_settled: impl Fn(RailSeq) -> bool) {
        for (seq, (item, fate)) in &self.frames {
            let forgotten = *fate == Fate::UnderWay && is_settled(*seq);
            assert!(!forgotten, "{seq:?} with {item:?} has been forgotten");
        }
    }

    /// The stream is closed: all must have been accounted for. Some may still arrive.
    pub fn end(&self) {
        self.assert_settled(|_| true);
    }
}
