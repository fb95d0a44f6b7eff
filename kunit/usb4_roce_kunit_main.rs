// SPDX-License-Identifier: GPL-2.0

//! KUnit suites of `usb4_roce`: everything that leans on the kernel and can be tried without a cable.
//!
//! A module of its own, which is never installed: it is the same source as the driver, built without
//! the fabric and the life cycle and with the suites. They run when it is loaded, on a kernel with
//! `CONFIG_KUNIT=y`; the results are in the kernel log as KTAP.

#![crate_name = "usb4_roce_kunit"]
#![expect(
    dead_code,
    unused_imports,
    reason = "the driver's life cycle, which uses the rest, is not built"
)]

use kernel::prelude::*;

#[path = "../src/base/mod.rs"]
pub mod base;
#[path = "../src/transport/mod.rs"]
pub mod transport;

#[path = "../stream-adapter/mod.rs"]
pub mod stream_adapter;
#[path = "../verbs/mod.rs"]
pub mod verbs;

mod checksum_suite;
mod event_suite;
mod frame_batch_suite;
mod identity;
mod lending_buffer_suite;
mod memory_cable;
mod multicast_suite;
mod number_table_suite;
mod page_vec_suite;
mod queue_suite;
mod quiescer_suite;
mod rail_suite;
mod rail_threads_suite;
mod revocable_suite;
mod scripted_peer;
mod stream_suite;

module! {
    type: Usb4RoceKunitModule,
    name: "usb4_roce_kunit",
    authors: ["The usb4_roce authors"],
    description: "KUnit suites of usb4_roce",
    license: "GPL",
}

struct Usb4RoceKunitModule;

impl kernel::Module for Usb4RoceKunitModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}
