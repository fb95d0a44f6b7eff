// SPDX-License-Identifier: GPL-2.0

//! Interrupts of an NHI: latched per ring, masked, moderated per vector.

use std::time::Duration;
use std::time::Instant;

use super::register;
use super::register::RegisterFile;
use crate::ids::RingNumber;
use crate::ids::RINGS;
use crate::ring_status::InterruptState;

/// Number of MSI-X vectors.
pub const VECTORS: usize = 16;

/// An MSI-X vector, less than [`VECTORS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Vector(pub u8);

/// Where interrupts go: the front end's way to the guest.
pub trait InterruptSink: Send {
    /// Raises `vector`, if the guest has set it up.
    fn raise(&mut self, vector: Vector) -> Raised;
}

/// Whether an interrupt reached the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Raised {
    /// It did, or will as soon as the guest has room for it.
    Sent,
    /// The vector's last interrupt still waits; one stands for both.
    Merged,
    /// The guest has not set the vector up.
    Unwired,
}

/// The source of an interrupt: a ring in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A transmit ring.
    Tx(RingNumber),
    /// A receive ring.
    Rx(RingNumber),
}

impl Source {
    fn bit(self) -> usize {
        match self {
            Self::Tx(ring) => ring.index(),
            Self::Rx(ring) => RINGS + ring.index(),
        }
    }
}

/// Interrupts that wait to be raised.
pub struct InterruptLatch {
    /// Bit per [`Source`].
    pending: u64,
    /// When each vector was raised last.
    raised: [Option<Instant>; VECTORS],
}

impl InterruptLatch {
    /// Nothing pending.
    pub fn new() -> Self {
        Self {
            pending: 0,
            raised: [None; VECTORS],
        }
    }

    /// Marks `source` for an interrupt.
    pub fn latch(&mut self, source: Source) {
        self.pending |= 1 << source.bit();
    }

    /// Forgets an interrupt of `source`.
    pub fn clear(&mut self, source: Source) {
        self.pending &= !(1 << source.bit());
    }

    /// Whether an interrupt waits that is not masked.
    pub fn is_waiting(&self, registers: &RegisterFile) -> bool {
        self.pending != 0 && self.pending & registers.load_u64(register::INTERRUPT_MASK) != 0
    }

    /// What is to be told of `source`.
    pub fn state(&self, registers: &RegisterFile, source: Source) -> InterruptState {
        let bit = 1 << source.bit();
        if self.pending & bit == 0 {
            InterruptState::Quiet
        } else if registers.load_u64(register::INTERRUPT_MASK) & bit == 0 {
            InterruptState::Masked
        } else {
            InterruptState::Due
        }
    }

    /// Raises what is pending, not masked and not throttled; the rest stays latched. Returns the
    /// number of interrupts sent.
    pub fn fire(
        &mut self,
        registers: &RegisterFile,
        sink: &mut dyn InterruptSink,
        now: Instant,
    ) -> u64 {
        if self.pending == 0 {
            return 0;
        }
        let mut sent = 0;
        // A bit at a time, the vector of each read once; vectors shared by rings fire once.
        let mut fired = 0u16;
        let mut ready = self.pending & registers.load_u64(register::INTERRUPT_MASK);
        while ready != 0 {
            let bit = ready.trailing_zeros() as usize;
            ready &= ready - 1;
            let vector = vector_of(registers, bit);
            let index = usize::from(vector.0);
            if fired & 1 << index == 0 {
                if self.is_throttled(registers, vector, now) {
                    continue;
                }
                self.raised[index] = Some(now);
                fired |= 1 << index;
                if sink.raise(vector) == Raised::Sent {
                    sent += 1;
                }
            }
            self.pending &= !(1 << bit);
        }
        sent
    }

    fn is_throttled(&self, registers: &RegisterFile, vector: Vector, now: Instant) -> bool {
        let index = usize::from(vector.0);
        let units = registers.load(register::THROTTLE_BASE + index * size_of::<u32>())
            & register::THROTTLE_MASK;
        let interval = Duration::from_nanos(u64::from(units) * register::THROTTLE_UNIT_NS);
        self.raised[index].is_some_and(|last| now.saturating_duration_since(last) < interval)
    }
}

impl Default for InterruptLatch {
    fn default() -> Self {
        Self::new()
    }
}

fn vector_of(registers: &RegisterFile, bit: usize) -> Vector {
    const PER_REGISTER: usize = u32::BITS as usize / register::VECTOR_BITS;
    let register = register::VECTOR_BASE + bit / PER_REGISTER * size_of::<u32>();
    let shift = bit % PER_REGISTER * register::VECTOR_BITS;
    Vector((registers.load(register) >> shift) as u8 & (VECTORS as u8 - 1))
}
