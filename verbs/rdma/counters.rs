// SPDX-License-Identifier: GPL-2.0

//! Counters of a port, which user space finds in `hw_counters/` and `rdma statistic`.

use super::{
    device::Device,
    driver::Driver,
    port::PortNumber, //
};
use crate::verbs::bindings;
use core::slice;
use kernel::{
    ffi::{
        c_int,
        c_ulong, //
    },
    str::CStr, //
};

/// Milliseconds for which values are shown again instead of being read anew; the length is that
/// which `ib_core` uses by default.
const LIFESPAN: c_ulong = bindings::RDMA_HW_STATS_DEFAULT_LIFESPAN as c_ulong;

/// Name of a counter.
#[repr(transparent)]
pub struct CounterName(bindings::rdma_stat_desc);

// SAFETY: The only pointer that is set is to a string that lives for ever and does not change.
unsafe impl Sync for CounterName {}

impl CounterName {
    /// A counter called `name`.
    pub const fn new(name: &'static CStr) -> Self {
        Self(bindings::rdma_stat_desc {
            name: name.to_bytes_with_nul().as_ptr().cast(),
            flags: 0,
            priv_: core::ptr::null(),
        })
    }
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.alloc_hw_port_stats` of a device of `D`.
pub(super) unsafe extern "C" fn alloc_hw_port_stats<D: Driver>(
    _device: *mut bindings::ib_device,
    _port: u32,
) -> *mut bindings::rdma_hw_stats {
    let Ok(count) = D::COUNTERS.len().try_into() else {
        return core::ptr::null_mut();
    };

    // SAFETY: `CounterName` is transparent, and the names live for ever.
    unsafe { bindings::rdma_alloc_hw_stats_struct(D::COUNTERS.as_ptr().cast(), count, LIFESPAN) }
}

/// # Safety
///
/// To be called by `ib_core` only, as `ib_device_ops.get_hw_stats` of a device of `D`.
pub(super) unsafe extern "C" fn get_hw_stats<D: Driver>(
    device: *mut bindings::ib_device,
    stats: *mut bindings::rdma_hw_stats,
    port: u32,
    _index: c_int,
) -> c_int {
    // SAFETY: `ib_core` passes a device of `D`, and counters from `alloc_hw_port_stats`, which it
    // has locked.
    let (device, count, values) = unsafe {
        let count = (*stats).num_counters;
        let values = (*stats).value.as_mut_ptr();

        (
            Device::<D>::from_raw(&device),
            count,
            slice::from_raw_parts_mut(values, D::COUNTERS.len()),
        )
    };

    device
        .driver()
        .read_counters(PortNumber::from_raw(port), values);
    count
}
