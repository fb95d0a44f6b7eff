// SPDX-License-Identifier: GPL-2.0

//! Interrupt vectors wired to eventfds.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::attachment::Attachment;
use crate::attachment::Doorbells;
use crate::nhi::InterruptSink;
use crate::nhi::Raised;
use crate::nhi::Vector;
use crate::nhi::VECTORS;

/// The eventfd of each vector; shared between the connection, which changes them, and the NHI,
/// which signals them.
#[derive(Clone, Default)]
pub(super) struct EventFds {
    wires: Arc<Mutex<[Option<File>; VECTORS]>>,
}

impl EventFds {
    /// Wires the vectors from `start` on to `fds`.
    ///
    /// # Errors
    ///
    /// When there are not that many vectors.
    pub(super) fn wire(&self, start: u32, fds: Vec<File>) -> std::io::Result<()> {
        let mut wires = self.wires.lock();
        let slots = range(&mut wires[..], start, fds.len())?;
        for (slot, fd) in slots.iter_mut().zip(fds) {
            *slot = Some(fd);
        }
        Ok(())
    }

    /// Unwires `count` vectors from `start` on.
    ///
    /// # Errors
    ///
    /// When there are not that many vectors.
    pub(super) fn unwire(&self, start: u32, count: u32) -> std::io::Result<()> {
        range(&mut self.wires.lock()[..], start, count as usize)?.fill_with(|| None);
        Ok(())
    }

    /// Unwires every vector.
    pub(super) fn unwire_all(&self) {
        self.wires.lock().fill_with(|| None);
    }
}

fn range(
    wires: &mut [Option<File>],
    start: u32,
    count: usize,
) -> std::io::Result<&mut [Option<File>]> {
    wires
        .get_mut(start as usize..)
        .and_then(|wires| wires.get_mut(..count))
        .ok_or_else(|| std::io::Error::from(std::io::ErrorKind::InvalidInput))
}

impl InterruptSink for EventFds {
    fn raise(&mut self, vector: Vector) -> Raised {
        const ONE_EVENT: [u8; 8] = 1u64.to_ne_bytes();
        match &mut self.wires.lock()[usize::from(vector.0)] {
            // The write fails only when 2^64 - 2 events wait, in which case one is as good.
            Some(fd) => match fd.write_all(&ONE_EVENT) {
                Ok(()) => Raised::Sent,
                Err(_) => Raised::Unwired,
            },
            None => Raised::Unwired,
        }
    }
}

/// Register accesses come over the socket, and are done by the thread that serves it.
impl Attachment for EventFds {
    fn doorbells(&self) -> Doorbells {
        Doorbells::Memory
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use rustix::event::EventfdFlags;

    use super::*;

    fn eventfd() -> File {
        rustix::event::eventfd(0, EventfdFlags::NONBLOCK)
            .unwrap()
            .into()
    }

    #[test]
    fn wired_and_unwired() {
        let mut fds = EventFds::default();
        let mut guest = eventfd();
        fds.wire(3, vec![guest.try_clone().unwrap()]).unwrap();
        assert_eq!(fds.raise(Vector(2)), Raised::Unwired);
        assert_eq!(fds.raise(Vector(3)), Raised::Sent);
        let mut events = [0; 8];
        guest.read_exact(&mut events).unwrap();
        assert_eq!(u64::from_ne_bytes(events), 1);
        fds.unwire(3, 1).unwrap();
        assert_eq!(fds.raise(Vector(3)), Raised::Unwired);
    }

    #[test]
    fn vectors_that_do_not_exist() {
        let fds = EventFds::default();
        assert!(fds.wire(16, vec![eventfd()]).is_err());
        assert!(fds.wire(u32::MAX, vec![eventfd()]).is_err());
        assert!(fds.unwire(15, 2).is_err());
        assert!(fds.unwire(0, u32::MAX).is_err());
        assert!(fds.unwire(0, 16).is_ok());
    }
}
