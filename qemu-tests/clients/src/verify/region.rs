// SPDX-License-Identifier: GPL-2.0

//! Registered memory with guard bands, and the image of what it must contain.

use std::ops::Range;

use anyhow::bail;
use anyhow::Result;

use crate::pattern::Pattern;
use crate::verbs::Access;
use crate::verbs::Buffer;
use crate::verbs::Mr;
use crate::verbs::Pd;
use crate::verbs::RemoteAddr;
use crate::verbs::Sge;

/// Unregistered bytes on either side: more than a page, so that a page-sized mistake hits them.
const GUARD: usize = 4096 + 64;

/// The region starts in the middle of a page and at an odd address, as applications' buffers do.
const MISALIGNMENT: usize = 1231;

/// A region, by default as its image says. Offsets are relative to the first registered byte.
pub struct Region<'a> {
    name: String,
    buffer: &'a Buffer,
    mr: Mr<'a>,
    image: Vec<u8>,
}

const BASE: usize = GUARD + MISALIGNMENT;

impl<'a> Region<'a> {
    /// A buffer with room for a region of `len` bytes and its guard bands.
    pub fn buffer(len: usize) -> nix::Result<Buffer> {
        Buffer::new(BASE + len + GUARD)
    }

    /// Registers `len` bytes of a buffer made by [`Self::buffer`] and fills everything, guard bands
    /// included, with `pattern`.
    pub fn new(
        name: String,
        pd: &'a Pd<'_>,
        buffer: &'a Buffer,
        len: usize,
        access: Access,
        pattern: Pattern,
    ) -> Result<Self> {
        let mr = Mr::new(pd, buffer, BASE..BASE + len, access)?;
        let image = pattern.bytes(0, buffer.len());
        buffer.write(0, &image);
        Ok(Self {
            name,
            buffer,
            mr,
            image,
        })
    }

    /// The first registered byte as the peer addresses it.
    pub fn remote(&self) -> RemoteAddr {
        self.mr.remote()
    }

    /// Scatter/gather elements for `pieces`.
    pub fn sges(&self, pieces: &[Range<usize>]) -> Vec<Sge> {
        pieces
            .iter()
            .map(|piece| self.mr.sge(piece.clone()))
            .collect()
    }

    /// Fills the registered bytes, in memory and in the image, so that byte `n` is that of `pattern`.
    pub fn refill(&mut self, pattern: Pattern) {
        let len = self.mr.len();
        pattern.fill(0, &mut self.image[BASE..BASE + len]);
        self.buffer.write(BASE, &self.image[BASE..BASE + len]);
    }

    /// The bytes that `pieces` must contain.
    pub fn expected(&self, piece: &Range<usize>) -> &[u8] {
        &self.image[BASE + piece.start..BASE + piece.end]
    }

    /// Notes in the image that `bytes` must now be at `pieces`, in their order; the pieces may have
    /// more room than there are bytes.
    pub fn predict(&mut self, pieces: &[Range<usize>], mut bytes: &[u8]) {
        for piece in pieces {
            let (now, later) = bytes.split_at(piece.len().min(bytes.len()));
            self.image[BASE + piece.start..BASE + piece.start + now.len()].copy_from_slice(now);
            bytes = later;
        }
        assert!(bytes.is_empty(), "the plan gave too little room");
    }

    /// Compares all bytes, guard bands included, with the image.
    pub fn check(&self) -> Result<()> {
        let Some(at) = self.buffer.first_difference(0, &self.image) else {
            return Ok(());
        };
        let found = self.buffer.to_vec(at..at + 1)[0];
        let wrong = self
            .buffer
            .to_vec(0..self.buffer.len())
            .iter()
            .zip(&self.image)
            .filter(|(found, wanted)| found != wanted)
            .count();
        let end = BASE + self.mr.len();
        let place = if at < BASE {
            format!("{} bytes before the region", BASE - at)
        } else if at >= end {
            format!("{} bytes after the region", at - end)
        } else {
            format!("offset {:#x}", at - BASE)
        };
        bail!(
            "{}: wrong byte at {place}: expected {:#04x}, found {found:#04x}; {wrong} bytes wrong in all",
            self.name,
            self.image[at],
        )
    }
}
