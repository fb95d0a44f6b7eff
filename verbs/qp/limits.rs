// SPDX-License-Identifier: GPL-2.0

//! What a QP can take.

use crate::transport::frame::SegmentSize;
use crate::transport::limits::Limits;
use crate::transport::rail::hello::Features;

/// How messages are cut, unless the peer takes less at a time.
pub(super) const SEGMENT: SegmentSize = SegmentSize::LARGEST;

/// PSNs a QP may have outstanding, and with them receives it has taken.
pub(crate) const WINDOW: u16 = 256;

/// READs, atomic operations and FLUSHes a QP may have outstanding in each direction.
pub(crate) const MAX_RD_ATOMIC: u8 = 128;

/// What this host can take, as its peers are told.
pub(crate) const LIMITS: Limits = Limits {
    max_payload: SEGMENT.get(),
    window: WINDOW,
    max_rd_atomic: MAX_RD_ATOMIC,
};

/// What QPs of this host can do beyond the plain protocol, as its peers are told.
pub(crate) const FEATURES: Features = Features::ATOMICS
    .with(Features::ATOMIC_WRITE)
    .with(Features::FLUSH)
    .with(Features::UNRELIABLE_CONNECTIONS)
    .with(Features::UNRELIABLE_DATAGRAMS);
