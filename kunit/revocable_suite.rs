// SPDX-License-Identifier: GPL-2.0

//! Values that are lent: who gives the last one back must not have to drop it.

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;

use crate::base::event::Event;

/// Sleeps when it is dropped, and tells so.
#[pin_data(PinnedDrop)]
struct Sleeper {
    dropped: Arc<Event>,
    #[pin]
    sleep: Mutex<()>,
}

#[pinned_drop]
impl PinnedDrop for Sleeper {
    fn drop(self: Pin<&mut Self>) {
        drop(self.sleep.lock());
        self.dropped.raise();
    }
}

fn sleeper(dropped: &Arc<Event>) -> Result<Pin<KBox<Sleeper>>> {
    KBox::pin_init(
        pin_init!(Sleeper {
            dropped: dropped.clone(),
            sleep <- new_mutex!(()),
        }),
        GFP_KERNEL,
    )
}

#[kunit_tests(usb4_roce_revocable)]
mod tests {
    use super::*;
    use crate::base::event::Wake;
    use crate::base::kthread::Kthread;
    use crate::base::number_table::NumberTable;
    use crate::base::revocable::Lent;
    use crate::base::revocable::Loan;
    use kernel::new_spinlock;
    use kernel::sync::SpinLock;
    use kernel::time::msecs_to_jiffies;

    type Value = Lent<Pin<KBox<Sleeper>>>;

    /// Longer than anything here takes on a slow machine.
    const LONG_MS: u32 = 20_000;
    const SHORT_MS: u32 = 10;
    /// Ends of values that race with the return of the last loan.
    const RACES: u32 = 50;

    fn event() -> Result<Arc<Event>> {
        Arc::pin_init(Event::new(), GFP_KERNEL)
    }

    fn table() -> Result<Arc<NumberTable<Value>>> {
        Arc::pin_init(NumberTable::new(1..1 << 24, 4), GFP_KERNEL)
    }

    fn add(table: &NumberTable<Value>, dropped: &Arc<Event>) -> Result<u32> {
        let mut added = 0;
        let value = sleeper(dropped)?;
        table.add(|number| {
            added = number;
            Arc::pin_init(Lent::new(value), GFP_KERNEL)
        })?;
        Ok(added)
    }

    fn lend(table: &NumberTable<Value>, number: u32) -> Option<Loan<Pin<KBox<Sleeper>>>> {
        // SAFETY: What is in the table is not recalled.
        table.find_with(number, |value| Some(unsafe { value.lend() }))
    }

    /// Takes the value out of the table and drops it, as soon as that is possible.
    fn end(table: &Arc<NumberTable<Value>>, number: u32, taken: &Arc<Event>) -> Result<Kthread> {
        let (table, taken) = (table.clone(), taken.clone());
        Kthread::spawn(c"kunit_owner", move || {
            if let Some(value) = table.remove(number) {
                taken.raise();
                value.recall();
            }
        })
    }

    #[test]
    fn a_loan_outlives_the_table_and_is_given_back_in_atomic_context() -> Result {
        let (dropped, taken) = (event()?, event()?);
        let table = table()?;
        let number = add(&table, &dropped)?;
        let loan = lend(&table, number).ok_or(EINVAL)?;
        let owner = end(&table, number, &taken)?;
        assert_eq!(taken.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        assert_eq!(dropped.wait(msecs_to_jiffies(SHORT_MS)), Wake::Timeout);
        let lock: Pin<KBox<SpinLock<()>>> = KBox::pin_init(new_spinlock!(()), GFP_KERNEL)?;
        {
            let _atomic = lock.lock();
            drop(loan);
        }
        assert_eq!(dropped.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        drop(owner);
        Ok(())
    }

    #[test]
    fn the_last_loan_is_given_back_while_the_value_ends() -> Result {
        let (dropped, taken, never) = (event()?, event()?, event()?);
        let table = table()?;
        let lock: Pin<KBox<SpinLock<()>>> = KBox::pin_init(new_spinlock!(()), GFP_KERNEL)?;
        for _ in 0..RACES {
            let number = add(&table, &dropped)?;
            let owner = end(&table, number, &taken)?;
            loop {
                let is_gone = {
                    let _atomic = lock.lock();
                    lend(&table, number).is_none()
                };
                if is_gone {
                    break;
                }
                // Lets the owner run.
                let _ = never.wait(1);
            }
            assert_eq!(dropped.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
            drop(owner);
        }
        Ok(())
    }

    #[test]
    fn a_value_that_was_never_recalled_waits_when_it_is_dropped() -> Result {
        let (dropped, dropping) = (event()?, event()?);
        let table = table()?;
        let number = add(&table, &dropped)?;
        let loan = lend(&table, number).ok_or(EINVAL)?;
        let value = table.remove(number).ok_or(EINVAL)?;
        let tell = dropping.clone();
        let owner = Kthread::spawn(c"kunit_owner", move || {
            tell.raise();
            drop(value);
        })?;
        assert_eq!(dropping.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        assert_eq!(dropped.wait(msecs_to_jiffies(SHORT_MS)), Wake::Timeout);
        drop(loan);
        assert_eq!(dropped.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        drop(owner);
        Ok(())
    }
}
