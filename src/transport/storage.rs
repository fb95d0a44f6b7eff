// SPDX-License-Identifier: GPL-2.0

//! Where the transport keeps its tables: memory of the caller's, of fixed size.

use core::ops::DerefMut;

/// A family of fixed-size tables: `KVVec` in the kernel, `Vec` on the host.
pub trait Storage {
    /// A table of `T`. Its length must not change while the transport holds it.
    type Table<T>: DerefMut<Target = [T]>;
}

/// A table that a state machine was given has a length it cannot work with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadTableLength;

/// Largest number of entries of any table: indices are kept in 16 bits.
pub const MAX_TABLE: usize = 1 << 15;

/// Checks that a table's length is a power of two in 1..=`most`.
pub(crate) const fn check_length(length: usize, most: usize) -> Result<(), BadTableLength> {
    if length.is_power_of_two() && length <= most {
        Ok(())
    } else {
        Err(BadTableLength)
    }
}

/// A table used as a ring: entries are found by a running number.
///
/// # Invariants
///
/// The length of `table` is a power of two (and so not zero).
pub(crate) struct Ring<S: Storage, T> {
    table: S::Table<T>,
}

impl<S: Storage, T> Ring<S, T> {
    /// Takes over `table`, whose length must be a power of two up to `most`.
    pub(crate) fn new(table: S::Table<T>, most: usize) -> Result<Self, BadTableLength> {
        check_length(table.len(), most)?;
        // INVARIANT: checked above.
        Ok(Self { table })
    }

    /// Number of entries, at most [`MAX_TABLE`].
    pub(crate) fn len(&self) -> u32 {
        self.table.len() as u32
    }

    /// Place of the entry with running number `number`.
    pub(crate) fn index(&self, number: u32) -> usize {
        number as usize & (self.table.len() - 1)
    }

    /// The entry with running number `number`.
    pub(crate) fn at(&self, number: u32) -> &T {
        // The mask of a power of two keeps the index in range.
        &self.table[self.index(number)]
    }

    /// The entry with running number `number`.
    pub(crate) fn at_mut(&mut self, number: u32) -> &mut T {
        let index = self.index(number);
        &mut self.table[index]
    }
}
