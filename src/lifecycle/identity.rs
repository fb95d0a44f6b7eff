// SPDX-License-Identifier: GPL-2.0

//! Who this host is, to its peers and to its users: the same after every reboot.

use core::ptr::NonNull;

use kernel::bindings;
use kernel::prelude::*;

use crate::base::bindings as shim;
use crate::fabric::host_address::address_of;
use crate::stream_adapter::controller::parse_uuid;
use crate::stream_adapter::controller::Controller;
use crate::transport::rail::hello::Features;
use crate::transport::rail::hello::Identity;
use crate::transport::rail::hello::NodeGuid;
use crate::transport::rail::hello::NODE_NAME_LEN;
use crate::transport::rail::router_uuid::RouterUuid;
use crate::verbs::netdev::MacAddress;
use crate::verbs::qp::FEATURES;
use crate::verbs::qp::LIMITS;

/// Who this host is.
pub(crate) struct HostIdentity {
    controller: Option<Controller>,
    node_guid: NodeGuid,
}

impl HostIdentity {
    /// Finds out: from the router of the first controller, or else from the machine's own UUID. Without either the
    /// identity is random. The log says what peers cannot check.
    pub(crate) fn find() -> Self {
        let controller = Controller::find();
        let node_guid = match &controller {
            Some(controller) => controller.router_uuid().node_guid(),
            None => Self::without_controller(),
        };
        Self {
            controller,
            node_guid,
        }
    }

    fn without_controller() -> NodeGuid {
        if let Some(uuid) = machine_uuid() {
            pr_warn!(
                "no USB4 controller is up; this host's GUID and addresses are those of the machine until the module \
                 is loaded again after thunderbolt\n"
            );
            return uuid.node_guid();
        }
        pr_warn!(
            "no USB4 controller is up; this host's GUID and addresses are random until the module is loaded again \
             after thunderbolt\n"
        );
        // SAFETY: Random numbers may be drawn anywhere.
        NodeGuid(unsafe { bindings::get_random_u64() }.max(1))
    }

    /// The node GUID.
    pub(crate) fn node_guid(&self) -> NodeGuid {
        self.node_guid
    }

    /// The Ethernet address of the network interface, from the GUID.
    pub(crate) fn mac(&self) -> MacAddress {
        address_of(self.node_guid)
    }

    /// The USB4 controller's PCI function, as parent of our devices. Valid as long as `self`.
    pub(crate) fn parent(&self) -> Option<NonNull<bindings::device>> {
        self.controller.as_ref().map(Controller::as_device)
    }

    /// The identity that peers are told.
    pub(crate) fn hello(&self) -> Identity {
        let mut name = [0; NODE_NAME_LEN];
        // SAFETY: The buffer is writable for its length, which bounds what is written.
        unsafe { shim::base_shim_host_name(name.as_mut_ptr().cast(), name.len()) };
        Identity {
            node_guid: self.node_guid,
            mac: self.mac().0,
            features: features(),
            limits: LIMITS,
            name,
        }
    }
}

/// What this host and its processor are good at.
fn features() -> Features {
    // SAFETY: The function only reads what the kernel found out at boot.
    let processor = if unsafe { shim::base_shim_has_fast_crc32c() } {
        Features::FAST_CRC32C
    } else {
        Features::NONE
    };
    processor
        .with(Features::UNFINISHED_DATAGRAMS)
        .with(FEATURES)
}

/// What the firmware calls the machine, unless it has left that blank.
fn machine_uuid() -> Option<RouterUuid> {
    // SAFETY: The function may be called at any time; what it returns is NULL or a string that stays for ever.
    let text = unsafe {
        let text = shim::base_shim_machine_uuid();
        if text.is_null() {
            return None;
        }
        CStr::from_char_ptr(text)
    };
    let uuid = parse_uuid(text.to_bytes())?;
    let is_blank = uuid == [0; 16] || uuid == [u8::MAX; 16];
    (!is_blank).then_some(RouterUuid(uuid))
}
