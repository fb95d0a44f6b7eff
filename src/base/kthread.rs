// SPDX-License-Identifier: GPL-2.0

//! A kernel thread that runs a closure and is stopped when its handle is dropped.

use core::ptr::NonNull;

use kernel::bindings as kernel_bindings;
use kernel::error::from_err_ptr;
use kernel::ffi::c_int;
use kernel::ffi::c_void;
use kernel::prelude::*;

use crate::base::bindings;

/// What the thread takes over when it first runs.
struct Start<F> {
    body: Option<F>,
}

/// The handle of a running kernel thread.
///
/// Dropping it stops the thread: [`should_stop`] turns true, every interruptible wait of the thread,
/// also inside a stream's read or write, returns at once as if by a signal, and the drop waits until
/// the thread has left its closure. A thread must therefore not drop its own handle.
///
/// Threads cannot be frozen when the host goes to sleep: one that waits inside a stream's read or write would not
/// come to the freezer, which then gives up. Those that touch a device must be stopped before, as a rail's
/// reader and writer are. One that waits for its own events only, as a rail's supervisor then does, may stay: timers
/// stand still, so not even its waits end.
///
/// # Invariants
///
/// `task` is referenced. `start` came from `KBox<Start<F>>::into_raw`, `free` frees just that type, and
/// only the thread uses it until the thread is stopped.
pub struct Kthread {
    task: NonNull<bindings::task_struct>,
    start: *mut c_void,
    free: unsafe fn(*mut c_void),
}

// SAFETY: Stopping a thread and freeing its closure, which is `Send`, may happen on any thread.
unsafe impl Send for Kthread {}

// SAFETY: A shared handle allows nothing.
unsafe impl Sync for Kthread {}

impl Kthread {
    /// Starts a thread called `name` (at most 15 bytes show in `ps`) that runs `body` once.
    ///
    /// Fails with `ENOMEM`, or with `EINTR` when the caller is killed meanwhile.
    pub fn spawn<F>(name: &CStr, body: F) -> Result<Self>
    where
        F: FnOnce() + Send + 'static,
    {
        let start = KBox::into_raw(KBox::new(Start { body: Some(body) }, GFP_KERNEL)?);
        let start: *mut c_void = start.cast();

        // SAFETY: The format and its one argument match; `thread_main::<F>` gets the pointer it asks
        // for, which lives until the thread is stopped.
        let task = from_err_ptr(unsafe {
            bindings::kthread_create_on_node(
                Some(thread_main::<F>),
                start,
                kernel_bindings::NUMA_NO_NODE,
                c"%s".as_char_ptr(),
                name.as_char_ptr(),
            )
        });
        let task = match task.map(NonNull::new) {
            Ok(Some(task)) => task,
            result => {
                // SAFETY: No thread was made, so the closure is still ours.
                unsafe { free_start::<F>(start) };
                return Err(result.err().unwrap_or(ENOMEM));
            }
        };

        // The reference must be taken before the thread runs, for it may end any time after.
        // SAFETY: A thread that was created but never woken does not go away.
        unsafe { kernel_bindings::get_task_struct(task.as_ptr().cast()) };
        // SAFETY: As above.
        unsafe { kernel_bindings::wake_up_process(task.as_ptr().cast()) };

        // INVARIANT: The task was referenced above, `free_start::<F>` fits `start`.
        Ok(Self {
            task,
            start,
            free: free_start::<F>,
        })
    }
}

impl Drop for Kthread {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants we hold a reference, which this call puts. It returns when the
        // thread has ended, or at once if it had ended before.
        unsafe { bindings::kthread_stop_put(self.task.as_ptr()) };
        // SAFETY: The thread has ended, so nobody uses `start` any more.
        unsafe { (self.free)(self.start) };
    }
}

/// Whether the current thread's handle is being dropped; never, on a thread that is not a kernel thread.
pub fn should_stop() -> bool {
    // SAFETY: The current task is always valid, and a task's flags do not lose `PF_KTHREAD`.
    let is_kthread =
        unsafe { (*kernel_bindings::get_current()).flags & kernel_bindings::PF_KTHREAD != 0 };
    // SAFETY: The function looks at the kthread data of the current task, which kernel threads have.
    is_kthread && unsafe { bindings::kthread_should_stop() }
}

/// # Safety
///
/// `start` must come from `KBox<Start<F>>::into_raw` and not be used any more.
unsafe fn free_start<F>(start: *mut c_void) {
    // SAFETY: The caller promises it.
    drop(unsafe { KBox::<Start<F>>::from_raw(start.cast()) });
}

/// # Safety
///
/// `start` must point to a `Start<F>` that only this thread uses.
unsafe extern "C" fn thread_main<F: FnOnce()>(start: *mut c_void) -> c_int {
    // SAFETY: The caller promises it.
    let start = unsafe { &mut *start.cast::<Start<F>>() };
    if let Some(body) = start.body.take() {
        // SAFETY: This thread ends with its body.
        unsafe { bindings::base_shim_forbid_io() };
        body();
    }
    0
}
