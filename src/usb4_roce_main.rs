// SPDX-License-Identifier: GPL-2.0

//! `usb4_roce`: RDMA verbs over USB4STREAM rails.

#![crate_name = "usb4_roce"]

use kernel::prelude::*;
use kernel::sync::Arc;

pub mod base;
pub mod fabric;
mod lifecycle;
pub mod transport;

#[path = "../stream-adapter/mod.rs"]
pub mod stream_adapter;
#[path = "../verbs/mod.rs"]
pub mod verbs;

use base::debug_file::DebugFile;
use base::notifier::Notifier;
use base::sleep_notice::SleepNotice;
use fabric::Fabric;
use lifecycle::configfs;
use lifecycle::debug_files::QueuePairs;
use lifecycle::identity::HostIdentity;
use lifecycle::power::SleepGuard;
use lifecycle::reboot::RebootChain;
use lifecycle::registration::VerbsDevice;
use lifecycle::unbind::UnbindChain;
use lifecycle::unbind::UnbindGuard;
use stream_adapter::quiescer::Quiescer;
use transport::rail::hello::PROTOCOL_VERSION;
use verbs::device::VERSION;
use verbs::netdev::Netdev;

module! {
    type: Usb4RoceModule,
    name: "usb4_roce",
    authors: ["The usb4_roce authors"],
    description: "RDMA verbs over USB4STREAM rails",
    license: "GPL",
}

/// Everything the module registers, torn down in the order of the fields: first nobody looks any more, then no new rails, then no
/// new users, then what both use.
#[pin_data]
struct Usb4RoceModule {
    _debug: DebugFile<QueuePairs>,
    #[pin]
    _config: configfs::Registration,
    #[pin]
    _on_reboot: Notifier<RebootChain, Quiescer>,
    _sleep: SleepNotice<SleepGuard>,
    #[pin]
    _on_unbind: Notifier<UnbindChain, UnbindGuard>,
    _device: VerbsDevice,
    _identity: HostIdentity,
}

impl kernel::InPlaceModule for Usb4RoceModule {
    fn init(module: &'static ThisModule) -> impl PinInit<Self, Error> {
        pin_init::pin_init_scope(move || {
            let identity = HostIdentity::find();
            let netdev = Netdev::register(identity.mac(), identity.parent())?;
            let netdev = Arc::new(netdev, GFP_KERNEL)?;
            let fabric = Fabric::new(identity.mac(), netdev.clone())?;
            let device = VerbsDevice::new(module, &identity, &fabric, &netdev)?;
            let hello = identity.hello();
            let quiescer = Arc::pin_init(Quiescer::new(Quiescer::PATIENCE_MS), GFP_KERNEL)?;
            let guard = Arc::pin_init(UnbindGuard::new(quiescer.clone()), GFP_KERNEL)?;
            let sleep_guard = Arc::pin_init(SleepGuard::new(quiescer.clone()), GFP_KERNEL)?;
            let queue_pairs = fabric.queue_pairs().clone();
            let sleep = SleepNotice::new(c"usb4_roce", sleep_guard)?;
            pr_info!("version {VERSION}, rail protocol {PROTOCOL_VERSION}\n");
            Ok(try_pin_init!(Self {
                _on_reboot <- Notifier::new(quiescer.clone()),
                _sleep: sleep,
                _on_unbind <- Notifier::new(guard),
                _config <- configfs::register(fabric, hello, quiescer),
                // Last: nobody may have it open when loading fails, for which no reference to the module is waited for.
                _debug: QueuePairs::file(queue_pairs)?,
                _device: device,
                _identity: identity,
            }? Error))
        })
    }
}
