// SPDX-License-Identifier: GPL-2.0

//! What the rails that are up make of the port: its link, as the network interface and the verbs device show it.

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::Mutex;

use crate::stream_adapter::client::RailLink;
use crate::stream_adapter::client::Rate;
use crate::transport::ids::RailId;
use crate::verbs::device::RoceDevice;
use crate::verbs::netdev::Carrier;
use crate::verbs::netdev::Netdev;
use crate::verbs::rdma::DeviceHandle;
use crate::verbs::rdma::PortEvent;
use crate::verbs::rdma::PortNumber;
use crate::verbs::route::PortLink;

/// The rails that are up.
struct RailsUp([Option<Arc<dyn RailLink>>; RailId::COUNT]);

impl RailsUp {
    const NONE: Self = Self([const { None }; RailId::COUNT]);

    fn len(&self) -> u32 {
        self.0.iter().flatten().count() as u32
    }

    /// What they carry together. Rails over one cable share what it carries; of a rail whose cable is not known, nobody
    /// can tell.
    fn rate(&self) -> Rate {
        let links = || self.0.iter().flatten();
        let is_first = |&(index, link): &(usize, &Arc<dyn RailLink>)| {
            let cable = link.cable();
            cable.is_none() || !links().take(index).any(|other| other.cable() == cable)
        };
        let first_of_cables = links().enumerate().filter(is_first);
        Rate(first_of_cables.map(|(_, link)| link.rate().0).sum())
    }
}

/// The state of the port, of which the interface and the verbs device are told.
///
/// # Locking
///
/// `rails_up` and `device` are mutexes; `device` is taken alone or inside `rails_up`.
#[pin_data]
pub(super) struct PortState {
    netdev: Arc<Netdev>,
    /// Held until the interface and the verbs device have been told, so that the last they hear is how it is.
    #[pin]
    rails_up: Mutex<RailsUp>,
    #[pin]
    device: Mutex<Option<DeviceHandle<RoceDevice>>>,
}

impl PortState {
    /// A port without rails, whose interface is `netdev`.
    pub(super) fn new(netdev: Arc<Netdev>) -> impl PinInit<Self> {
        pin_init!(Self {
            netdev,
            rails_up <- new_mutex!(RailsUp::NONE),
            device <- new_mutex!(None),
        })
    }

    /// The verbs device to be told of changes, and how it is now; `None` when it goes away.
    pub(super) fn set_device(&self, device: Option<DeviceHandle<RoceDevice>>) {
        let rails_up = self.rails_up.lock();
        let old = core::mem::replace(&mut *self.device.lock(), device);
        // Since it was registered the first rail may have come up, or the last gone.
        self.dispatch(match rails_up.len() {
            0 => PortEvent::Error,
            1.. => PortEvent::Active,
        });
        drop(rails_up);
        drop(old);
    }

    /// A rail has come up.
    pub(super) fn rail_up(&self, rail: RailId, link: &Arc<dyn RailLink>) {
        drop(self.replace(rail, Some(link.clone())));
    }

    /// A rail has gone down.
    pub(super) fn rail_down(&self, rail: RailId) {
        drop(self.replace(rail, None));
    }

    /// Number of rails and rate of the port.
    pub(super) fn link(&self) -> PortLink {
        let rails_up = self.rails_up.lock();
        PortLink {
            rails: rails_up.len(),
            rate: rails_up.rate(),
        }
    }

    /// Notes whether a rail is up, and tells the interface and the verbs device what that makes of the port. Gives back what
    /// was noted before.
    fn replace(&self, rail: RailId, link: Option<Arc<dyn RailLink>>) -> Option<Arc<dyn RailLink>> {
        let mut rails_up = self.rails_up.lock();
        let before = rails_up.len();
        let old = core::mem::replace(&mut rails_up.0[rail.index()], link);
        self.netdev.set_rate(rails_up.rate());
        let event = match (before, rails_up.len()) {
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
        drop(rails_up);
        old
    }

    fn dispatch(&self, event: PortEvent) {
        if let Some(device) = &*self.device.lock() {
            device.dispatch(PortNumber::FIRST, event);
        }
    }
}
