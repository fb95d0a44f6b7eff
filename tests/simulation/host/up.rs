// SPDX-License-Identifier: GPL-2.0

//! What a queue pair is told of rails.

use usb4_roce::transport::ids::RailId;
use usb4_roce::transport::ids::RailSeq;
use usb4_roce::transport::rail::tx::FrameStatus;
use usb4_roce::transport::rail_set::RailSet;
use usb4_roce::transport::requester::Rails;

/// Rails that are up, as those know that ask for frames.
pub struct Up(pub RailSet);

impl Rails for Up {
    fn frame_status(&self, _rail: RailId, _seq: RailSeq) -> FrameStatus {
        unreachable!("only timers ask")
    }

    fn up(&self) -> RailSet {
        self.0
    }
}
