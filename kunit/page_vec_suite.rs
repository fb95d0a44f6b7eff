// SPDX-License-Identifier: GPL-2.0

//! Lists of page spans, on real pages.

use core::ptr::NonNull;

use kernel::page::Page;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;

use crate::base::page_vec::PageVec;

/// Pages and a list that names spans of them.
struct Fixture {
    list: KBox<PageVec>,
    pages: KVec<Page>,
}

impl Fixture {
    /// `count` separate pages and an empty list.
    fn new(count: usize) -> Result<Self> {
        let mut pages = KVec::new();
        for _ in 0..count {
            pages.push(Page::alloc_page(GFP_KERNEL | __GFP_ZERO)?, GFP_KERNEL)?;
        }
        Ok(Self {
            list: KBox::new(PageVec::new(), GFP_KERNEL)?,
            pages,
        })
    }

    /// Adds a span of a page of the fixture.
    fn push(&mut self, page: usize, offset: usize, len: usize) -> Result {
        let page = NonNull::new(self.pages[page].as_ptr()).ok_or(EINVAL)?;
        // SAFETY: The span lies in one page that lives as long as the fixture, which drops the list
        // first.
        unsafe { self.list.push(page, offset, len) }
    }
}

/// Bytes that differ from their neighbours.
fn pattern(len: usize) -> Result<KVec<u8>> {
    let mut bytes = KVec::with_capacity(len, GFP_KERNEL)?;
    for i in 0..len {
        bytes.push((i.wrapping_mul(167) >> 3) as u8 ^ i as u8, GFP_KERNEL)?;
    }
    Ok(bytes)
}

#[kunit_tests(usb4_roce_page_vec)]
mod tests {
    use super::*;
    use crate::base::checksum::KernelHash;
    use crate::base::page_vec::MAX_SPANS;
    use crate::transport::checksum::Seed;

    /// Three spans with odd borders, in three pages.
    fn ragged() -> Result<Fixture> {
        let mut fixture = Fixture::new(3)?;
        fixture.push(0, PAGE_SIZE - 13, 13)?;
        fixture.push(1, 5, PAGE_SIZE - 5)?;
        fixture.push(2, 0, 77)?;
        Ok(fixture)
    }

    #[test]
    fn starts_empty() -> Result {
        let list = KBox::new(PageVec::new(), GFP_KERNEL)?;
        assert!(list.is_empty());
        assert_eq!(list.as_bio_vecs().len(), 0);
        Ok(())
    }

    #[test]
    fn counts_what_is_pushed() -> Result {
        let fixture = ragged()?;
        assert_eq!(fixture.list.len(), 13 + PAGE_SIZE - 5 + 77);
        Ok(())
    }

    #[test]
    fn an_empty_span_is_ignored() -> Result {
        let mut fixture = Fixture::new(1)?;
        fixture.push(0, 12, 0)?;
        assert_eq!(fixture.list.as_bio_vecs().len(), 0);
        Ok(())
    }

    #[test]
    fn neighbours_are_merged() -> Result {
        let mut fixture = Fixture::new(1)?;
        fixture.push(0, 100, 28)?;
        fixture.push(0, 128, 72)?;
        assert_eq!(fixture.list.as_bio_vecs().len(), 1);
        assert_eq!(fixture.list.len(), 100);
        Ok(())
    }

    #[test]
    fn a_gap_is_not_merged() -> Result {
        let mut fixture = Fixture::new(1)?;
        fixture.push(0, 100, 28)?;
        fixture.push(0, 129, 71)?;
        assert_eq!(fixture.list.as_bio_vecs().len(), 2);
        Ok(())
    }

    #[test]
    fn a_full_list_says_so() -> Result {
        let mut fixture = Fixture::new(1)?;
        for i in 0..MAX_SPANS {
            fixture.push(0, i * 2, 1)?;
        }
        assert_eq!(fixture.push(0, MAX_SPANS * 2, 1), Err(ENOSPC));
        assert_eq!(fixture.list.len(), MAX_SPANS);
        Ok(())
    }

    #[test]
    fn bytes_go_in_and_come_out() -> Result {
        let mut fixture = ragged()?;
        let bytes = pattern(fixture.list.len())?;
        fixture.list.copy_from_slice_in_order(&bytes)?;
        let mut back = KVec::from_elem(0u8, bytes.len(), GFP_KERNEL)?;
        fixture.list.copy_to_slice(0, &mut back)?;
        assert!(*back == *bytes);
        Ok(())
    }

    #[test]
    fn a_part_comes_from_where_it_is() -> Result {
        let mut fixture = ragged()?;
        let bytes = pattern(fixture.list.len())?;
        fixture.list.copy_from_slice_in_order(&bytes)?;
        let mut back = [0; 8];
        fixture.list.copy_to_slice(9, &mut back)?;
        assert_eq!(back, bytes[9..17]);
        Ok(())
    }

