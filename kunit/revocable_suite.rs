// SPDX-License-Identifier: GPL-2.0

//! Values that are used in passing: who stops last must not have to drop them.

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
    use crate::base::revocable::CountedRevocable;
    use crate::base::revocable::Guard;
    use crate::base::revocable::Hold;
    use kernel::new_spinlock;
    use kernel::sync::SpinLock;
    use kernel::time::msecs_to_jiffies;

    type Value = CountedRevocable<Pin<KBox<Sleeper>>>;

    /// Longer than anything here takes on a slow machine.
    const LONG_MS: u32 = 20_000;
    const SHORT_MS: u32 = 10;
    /// Ends of values that race with the end of the last use.
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
            Arc::pin_init(CountedRevocable::new(value), GFP_KERNEL)
        })?;
        Ok(added)
    }

    fn get(table: &NumberTable<Value>, number: u32) -> Option<Guard<Pin<KBox<Sleeper>>>> {
        // SAFETY: What is in the table is not revoked.
        table.find_with(number, |value| Some(unsafe { value.access() }))
    }

    /// Takes the value out of the table and drops it, as soon as that is possible.
    fn end(table: &Arc<NumberTable<Value>>, number: u32, taken: &Arc<Event>) -> Result<Kthread> {
        let (table, taken) = (table.clone(), taken.clone());
        Kthread::spawn(c"kunit_owner", move || {
            if let Some(value) = table.remove(number) {
                taken.raise();
                value.revoke();
            }
        })
    }

    #[test]
    fn a_use_outlives_the_table_and_ends_in_atomic_context() -> Result {
        let (dropped, taken) = (event()?, event()?);
        let table = table()?;
        let number = add(&table, &dropped)?;
        let guard = get(&table, number).ok_or(EINVAL)?;
        let owner = end(&table, number, &taken)?;
        assert_eq!(taken.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        assert_eq!(dropped.wait(msecs_to_jiffies(SHORT_MS)), Wake::Timeout);
        let lock: Pin<KBox<SpinLock<()>>> = KBox::pin_init(new_spinlock!(()), GFP_KERNEL)?;
        {
            let _atomic = lock.lock();
            drop(guard);
        }
        assert_eq!(dropped.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        drop(owner);
        Ok(())
    }

    #[test]
    fn a_user_knows_whether_there_are_others() -> Result {
        let (dropped, taken) = (event()?, event()?);
        let table = table()?;
        let number = add(&table, &dropped)?;
        let one = Hold::from(get(&table, number).ok_or(EINVAL)?);
        assert!(one.is_only());
        let other = Hold::from(get(&table, number).ok_or(EINVAL)?);
        assert!(!one.is_only() && !other.is_only());
        drop(other);
        assert!(one.is_only());
        let owner = end(&table, number, &taken)?;
        assert_eq!(taken.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        // Whether the owner has begun to wait makes no difference.
        assert_eq!(dropped.wait(msecs_to_jiffies(SHORT_MS)), Wake::Timeout);
        assert!(one.is_only());
        drop(one);
        drop(owner);
        Ok(())
    }

    #[test]
    fn those_who_wait_for_others_do_not_wait_for_each_other() -> Result {
        let dropped = event()?;
        let table = table()?;
        let number = add(&table, &dropped)?;
        let user = get(&table, number).ok_or(EINVAL)?;
        let one = Hold::from(get(&table, number).ok_or(EINVAL)?).await_others();
        let other = Hold::from(get(&table, number).ok_or(EINVAL)?).await_others();
        assert!(!one.is_over() && !other.is_over());
        drop(user);
        assert!(one.is_over() && other.is_over());
        drop(one);
        assert!(other.is_over());
        let late = Hold::from(get(&table, number).ok_or(EINVAL)?);
        assert!(late.is_only() && !other.is_over());
        drop(late);
        assert!(other.is_over());
        drop(other);
        drop(table.remove(number));
        assert_eq!(dropped.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        Ok(())
    }

    #[test]
    fn the_last_use_ends_while_the_value_does() -> Result {
        let (dropped, taken, never) = (event()?, event()?, event()?);
        let table = table()?;
        let lock: Pin<KBox<SpinLock<()>>> = KBox::pin_init(new_spinlock!(()), GFP_KERNEL)?;
        for _ in 0..RACES {
            let number = add(&table, &dropped)?;
            let owner = end(&table, number, &taken)?;
            loop {
                let is_gone = {
                    let _atomic = lock.lock();
                    get(&table, number).is_none()
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
    fn a_value_that_was_never_revoked_waits_when_it_is_dropped() -> Result {
        let (dropped, dropping) = (event()?, event()?);
        let table = table()?;
        let number = add(&table, &dropped)?;
        let guard = get(&table, number).ok_or(EINVAL)?;
        let value = table.remove(number).ok_or(EINVAL)?;
        let tell = dropping.clone();
        let owner = Kthread::spawn(c"kunit_owner", move || {
            tell.raise();
            drop(value);
        })?;
        assert_eq!(dropping.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        assert_eq!(dropped.wait(msecs_to_jiffies(SHORT_MS)), Wake::Timeout);
        drop(guard);
        assert_eq!(dropped.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        drop(owner);
        Ok(())
    }
    #[test]
    fn nobody_gets_a_value_that_was_revoked() -> Result {
        let dropped = event()?;
        let value = Arc::pin_init(CountedRevocable::new(sleeper(&dropped)?), GFP_KERNEL)?;
        let guard = value.try_access().ok_or(EINVAL)?;
        drop(guard);
        value.revoke();
        assert!(value.try_access().is_none());
        value.revoke();
        drop(value);
        assert_eq!(dropped.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        Ok(())
    }

    #[test]
    fn revoking_waits_for_who_got_the_value() -> Result {
        let (dropped, revoked) = (event()?, event()?);
        let value = Arc::pin_init(CountedRevocable::new(sleeper(&dropped)?), GFP_KERNEL)?;
        let guard = value.try_access().ok_or(EINVAL)?;
        let (revoking, tell) = (value.clone(), revoked.clone());
        let owner = Kthread::spawn(c"kunit_owner", move || {
            revoking.revoke();
            tell.raise();
        })?;
        assert_eq!(revoked.wait(msecs_to_jiffies(SHORT_MS)), Wake::Timeout);
        drop(guard);
        assert_eq!(revoked.wait(msecs_to_jiffies(LONG_MS)), Wake::Raised);
        assert!(value.try_access().is_none());
        drop(owner);
        Ok(())
    }
}
