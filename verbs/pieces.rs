// SPDX-License-Identifier: GPL-2.0

//! Where a payload is that cannot be listed page by page, as some of its pages may not be present: copied bit by bit, and
//! looked up anew for each.

use kernel::sync::Arc;

use crate::base::page_vec::ordered_end;
use crate::base::page_vec::MAX_SGE;
use crate::verbs::access_error::Stop;
use crate::verbs::mr::AccessDenied;
use crate::verbs::mr::Key;
use crate::verbs::mr::Needs;
use crate::verbs::mr::RegionTable;
use crate::verbs::mr::RegionUse;
use crate::verbs::on_demand::OnDemandMemory;
use crate::verbs::rdma::PageUse;

/// A range of a region. Nothing has been checked yet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Names the region.
    pub(crate) key: Key,
    /// Where the range begins, as the region is addressed.
    pub(crate) address: u64,
    /// Bytes.
    pub(crate) len: usize,
}

const NO_PIECE: Piece = Piece {
    key: Key(0),
    address: 0,
    len: 0,
};

/// Where a payload is, or goes: one piece after the other.
#[derive(Clone, Copy)]
pub(crate) struct Pieces {
    needs: Needs,
    list: [Piece; MAX_SGE],
    count: usize,
}

/// What is left of a piece.
struct Rest {
    used: RegionUse,
    /// Where in the region's memory.
    start: u64,
    len: usize,
}

impl Pieces {
    /// No piece yet; each access needs `needs`.
    pub(crate) const fn new(needs: Needs) -> Self {
        Self {
            needs,
            list: [NO_PIECE; MAX_SGE],
            count: 0,
        }
    }

    /// Only this piece.
    pub(crate) fn one(needs: Needs, piece: Piece) -> Self {
        let mut pieces = Self::new(needs);
        pieces.list[0] = piece;
        pieces.count = 1;
        pieces
    }

    /// Appends a piece. Fails when there are [`MAX_SGE`].
    pub(crate) fn push(&mut self, piece: Piece) -> Result<(), AccessDenied> {
        *self.list.get_mut(self.count).ok_or(AccessDenied)? = piece;
        self.count += 1;
        Ok(())
    }

    /// Copies the payload to `to`, from byte `done` on, which says afterwards how far it got. Does not sleep.
    pub(crate) fn read(
        &self,
        table: &RegionTable,
        to: &mut [u8],
        done: &mut usize,
    ) -> Result<(), Stop> {
        while *done < to.len() {
            let rest = self.rest(table, *done)?;
            let end = to.len().min(*done + rest.len);
            let copied = rest.used.read(rest.start, &mut to[*done..end])?;
            *done += copied;
            if *done < end {
                return Err(Stop::Absent);
            }
        }
        Ok(())
    }

    /// Copies `from` to where the payload goes, from byte `done` on, which says afterwards how far it got. What is said of
    /// the order in which bytes become visible in `PageVec::copy_from_slice_in_order()` holds here too. Does not sleep.
    pub(crate) fn write(
        &self,
        table: &RegionTable,
        from: &[u8],
        done: &mut usize,
    ) -> Result<(), Stop> {
        let ordered_from = from.len() - ordered_end(from.len());
        while *done < from.len() {
            let rest = self.rest(table, *done)?;
            let end = from.len().min(*done + rest.len);
            let ordered = end.saturating_sub(ordered_from.max(*done));
            let copied = rest.used.write(rest.start, &from[*done..end], ordered)?;
            *done += copied;
            if *done < end {
                return Err(Stop::Absent);
            }
        }
        Ok(())
    }

    /// Makes the page with byte `at` of the payload present, for a moment at least. Sleeps, for as long as the process whose
    /// memory it is likes. Meanwhile the region may end.
    pub(crate) fn fault_in(
        &self,
        table: &RegionTable,
        at: usize,
        page_use: PageUse,
    ) -> Result<(), AccessDenied> {
        let (memory, start) = self.on_demand(table, at)?;
        memory.fault_in(start, page_use).map_err(|_| AccessDenied)
    }

    fn on_demand(
        &self,
        table: &RegionTable,
        at: usize,
    ) -> Result<(Arc<OnDemandMemory>, u64), AccessDenied> {
        let rest = self.rest(table, at)?;
        let memory = rest.used.on_demand().ok_or(AccessDenied)?;
        Ok((memory.clone(), rest.start))
    }

    /// What is left of the piece with byte `at` of the payload, if it may be accessed.
    fn rest(&self, table: &RegionTable, at: usize) -> Result<Rest, AccessDenied> {
        let mut skip = at;
        for piece in &self.list[..self.count] {
            if skip >= piece.len {
                skip -= piece.len;
                continue;
            }
            let len = piece.len - skip;
            let address = piece.address.checked_add(skip as u64).ok_or(AccessDenied)?;
            let (used, start) = table.open(piece.key, address, len, self.needs)?;
            return Ok(Rest { used, start, len });
        }
        Err(AccessDenied)
    }
}
