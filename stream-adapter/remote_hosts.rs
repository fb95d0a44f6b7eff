// SPDX-License-Identifier: GPL-2.0

//! Other hosts while this one sleeps.
//!
//! The host behind a cable that was pulled during sleep, or that sleeps on, is removed early in resume. Linux 7.2 and 7.3
//! then resume that host's device (`tb_xdomain_resume()`), which has a handshake begin in 100 ms, and free it
//! (`tb_complete()`): the handshake's timer goes off in freed memory. So hosts are held while this one sleeps, and those that
//! have gone meanwhile are stopped before they are let go of, once devices are resumed: nothing begins that handshake again then.
//! Where the core has done so itself, there is nothing left to stop.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::error::to_result;
use kernel::ffi::c_int;
use kernel::ffi::c_void;
use kernel::prelude::*;

use super::bindings as shim;
use super::controller::any_host_router;
use super::controller::DeviceRef;

/// The hosts at the other ends of this host's cables, held until this is dropped, which stops those that are gone. That sleeps, and has
/// to be once this host is awake.
#[derive(Default)]
pub(crate) struct RemoteHosts(KVec<DeviceRef>);

impl RemoteHosts {
    /// Holds all there are, behind whatever routers. Sleeps. Fails with `ENOMEM`.
    pub(crate) fn hold() -> Result<Self> {
        let mut hosts = Self::default();
        if let Some(router) = any_host_router() {
            // SAFETY: The router is referenced, and so on its bus; `add` is called with the list only during this call.
            to_result(unsafe {
                bindings::bus_for_each_dev(
                    (*router.as_ptr()).bus,
                    core::ptr::null_mut(),
                    (&raw mut hosts).cast(),
                    Some(add),
                )
            })?;
        }
        Ok(hosts)
    }
}

impl Drop for RemoteHosts {
    fn drop(&mut self) {
        for host in &self.0 {
            // SAFETY: The device is referenced.
            unsafe { shim::stream_shim_xdomain_stop_if_gone(host.as_ptr().cast()) };
        }
    }
}

/// Adds `device` to the [`RemoteHosts`] at `hosts`, if it is one.
///
/// # Safety
///
/// `device` must exist, and `hosts` must be a list that nobody else uses during the call.
unsafe extern "C" fn add(device: *mut bindings::device, hosts: *mut c_void) -> c_int {
    // SAFETY: By the safety requirements.
    let hosts = unsafe { &mut *hosts.cast::<RemoteHosts>() };
    let Some(device) = NonNull::new(device) else {
        return 0;
    };
    // SAFETY: The device exists.
    let device = unsafe { DeviceRef::new(device) };
    if !device.is_remote_host() {
        return 0;
    }
    match hosts.0.push(device, GFP_KERNEL) {
        Ok(()) => 0,
        Err(error) => Error::from(error).to_errno(),
    }
}
