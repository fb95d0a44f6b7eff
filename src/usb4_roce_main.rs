// SPDX-License-Identifier: GPL-2.0

//! `usb4_roce`: RDMA verbs over USB4STREAM rails.

#![crate_name = "usb4_roce"]

use kernel::prelude::*;

pub mod checksum;
pub mod page_vec;

#[path = "../stream-adapter/mod.rs"]
pub mod stream_adapter;
#[path = "../verbs/mod.rs"]
pub mod verbs;

module! {
    type: Usb4RoceModule,
    name: "usb4_roce",
    authors: ["The usb4_roce authors"],
    description: "RDMA verbs over USB4STREAM rails",
    license: "GPL",
}

struct Usb4RoceModule;

impl kernel::Module for Usb4RoceModule {
    fn init(_module: &'static ThisModule) -> Result<Self> {
        Ok(Self)
    }
}