    #[test]
    fn nothing_outside_the_spans_is_touched() -> Result {
        let mut fixture = ragged()?;
        let bytes = KVec::from_elem(0xffu8, fixture.list.len(), GFP_KERNEL)?;
        fixture.list.copy_from_slice_in_order(&bytes)?;
        fixture.list.clear();
        fixture.push(0, 0, PAGE_SIZE - 13)?;
        fixture.push(1, 0, 5)?;
        fixture.push(2, 77, PAGE_SIZE - 77)?;
        let mut rest = KVec::from_elem(1u8, fixture.list.len(), GFP_KERNEL)?;
        fixture.list.copy_to_slice(0, &mut rest)?;
        assert!(rest.iter().all(|&byte| byte == 0));
        Ok(())
    }

    #[test]
    fn ranges_beyond_the_end_are_refused() -> Result {
        let mut fixture = ragged()?;
        let len = fixture.list.len();
        let bytes = pattern(len + 1)?;
        assert_eq!(fixture.list.copy_from_slice_in_order(&bytes), Err(EINVAL));
        assert_eq!(fixture.list.copy_to_slice(len, &mut [0]), Err(EINVAL));
        assert_eq!(
            fixture.list.copy_to_slice(usize::MAX, &mut [0]),
            Err(EINVAL)
        );
        Ok(())
    }

    #[test]
    fn ordered_stores_store_the_same_bytes() -> Result {
        let bytes = pattern(120)?;
        let mut same = true;
        for start in 0..9 {
            for len in 0..bytes.len() {
                let mut fixture = Fixture::new(2)?;
                fixture.push(0, PAGE_SIZE - 41 - start, 41 + start)?;
                fixture.push(1, start, 100)?;
                fixture.list.copy_from_slice_in_order(&bytes[..len])?;
                let mut back = [0; 120];
                fixture.list.copy_to_slice(0, &mut back[..len + 1])?;
                same &= back[..len] == bytes[..len] && back[len] == 0;
            }
        }
        assert!(same);
        Ok(())
    }

    #[test]
    fn checksum_is_that_of_the_bytes() -> Result {
        let mut fixture = ragged()?;
        let bytes = pattern(fixture.list.len())?;
        fixture.list.copy_from_slice_in_order(&bytes)?;
        assert_eq!(
            fixture.list.checksum(Seed::HANDSHAKE),
            Seed::HANDSHAKE.checksum::<KernelHash>(&bytes)
        );
        Ok(())
    }

    #[test]
    fn lists_copy_to_lists() -> Result {
        let mut from = ragged()?;
        let bytes = pattern(from.list.len())?;
        from.list.copy_from_slice_in_order(&bytes)?;
        let mut to = Fixture::new(2)?;
        to.push(0, 1, PAGE_SIZE - 1)?;
        to.push(1, 0, PAGE_SIZE)?;
        to.list.copy_from_in_order(&from.list)?;
        let mut back = KVec::from_elem(0u8, bytes.len(), GFP_KERNEL)?;
        to.list.copy_to_slice(0, &mut back)?;
        assert!(*back == *bytes);
        Ok(())
    }

    #[test]
    fn lists_shorter_than_an_ordered_end_copy_to_lists() -> Result {
        let bytes = pattern(80)?;
        let mut same = true;
        for len in 0..bytes.len() {
            let mut from = Fixture::new(2)?;
            from.push(0, PAGE_SIZE - 33, 33.min(len))?;
            from.push(1, 3, len - 33.min(len))?;
            from.list.copy_from_slice_in_order(&bytes[..len])?;
            let mut to = Fixture::new(2)?;
            to.push(0, PAGE_SIZE - 17, 17)?;
            to.push(1, 1, 100)?;
            to.list.copy_from_in_order(&from.list)?;
            let mut back = [0; 81];
            to.list.copy_to_slice(0, &mut back[..len + 1])?;
            same &= back[..len] == bytes[..len] && back[len] == 0;
        }
        assert!(same);
        Ok(())
    }

    #[test]
    fn lists_that_overlap_within_a_page_copy_to_each_other() -> Result {
        const LEN: usize = 1000;
        let bytes = pattern(LEN)?;
        let mut same = true;
        for (from, to) in [(0, 100), (100, 0), (0, 10), (10, 0)] {
            let mut pages = Fixture::new(1)?;
            pages.push(0, from, LEN)?;
            pages.list.copy_from_slice_in_order(&bytes)?;
            let mut source = KBox::new(PageVec::new(), GFP_KERNEL)?;
            // SAFETY: The fixture outlives the use of `source` below.
            unsafe { source.append(&pages.list)? };
            pages.list.clear();
            pages.push(0, to, LEN)?;
            pages.list.copy_from_in_order(&source)?;
            let mut back = KVec::from_elem(0u8, LEN, GFP_KERNEL)?;
            pages.list.copy_to_slice(0, &mut back)?;
            same &= *back == *bytes;
        }
        assert!(same);
        Ok(())
    }

    #[test]
    fn a_list_is_appended() -> Result {
        let mut from = ragged()?;
        let bytes = pattern(from.list.len())?;
        from.list.copy_from_slice_in_order(&bytes)?;
        let mut to = KBox::new(PageVec::new(), GFP_KERNEL)?;
        // SAFETY: `from` outlives the use of `to` below.
        unsafe { to.append(&from.list)? };
        let mut back = KVec::from_elem(0u8, bytes.len(), GFP_KERNEL)?;
        to.copy_to_slice(0, &mut back)?;
        assert!(*back == *bytes);
        Ok(())
    }
}
