// SPDX-License-Identifier: GPL-2.0

//! Objects found by a random number: QPs, memory regions, shared receive queues.

use core::ops::Range;

use kernel::new_mutex;
use kernel::new_spinlock;
use kernel::prelude::*;
use kernel::rbtree::RBTree;
use kernel::rbtree::RBTreeNodeReservation;
use kernel::sync::lock::mutex::MutexGuard;
use kernel::sync::Arc;
use kernel::sync::ArcBorrow;
use kernel::sync::Mutex;
use kernel::sync::SpinLock;

use crate::base::random::random_below;

/// Attempts to hit a free number before the table is called full.
const MAX_ATTEMPTS: usize = 64;

/// Maps numbers to objects.
///
/// Numbers are random, so that a peer can neither guess one nor hit an object that took the number of
/// one just destroyed.
///
/// A tree rather than an array, because an `XArray` brings symbols that are too long for objtool.
///
/// # Locking
///
/// Look-ups take the entries' spinlock, which is innermost: nothing is locked while it is held.
/// Adding sleeps.
#[pin_data]
pub(crate) struct NumberTable<T: Send + Sync + 'static> {
    #[pin]
    entries: SpinLock<RBTree<u32, Arc<T>>>,
    /// Keeps two threads that add from choosing the same number; the value counts the entries.
    #[pin]
    count: Mutex<usize>,
    numbers: Range<u32>,
    capacity: usize,
}

impl<T: Send + Sync + 'static> NumberTable<T> {
    /// A table of at most `capacity` objects with numbers in `numbers`, of which there should be many
    /// more.
    pub(crate) fn new(numbers: Range<u32>, capacity: usize) -> impl PinInit<Self> {
        pin_init!(Self {
            entries <- new_spinlock!(RBTree::new()),
            count <- new_mutex!(0),
            numbers,
            capacity,
        })
    }

    /// Makes an object with a free number and adds it.
    ///
    /// Fails with `ENOMEM` when the table is full, or as `make` does.
    pub(crate) fn add(&self, make: impl FnOnce(u32) -> Result<Arc<T>>) -> Result<Arc<T>> {
        let count = self.reserve()?;
        let number = self.free_number().ok_or(ENOMEM)?;
        self.insert(count, number, || make(number))
    }

    /// Adds an object with that number, which is not one of those that are given to others.
    ///
    /// Fails with `EBUSY` when there is one, with `ENOMEM` when the table is full, or as `make` does.
    pub(crate) fn add_at(
        &self,
        number: u32,
        make: impl FnOnce() -> Result<Arc<T>>,
    ) -> Result<Arc<T>> {
        let count = self.reserve()?;
        if self.entries.lock().get(&number).is_some() {
            return Err(EBUSY);
        }
        self.insert(count, number, make)
    }

    /// Keeps others from adding, and from removing. Fails with `ENOMEM` when the table is full.
    fn reserve(&self) -> Result<MutexGuard<'_, usize>> {
        let count = self.count.lock();
        if *count >= self.capacity {
            return Err(ENOMEM);
        }
        Ok(count)
    }

    /// Adds an object with that number, which must be free, where there is room.
    fn insert(
        &self,
        mut count: MutexGuard<'_, usize>,
        number: u32,
        make: impl FnOnce() -> Result<Arc<T>>,
    ) -> Result<Arc<T>> {
        let node = RBTreeNodeReservation::new(GFP_KERNEL_ACCOUNT)?;
        let object = make()?;
        self.entries
            .lock()
            .insert(node.into_node(number, object.clone()));
        *count += 1;
        Ok(object)
    }

    fn free_number(&self) -> Option<u32> {
        let size = self.numbers.end - self.numbers.start;
        for _ in 0..MAX_ATTEMPTS {
            let number = self.numbers.start + random_below(size);
            if self.entries.lock().get(&number).is_none() {
                return Some(number);
            }
        }
        None
    }

    /// The object with that number.
    pub(crate) fn find(&self, number: u32) -> Option<Arc<T>> {
        self.find_with(number, |object| Some(object.into()))
    }

    /// The object with the lowest number from `number` on, and its number. For walking over all without holding
    /// the lock in between.
    pub(crate) fn find_from(&self, number: u32) -> Option<(u32, Arc<T>)> {
        let entries = self.entries.lock();
        let cursor = entries.cursor_lower_bound(&number)?;
        let (number, object) = cursor.current();
        Some((*number, object.clone()))
    }

    /// Applies `f` to the object with that number, which cannot be removed meanwhile.
    ///
    /// `f` runs under a spinlock and must not lock anything.
    pub(crate) fn find_with<R>(
        &self,
        number: u32,
        f: impl FnOnce(ArcBorrow<'_, T>) -> Option<R>,
    ) -> Option<R> {
        f(self.entries.lock().get(&number)?.as_arc_borrow())
    }

    /// Puts `object` into the place of the one with that number, which is returned. Does nothing if there
    /// is none, or `condition` does not hold for it, which is looked at as by [`Self::find_with`].
    pub(crate) fn replace_if(
        &self,
        number: u32,
        object: Arc<T>,
        condition: impl FnOnce(&T) -> bool,
    ) -> Option<Arc<T>> {
        let mut entries = self.entries.lock();
        let place = entries.get_mut(&number).filter(|old| condition(old))?;
        Some(core::mem::replace(place, object))
    }

    /// Takes the object with that number out.
    pub(crate) fn remove(&self, number: u32) -> Option<Arc<T>> {
        self.remove_if(number, |_| true)
    }

    /// Takes the object with that number out if `condition` holds for it, which is looked at as by [`Self::find_with`].
    pub(crate) fn remove_if(
        &self,
        number: u32,
        condition: impl FnOnce(&T) -> bool,
    ) -> Option<Arc<T>> {
        let mut count = self.count.lock();
        let mut entries = self.entries.lock();
        entries.get(&number).filter(|object| condition(object))?;
        let object = entries.remove(&number)?;
        *count -= 1;
        Some(object)
    }
}
