// SPDX-License-Identifier: GPL-2.0

//! A host's PCI attachment: what joins an NHI to its guest while there is one.

use std::fs::File;
use std::num::NonZeroU16;
use std::sync::Arc;

use crate::channel::Progress;
use crate::nhi::InterruptSink;
use crate::nhi::Nhi;

/// What joins an NHI to its guest. A front end makes one when a guest appears.
///
/// Interrupts go out by it. If the guest's register accesses wait in a queue that nobody else looks at, they come in by
/// it too.
pub trait Attachment: InterruptSink {
    /// How the guest says that there is something to do.
    fn doorbells(&self) -> Doorbells;

    /// Does the register accesses that the guest has queued to `nhi`: all those it had queued before this was called.
    fn take_accesses(&mut self, _nhi: &mut Nhi) -> Progress {
        Progress::Idle
    }

    /// Sends the interrupts raised that the guest has room for. The rest waits.
    fn send_interrupts(&mut self) {}

    /// Asks for a kick when the guest has queued so many accesses, until the queue is looked at next. Adds to `kicks` what
    /// becomes readable then.
    fn await_kick(&mut self, _accesses: Accesses, _kicks: &mut Vec<Kick>) -> Readiness {
        Readiness::Quiet
    }
}

/// How a guest says that there is something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doorbells {
    /// In memory that it writes without telling: somebody has to look.
    Memory,
    /// In a queue, with a [`Kick`] for whoever asks for it.
    Queue,
}

/// A number of register accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Accesses(pub NonZeroU16);

impl Accesses {
    /// One.
    pub const ONE: Self = Self(NonZeroU16::MIN);
}

/// Whether a queue holds what is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// It does.
    Ready,
    /// It does not.
    Quiet,
}

/// An event file that a guest makes readable. Reads do not block.
pub type Kick = Arc<File>;
