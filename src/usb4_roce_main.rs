// SPDX-License-Identifier: GPL-2.0

//! `usb4_roce`: RDMA verbs over USB4STREAM rails.

#![crate_name = "usb4_roce"]

use kernel::prelude::*;
use kernel::sync::Arc;

pub mod checksum;
pub mod clock;
mod config;
mod delayed;
mod fabric;
mod farewells;
pub mod identity;
mod loopback;
pub mod page_vec;
mod peer;
mod ready_list;
mod registration;
pub mod tables;
pub mod transport;

#[path = "../stream-adapter/mod.rs"]
pub mod stream_adapter;
#[path = "../verbs/mod.rs"]
pub mod verbs;

use fabric::Fabric;
use identity::HostIdentity;
use registration::VerbsDevice;
use verbs::netdev::MacAddress;
use verbs::netdev::Netdev;

module! {
    type: Usb4RoceModule,
    name: "usb4_roce",
    authors: ["The usb4_roce authors"],
    description: "RDMA verbs over USB4STREAM rails",
    license: "GPL",
}

/// Everything the module registers, torn down in the order of the fields: first no new rails, then no
/// new users, then what both use.
#[pin_data]
struct Usb4RoceModule {
    #[pin]
    _config: config::Registration,
    _device: VerbsDevice,
    _identity: HostIdentity,
}

impl kernel::InPlaceModule for Usb4RoceModule {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let identity = HostIdentity::find();
            let netdev = Netdev::register(MacAddress(identity.mac()), identity.parent())?;
            let netdev = Arc::new(netdev, GFP_KERNEL)?;
            let fabric = Fabric::new(&identity, netdev.clone())?;
            let device = VerbsDevice::new(module, &identity, &fabric, &netdev)?;
            let hello = identity.hello();
            Ok(try_pin_init!(Self {
                _config <- config::register(fabric, hello),
                _device: device,
                _identity: identity,
            }? Error))
        })
    }
}
