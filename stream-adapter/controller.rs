// SPDX-License-Identifier: GPL-2.0

//! The USB4 controller of this host: its PCI function and its router's identity.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::page::PAGE_SIZE;
use kernel::prelude::*;
use kernel::str::CString;

use super::bindings as shim;
use crate::base::bounce_buffer::BounceBuffer;
use crate::transport::rail::router_uuid::RouterUuid;

/// The driver of controllers. Those before USB4 have no PCI class of their own to find them by.
pub(crate) const DRIVER: &CStr = c"thunderbolt";

/// Any vendor, or any device, of PCI (`PCI_ANY_ID`).
const ANY_ID: u32 = u32::MAX;

/// How many domains are looked for.
const MAX_DOMAINS: u32 = 8;

/// The controller that was found first.
///
/// # Invariants
///
/// `pci` is referenced.
pub struct Controller {
    pci: NonNull<bindings::pci_dev>,
    router_uuid: RouterUuid,
}

// SAFETY: References on devices may be used and put by any thread.
unsafe impl Send for Controller {}

// SAFETY: Nothing is changed through a shared reference.
unsafe impl Sync for Controller {}

impl Controller {
    /// Finds the first USB4 controller whose driver has brought its router up.
    pub fn find() -> Option<Self> {
        let mut controllers = Controllers(core::ptr::null_mut());
        loop {
            let pci = controllers.next()?;
            if let Some(router_uuid) = router_uuid(pci) {
                // INVARIANT: Now the reference is ours.
                core::mem::forget(controllers);
                return Some(Self { pci, router_uuid });
            }
        }
    }

    /// The PCI function, as the parent of our devices. Valid as long as `self`.
    pub fn as_device(&self) -> NonNull<bindings::device> {
        // SAFETY: The PCI device is alive, and its `dev` field is not at address zero.
        unsafe { NonNull::new_unchecked(&raw mut (*self.pci.as_ptr()).dev) }
    }

    /// What the router is called.
    pub fn router_uuid(&self) -> RouterUuid {
        self.router_uuid
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants the reference is ours.
        unsafe { bindings::pci_dev_put(self.pci.as_ptr()) };
    }
}

/// Whether the device has the driver of that name. If its driver may change meanwhile, so may the answer.
///
/// # Safety
///
/// The device must exist.
pub(crate) unsafe fn is_driven_by(device: *const bindings::device, name: &CStr) -> bool {
    // SAFETY: The caller promises it; the name of a driver is a C string.
    unsafe { shim::stream_shim_is_driven_by(device.cast(), name.as_char_ptr()) }
}

/// The USB4 controllers, one after the other.
///
/// # Invariants
///
/// The pointer is NULL or holds a reference.
struct Controllers(*mut bindings::pci_dev);

impl Controllers {
    /// The next one, valid until the next call.
    fn next(&mut self) -> Option<NonNull<bindings::pci_dev>> {
        loop {
            // SAFETY: By the type's invariants it is NULL or the reference from the call before, which this
            // one puts.
            self.0 = unsafe { bindings::pci_get_device(ANY_ID, ANY_ID, self.0) };
            let pci = NonNull::new(self.0)?;
            // SAFETY: The PCI device is referenced, so its `dev` is there.
            if unsafe { is_driven_by(&raw const (*pci.as_ptr()).dev, DRIVER) } {
                return Some(pci);
            }
        }
    }
}

impl Drop for Controllers {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants; nothing is done with NULL.
        unsafe { bindings::pci_dev_put(self.0) };
    }
}

/// A referenced device.
///
/// # Invariants
///
/// It owns a reference.
pub(super) struct DeviceRef(NonNull<bindings::device>);

// SAFETY: References on devices may be used and put by any thread.
unsafe impl Send for DeviceRef {}

impl DeviceRef {
    /// Takes a reference on `device`.
    ///
    /// # Safety
    ///
    /// The device must exist during the call.
    pub(super) unsafe fn new(device: NonNull<bindings::device>) -> Self {
        // SAFETY: The caller promises that the device exists.
        unsafe { bindings::get_device(device.as_ptr()) };
        // INVARIANT: As just taken.
        Self(device)
    }

