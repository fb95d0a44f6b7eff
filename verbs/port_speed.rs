// SPDX-License-Identifier: GPL-2.0

//! What the rails carry, in the terms of InfiniBand: speed of a lane, and number of lanes.

use crate::stream_adapter::client::Rate;
use crate::verbs::rdma::LinkSpeed;
use crate::verbs::rdma::LinkWidth;

/// The speed and width that come nearest to `rate` without exceeding it; the smallest if all exceed it.
/// Of several, the one with the most common width.
pub(crate) fn port_speed(rate: Rate) -> (LinkSpeed, LinkWidth) {
    let mut best = (LinkSpeed::Sdr, LinkWidth::X1);
    let megabits = |(speed, width): (LinkSpeed, LinkWidth)| speed.megabits() * width.lanes();
    for width in LinkWidth::ALL {
        for speed in LinkSpeed::ALL {
            let one = (speed, width);
            if megabits(one) <= rate.0 && megabits(one) > megabits(best) {
                best = one;
            }
        }
    }
    best
}
