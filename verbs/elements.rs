// SPDX-License-Identifier: GPL-2.0

//! Scatter/gather elements of a work request, and the pages they stand for.

use crate::base::page_vec::PageVec;
use crate::verbs::abi::scatter;
use crate::verbs::kernel_memory;
use crate::verbs::mr::AccessDenied;
use crate::verbs::mr::Key;
use crate::verbs::mr::Needs;
use crate::verbs::mr::RegionTable;
use crate::verbs::mr::Regions;

/// A checked copy of the elements of a work request.
pub(crate) struct Elements<'a>(&'a [u8]);

impl<'a> Elements<'a> {
    /// The elements in `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Appends the pages of `len` bytes that begin at byte `offset` of the request.
    ///
    /// Fails when an element's region does not allow it, or there are fewer bytes.
    pub(crate) fn resolve(
        &self,
        offset: u32,
        len: u32,
        needs: Needs,
        table: &RegionTable,
        pages: &mut PageVec,
    ) -> Result<Regions, AccessDenied> {
        let mut regions = Regions::new();
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
            let (key, part_len) = (Key(element.lkey), part as usize);
            if kernel_memory::is_named_by(key, needs) {
                // SAFETY: The user in the kernel names its own memory, and keeps it until the request has completed.
                unsafe { kernel_memory::fill(address, part_len, pages) }?;
            } else {
                regions.add(table.resolve(key, address, part_len, needs, pages)?);
            }
            left -= part;
            skip = 0;
        }
        if left == 0 {
            Ok(regions)
        } else {
            Err(AccessDenied)
        }
    }
}
