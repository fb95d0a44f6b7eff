// SPDX-License-Identifier: GPL-2.0

//! Who this host is, to its peers and to its users: the same after every reboot.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::prelude::*;

use crate::checksum::KernelHash;
use crate::stream_adapter::bindings as shim;
use crate::stream_adapter::controller::Controller;
use crate::transport::checksum::Checksum;
use crate::transport::rail::hello::Features;
use crate::transport::rail::hello::Identity;
use crate::transport::rail::hello::NodeGuid;
use crate::transport::rail::hello::NODE_NAME_LEN;
use crate::verbs::qp::LIMITS;

/// First byte of an Ethernet address that is unicast and locally administered (IEEE 802).
const MAC_LOCAL: u8 = 0x02;

/// This host.
pub struct HostIdentity {
    controller: Option<Controller>,
    node_guid: NodeGuid,
}

impl HostIdentity {
    /// Finds out. Without a USB4 controller the identity is random, and the log says so.
    pub fn find() -> Self {
        let controller = Controller::find();
        let guid = match &controller {
            Some(controller) => fold(&controller.router_uuid()),
            None => {
                pr_warn!(
                    "no USB4 controller is up; this host's GUID and addresses are random until the \
                     module is loaded again after thunderbolt\n"
                );
                // SAFETY: Random numbers may be drawn anywhere.
                unsafe { bindings::get_random_u64() }
            }
        };
        Self {
            controller,
            node_guid: NodeGuid(guid.max(1)),
        }
    }

    /// The node GUID.
    pub fn node_guid(&self) -> NodeGuid {
        self.node_guid
    }

    /// The Ethernet address of the network interface, from the GUID.
    pub fn mac(&self) -> [u8; 6] {
        let guid = self.node_guid.0.to_le_bytes();
        let [a, b, c, d, e, ..] = KernelHash::xxh64(0, &guid).to_be_bytes();
        [MAC_LOCAL, a, b, c, d, e]
    }

    /// The USB4 controller's PCI function, as parent of our devices. Valid as long as `self`.
    pub fn parent(&self) -> Option<NonNull<bindings::device>> {
        self.controller.as_ref().map(Controller::as_device)
    }

    /// What peers are told.
    pub fn hello(&self) -> Identity {
        let mut name = [0; NODE_NAME_LEN];
        // SAFETY: The buffer is writable for its length, which bounds what is written.
        unsafe { shim::stream_shim_host_name(name.as_mut_ptr().cast(), name.len()) };
        Identity {
            node_guid: self.node_guid,
            mac: self.mac(),
            features: features(),
            limits: LIMITS,
            name,
        }
    }
}

/// What this host's processor is good at.
fn features() -> Features {
    // SAFETY: The function only reads what the kernel found out at boot.
    if unsafe { shim::stream_shim_has_fast_crc32c() } {
        Features::FAST_CRC32C
    } else {
        Features::NONE
    }
}

/// Half of a UUID, such that UUIDs that differ in one half only stay different.
fn fold(uuid: &[u8; 16]) -> u64 {
    let uuid = u128::from_be_bytes(*uuid);
    (uuid >> 64) as u64 ^ uuid as u64
}
