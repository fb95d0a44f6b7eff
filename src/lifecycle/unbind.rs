// SPDX-License-Identifier: GPL-2.0

//! A USB4 or Thunderbolt controller loses its driver: it is unplugged, removed by hand, or unbound.
//!
//! An open stream does not survive that, and neither does the stream driver: it stops the rings of a stream when
//! that is closed, without knowing that the controller has gone before.

use kernel::bindings as kernel_bindings;
use kernel::ffi::c_int;
use kernel::ffi::c_ulong;
use kernel::ffi::c_void;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;

use crate::base::bindings;
use crate::base::notifier::Chain;
use crate::base::notifier::Observer;
use crate::stream_adapter::controller::is_driven_by;
use crate::stream_adapter::controller::DRIVER;
use crate::stream_adapter::quiescer::Quiescer;
use crate::stream_adapter::quiescer::StillOpen;

/// The chain of the PCI bus, as far as it tells of controllers.
pub(crate) enum UnbindChain {}

/// Which device, while it is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceId(usize);

impl DeviceId {
    /// The device at this address.
    pub(crate) fn new(device: *const kernel_bindings::device) -> Self {
        Self(device.addr())
    }
}

/// What happens to a device: first the one, then the other.
#[derive(Clone, Copy)]
pub(crate) enum Unbind {
    /// It is a controller, and its driver is about to leave it.
    Begins(DeviceId),
    /// Its driver has left it. It may have been any driver.
    Done(DeviceId),
}

/// How many controllers may be losing their drivers at a time.
const MAX_LEAVING: usize = 16;

/// Quiesces rails while a controller loses its driver. Nothing tells which controller a stream is on, so all rails
/// have to leave theirs for a moment.
///
/// # Locking
///
/// `leaving` is taken alone.
#[pin_data]
pub(crate) struct UnbindGuard {
    quiescer: Arc<Quiescer>,
    /// Controllers that rails are quiesced for.
    #[pin]
    leaving: Mutex<[Option<DeviceId>; MAX_LEAVING]>,
}

impl UnbindGuard {
    /// Has `quiescer` keep rails from their streams.
    pub(crate) fn new(quiescer: Arc<Quiescer>) -> impl PinInit<Self> {
        pin_init!(Self {
            quiescer,
            leaving <- new_mutex!([None; MAX_LEAVING]),
        })
    }

    /// Puts `to` into the place of `from`, if there is one.
    fn exchange(&self, from: Option<DeviceId>, to: Option<DeviceId>) -> Result {
        let mut leaving = self.leaving.lock();
        let place = leaving.iter_mut().find(|place| **place == from);
        *place.ok_or(ENOENT)? = to;
        Ok(())
    }
}

impl Observer<UnbindChain> for UnbindGuard {
    fn notify(&self, event: Unbind) {
        match event {
            Unbind::Begins(controller) => {
                if self.exchange(None, Some(controller)).is_err() {
                    pr_err!("too many controllers lose their drivers: rails stay down\n");
                }
                if let Err(StillOpen { streams }) = self.quiescer.quiesce() {
                    pr_err!(
                        "a controller loses its driver with {streams} streams open, which cannot be closed\n"
                    );
                }
            }
            Unbind::Done(device) => {
                if self.exchange(Some(device), None).is_ok() {
                    self.quiescer.resume();
                }
            }
        }
    }
}

// SAFETY: Buses have blocking notifier chains.
unsafe impl Chain for UnbindChain {
    type Event = Unbind;

    unsafe fn register(block: *mut bindings::notifier_block) -> c_int {
        // SAFETY: As required from the caller; the bus is always there. Both types are bindings of the same C
        // struct.
        unsafe {
            kernel_bindings::bus_register_notifier(
                &raw const kernel_bindings::pci_bus_type,
                block.cast(),
            )
        }
    }

    unsafe fn unregister(block: *mut bindings::notifier_block) {
        // SAFETY: As required from the caller, and as above.
        unsafe {
            kernel_bindings::bus_unregister_notifier(
                &raw const kernel_bindings::pci_bus_type,
                block.cast(),
            )
        };
    }

    unsafe fn event(action: c_ulong, data: *mut c_void) -> Option<Unbind> {
        const BEGINS: c_ulong =
            kernel_bindings::bus_notifier_event_BUS_NOTIFY_UNBIND_DRIVER as c_ulong;
        const DONE: c_ulong =
            kernel_bindings::bus_notifier_event_BUS_NOTIFY_UNBOUND_DRIVER as c_ulong;
        let device: *const kernel_bindings::device = data.cast();
        let id = DeviceId::new(device);
        match action {
            // SAFETY: The device exists during the call.
            BEGINS => unsafe { is_driven_by(device, DRIVER) }.then_some(Unbind::Begins(id)),
            DONE => Some(Unbind::Done(id)),
            _ => None,
        }
    }
}
