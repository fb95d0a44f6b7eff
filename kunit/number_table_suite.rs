// SPDX-License-Identifier: GPL-2.0

//! Objects found by random numbers.

use kernel::prelude::*;
use kernel::sync::Arc;

#[kunit_tests(usb4_roce_number_table)]
mod tests {
    use super::*;
    use crate::base::number_table::NumberTable;

    fn table(capacity: usize) -> Result<Pin<KBox<NumberTable<u32>>>> {
        KBox::pin_init(NumberTable::new(1..1 << 24, capacity), GFP_KERNEL)
    }

    fn add(table: &NumberTable<u32>) -> Result<Arc<u32>> {
        table.add(|number| Ok(Arc::new(number, GFP_KERNEL)?))
    }

    #[test]
    fn an_added_object_is_found() -> Result {
        let table = table(4)?;
        let number = *add(&table)?;
        assert_eq!(table.find(number).map(|found| *found), Some(number));
        let _ = table.remove(number);
        Ok(())
    }

    #[test]
    fn all_are_found_one_after_the_other() -> Result {
        let table = table(8)?;
        let mut numbers = KVec::new();
        for _ in 0..8 {
            numbers.push(*add(&table)?, GFP_KERNEL)?;
        }
        let (mut found, mut next) = (0, 0);
        let mut is_known = true;
        while let Some((number, object)) = table.find_from(next) {
            is_known &= *object == number && numbers.contains(&number);
            found += 1;
            next = number + 1;
        }
        assert!(is_known);
        assert_eq!(found, 8);
        for &number in &numbers {
            let _ = table.remove(number);
        }
        Ok(())
    }

    #[test]
    fn a_condition_keeps_an_object() -> Result {
        let table = table(4)?;
        let number = *add(&table)?;
        let other = Arc::new(number + 1, GFP_KERNEL)?;
        assert!(table
            .remove_if(number, |object| *object != number)
            .is_none());
        assert!(table
            .replace_if(number, other.clone(), |object| *object != number)
            .is_none());
        assert_eq!(table.find(number).map(|found| *found), Some(number));
        let old = table.replace_if(number, other, |object| *object == number);
        assert_eq!(old.map(|old| *old), Some(number));
        assert!(table
            .remove_if(number, |object| *object == number + 1)
            .is_some());
        assert!(table.find(number).is_none());
        Ok(())
    }

    #[test]
    fn a_removed_object_is_gone() -> Result {
        let table = table(4)?;
        let number = *add(&table)?;
        assert!(table.remove(number).is_some());
        assert!(table.find(number).is_none());
        assert!(table.remove(number).is_none());
        Ok(())
    }

    #[test]
    fn a_full_table_says_so_until_something_goes() -> Result {
        let table = table(2)?;
        let first = *add(&table)?;
        let second = *add(&table)?;
        assert_eq!(add(&table).map(|_| ()), Err(ENOMEM));
        let _ = table.remove(first);
        let third = *add(&table)?;
        let _ = table.remove(second);
        let _ = table.remove(third);
        Ok(())
    }

    #[test]
    fn a_failed_creation_takes_no_place() -> Result {
        let table = table(1)?;
        let failed = table.add(|_| Err::<Arc<u32>, _>(EBUSY));
        assert_eq!(failed.map(|_| ()), Err(EBUSY));
        let number = *add(&table)?;
        let _ = table.remove(number);
        Ok(())
    }

    #[test]
    fn numbers_differ() -> Result {
        let table = table(64)?;
        let mut numbers = KVec::new();
        for _ in 0..64 {
            numbers.push(*add(&table)?, GFP_KERNEL)?;
        }
        let mut distinct = true;
        for (i, number) in numbers.iter().enumerate() {
            distinct &= !numbers[..i].contains(number);
        }
        assert!(distinct);
        for &number in &numbers {
            let _ = table.remove(number);
        }
        Ok(())
    }
}
