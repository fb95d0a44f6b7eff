// SPDX-License-Identifier: GPL-2.0

//! A USB4 or Thunderbolt controller loses its driver: it is unplugged, removed by hand, or unbound.
//!
//! An open stream does not survive that, and neither does the stream driver: it stops the rings of a stream when
//! that is closed, without knowing that the controller has gone before.

use kernel::bindings as kernel_bindings;
use kernel::ffi::c_int;
use kernel::ffi::c_ulong;
use kernel::ffi::c_void;

use crate::notifier::Chain;
use crate::stream_adapter::bindings;

/// The chain of the PCI bus, as far as it tells of controllers.
pub(crate) enum UnbindChain {}

/// Which device, while it is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct DeviceId(*const kernel_bindings::device);

impl DeviceId {
    /// The device at this address.
    pub(crate) fn new(device: *const kernel_bindings::device) -> Self {
        Self(device)
    }
}

/// What happens to a controller: first the one, then the other.
#[derive(Clone, Copy)]
pub(crate) enum Unbind {
    /// Its driver is about to leave it.
    Begins(DeviceId),
    /// Its driver has left it.
    Done,
}

/// Whether this may be a controller. Those before USB4 have no class of their own; it does not matter if other
/// devices are taken for one.
fn may_be_controller(pci: &kernel_bindings::pci_dev) -> bool {
    /// PCI classes (PCI Code and ID Assignment 1.12): USB4 host interfaces, and other system peripherals.
    const CLASSES: [u32; 2] = [0x0c_03_40, 0x08_80_00];
    CLASSES.contains(&pci.class)
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
        let event = match action {
            BEGINS => Unbind::Begins(DeviceId::new(device)),
            DONE => Unbind::Done,
            _ => return None,
        };
        // SAFETY: Every device of the PCI bus is the `dev` of a PCI device, which exists during the call; its
        // class does not change.
        let pci = unsafe { &*kernel::container_of!(device, kernel_bindings::pci_dev, dev) };
        may_be_controller(pci).then_some(event)
    }
}
