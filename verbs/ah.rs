// SPDX-License-Identifier: GPL-2.0

//! Address handles.

use core::num::NonZeroU32;

use kernel::prelude::*;
use kernel::sync::Arc;

use crate::transport::unreliable_datagram::Gid;
use crate::transport::unreliable_datagram::Path;
use crate::verbs::abi::encode::Way;
use crate::verbs::abi::response::CreateAhResponse;
use crate::verbs::address::Address;
use crate::verbs::address::HasPaths;
use crate::verbs::address::PathEntry;
use crate::verbs::address::PathTable;
use crate::verbs::pd::ProtectionDomain;
use crate::verbs::rdma::AhAttributes;
use crate::verbs::rdma::AhOps;
use crate::verbs::rdma::Driver;
use crate::verbs::rdma::GidType;
use crate::verbs::rdma::Pd;
use crate::verbs::rdma::PortNumber;
use crate::verbs::rdma::UserData;

/// An address handle as its user sees it.
pub(crate) enum PathHandle {
    /// A process's, found by its number.
    Process { number: u32, paths: Arc<PathTable> },
    /// The kernel's, whose requests carry all that there is to it.
    Kernel(Way),
}

/// A device with address handles.
pub(crate) trait HasPathHandles: HasPaths + Driver<Pd = ProtectionDomain> {}

impl PathHandle {
    fn build<D: HasPathHandles>(
        pd: &Pd<D>,
        attributes: &AhAttributes,
        user: Option<UserData<'_, D>>,
    ) -> Result<Self> {
        let source = attributes.source.ok_or(EINVAL)?;
        if attributes.port != PortNumber::FIRST || source.gid_type != GidType::RoceUdpEncap {
            return Err(EINVAL);
        }
        let way = Way {
            mac: attributes.destination_mac,
            path: Path {
                source: Gid(source.gid.0),
                destination: Gid(attributes.destination.0),
                traffic_class: attributes.traffic_class,
                flow_label: attributes.flow_label,
                hop_limit: attributes.hop_limit,
            },
        };
        let Some(user) = user else {
            return Ok(Self::Kernel(way));
        };
        let paths = pd.device().driver().paths();
        let mut number = 0;
        paths.add(|free| {
            number = free;
            let entry = PathEntry {
                pd: pd.id(),
                mac: way.mac,
                address: Address::of(&way),
            };
            Ok(Arc::new(entry, GFP_KERNEL_ACCOUNT)?)
        })?;
        let this = Self::Process {
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
        match self {
            Self::Process { number, paths } => {
                paths.remove(*number);
            }
            Self::Kernel(_) => {}
        }
    }
}

impl<D: HasPathHandles> AhOps<D> for PathHandle {
    fn create(
        pd: &Pd<D>,
        path: AhAttributes,
        user: Option<UserData<'_, D>>,
    ) -> impl PinInit<Self, Error> {
        PathHandle::build(pd, &path, user)
    }
}
