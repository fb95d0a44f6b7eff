// SPDX-License-Identifier: GPL-2.0

//! Address handles.

use core::num::NonZeroU32;

use kernel::prelude::*;
use kernel::sync::Arc;

use crate::transport::unreliable_datagram::Gid;
use crate::transport::unreliable_datagram::Path;
use crate::verbs::abi::response::CreateAhResponse;
use crate::verbs::address::Address;
use crate::verbs::address::Destination;
use crate::verbs::address::HasPaths;
use crate::verbs::address::PathEntry;
use crate::verbs::address::PathTable;
use crate::verbs::netdev::MacAddress;
use crate::verbs::pd::ProtectionDomain;
use crate::verbs::rdma::AhAttributes;
use crate::verbs::rdma::AhOps;
use crate::verbs::rdma::Driver;
use crate::verbs::rdma::GidType;
use crate::verbs::rdma::Pd;
use crate::verbs::rdma::PortNumber;
use crate::verbs::rdma::UserData;

/// An address handle as its process sees it.
pub(crate) struct PathHandle {
    number: u32,
    paths: Arc<PathTable>,
}

/// A device with address handles.
pub(crate) trait HasPathHandles: HasPaths + Driver<Pd = ProtectionDomain> {}

impl PathHandle {
    fn build<D: HasPathHandles>(
        pd: &Pd<D>,
        attributes: &AhAttributes,
        user: UserData<'_, D>,
    ) -> Result<Self> {
        let source = attributes.source.ok_or(EINVAL)?;
        if attributes.port != PortNumber::FIRST || source.gid_type != GidType::RoceUdpEncap {
            return Err(EINVAL);
        }
        let destination = Gid(attributes.destination.0);
        let mac = attributes.destination_mac;
        let address = Address {
            destination: if destination.is_multicast() {
                Destination::Group
            } else {
                Destination::Host(MacAddress(mac))
            },
            path: Path {
                source: Gid(source.gid.0),
                destination,
                traffic_class: attributes.traffic_class,
                flow_label: attributes.flow_label,
                hop_limit: attributes.hop_limit,
            },
        };
        let paths = pd.device().driver().paths();
        let mut number = 0;
        paths.add(|free| {
            number = free;
            let entry = PathEntry {
                pd: pd.id(),
                mac,
                address,
            };
            Ok(Arc::new(entry, GFP_KERNEL_ACCOUNT)?)
        })?;
        let this = Self {
            number,
            paths: paths.clone(),
        };
        let number = NonZeroU32::new(number).ok_or(EINVAL)?;
        user.respond(&CreateAhResponse::new(number))?;
        Ok(this)
    }
}

impl Drop for PathHandle {
    fn drop(&mut self) {
        self.paths.remove(self.number);
    }
}

impl<D: HasPathHandles> AhOps<D> for PathHandle {
    fn create(pd: &Pd<D>, path: AhAttributes, user: UserData<'_, D>) -> impl PinInit<Self, Error> {
        PathHandle::build(pd, &path, user)
    }
}
