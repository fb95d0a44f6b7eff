// SPDX-License-Identifier: GPL-2.0

//! The USB4 controller of this host: its PCI function and its router's identity.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::str::CString;

use super::bindings as shim;
use super::staging::Staging;

/// PCI class of USB4 host interfaces (PCI Code and ID Assignment 1.12: serial bus, USB, USB4).
const PCI_CLASS_USB4: u32 = 0x0c_03_40;

/// How many domains are looked for.
const MAX_DOMAINS: usize = 8;

/// The controller that was found first.
///
/// # Invariants
///
/// `pci` is referenced.
pub struct Controller {
    pci: NonNull<bindings::pci_dev>,
    router_uuid: [u8; 16],
}

// SAFETY: References on devices may be used and put by any thread.
unsafe impl Send for Controller {}

// SAFETY: Nothing is changed through a shared reference.
unsafe impl Sync for Controller {}

impl Controller {
    /// Finds the first USB4 controller whose driver has brought its router up.
    pub fn find() -> Option<Self> {
        let mut pci = core::ptr::null_mut();
        loop {
            // SAFETY: `pci` is NULL or the reference from the round before, which the call puts.
            pci = unsafe { bindings::pci_get_class(PCI_CLASS_USB4, pci) };
            let device = NonNull::new(pci)?;
            if let Some(router_uuid) = router_uuid(device) {
                // INVARIANT: `pci_get_class` has taken a reference for us.
                return Some(Self {
                    pci: device,
                    router_uuid,
                });
            }
        }
    }

    /// The PCI function, as the parent of our devices. Valid as long as `self`.
    pub fn as_device(&self) -> NonNull<bindings::device> {
        // SAFETY: The PCI device is alive, and its `dev` field is not at address zero.
        unsafe { NonNull::new_unchecked(&raw mut (*self.pci.as_ptr()).dev) }
    }

    /// What the router is called all over the world, for good.
    pub fn router_uuid(&self) -> [u8; 16] {
        self.router_uuid
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants the reference is ours.
        unsafe { bindings::pci_dev_put(self.pci.as_ptr()) };
    }
}

/// A referenced device.
struct DeviceRef(NonNull<bindings::device>);

impl DeviceRef {
    fn child(parent: NonNull<bindings::device>, name: &CStr) -> Option<Self> {
        // SAFETY: The parent is alive; the name is a C string.
        let child =
            unsafe { shim::stream_shim_find_child(parent.as_ptr().cast(), name.as_char_ptr()) };
        NonNull::new(child.cast()).map(Self)
    }
}

impl Drop for DeviceRef {
    fn drop(&mut self) {
        // SAFETY: The look-up has taken a reference for us.
        unsafe { bindings::put_device(self.0.as_ptr()) };
    }
}

/// Reads the UUID of the host router below a USB4 host interface.
fn router_uuid(pci: NonNull<bindings::pci_dev>) -> Option<[u8; 16]> {
    // SAFETY: The caller holds a reference on the PCI device.
    let device = unsafe { NonNull::new_unchecked(&raw mut (*pci.as_ptr()).dev) };
    for index in 0..MAX_DOMAINS {
        let name = CString::try_from_fmt(fmt!("domain{index}")).ok()?;
        let Some(domain) = DeviceRef::child(device, &name) else {
            continue;
        };
        let name = CString::try_from_fmt(fmt!("{index}-0")).ok()?;
        let Some(router) = DeviceRef::child(domain.0, &name) else {
            continue;
        };
        return read_uuid(&router);
    }
    None
}

fn read_uuid(router: &DeviceRef) -> Option<[u8; 16]> {
    let mut page = Staging::new(PAGE_SIZE).ok()?;
    // SAFETY: The router is referenced; attributes are shown into a whole, page-aligned page.
    let len = unsafe {
        shim::stream_shim_show_attribute(
            router.0.as_ptr().cast(),
            c"unique_id".as_char_ptr(),
            page.bytes_mut().as_mut_ptr().cast(),
        )
    };
    parse_uuid(page.bytes().get(..usize::try_from(len).ok()?)?)
}

/// Parses 32 hexadecimal digits with dashes anywhere, and nothing but white space behind.
fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut uuid = [0; 16];
    let mut digits = 0;
    for &byte in text.trim_ascii() {
        if byte == b'-' {
            continue;
        }
        let value = (byte as char).to_digit(16)? as u8;
        let place = uuid.get_mut(digits / 2)?;
        *place = *place << 4 | value;
        digits += 1;
    }
    (digits == 32).then_some(uuid)
}