    /// The device. Valid as long as `self`.
    pub(super) fn as_ptr(&self) -> *mut bindings::device {
        self.0.as_ptr()
    }

    /// Whether it is another host.
    pub(super) fn is_remote_host(&self) -> bool {
        // SAFETY: The device is referenced.
        unsafe { shim::stream_shim_is_xdomain(self.0.as_ptr().cast()) }
    }

    /// The child of that name.
    pub(super) fn find_child(&self, name: &CStr) -> Option<Self> {
        Self::child(self.0, name)
    }

    /// What the cable carries each way, in Mb/s; nothing if this is not another host.
    pub(super) fn cable_rate(&self) -> Option<u32> {
        // SAFETY: The device is referenced.
        match unsafe { shim::stream_shim_xdomain_rate(self.0.as_ptr().cast()) } {
            0 => None,
            rate => Some(rate),
        }
    }

    /// The router of another host; nothing if this is none, or its router is not known yet.
    pub(super) fn remote_router(&self) -> Option<RouterUuid> {
        let mut uuid = [0; 16];
        // SAFETY: The device is referenced; the buffer is writable for a UUID.
        let is_known = unsafe {
            shim::stream_shim_xdomain_uuid(self.0.as_ptr().cast(), uuid.as_mut_ptr().cast())
        };
        is_known.then_some(RouterUuid(uuid))
    }

    /// What `parse` makes of the sysfs attribute `name`; nothing if there is none. Sleeps.
    pub(super) fn attribute<T>(
        &self,
        name: &CStr,
        parse: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Option<T> {
        let mut page = BounceBuffer::new(PAGE_SIZE).ok()?;
        // SAFETY: The device is referenced; attributes are shown into a whole, page-aligned page.
        let len = unsafe {
            shim::stream_shim_show_attribute(
                self.0.as_ptr().cast(),
                name.as_char_ptr(),
                page.bytes_mut().as_mut_ptr().cast(),
            )
        };
        parse(page.bytes().get(..usize::try_from(len).ok()?)?)
    }

    fn child(parent: NonNull<bindings::device>, name: &CStr) -> Option<Self> {
        // SAFETY: The parent is alive; the name is a C string.
        let child =
            unsafe { shim::stream_shim_find_child(parent.as_ptr().cast(), name.as_char_ptr()) };
        // INVARIANT: The look-up has taken a reference.
        NonNull::new(child.cast()).map(Self)
    }
}

impl Drop for DeviceRef {
    fn drop(&mut self) {
        // SAFETY: By the type's invariants the reference is ours.
        unsafe { bindings::put_device(self.0.as_ptr()) };
    }
}

/// Reads the UUID of the host router below a USB4 host interface.
fn router_uuid(pci: NonNull<bindings::pci_dev>) -> Option<RouterUuid> {
    let mut domains = 0..MAX_DOMAINS;
    let router = domains.find_map(|domain| router_below(pci, domain))?;
    router.attribute(c"unique_id", parse_uuid).map(RouterUuid)
}

/// A host router.
pub(super) fn any_host_router() -> Option<DeviceRef> {
    (0..MAX_DOMAINS).find_map(host_router)
}

/// The host router of that domain.
pub(super) fn host_router(domain: u32) -> Option<DeviceRef> {
    let mut controllers = Controllers(core::ptr::null_mut());
    loop {
        let pci = controllers.next()?;
        if let Some(router) = router_below(pci, domain) {
            return Some(router);
        }
    }
}

/// The host router below a USB4 host interface, if it has that domain.
fn router_below(pci: NonNull<bindings::pci_dev>, domain: u32) -> Option<DeviceRef> {
    // SAFETY: The caller holds a reference on the PCI device.
    let device = unsafe { NonNull::new_unchecked(&raw mut (*pci.as_ptr()).dev) };
    let name = CString::try_from_fmt(fmt!("domain{domain}")).ok()?;
    let parent = DeviceRef::child(device, &name)?;
    let name = CString::try_from_fmt(fmt!("{domain}-0")).ok()?;
    parent.find_child(&name)
}

/// Parses 32 hexadecimal digits with dashes anywhere, and nothing but white space behind.
pub(crate) fn parse_uuid(text: &[u8]) -> Option<[u8; 16]> {
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
