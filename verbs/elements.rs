// SPDX-License-Identifier: GPL-2.0

//! Scatter/gather elements of a work request, and the pages they stand for.

use crate::base::page_vec::PageVec;
use crate::verbs::abi::scatter;
use crate::verbs::access_error::Unresolved;
use crate::verbs::kernel_memory;
use crate::verbs::mr::AccessDenied;
use crate::verbs::mr::Key;
use crate::verbs::mr::Needs;
use crate::verbs::mr::RegionTable;
use crate::verbs::mr::Regions;
use crate::verbs::pieces::Piece;
use crate::verbs::pieces::Pieces;

/// A checked copy of the elements of a work request.
pub(crate) struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The elements in `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Appends the pages of `len` bytes that begin at byte `offset` of the request.
    ///
    /// Fails when an element's region does not allow it, or has no pages to be listed, or there are fewer bytes.
    pub(crate) fn resolve(
        &self,
        offset: u32,
        len: u32,
        needs: Needs,
        table: &RegionTable,
        pages: &mut PageVec,
    ) -> Result<Regions, Unresolved> {
        let mut regions = Regions::new();
        self.for_each_piece(offset, len, |piece| {
            let Piece { key, address, len } = piece;
            if kernel_memory::is_named_by(key, needs) {
                // SAFETY: The user in the kernel names its own memory, and keeps it until the request has completed.
                unsafe { kernel_memory::fill(address, len, pages) }?;
            } else {
                regions.add(table.resolve(key, address, len, needs, pages)?);
            }
            Ok::<(), Unresolved>(())
        })?;
        Ok(regions)
    }

    /// Where `len` bytes are that begin at byte `offset` of the request. Fails when there are fewer.
    pub(crate) fn pieces(
        &self,
        offset: u32,
        len: u32,
        needs: Needs,
    ) -> Result<Pieces, AccessDenied> {
        let mut pieces = Pieces::new(needs);
        self.for_each_piece(offset, len, |piece| pieces.push(piece))?;
        Ok(pieces)
    }

    fn for_each_piece<E: From<AccessDenied>>(
        &self,
        offset: u32,
        len: u32,
        mut f: impl FnMut(Piece) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut skip = offset;
        let mut left = len;
        for element in scatter::sges(self.0) {
            if left == 0 {
                break;
            }
            if skip >= element.length {
                skip -= element.length;
                continue;
            }
            let part = (element.length - skip).min(left);
            let address = element
                .address
                .checked_add(u64::from(skip))
                .ok_or(AccessDenied)?;
            f(Piece {
                key: Key(element.lkey),
                address,
                len: part as usize,
            })?;
            left -= part;
            skip = 0;
        }
        if left == 0 {
            Ok(())
        } else {
            Err(AccessDenied.into())
        }
    }
}
