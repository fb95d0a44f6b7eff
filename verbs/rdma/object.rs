// SPDX-License-Identifier: GPL-2.0

//! Objects which `ib_core` allocates for the driver.

use super::driver::Driver;
use core::{
    convert::Infallible,
    mem::MaybeUninit,
    ops::Deref,
    ptr::{
        addr_of_mut,
        drop_in_place, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        lock::{
            mutex::MutexBackend,
            Guard, //
        },
        Mutex, //
    },
    types::Opaque, //
};
use pin_init::PinInit;

/// A C struct of `ib_core` that heads a driver's object.
pub trait RawObject: Sized {
    /// The driver's part of the object.
    type Data<D: Driver>: Send + Sync;

    /// What the abstraction itself keeps with the object.
    type Events: Send + Sync;
}

/// An object of `ib_core` with the driver's part behind it.
///
/// Dereferences to the driver's part.
///
/// # Locking
///
/// `ib_core` lets operations on an object run concurrently; only its destruction excludes all others.
/// Those that change it hold `changing` all the while, so a driver sees one at a time.
///
/// # Invariants
///
/// A `&Object` exists only between the success of the operation that created it and the end of the
/// operation that destroys it: `raw` is initialised by `ib_core`, `events`, `changing` and `data` by
/// [`Object::init`], and the last two do not move.
#[repr(C)]
pub struct Object<R: RawObject, D: Driver> {
    // First, because `ib_core` and the driver's part share one allocation and one address.
    raw: Opaque<R>,
    events: MaybeUninit<R::Events>,
    changing: MaybeUninit<Mutex<()>>,
    data: MaybeUninit<R::Data<D>>,
}

impl<R: RawObject, D: Driver> Object<R, D> {
    /// Number of bytes that `ib_core` has to allocate.
    pub(super) const SIZE: usize = core::mem::size_of::<Self>();

    /// The object that `ib_core` names by `raw`, for no longer than the pointer is kept there: in an
    /// operation's argument, or in another object.
    ///
    /// # Safety
    ///
    /// `raw` must point to the head of an `Object<R, D>` that is initialised and is not destroyed as
    /// long as the returned reference is used.
    pub(super) unsafe fn from_raw(raw: &*mut R) -> &Self {
        // SAFETY: By the requirements of this function; `raw` is the first member of a `repr(C)`
        // struct.
        unsafe { &*(*raw).cast() }
    }

    /// Initialises the driver's part.
    ///
    /// # Safety
    ///
    /// `raw` must point to [`Self::SIZE`] bytes, headed by a struct that `ib_core` has initialised,
    /// with nothing behind it in use yet. They must stay in place until [`Self::drop_data`].
    pub(super) unsafe fn init(
        raw: *mut R,
        events: R::Events,
        data: impl PinInit<R::Data<D>, Error>,
    ) -> Result {
        let this = raw.cast::<Self>();

        // SAFETY: The requirements of this function make the members of `this` valid to write and
        // pinned; `data` is left alone when its initialiser fails.
        unsafe {
            init_in_place(addr_of_mut!((*this).data).cast(), data)?;
            let changing = new_mutex!((), "rdma::Object::changing");
            let Ok(()) = init_in_place::<Mutex<()>, Infallible>(
                addr_of_mut!((*this).changing).cast(),
                changing,
            );
            addr_of_mut!((*this).events).write(MaybeUninit::new(events));
        }
        Ok(())
    }

    /// Drops the driver's part.
    ///
    /// # Safety
    ///
    /// `raw` must point to the head of an `Object<R, D>` that is initialised, and that nobody uses
    /// any more.
    pub(super) unsafe fn drop_data(raw: *mut R) {
        let this = raw.cast::<Self>();

        // SAFETY: The members are initialised and are not used again.
        unsafe {
            drop_in_place(addr_of_mut!((*this).data).cast::<R::Data<D>>());
            drop_in_place(addr_of_mut!((*this).changing).cast::<Mutex<()>>());
            drop_in_place(addr_of_mut!((*this).events).cast::<R::Events>());
        }
    }

    /// The C struct.
    pub(super) fn as_raw(&self) -> *mut R {
        self.raw.get()
    }

    /// Keeps others from changing the object. May sleep.
    pub(super) fn lock_changes(&self) -> Guard<'_, (), MutexBackend> {
        // SAFETY: By the type's invariants.
        unsafe { self.changing.assume_init_ref() }.lock()
    }

    pub(super) fn events(&self) -> &R::Events {
        // SAFETY: By the type's invariants.
        unsafe { self.events.assume_init_ref() }
    }
}

impl<R: RawObject, D: Driver> Deref for Object<R, D> {
    type Target = R::Data<D>;

    fn deref(&self) -> &Self::Target {
        // SAFETY: By the type's invariants.
        unsafe { self.data.assume_init_ref() }
    }
}

/// Runs an initialiser on memory that is not owned by a smart pointer.
///
/// # Safety
///
/// `slot` must be valid to write, and stay in place for as long as the value lives. It is
/// uninitialised when this returns an error.
pub(super) unsafe fn init_in_place<T, E>(
    slot: *mut T,
    init: impl PinInit<T, E>,
) -> core::result::Result<(), E> {
    #[cfg(PIN_INIT_HAS_RAW_TRY_INIT)]
    // SAFETY: By the requirements of this function.
    return unsafe { pin_init::raw_try_init(slot, init) };

    #[cfg(not(PIN_INIT_HAS_RAW_TRY_INIT))]
    // SAFETY: By the requirements of this function.
    return unsafe { init.__pinned_init(slot) };
}
