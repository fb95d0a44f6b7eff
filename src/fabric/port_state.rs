// SPDX-License-Identifier: GPL-2.0

//! What the rails that are up make of the port: its link, as the network interface and the verbs device show it.

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::atomic::Atomic;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;
use kernel::sync::Mutex;

use crate::stream_adapter::client::Rate;
use crate::transport::ids::RailId;
use crate::verbs::device::RoceDevice;
use crate::verbs::netdev::Carrier;
use crate::verbs::netdev::Netdev;
use crate::verbs::rdma::DeviceHandle;
use crate::verbs::rdma::PortEvent;
use crate::verbs::rdma::PortNumber;
use crate::verbs::route::Link;

/// The state of the port, of which the interface and the verbs device are told.
///
/// # Locking
///
/// `rails_up` and `device` are mutexes; `device` is taken alone or inside `rails_up`.
#[pin_data]
pub(super) struct PortState {
    netdev: Arc<Netdev>,
    /// How many rails are up. Held until the interface and the verbs device have been told, so that the last they
    /// hear is how it is.
    #[pin]
    rails_up: Mutex<u32>,
    /// What the rails that are up carry, in Mb/s.
    rates: [Atomic<u32>; RailId::COUNT],
    #[pin]
    device: Mutex<Option<DeviceHandle<RoceDevice>>>,
}

impl PortState {
    /// A port without rails, whose interface is `netdev`.
    pub(super) fn new(netdev: Arc<Netdev>) -> impl PinInit<Self> {
        pin_init!(Self {
            netdev,
            rails_up <- new_mutex!(0),
            rates: [const { Atomic::new(0) }; RailId::COUNT],
            device <- new_mutex!(None),
        })
    }

    /// The verbs device to be told of changes, and how it is now; `None` when it goes away.
    pub(super) fn set_device(&self, device: Option<DeviceHandle<RoceDevice>>) {
        let rails_up = self.rails_up.lock();
        let old = core::mem::replace(&mut *self.device.lock(), device);
        // Since it was registered the first rail may have come up, or the last gone.
        self.dispatch(match *rails_up {
            0 => PortEvent::Error,
            1.. => PortEvent::Active,
        });
        drop(rails_up);
        drop(old);
    }

    /// One more rail is up, which carries `rate`.
    pub(super) fn rail_up(&self, rail: RailId, rate: Rate) {
        self.set_rate(rail, rate);
        self.recount(|rails| rails + 1);
    }

    /// One rail less is.
    pub(super) fn rail_down(&self, rail: RailId) {
        self.set_rate(rail, Rate(0));
        self.recount(|rails| rails - 1);
    }

    /// How it is.
    pub(super) fn link(&self) -> Link {
        Link {
            rails: *self.rails_up.lock(),
            rate: self.rate(),
        }
    }

    /// Counts rails with `change`, and tells the interface and the verbs device. What the rail carries has been
    /// noted.
    fn recount(&self, change: impl FnOnce(u32) -> u32) {
        let mut rails_up = self.rails_up.lock();
        let before = *rails_up;
        *rails_up = change(before);
        let event = match (before, *rails_up) {
            (0, 1..) => {
                self.netdev.set_carrier(Carrier::Up);
                PortEvent::Active
            }
            (1.., 0) => {
                self.netdev.set_carrier(Carrier::Down);
                PortEvent::Error
            }
            (0, 0) | (1.., 1..) => PortEvent::SpeedChange,
        };
        self.dispatch(event);
    }

    /// What all rails that are up carry together.
    fn rate(&self) -> Rate {
        Rate(self.rates.iter().map(|rate| rate.load(Relaxed)).sum())
    }

    /// Notes what a rail carries from now on.
    fn set_rate(&self, rail: RailId, rate: Rate) {
        self.rates[rail.index()].store(rate.0, Relaxed);
        self.netdev.set_rate(self.rate());
    }

    fn dispatch(&self, event: PortEvent) {
        if let Some(device) = &*self.device.lock() {
            device.dispatch(PortNumber::FIRST, event);
        }
    }
}
