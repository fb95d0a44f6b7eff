// SPDX-License-Identifier: GPL-2.0

//! Arming and cancelling of delayed work that owns a reference on its object.
//!
//! `kernel::workqueue` can enqueue delayed work, but can neither bring its time forward nor cancel it.

use core::ffi::c_int;

use kernel::bindings;
use kernel::container_of;
use kernel::sync::Arc;
use kernel::time::Jiffies;
use kernel::workqueue::HasDelayedWork;
use kernel::workqueue::Queue;
use kernel::workqueue::Work;
use kernel::workqueue::WorkItem;

fn raw<T, const ID: u64>(object: &Arc<T>) -> *mut bindings::delayed_work
where
    T: HasDelayedWork<T, ID>,
{
    // SAFETY: The pointer comes from a live `Arc`, and the trait promises that the work is the `work`
    // field of a `delayed_work`.
    unsafe {
        let work = T::raw_get_work(Arc::as_ptr(object).cast_mut());
        container_of!(Work::raw_get(work), bindings::delayed_work, work)
    }
}

/// Runs the object's work `ID` by `queue` in `delay` from now, whether or not it was armed before.
///
/// A caller must make sure that it does not run concurrently with, or after, [`cancel`], and that the queue stays until the work has
/// run or was cancelled.
pub(crate) fn arm<T, const ID: u64>(queue: &Queue, object: &Arc<T>, delay: Jiffies)
where
    T: HasDelayedWork<T, ID> + WorkItem<ID, Pointer = Arc<T>> + Send + Sync,
{
    let reference = object.clone().into_raw();
    // SAFETY: The work is initialised and lives as long as the reference, which it owns from now on
    // until it runs or is cancelled. `Queue` is a transparent wrapper, and whoever has the queue keeps it until
    // the work is over.
    let was_armed = unsafe {
        bindings::mod_delayed_work_on(
            bindings::wq_misc_consts_WORK_CPU_UNBOUND as c_int,
            core::ptr::from_ref(queue).cast_mut().cast(),
            raw::<T, ID>(object),
            delay,
        )
    };
    if was_armed {
        // SAFETY: The work already owned a reference, so this one is still ours.
        drop(unsafe { Arc::from_raw(reference) });
    }
}

/// Makes sure that the object's work `ID` neither is armed nor runs when this returns.
///
/// Sleeps; must not be called from the work itself, nor with a lock held that the work takes.
pub(crate) fn cancel<T, const ID: u64>(object: &Arc<T>)
where
    T: HasDelayedWork<T, ID> + WorkItem<ID, Pointer = Arc<T>> + Send + Sync,
{
    // SAFETY: The work is initialised and alive.
    if unsafe { bindings::cancel_delayed_work_sync(raw::<T, ID>(object)) } {
        // SAFETY: The work was armed and will not run, so nobody else drops its reference.
        drop(unsafe { Arc::from_raw(Arc::as_ptr(object)) });
    }
}

/// The kernel's own queue for works of any kind, on any processor.
pub(crate) fn common_queue() -> &'static Queue {
    // SAFETY: The variable is set when the kernel boots and does not change, nor does the queue ever go.
    unsafe { Queue::from_raw(bindings::system_dfl_wq) }
}
